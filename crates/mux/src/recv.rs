//! The receiving half of a stream (RFC 9000 §3.2).

use std::time::{Duration, Instant};

use crate::{
    ReadError, Violation, ViolationCode,
    pages::{Pages, SparePages},
    ranges::RangeSet,
    window::Window,
};

/// The receiving half of a stream.
///
/// ```text
///   0 ───────── read ────────── contiguous ─────────── highest ──────── max_data
///     given to the   arrived, unread       arrived with gaps    may still come
///     application
/// ```
#[derive(Debug)]
pub(crate) struct RecvPart {
    pages: Pages,
    read: u64,
    contiguous: u64,
    highest: u64,
    /// What has arrived beyond `contiguous`.
    islands: RangeSet,
    final_size: Option<u64>,
    /// The limit that was told to the remote.
    max_data: u64,
    window: Window,
    state: State,
    /// A STOP to send, until it is.
    stop_to_send: Option<u32>,
    max_data_to_send: bool,
    /// A read found nothing, or none was tried: say when there is something.
    reader_waits: bool,
    /// More room was asked for while everything waited for the piece at this offset.
    asked_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The application wants no more; the final size may be unknown yet.
    Stopped(u32),
    /// The remote abandoned the stream; the application has not seen it.
    Reset(u32),
    /// The application has read the end or seen the reset.
    Done,
}

/// What a frame changes for the whole connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Effect {
    /// Bytes that now count as received.
    pub(crate) received: u64,
    /// Bytes that nobody will read: their credit returns at once.
    pub(crate) discarded: u64,
}

impl RecvPart {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            pages: Pages::default(),
            read: 0,
            contiguous: 0,
            highest: 0,
            islands: RangeSet::default(),
            final_size: None,
            max_data: window.size(),
            window,
            state: State::Open,
            stop_to_send: None,
            max_data_to_send: false,
            reader_waits: true,
            asked_at: None,
        }
    }

    /// Whether a STREAM frame obeys the rules; answers how far it raises the highest offset.
    pub(crate) fn check(&self, offset: u64, len: usize, fin: bool) -> Result<u64, Violation> {
        let end = offset + len as u64;
        let size = if fin { Some(end) } else { None };
        self.check_end(end, size)
    }

    /// Takes a STREAM frame that was checked.
    pub(crate) fn on_data(
        &mut self,
        offset: u64,
        data: &[u8],
        fin: bool,
        spare: &mut SparePages,
    ) -> Effect {
        let end = offset + data.len() as u64;
        let received = end.saturating_sub(self.highest);
        self.highest = self.highest.max(end);
        if fin {
            self.final_size = Some(end);
            self.max_data_to_send = false;
            self.stop_to_send = None;
        }
        match self.state {
            State::Open => {
                self.store(offset, data, spare);
                Effect { received, discarded: 0 }
            }
            State::Stopped(_) | State::Reset(_) | State::Done => {
                Effect { received, discarded: self.discard(spare) }
            }
        }
    }

    /// Whether so much waits for a lost piece that the writer is to be told of more room; once for
    /// each piece.
    pub(crate) fn poll_stalled(&mut self) -> bool {
        let is_stalled = self.state == State::Open
            && self.read == self.contiguous
            && self.contiguous < self.highest
            && self.final_size.is_none()
            && self.asked_at != Some(self.contiguous);
        if !is_stalled || !self.window.on_stalled(self.highest - self.read) {
            return false;
        }
        self.asked_at = Some(self.contiguous);
        self.max_data_to_send = true;
        true
    }

    /// Whether a RESET obeys the rules; answers how far it raises the highest offset.
    pub(crate) fn check_reset(&self, final_size: u64) -> Result<u64, Violation> {
        self.check_end(final_size, Some(final_size))
    }

    /// Takes a RESET that was checked.
    pub(crate) fn on_reset(
        &mut self,
        code: u32,
        final_size: u64,
        spare: &mut SparePages,
    ) -> Effect {
        let complete = self.final_size.is_some_and(|size| self.contiguous == size);
        let received = final_size.saturating_sub(self.highest);
        self.highest = self.highest.max(final_size);
        self.final_size = Some(final_size);
        self.max_data_to_send = false;
        self.stop_to_send = None;
        if complete {
            return Effect { received, discarded: 0 };
        }
        if self.state == State::Open {
            self.state = State::Reset(code);
        }
        Effect { received, discarded: self.discard(spare) }
    }

    /// Gives `take` what has arrived in order, at most `max` bytes, in up to a few slices.
    pub(crate) fn read(
        &mut self,
        max: usize,
        spare: &mut SparePages,
        take: impl FnMut(&[u8]),
    ) -> Result<usize, ReadError> {
        match self.state {
            State::Open => {}
            State::Reset(code) => {
                self.state = State::Done;
                return Err(ReadError::Reset(code));
            }
            State::Stopped(_) | State::Done => return Err(ReadError::UnknownStream),
        }
        let ready = usize::try_from(self.contiguous - self.read).unwrap_or(usize::MAX);
        let len = ready.min(max);
        if len == 0 {
            return self.read_nothing(max);
        }
        self.pages.slices(self.read, len).for_each(take);
        self.read += len as u64;
        self.pages.release(self.read, self.highest, spare);
        self.widen();
        Ok(len)
    }

    /// The application wants no more. Answers how many bytes nobody will read.
    pub(crate) fn stop(&mut self, code: u32, spare: &mut SparePages) -> u64 {
        match self.state {
            State::Open => {
                self.state = State::Stopped(code);
                self.stop_to_send = self.final_size.is_none().then_some(code);
                self.max_data_to_send = false;
                self.discard(spare)
            }
            State::Reset(_) => {
                self.state = State::Done;
                0
            }
            State::Stopped(_) | State::Done => 0,
        }
    }

    /// The STOP to send; it counts as sent.
    pub(crate) fn poll_stop(&mut self) -> Option<u32> {
        self.stop_to_send.take()
    }

    /// Answers whether the STOP must be sent again.
    pub(crate) fn on_stop_lost(&mut self) -> bool {
        if let State::Stopped(code) = self.state
            && self.final_size.is_none()
        {
            self.stop_to_send = Some(code);
        }
        self.stop_to_send.is_some()
    }

    /// The raised limit to send; it counts as sent.
    pub(crate) fn poll_max_data(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
    ) -> Option<u64> {
        if !std::mem::take(&mut self.max_data_to_send) {
            return None;
        }
        self.window.on_tell(now, self.read, round_trip);
        self.max_data = self.read + self.window.size();
        Some(self.max_data)
    }

    /// Answers whether the limit must be sent again: no newer one was.
    pub(crate) fn on_max_data_lost(&mut self, max: u64) -> bool {
        if max == self.max_data && self.state == State::Open && self.final_size.is_none() {
            self.max_data_to_send = true;
        }
        self.max_data_to_send
    }

    pub(crate) fn wants_to_send(&self) -> bool {
        self.stop_to_send.is_some() || self.max_data_to_send
    }

    /// Whether to wake the reader now. Answers yes once.
    pub(crate) fn take_readable(&mut self) -> bool {
        let news = match self.state {
            State::Open => self.contiguous > self.read || self.final_size == Some(self.read),
            State::Reset(_) => true,
            State::Stopped(_) | State::Done => false,
        };
        let answer = self.reader_waits && news;
        self.reader_waits &= !answer;
        answer
    }

    /// Nothing more can come, and the application knows it.
    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            State::Open | State::Reset(_) => false,
            State::Stopped(_) => self.final_size.is_some(),
            State::Done => true,
        }
    }

    /// Gaps that are remembered.
    pub(crate) fn gaps(&self) -> usize {
        self.islands.len()
    }

    pub(crate) fn memory(&self) -> usize {
        self.pages.memory() + self.islands.memory()
    }

    /// RFC 9000 §4.5: the end never moves, and nothing lies beyond it.
    fn check_end(&self, end: u64, final_size: Option<u64>) -> Result<u64, Violation> {
        match (self.final_size, final_size) {
            (Some(known), Some(told)) if known != told => return Err(FINAL_SIZE),
            (Some(known), None) if end > known => return Err(FINAL_SIZE),
            (None, Some(told)) if told < self.highest => return Err(FINAL_SIZE),
            (Some(_) | None, Some(_) | None) => {}
        }
        if end > self.max_data {
            return Err(Violation::new(
                ViolationCode::FlowControl,
                "more than the stream's limit allows",
            ));
        }
        Ok(end.saturating_sub(self.highest))
    }

    fn store(&mut self, offset: u64, data: &[u8], spare: &mut SparePages) {
        let end = offset + data.len() as u64;
        if end <= self.contiguous {
            return;
        }
        if offset > self.contiguous {
            self.pages.write(offset, data, spare);
            self.islands.insert(offset..end);
            return;
        }
        let known = usize::try_from(self.contiguous - offset).unwrap_or(data.len());
        self.pages.write(self.contiguous, data.get(known..).unwrap_or_default(), spare);
        self.contiguous = if self.islands.is_empty() { end } else { self.islands.pop_reached(end) };
    }

    fn read_nothing(&mut self, max: usize) -> Result<usize, ReadError> {
        if self.final_size == Some(self.read) {
            self.state = State::Done;
            return Ok(0);
        }
        if max == 0 && self.contiguous > self.read {
            return Ok(0);
        }
        self.reader_waits = true;
        Err(ReadError::Blocked)
    }

    /// Tells a new limit once a part of the window is used up.
    fn widen(&mut self) {
        let told = self.max_data - self.read;
        if self.final_size.is_none() && told <= self.window.told_again_below() {
            self.max_data_to_send = true;
        }
    }

    fn discard(&mut self, spare: &mut SparePages) -> u64 {
        let unread = self.highest - self.read;
        self.read = self.highest;
        self.contiguous = self.highest;
        self.islands.clear();
        self.pages.clear(spare);
        unread
    }
}

const FINAL_SIZE: Violation =
    Violation::new(ViolationCode::FinalSize, "two ends of one stream, or data past its end");
