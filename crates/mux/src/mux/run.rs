//! Pieces of one stream, one after the other, for packets that carry nothing else.

use std::ops::Range;

use super::Events;
use crate::{
    Event, Mux, MuxStats, Priority, StreamId,
    frame::{StreamHeader, put_stream_header, stream_overhead},
    schedule::Schedule,
    send::{Bounds, SendPart},
    stream::Stream,
};

/// The next pieces of the only stream that has something to send: in the middle of a transfer,
/// every packet but the first of a train.
///
/// What [`Mux::poll_frames`] would give, without asking again for each packet what else there is.
/// Nothing else can come up meanwhile: the machine is borrowed. Call [`Self::finish`] at the end.
#[derive(Debug)]
#[must_use = "what was put into packets is counted when the run is finished"]
pub struct StreamRun<'a> {
    id: StreamId,
    /// In whose queue it stands; its own may have changed since.
    class: Priority,
    stream: &'a mut Stream,
    schedule: &'a mut Schedule,
    events: &'a mut Events,
    stats: &'a mut MuxStats,
    bounds: Bounds,
    sent: &'a mut u64,
    sent_max: u64,
    frame_max: usize,
    pieces: u64,
}

impl Mux {
    /// Begins a run; `None` if anything but new bytes of a single stream could be next.
    pub fn stream_run(&mut self) -> Option<StreamRun<'_>> {
        let is_plain = self.remote.is_some()
            && !self.recv_credit.to_tell
            && !self.accepting.to_tell
            && self.datagrams_out.is_still();
        let (class, id) = self.schedule.only_one().filter(|_| is_plain)?;
        let stream = self.streams.get_mut(&id)?;
        Some(StreamRun {
            id,
            class,
            stream,
            schedule: &mut self.schedule,
            events: &mut self.events,
            stats: &mut self.stats,
            bounds: self.send_bounds,
            sent: &mut self.send_credit.sent,
            sent_max: self.send_credit.max,
            frame_max: self.config.stream_frame_max as usize,
            pieces: 0,
        })
    }
}

impl StreamRun<'_> {
    /// Which stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Appends a STREAM frame of at most `max` bytes to `out`, if there are bytes to fill it;
    /// answers which bytes of the stream it carries. With `wanted` only if it carries just so many.
    pub fn put(
        &mut self,
        out: &mut Vec<u8>,
        max: usize,
        wanted: Option<u64>,
    ) -> Option<Range<u64>> {
        let send: &mut SendPart = &mut self.stream.send;
        let overhead = stream_overhead(self.id, send.next_offset(), max);
        let len = max.checked_sub(overhead).filter(|len| *len > 0)?;
        if len > self.frame_max || wanted.is_some_and(|wanted| wanted != len as u64) {
            return None;
        }
        let credit = self.sent_max - *self.sent;
        let bytes = send.poll_whole(len, credit)?;
        let priority = self.stream.priority;
        let header = StreamHeader { id: self.id, priority, offset: bytes.start, len, fin: false };
        put_stream_header(out, header);
        for slice in send.slices(&bytes) {
            out.extend_from_slice(slice);
        }
        *self.sent += len as u64;
        self.stats.stream_bytes_queued -= len as u64;
        self.pieces += 1;
        Some(bytes)
    }

    /// Ends the run.
    pub fn finish(self) {
        self.stats.frames_sent += self.pieces;
        self.schedule.pop_ready(self.class);
        self.stream.in_ready = false;
        self.schedule.ready(self.id, self.stream);
        if self.stream.send.take_writable(self.bounds) {
            self.events.queue.push_back(Event::Writable(self.id));
        }
    }
}

impl Schedule {
    /// The only stream that has something to send, and its class, if there is nothing else.
    fn only_one(&self) -> Option<(Priority, StreamId)> {
        if self.next_control().is_some() {
            return None;
        }
        let mut waiting = Priority::ALL.into_iter().filter_map(|class| {
            let id = self.next_ready(class)?;
            Some((class, id, self.ready_count(class)))
        });
        match (waiting.next()?, waiting.next()) {
            ((class, id, 1), None) => Some((class, id)),
            _ => None,
        }
    }
}
