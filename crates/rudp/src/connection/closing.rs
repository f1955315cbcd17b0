//! The end of a connection (RFC 9000 §10).

use std::time::Instant;

use portolan_mux::frame::Session;

use super::{Closing, Connection, State};
use crate::{
    CloseReason, Event, Timer, Transmit,
    close::Farewell,
    event::Notice,
    packet::{DATAGRAM_MIN, Draft, Level, TAG_LEN},
};

impl Connection {
    /// Closes the connection: the remote sees `code` and `reason` (cut to 256 bytes), and what
    /// was not delivered never is. The first call counts.
    pub fn close(&mut self, now: Instant, code: u32, reason: &[u8]) {
        let local = CloseReason::Local { code, reason: reason.to_vec() };
        self.start_closing(now, Farewell::application(code, reason), local);
    }

    pub(super) fn start_closing(&mut self, now: Instant, farewell: Farewell, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        self.state = State::Closing(Closing { farewell, is_due: true, received: 0 });
        self.linger(now, reason);
    }

    /// The remote has said farewell: nothing is sent any more, late packets are swallowed.
    pub(super) fn start_draining(&mut self, now: Instant, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        self.state = State::Draining;
        self.linger(now, reason);
    }

    /// Nobody is there to say farewell to.
    pub(super) fn vanish(&mut self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        self.timers.clear();
        self.drop_everything();
        self.events.push_back(Event::Closed(reason));
        self.disappear();
    }

    pub(super) fn disappear(&mut self) {
        if !self.is_gone() {
            self.state = State::Gone;
            self.notify(Notice::Gone);
        }
    }

    /// The time after which no packet of the connection is under way any more.
    fn linger(&mut self, now: Instant, reason: CloseReason) {
        self.timers.clear();
        self.timers.set(Timer::Close, now + 3 * self.probe_delay(Level::Data));
        self.drop_everything();
        self.events.push_back(Event::Closed(reason));
    }

    fn drop_everything(&mut self) {
        for level in Level::ALL {
            self.path.in_flight -= self.spaces[level].sent.clear();
        }
        self.early = Vec::new();
    }

    /// Something came although we have said farewell: it is said again, ever more rarely.
    pub(super) fn on_datagram_while_closing(&mut self) {
        if let State::Closing(closing) = &mut self.state {
            closing.received += 1;
            closing.is_due |= closing.received.is_power_of_two();
        }
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
        if self.side == portolan_mux::Side::Client && has_init && buf.len() < DATAGRAM_MIN.into() {
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
        self.spaces[draft.level].next_number += 1;
        self.stats.packets_sent += 1;
    }
}
