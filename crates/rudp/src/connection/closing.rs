//! The end of a connection (RFC 9000 §10).

use std::time::Instant;

use portolan_mux::{Reader, Side, Violation, ViolationCode, frame::Session};

use super::{Closing, Connection, Draining, State};
use crate::{
    CloseReason, Event, Timer, Transmit,
    close::Farewell,
    event::Notice,
    frame::Frame,
    observe::Stage,
    packet::{DATAGRAM_MIN, Draft, Header, Level, TAG_LEN},
};

/// Times that a farewell is said to a remote that does not answer it.
const FAREWELLS: u8 = 3;

impl Connection {
    /// Closes the connection: the remote sees `code` and `reason` (cut to 256 bytes), and what
    /// was not delivered never is. The first call counts.
    pub fn close(&mut self, now: Instant, code: u32, reason: &[u8]) {
        let local = CloseReason::Local { code, reason: reason.to_vec() };
        self.watch_time(now);
        self.start_closing(now, Farewell::application(code, reason), local);
    }

    pub(super) fn start_closing(&mut self, now: Instant, farewell: Farewell, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        let repeat_after = self.probe_delay(Level::Data);
        let repeats = FAREWELLS - 1;
        let closing = Closing { farewell, is_due: true, received: 0, repeats, repeat_after };
        self.state = State::Closing(closing);
        self.watch_closed(&reason, Stage::Closing);
        self.linger(now + repeat_after, reason);
    }

    /// The remote has said farewell: nothing is sent any more, late packets are swallowed.
    ///
    /// Who has proved its key is told once that it was heard, so that it need not wait.
    pub(super) fn start_draining(&mut self, now: Instant, level: Level, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        let answer_is_due = level == Level::Data;
        self.state = State::Draining(Draining { answer_is_due });
        self.watch_closed(&reason, Stage::Draining);
        self.linger(now + 3 * self.probe_delay(Level::Data), reason);
    }

    /// Nobody is there to say farewell to.
    pub(super) fn vanish(&mut self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        self.watch_closed(&reason, Stage::Closing);
        self.timers.clear();
        self.drop_everything();
        self.events.push_back(Event::Closed(reason));
        self.disappear();
    }

    pub(super) fn disappear(&mut self) {
        if !self.is_gone() {
            self.state = State::Gone;
            self.watch_stage(Stage::Gone);
            self.notify(Notice::Gone);
        }
    }

    fn linger(&mut self, until: Instant, reason: CloseReason) {
        self.timers.clear();
        self.timers.set(Timer::Close, until);
        self.drop_everything();
        self.events.push_back(Event::Closed(reason));
    }

    fn drop_everything(&mut self) {
        for level in Level::ALL {
            self.spaces[level].sent.clear();
        }
        self.path.in_flight = 0;
        self.standby = None;
        self.early = Vec::new();
    }

    /// Something came although we have said farewell: it is said again, ever more rarely; if it
    /// is the remote's own farewell, everything is said.
    pub(super) fn on_datagram_while_closing(&mut self, datagram: &mut [u8]) {
        if self.is_farewell(datagram) {
            self.timers.clear();
            self.disappear();
        }
        if let State::Closing(closing) = &mut self.state {
            closing.received += 1;
            closing.is_due |= closing.received.is_power_of_two();
        }
    }

    fn is_farewell(&mut self, packet: &mut [u8]) -> bool {
        let Some(Header::Data { number_at, .. }) = Header::parse(packet) else { return false };
        let space = &self.spaces[Level::Data];
        let (largest, next_number) = (space.acks.largest(), space.next_number);
        let Some(keys) = &mut self.data_keys else { return false };
        let Ok((opened, _)) = keys.open(packet, number_at, largest, next_number) else {
            return false;
        };
        let mut reader = Reader::new(packet.get(opened.payload).unwrap_or_default());
        matches!(Frame::decode(&mut reader), Ok(Frame::Session(Session::Close(_))))
    }

    pub(super) fn on_close_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Closing(closing) if closing.repeats > 0 => {
                closing.repeats -= 1;
                closing.is_due = true;
                self.timers.set(Timer::Close, now + closing.repeat_after);
            }
            State::Closing(_) | State::Draining(_) => self.disappear(),
            State::Handshaking | State::Established | State::Gone => {}
        }
    }

    pub(super) fn transmit_answer(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let State::Draining(draining) = &mut self.state else { return None };
        if !std::mem::take(&mut draining.answer_is_due) {
            return None;
        }
        let heard = Violation::new(ViolationCode::NoError, "");
        self.put_farewell(Level::Data, &Farewell::violation(heard), buf);
        let fits = !buf.is_empty() && buf.len() <= self.path.amplification_budget();
        fits.then(|| self.transmit_of(buf, None))
    }

    pub(super) fn transmit_farewell(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let State::Closing(closing) = &mut self.state else { return None };
        if !std::mem::take(&mut closing.is_due) {
            return None;
        }
        let farewell = closing.farewell.clone();
        for level in Level::ALL {
            self.put_farewell(level, &farewell, buf);
        }
        let has_init = !self.spaces[Level::Init].is_over;
        if self.side == Side::Client && has_init && buf.len() < DATAGRAM_MIN.into() {
            buf.resize(DATAGRAM_MIN.into(), 0);
        }
        if buf.is_empty() || buf.len() > self.path.amplification_budget() {
            buf.clear();
            return None;
        }
        Some(self.transmit_of(buf, None))
    }

    /// At every level whose keys both sides may have (RFC 9000 §10.2.3).
    fn put_farewell(&mut self, level: Level, farewell: &Farewell, buf: &mut Vec<u8>) {
        let has_init = !self.spaces[Level::Init].is_over;
        let frame = match level {
            Level::Init | Level::Handshake => farewell.early_frame(),
            Level::Data => farewell.frame(),
        };
        // A Data packet has no length: nothing can stand behind it, nor padding.
        if !self.can_seal(level) || level == Level::Data && has_init {
            return;
        }
        let draft = self.draft(level, buf);
        Session::Close(frame).encode(buf);
        self.seal(&draft, buf);
    }

    /// Whether a packet of this level can be made now.
    pub(super) fn can_seal(&self, level: Level) -> bool {
        let has_keys = match level {
            Level::Init => true,
            Level::Handshake => self.handshake_keys.is_some(),
            Level::Data => self.data_keys.is_some() && !self.tls.is_handshaking(),
        };
        has_keys && !self.spaces[level].is_over
    }

    /// Closes the packet: from here its number is used.
    pub(crate) fn seal(&mut self, draft: &Draft, buf: &mut Vec<u8>) {
        self.watch_sent(draft, buf);
        match draft.level {
            Level::Init => {
                draft.close(buf);
                self.integrity.seal(buf, draft.start);
            }
            Level::Handshake => {
                if let Some(keys) = &self.handshake_keys {
                    keys.seal(buf, draft);
                }
            }
            Level::Data => {
                if let Some(keys) = &mut self.data_keys {
                    keys.seal(buf, draft);
                }
            }
        }
        debug_assert!(buf.len() >= draft.payload_at + TAG_LEN, "a packet without keys");
        let number = self.spaces[draft.level].next_number;
        self.spaces[draft.level].next_number = match draft.level {
            Level::Init | Level::Handshake => number + 1,
            Level::Data => self.traps.after(number, || self.secrets.draw(&self.integrity)),
        };
        self.spaces[draft.level].ecn.sent += u64::from(self.path.marking.mark().is_some());
        self.stats.packets_sent += 1;
    }
}
