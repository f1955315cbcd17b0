//! The sending half of a stream (RFC 9000 §3.1).

use std::ops::Range;

use crate::{
    WriteError,
    pages::{Pages, SparePages},
    ranges::RangeSet,
};

/// The sending half of a stream.
///
/// ```text
///   0 ────────── base ───────── next ───────── written
///     acknowledged  sent, kept      to be sent
/// ```
/// Ranges between `base` and `next` may be acknowledged out of order, or lost and to be sent
/// again.
#[derive(Debug)]
pub(crate) struct SendPart {
    pages: Pages,
    base: u64,
    next: u64,
    written: u64,
    acked: RangeSet,
    lost: RangeSet,
    /// The remote takes bytes up to here.
    max_data: u64,
    state: State,
    /// The application has ended its use, so that nobody asks any more.
    released: bool,
    /// A write found no room, or none was tried: say when there is.
    writer_waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finished(Signal),
    Reset { code: u32, signal: Signal },
    Stopped { code: u32, signal: Signal },
}

/// How far a one-off signal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    ToSend,
    Sent,
    Acked,
}

impl Signal {
    fn on_acked(&mut self) {
        *self = Self::Acked;
    }

    fn on_lost(&mut self) {
        if *self == Self::Sent {
            *self = Self::ToSend;
        }
    }
}

/// How many bytes a stream takes from the application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Not yet acknowledged.
    pub(crate) buffer: u32,
    /// Of these, not yet sent.
    pub(crate) queue: u32,
}

/// A piece to put into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) fin: bool,
    /// Whether it was sent before, so that it costs no credit.
    pub(crate) repeated: bool,
}

/// Why there is no piece to put into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Nothing to send, or the stream's own limit is reached.
    Nothing,
    /// Only the connection's limit stands in the way.
    ConnectionLimit,
}

impl SendPart {
    pub(crate) fn new(max_data: u64) -> Self {
        Self {
            pages: Pages::default(),
            base: 0,
            next: 0,
            written: 0,
            acked: RangeSet::default(),
            lost: RangeSet::default(),
            max_data,
            state: State::Open,
            released: false,
            writer_waits: true,
        }
    }

    /// Takes as much of `bytes` as the `bounds` leave room for.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        bounds: Bounds,
        spare: &mut SparePages,
    ) -> Result<usize, WriteError> {
        self.check_open()?;
        let room = self.room(bounds);
        let len = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if len == 0 && !bytes.is_empty() {
            self.writer_waits = true;
            return Err(WriteError::Blocked);
        }
        self.pages.write(self.written, &bytes[..len], spare);
        self.written += len as u64;
        Ok(len)
    }

    pub(crate) fn finish(&mut self) -> Result<(), WriteError> {
        self.check_open()?;
        self.state = State::Finished(Signal::ToSend);
        self.released = true;
        Ok(())
    }

    /// Abandons the stream; what was not sent is never sent. Answers how many bytes those were.
    pub(crate) fn reset(&mut self, code: u32, spare: &mut SparePages) -> u64 {
        self.released = true;
        match self.state {
            State::Open | State::Finished(Signal::ToSend | Signal::Sent) => {
                self.abandon(State::Reset { code, signal: Signal::ToSend }, spare)
            }
            State::Finished(Signal::Acked) | State::Reset { .. } | State::Stopped { .. } => 0,
        }
    }

    /// The remote wants no more (RFC 9000 §3.5: answered by a reset). Answers how many bytes are
    /// never sent.
    pub(crate) fn on_stop(&mut self, code: u32, spare: &mut SparePages) -> u64 {
        match self.state {
            State::Open | State::Finished(Signal::ToSend | Signal::Sent) => {
                self.abandon(State::Stopped { code, signal: Signal::ToSend }, spare)
            }
            State::Finished(Signal::Acked) | State::Reset { .. } | State::Stopped { .. } => 0,
        }
    }

    /// Raises the limit; answers whether it was the limit that held something back.
    pub(crate) fn on_max_data(&mut self, max: u64) -> bool {
        let was_blocked = self.max_data <= self.next;
        let raised = max > self.max_data;
        self.max_data = self.max_data.max(max);
        raised && was_blocked && self.wants_to_send()
    }

    /// Whether a call of [`Self::poll_chunk`] may give a piece, the connection's limit aside.
    pub(crate) fn wants_to_send(&self) -> bool {
        match self.state {
            State::Open => !self.lost.is_empty() || self.next < self.written.min(self.max_data),
            State::Finished(signal) => {
                !self.lost.is_empty()
                    || self.next < self.written.min(self.max_data)
                    || (signal == Signal::ToSend && self.next == self.written)
            }
            State::Reset { .. } | State::Stopped { .. } => false,
        }
    }

    /// The next piece of at most `len_max` bytes; it counts as sent. Lost pieces go first.
    pub(crate) fn poll_chunk(&mut self, len_max: usize, credit: u64) -> Result<Chunk, Idle> {
        let fin_to_send = match self.state {
            State::Open => false,
            State::Finished(signal) => signal == Signal::ToSend,
            State::Reset { .. } | State::Stopped { .. } => return Err(Idle::Nothing),
        };
        let (start, end, repeated) = match self.lost.first() {
            Some(lost) => (lost.start, lost.end.min(lost.start + len_max as u64), true),
            None => {
                let end = self.written.min(self.max_data).min(self.next + len_max as u64);
                (self.next, end.min(self.next.saturating_add(credit)), false)
            }
        };
        let fin = fin_to_send && end >= self.written;
        if start >= end && !fin {
            let by_credit = credit == 0 && self.next < self.written.min(self.max_data);
            return Err(if by_credit { Idle::ConnectionLimit } else { Idle::Nothing });
        }
        if repeated {
            self.lost.remove(start..end);
        }
        self.next = self.next.max(end);
        if fin {
            self.state = State::Finished(Signal::Sent);
        }
        let len = usize::try_from(end - start).unwrap_or(len_max);
        Ok(Chunk { start, len, fin, repeated })
    }

    /// The next piece of just `len` bytes, none of which was sent before; it counts as sent.
    /// `None`: there are not so many, or it could be the last one.
    pub(crate) fn poll_whole(&mut self, len: usize, credit: u64) -> Option<Range<u64>> {
        let len = len as u64;
        let end = self.next + len;
        let is_usual = match self.state {
            State::Open => true,
            State::Finished(_) => end < self.written,
            State::Reset { .. } | State::Stopped { .. } => false,
        };
        let is_there = end <= self.written.min(self.max_data) && len <= credit;
        if !is_usual || !is_there || !self.lost.is_empty() {
            return None;
        }
        Some(std::mem::replace(&mut self.next, end)..end)
    }

    /// Where the next piece starts.
    pub(crate) fn next_offset(&self) -> u64 {
        self.lost.first().map_or(self.next, |lost| lost.start)
    }

    /// The bytes of a piece that has just been given.
    pub(crate) fn slices(&self, piece: &Range<u64>) -> impl Iterator<Item = &[u8]> {
        let len = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
        self.pages.slices(piece.start, len)
    }

    /// Code and final size of the RESET to send; it counts as sent.
    pub(crate) fn poll_reset(&mut self) -> Option<(u32, u64)> {
        match &mut self.state {
            State::Open | State::Finished(_) => None,
            State::Reset { code, signal } | State::Stopped { code, signal } => {
                if *signal != Signal::ToSend {
                    return None;
                }
                *signal = Signal::Sent;
                Some((*code, self.next))
            }
        }
    }

    pub(crate) fn on_chunk_acked(
        &mut self,
        start: u64,
        len: u32,
        fin: bool,
        spare: &mut SparePages,
    ) {
        let (State::Open | State::Finished(_)) = self.state else { return };
        if fin && let State::Finished(signal) = &mut self.state {
            signal.on_acked();
        }
        let end = start + u64::from(len);
        if end <= self.base {
            return;
        }
        if !self.lost.is_empty() {
            self.lost.remove(start..end);
        }
        if start > self.base {
            self.acked.insert(start..end);
            return;
        }
        self.base = if self.acked.is_empty() { end } else { self.acked.pop_reached(end) };
        self.pages.release(self.base, self.written, spare);
    }

    pub(crate) fn on_chunk_lost(&mut self, start: u64, len: u32, fin: bool) {
        let (State::Open | State::Finished(_)) = self.state else { return };
        if fin && let State::Finished(signal) = &mut self.state {
            signal.on_lost();
        }
        let end = start + u64::from(len);
        let from = start.max(self.base);
        if from >= end {
            return;
        }
        self.lost.insert(from..end);
        let acked: Vec<_> = self
            .acked
            .iter()
            .skip_while(|range| range.end <= from)
            .take_while(|range| range.start < end)
            .collect();
        for range in acked {
            self.lost.remove(range.start.max(from)..range.end.min(end));
        }
    }

    pub(crate) fn on_reset_acked(&mut self) {
        match &mut self.state {
            State::Open | State::Finished(_) => {}
            State::Reset { signal, .. } | State::Stopped { signal, .. } => signal.on_acked(),
        }
    }

    /// Answers whether the RESET must be sent again.
    pub(crate) fn on_reset_lost(&mut self) -> bool {
        match &mut self.state {
            State::Open | State::Finished(_) => false,
            State::Reset { signal, .. } | State::Stopped { signal, .. } => {
                signal.on_lost();
                *signal == Signal::ToSend
            }
        }
    }

    /// Whether to wake the writer now: it waits, and a quarter of the buffer and half of the queue
    /// are free or nothing can be written any more. Answers yes once.
    pub(crate) fn take_writable(&mut self, bounds: Bounds) -> bool {
        let wanted = u64::from((bounds.buffer / 4).min(bounds.queue / 2)).max(1);
        let room = self.writer_waits && self.room(bounds) >= wanted;
        let stopped = matches!(self.state, State::Stopped { .. });
        let answer = self.writer_waits && !self.released && (room || stopped);
        self.writer_waits &= !answer;
        answer
    }

    /// Everything has arrived, or the reset has, and the application has let go.
    pub(crate) fn is_over(&self) -> bool {
        let delivered = match self.state {
            State::Open => false,
            State::Finished(signal) => signal == Signal::Acked && self.base == self.written,
            State::Reset { signal, .. } | State::Stopped { signal, .. } => signal == Signal::Acked,
        };
        self.released && delivered
    }

    /// Bytes not yet sent for the first time.
    pub(crate) fn queued(&self) -> u64 {
        self.written - self.next
    }

    pub(crate) fn memory(&self) -> usize {
        self.pages.memory() + self.acked.memory() + self.lost.memory()
    }

    fn room(&self, bounds: Bounds) -> u64 {
        let buffer = u64::from(bounds.buffer).saturating_sub(self.written - self.base);
        buffer.min(u64::from(bounds.queue).saturating_sub(self.queued()))
    }

    fn check_open(&self) -> Result<(), WriteError> {
        match self.state {
            State::Open => Ok(()),
            State::Finished(_) | State::Reset { .. } => Err(WriteError::Ended),
            State::Stopped { code, .. } => Err(WriteError::Stopped(code)),
        }
    }

    fn abandon(&mut self, state: State, spare: &mut SparePages) -> u64 {
        let unsent = self.queued();
        self.state = state;
        self.pages.clear(spare);
        self.acked.clear();
        self.lost.clear();
        self.written = self.next;
        self.base = self.next;
        unsent
    }
}
