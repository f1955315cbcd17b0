//! Frames for the remote, and what became of them.

use std::time::Instant;

use crate::{
    Event, Mux, Priority, SentFrame, StreamId, VARINT_MAX,
    datagrams::Place,
    frame::{Frame, NUMBERS_MAX, StreamHeader, put_stream_header, stream_overhead},
    send::Idle,
};

/// A piece of a stream below this length is not worth a frame of its own at the end of a packet.
const PIECE_MIN: usize = 16;

/// A packet under construction.
struct Packet<'a> {
    out: &'a mut Vec<u8>,
    sent: &'a mut Vec<SentFrame>,
    /// Length of `out` that must not be exceeded.
    end: usize,
}

impl Packet<'_> {
    fn room(&self) -> usize {
        self.end - self.out.len()
    }

    fn put(&mut self, frame: Frame<'_>, sent: SentFrame) {
        frame.encode(self.out);
        self.sent.push(sent);
    }
}

impl Mux {
    /// Whether [`Self::poll_frames`] has something to give.
    ///
    /// It can be wrong once: what waits may turn out to be expired, or to need more credit.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        self.remote.is_some()
            && (!self.schedule.is_empty()
                || !self.datagrams_out.is_idle()
                || self.recv_credit.to_tell
                || self.accepting.to_tell)
    }

    /// Whether a datagram with a deadline is to be sent now.
    #[must_use]
    pub fn has_live(&self) -> bool {
        self.remote.is_some() && self.datagrams_out.has_live()
    }

    /// The same as [`Self::poll_frames`], of nothing but datagrams, the first of which has a
    /// deadline: what may go although the carrier holds everything else back.
    pub fn poll_live(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max: usize,
        sent: &mut Vec<SentFrame>,
    ) -> usize {
        let (start, frames) = (out.len(), sent.len());
        if self.has_live() {
            let mut packet = Packet { end: start.saturating_add(max), out, sent };
            self.poll_datagrams(now, start, &mut packet);
        }
        self.stats.frames_sent += (sent.len() - frames) as u64;
        out.len() - start
    }

    /// Appends frames of at most `max` bytes to `out`, most urgent first, and what they were to
    /// `sent`; answers how many bytes were appended.
    ///
    /// Limits, resets and stops go before everything, datagrams between [`Priority::Control`] and
    /// [`Priority::Live`]. A datagram waits for a packet into which it fits whole.
    pub fn poll_frames(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max: usize,
        sent: &mut Vec<SentFrame>,
    ) -> usize {
        if self.remote.is_none() {
            return 0;
        }
        let (start, frames) = (out.len(), sent.len());
        let mut packet = Packet { end: start.saturating_add(max), out, sent };
        self.poll_limits(now, &mut packet);
        self.poll_signals(now, &mut packet);
        self.poll_class(Priority::Control, &mut packet);
        self.poll_datagrams(now, start, &mut packet);
        self.poll_class(Priority::Live, &mut packet);
        self.poll_class(Priority::Interactive, &mut packet);
        self.poll_class(Priority::Bulk, &mut packet);
        self.stats.frames_sent += (packet.sent.len() - frames) as u64;
        packet.out.len() - start
    }

    /// Learns that a frame arrived.
    pub fn on_acked(&mut self, now: Instant, frame: &SentFrame) {
        match *frame {
            SentFrame::Stream { id, start, len, fin } => self.on_chunk_acked(id, start, len, fin),
            SentFrame::Reset { id } => self.on_reset_acked(id),
            SentFrame::RepairableDatagram { sequence, copy } => {
                self.datagrams_out.on_acked(now, sequence, copy, &mut self.stats);
            }
            SentFrame::Repair { first } => {
                self.datagrams_out.on_parity_acked(now, first, &mut self.stats);
            }
            SentFrame::Stop { .. }
            | SentFrame::MaxStreamData { .. }
            | SentFrame::MaxData { .. }
            | SentFrame::MaxStreams { .. }
            | SentFrame::Datagram => {}
        }
    }

    /// Learns that a frame did not arrive: what is still of use is sent again.
    pub fn on_lost(&mut self, now: Instant, frame: &SentFrame) {
        match *frame {
            SentFrame::Stream { id, start, len, fin } => self.on_chunk_lost(id, start, len, fin),
            SentFrame::Reset { id } => self.on_reset_lost(id),
            SentFrame::Stop { id } => self.on_stop_lost(id),
            SentFrame::MaxStreamData { id, max } => self.on_max_stream_data_lost(id, max),
            SentFrame::MaxData { max } => self.recv_credit.to_tell |= max == self.recv_credit.told,
            SentFrame::MaxStreams { max } => self.accepting.to_tell |= max == self.accepting.told,
            SentFrame::RepairableDatagram { sequence, copy } => {
                self.datagrams_out.on_lost(now, sequence, copy, &mut self.stats);
            }
            SentFrame::Repair { first } => {
                self.datagrams_out.on_parity_lost(now, first, &mut self.stats);
            }
            SentFrame::Datagram => {}
        }
    }

    fn poll_limits(&mut self, now: Instant, packet: &mut Packet<'_>) {
        if self.recv_credit.to_tell && packet.room() >= NUMBERS_MAX {
            let max = self.recv_credit.poll_limit(now, self.round_trip);
            packet.put(Frame::MaxData { max }, SentFrame::MaxData { max });
        }
        if self.accepting.to_tell && packet.room() >= NUMBERS_MAX {
            self.accepting.to_tell = false;
            let max =
                (self.accepting.closed + u64::from(self.config.streams)).min(StreamId::INDEX_MAX);
            self.accepting.told = max;
            packet.put(Frame::MaxStreams { max }, SentFrame::MaxStreams { max });
        }
    }

    /// RESET, STOP and `MAX_STREAM_DATA` of the streams that have one.
    fn poll_signals(&mut self, now: Instant, packet: &mut Packet<'_>) {
        while packet.room() >= 3 * NUMBERS_MAX
            && let Some(id) = self.schedule.next_control()
        {
            self.schedule.pop_control();
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.in_control = false;
            if let Some((code, final_size)) = stream.send.poll_reset() {
                packet.put(Frame::Reset { id, code, final_size }, SentFrame::Reset { id });
            }
            if let Some(code) = stream.recv.poll_stop() {
                packet.put(Frame::Stop { id, code }, SentFrame::Stop { id });
            }
            if let Some(max) = stream.recv.poll_max_data(now, self.round_trip) {
                let max = max.min(VARINT_MAX);
                packet.put(Frame::MaxStreamData { id, max }, SentFrame::MaxStreamData { id, max });
            }
        }
    }

    fn poll_datagrams(&mut self, now: Instant, start: usize, packet: &mut Packet<'_>) {
        let payload_max = self.datagram_max();
        loop {
            let (room, is_first) = (packet.room(), packet.out.len() == start);
            let mut place = Place { now, out: packet.out, room, payload_max, is_first };
            match self.datagrams_out.poll(&mut place, &mut self.stats) {
                None => return,
                Some(frame) => packet.sent.push(frame),
            }
        }
    }

    fn poll_class(&mut self, class: Priority, packet: &mut Packet<'_>) {
        while packet.room() > PIECE_MIN
            && let Some(id) = self.schedule.next_ready(class)
        {
            if !self.poll_stream(class, id, packet) {
                return;
            }
        }
    }

    /// One frame of the stream that is first in its class; answers whether there is room for
    /// another.
    fn poll_stream(&mut self, class: Priority, id: StreamId, packet: &mut Packet<'_>) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else {
            self.schedule.pop_ready(class);
            return true;
        };
        let len_max = packet.room().min(self.config.stream_frame_max as usize);
        let overhead = stream_overhead(id, stream.send.next_offset(), len_max);
        if packet.room() < overhead + PIECE_MIN {
            return false;
        }
        let len_max = len_max.min(packet.room() - overhead);
        let credit = self.send_credit.max - self.send_credit.sent;
        self.schedule.pop_ready(class);
        stream.in_ready = false;
        let chunk = match stream.send.poll_chunk(len_max, credit) {
            Ok(chunk) => chunk,
            Err(Idle::Nothing) => return true,
            Err(Idle::ConnectionLimit) => {
                self.schedule.hold_back(id, stream);
                return true;
            }
        };
        let header = StreamHeader {
            id,
            priority: stream.priority,
            offset: chunk.start,
            len: chunk.len,
            fin: chunk.fin,
        };
        put_stream_header(packet.out, header);
        for slice in stream.send.slices(&(chunk.start..chunk.start + chunk.len as u64)) {
            packet.out.extend_from_slice(slice);
        }
        let len = u32::try_from(chunk.len).unwrap_or(u32::MAX);
        packet.sent.push(SentFrame::Stream { id, start: chunk.start, len, fin: chunk.fin });
        let bytes = chunk.len as u64;
        if chunk.repeated {
            self.stats.stream_bytes_repeated += bytes;
        } else {
            self.send_credit.sent += bytes;
            self.stats.stream_bytes_queued -= bytes;
        }
        self.schedule.ready(id, stream);
        if stream.send.take_writable(self.send_bounds) {
            self.events.queue.push_back(Event::Writable(id));
        }
        true
    }

    fn on_chunk_acked(&mut self, id: StreamId, start: u64, len: u32, fin: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.send.on_chunk_acked(start, len, fin, &mut self.spare);
        if stream.send.take_writable(self.send_bounds) {
            self.events.queue.push_back(Event::Writable(id));
        }
        if stream.is_over() {
            self.retire(id);
        }
    }

    fn on_chunk_lost(&mut self, id: StreamId, start: u64, len: u32, fin: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.send.on_chunk_lost(start, len, fin);
        self.schedule.ready(id, stream);
    }

    fn on_reset_acked(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.send.on_reset_acked();
        self.retire(id);
    }

    fn on_reset_lost(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.send.on_reset_lost()
        {
            self.schedule.control(id, stream);
        }
    }

    fn on_stop_lost(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.recv.on_stop_lost()
        {
            self.schedule.control(id, stream);
        }
    }

    fn on_max_stream_data_lost(&mut self, id: StreamId, max: u64) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.recv.on_max_data_lost(max)
        {
            self.schedule.control(id, stream);
        }
    }
}
