//! Frames of the remote.

use std::time::Instant;

use crate::{
    Event, Mux, Priority, Reader, StreamId, Violation, ViolationCode,
    frame::{DatagramCopy, Frame, RepairHeader, StreamFrame, decode_stream},
    recv::Effect,
    stream::Stream,
};

impl Mux {
    /// Takes a frame whose type `kind` was read from `reader` already, all of which is there.
    ///
    /// # Errors
    /// [`Violation`] when the frame cannot be read or breaks a rule: close the connection with it.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        kind: u64,
        reader: &mut Reader<'_>,
    ) -> Result<(), Violation> {
        let frame = Frame::decode(kind, reader)?;
        self.on_frame(now, frame)
    }

    /// As [`Self::handle_frame`], for a `kind` that [`is_piece`](crate::frame::is_piece).
    ///
    /// # Errors
    /// As for [`Self::handle_frame`].
    pub fn handle_piece(&mut self, kind: u8, reader: &mut Reader<'_>) -> Result<(), Violation> {
        let StreamFrame { id, priority, offset, data, fin } = decode_stream(kind.into(), reader)?;
        self.stats.frames_received += 1;
        self.on_stream(id, priority, Piece { offset, data, fin })
    }

    /// Takes a frame that was read before, for carriers that wait for incomplete ones.
    ///
    /// # Errors
    /// [`Violation`] when it breaks a rule: close the connection with it.
    pub fn on_frame(&mut self, _now: Instant, frame: Frame<'_>) -> Result<(), Violation> {
        self.stats.frames_received += 1;
        match frame {
            Frame::Stream { id, priority, offset, data, fin } => {
                self.on_stream(id, priority, Piece { offset, data, fin })
            }
            Frame::Reset { id, code, final_size } => self.on_reset(id, code, final_size),
            Frame::Stop { id, code } => self.on_stop(id, code),
            Frame::MaxStreamData { id, max } => self.on_max_stream_data(id, max),
            Frame::MaxData { max } => self.on_max_data(max),
            Frame::MaxStreams { max } => self.on_max_streams(max),
            Frame::Datagram { copy, data } => self.on_datagram(copy, data),
            Frame::Repair { header, data } => self.on_repair(header, data),
        }
    }

    fn on_stream(
        &mut self,
        id: StreamId,
        priority: Priority,
        piece: Piece<'_>,
    ) -> Result<(), Violation> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return match self.reach(id)? {
                true => self.on_stream(id, priority, piece),
                false => Ok(()),
            };
        };
        let received = stream.recv.check(piece.offset, piece.data.len(), piece.fin)?;
        self.recv_credit.check(received)?;
        inherit(stream, priority);
        let gaps = stream.recv.gaps();
        let effect = stream.recv.on_data(piece.offset, piece.data, piece.fin, &mut self.spare);
        self.gaps = self.gaps + stream.recv.gaps() - gaps;
        if stream.recv.poll_stalled() {
            self.schedule.control(id, stream);
            self.recv_credit.on_stalled();
        }
        let news = News::of(stream);
        self.on_received(id, effect, news);
        if self.gaps > self.config.gaps_max() {
            return Err(Violation::new(ViolationCode::InternalError, "too many gaps to remember"));
        }
        Ok(())
    }

    fn on_reset(&mut self, id: StreamId, code: u32, final_size: u64) -> Result<(), Violation> {
        if !self.reach(id)? {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        self.recv_credit.check(stream.recv.check_reset(final_size)?)?;
        let gaps = stream.recv.gaps();
        let effect = stream.recv.on_reset(code, final_size, &mut self.spare);
        self.gaps = self.gaps + stream.recv.gaps() - gaps;
        let news = News::of(stream);
        self.on_received(id, effect, news);
        Ok(())
    }

    fn on_stop(&mut self, id: StreamId, code: u32) -> Result<(), Violation> {
        if !self.reach(id)? {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        self.stats.stream_bytes_queued -= stream.send.on_stop(code, &mut self.spare);
        self.schedule.control(id, stream);
        self.wake_writer(id);
        Ok(())
    }

    fn on_max_stream_data(&mut self, id: StreamId, max: u64) -> Result<(), Violation> {
        if !self.reach(id)? {
            return Ok(());
        }
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.send.on_max_data(max)
        {
            self.schedule.ready(id, stream);
        }
        Ok(())
    }

    fn on_max_data(&mut self, max: u64) -> Result<(), Violation> {
        if max > self.send_credit.max {
            self.send_credit.max = max;
            for id in self.schedule.take_held_back() {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.is_held_back = false;
                    self.schedule.ready(id, stream);
                }
            }
        }
        Ok(())
    }

    fn on_max_streams(&mut self, max: u64) -> Result<(), Violation> {
        if max > self.local.max {
            self.local.max = max;
            if std::mem::take(&mut self.local.opener_waits) {
                self.events.push_streams_available();
            }
        }
        Ok(())
    }

    fn on_datagram(&mut self, copy: Option<DatagramCopy>, data: &[u8]) -> Result<(), Violation> {
        if data.len() > self.config.datagram_max as usize {
            return Err(Violation::new(
                ViolationCode::ProtocolViolation,
                "a datagram longer than was agreed",
            ));
        }
        if self.datagrams_in.push(copy, data, &mut self.stats) {
            self.events.push_datagram_received();
        }
        Ok(())
    }

    fn on_repair(&mut self, header: RepairHeader, data: &[u8]) -> Result<(), Violation> {
        let datagram_max = self.config.datagram_max as usize;
        if self.datagrams_in.on_repair(header, data, datagram_max, &mut self.stats) {
            self.events.push_datagram_received();
        }
        Ok(())
    }

    /// Opens the remote's streams up to `id`; answers whether the stream is not over yet.
    fn reach(&mut self, id: StreamId) -> Result<bool, Violation> {
        if id.initiator() == self.side {
            if id.index() >= self.local.opened {
                return Err(Violation::new(
                    ViolationCode::StreamState,
                    "a frame for a stream of ours that was never opened",
                ));
            }
            return Ok(self.streams.contains_key(&id));
        }
        if id.index() >= self.accepting.told {
            return Err(Violation::new(ViolationCode::StreamLimit, "more streams than allowed"));
        }
        // RFC 9000 §3.2: a stream opens all lower ones of its kind, so that their order is kept.
        while self.accepting.opened <= id.index() {
            let next = StreamId::new(self.side.other(), self.accepting.opened);
            self.accepting.opened += 1;
            self.insert(next, Priority::default()).inherits = true;
            self.accepting.to_accept.push_back(next);
            self.events.push_stream_opened();
            // Places that came free while the remote had plenty are worth a word now.
            self.tell_places();
        }
        Ok(self.streams.contains_key(&id))
    }

    fn on_received(&mut self, id: StreamId, effect: Effect, news: News) {
        self.recv_credit.received += effect.received;
        if effect.discarded > 0 {
            self.recv_credit.consume(effect.discarded);
        }
        if news.is_readable {
            self.events.queue.push_back(Event::Readable(id));
        }
        if news.is_over {
            self.retire(id);
        }
    }

    pub(super) fn wake_writer(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.send.take_writable(self.send_bounds)
        {
            self.events.queue.push_back(Event::Writable(id));
        }
    }
}

/// What a STREAM frame carries.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    offset: u64,
    data: &'a [u8],
    fin: bool,
}

/// What a frame has changed for the reader and for the stream as a whole.
#[derive(Debug, Clone, Copy)]
struct News {
    is_readable: bool,
    is_over: bool,
}

impl News {
    fn of(stream: &mut Stream) -> Self {
        Self { is_readable: stream.recv.take_readable(), is_over: stream.is_over() }
    }
}

impl super::RecvCredit {
    fn check(&self, received: u64) -> Result<(), Violation> {
        if self.received + received > self.told {
            return Err(Violation::new(
                ViolationCode::FlowControl,
                "more than the connection's limit allows",
            ));
        }
        Ok(())
    }
}

/// The answer on a stream that the remote opened travels in the remote's class.
fn inherit(stream: &mut Stream, priority: Priority) {
    if std::mem::take(&mut stream.inherits) {
        stream.priority = priority;
    }
}
