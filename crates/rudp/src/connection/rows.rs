//! The inside of a train in the middle of a transfer: packets that carry nothing but the next
//! bytes of one stream.
//!
//! The first packet of every train is made the usual way and takes along whatever is to be said.
//! What follows it in the same moment can only be more of the transfer, as long as nothing else
//! waits, so that most of what is asked for each packet is asked here once for all of them.

use std::time::Instant;

use portolan_mux::SentFrame;

use super::Connection;
use crate::{
    packet::{Draft, Level, TAG_LEN},
    path::Path,
    sent::{Content, Frames, Row, SentPacket},
};

impl Connection {
    /// Appends up to `count` packets of `size` bytes each, behind at least one of the same train;
    /// answers how many. None: the next one is not of the usual kind.
    pub(super) fn put_row(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        (size, count): (usize, usize),
    ) -> usize {
        let count = self.row_max(size).min(count as u64);
        if count == 0 {
            return 0;
        }
        let first = self.spaces[Level::Data].next_number;
        let Some((made, frame)) = self.fill_row(buf, size, count) else { return 0 };
        let size = size as u64;
        let then = self.path.delivery.on_sent(now, size, self.path.in_flight + size);
        self.path.in_flight += made * size;
        self.path.pacer.on_sent(made * size);
        let content = Content { mux: Frames::of(&[frame]), ..Content::default() };
        let mut packet = SentPacket::new(now, size, content, then);
        packet.is_marked = self.path.marking.mark().is_some();
        packet.path = self.path.number;
        let space = &mut self.spaces[Level::Data];
        space.ecn.sent += if packet.is_marked { made } else { 0 };
        space.sent.insert_row(Row { number: first, count: made, packet });
        self.stats.packets_sent += made;
        usize::try_from(made).unwrap_or(usize::MAX)
    }

    /// How many packets may go now that nothing but a stream has anything to say in; 0 if
    /// something has.
    fn row_max(&self, size: usize) -> u64 {
        let space = &self.spaces[Level::Data];
        let pending = &self.pending;
        let is_plain = self.watch.is_none()
            && size <= self.path.packet_size()
            && space.probes == 0
            && space.acks.is_told()
            && !space.crypto_out.wants_to_send()
            && !self.path.request.is_due()
            && !(pending.done || pending.ping || pending.names || pending.key_update)
            && pending.padded == 0
            && pending.pong.is_none()
            && pending.path_response.is_none();
        match &self.data_keys {
            Some(keys) if is_plain => {
                self.path.allowance().min(keys.room(self.config.key_update_after))
            }
            Some(_) | None => 0,
        }
    }

    /// Makes the packets, all with equally long headers and pieces, which follow each other;
    /// answers how many, and what the first one carries.
    fn fill_row(&mut self, buf: &mut Vec<u8>, size: usize, count: u64) -> Option<(u64, SentFrame)> {
        let keys = self.data_keys.as_mut()?;
        let mut run = self.mux.stream_run()?;
        let space = &mut self.spaces[Level::Data];
        let first = space.next_number;
        let mut made = 0;
        let mut piece: Option<std::ops::Range<u64>> = None;
        while made < count && space.next_number == first + made {
            let draft = Draft::data(
                buf,
                self.names.remote,
                keys.phase(),
                space.next_number,
                space.largest_acked,
            );
            let end = draft.start + size - TAG_LEN;
            let wanted = piece.as_ref().map(|piece| piece.end - piece.start);
            match run.put(buf, end - buf.len(), wanted) {
                Some(bytes) => _ = piece.get_or_insert(bytes),
                None => {
                    draft.discard(buf);
                    break;
                }
            }
            // A length may take a byte less than was left for it.
            buf.resize(end, 0);
            keys.seal(buf, &draft);
            made += 1;
            let number = space.next_number;
            space.next_number = self.traps.after(number, || self.secrets.draw(&self.integrity));
        }
        let id = run.id();
        run.finish();
        let piece = piece?;
        let len = u32::try_from(piece.end - piece.start).unwrap_or(u32::MAX);
        Some((made, SentFrame::Stream { id, start: piece.start, len, fin: false }))
    }
}

impl Path {
    /// Packets that window and pacer let go in a moment in which one has gone already.
    fn allowance(&self) -> u64 {
        let size = self.packet_size() as u64;
        let window = self.congestion.window().saturating_sub(self.in_flight);
        window.min(self.pacer.allowance()) / size
    }
}
