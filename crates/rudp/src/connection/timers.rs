//! What happens when time has passed.

use std::time::{Duration, Instant};

use portolan_mux::Side;

use super::{Connection, State, migration::PADDED};
use crate::{CloseReason, Timer, heartbeat::Beat, packet::Level};

/// Probes are not sent more rarely than doubled this often.
const BACKOFF_MAX: u32 = 16;

/// Longest time between two probes of the handshake, for which there is not much of it.
const HANDSHAKE_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A remote that acknowledges nothing for this many idle times is as good as silent, whatever
/// else it says: else what it owes us would pile up.
const OWED_MAX: u32 = 3;

impl Connection {
    /// Does what is due. A call that comes early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.watch_time(now);
        self.mux.handle_timeout(now);
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Loss => self.on_loss_timeout(now),
                // Both are looked at when the next packet is made.
                Timer::Pacing | Timer::Redundancy => {}
                Timer::Acknowledge => self.spaces[Level::Data].acks.on_timeout(now),
                Timer::Heartbeat => self.on_heartbeat(now),
                Timer::Idle => self.vanish(CloseReason::TimedOut),
                Timer::Handshake => self.vanish(CloseReason::HandshakeTimedOut),
                Timer::KeyDiscard => self.forget_previous_keys(),
                Timer::Path => self.on_path_timeout(now),
                Timer::Close => self.on_close_timeout(now),
            }
        }
    }

    fn on_heartbeat(&mut self, now: Instant) {
        self.pending.ping = true;
        // Silence counts from when the remote was last heard, not from when we asked.
        self.pending.has_sent_since_heard = true;
        match self.heartbeat.on_due(now) {
            Beat::Regular => self.rest(),
            Beat::Quick => {
                self.pending.padded = PADDED;
                let probes = &mut self.spaces[Level::Data].probes;
                *probes = PADDED.max(*probes);
            }
        }
        self.rest_heartbeat();
    }

    /// Holds no more than a quiet connection needs.
    pub(super) fn rest(&mut self) {
        self.mux.on_quiet();
        self.frames = Vec::new();
        if self.is_confirmed {
            self.tls.rest();
        }
    }

    fn forget_previous_keys(&mut self) {
        if let Some(keys) = &mut self.data_keys {
            keys.forget_previous();
        }
    }

    /// Late packets of the previous keys are taken for three probe times (RFC 9001 §6.5).
    pub(super) fn schedule_key_discard(&mut self, now: Instant) {
        self.timers.set(Timer::KeyDiscard, now + 3 * self.probe_delay(Level::Data));
    }

    /// The remote was heard, or asked: silence is counted anew (RFC 9000 §10.1).
    pub(super) fn rest_idle(&mut self, now: Instant) {
        if matches!(self.state, State::Established) {
            let idle = self.config.idle.min(self.remote.idle);
            let patience = 3 * self.probe_delay(Level::Data);
            self.timers.set(Timer::Idle, now + idle.max(patience));
        }
    }

    pub(super) fn rest_heartbeat(&mut self) {
        if matches!(self.state, State::Established) {
            let at = self.heartbeat.due(self.path.rtt.smoothed());
            self.timers.set_or_stop(Timer::Heartbeat, at);
        }
    }

    /// Sets the timer for the next lost packet or probe (RFC 9002 §A.8).
    pub(super) fn update_loss_timer(&mut self, now: Instant) {
        let at = if self.is_closed() { None } else { self.next_loss(now) };
        self.timers.set_or_stop(Timer::Loss, at);
        self.watch_loss_timer(at);
    }

    fn next_loss(&self, now: Instant) -> Option<Instant> {
        if let Some(time) = self.spaces.iter().filter_map(|space| space.loss_time).min() {
            return Some(time);
        }
        // Nothing may be sent anyway until the client is heard again.
        if self.path.amplification_budget() == 0 {
            return None;
        }
        self.next_probe(now).map(|(time, _)| time)
    }

    /// When to probe next, and at which level.
    fn next_probe(&self, now: Instant) -> Option<(Instant, Level)> {
        // The last probe may still wait to be sent.
        let last_probe = self.recovery.last_probe.unwrap_or(self.created);
        let waiting = Level::ALL.into_iter().filter(|&level| !self.spaces[level].sent.is_empty());
        let next = waiting
            .filter_map(|level| {
                let since = self.spaces[level].last_eliciting?.max(last_probe);
                Some((since + self.probe_interval(level), level))
            })
            .min_by_key(|(time, _)| *time);
        // A client asks on until the server can answer freely: it may be waiting for us to raise
        // its limit (RFC 9002 §6.2.2.1).
        if next.is_some() || self.side == Side::Server || self.is_confirmed {
            return next;
        }
        let level = match self.handshake_keys {
            Some(_) => Level::Handshake,
            None => Level::Init,
        };
        let since = self.spaces[level].last_eliciting.unwrap_or(now).max(last_probe);
        Some((since + self.probe_interval(level), level))
    }

    fn probe_interval(&self, level: Level) -> Duration {
        let once = self.probe_delay(level);
        let max = match level {
            Level::Init | Level::Handshake => HANDSHAKE_INTERVAL_MAX,
            Level::Data => self.config.probe_interval_max,
        };
        let backed_off = once * (1 << self.recovery.probe_count.min(BACKOFF_MAX));
        backed_off.min(max.max(once))
    }

    fn on_loss_timeout(&mut self, now: Instant) {
        self.watch_loss_timeout();
        let overdue = |level: &Level| self.spaces[*level].loss_time.is_some_and(|at| at <= now);
        if let Some(level) = Level::ALL.into_iter().find(overdue) {
            self.detect_losses(now, level);
        } else if let Some((_, level)) = self.next_probe(now) {
            self.probe(now, level);
        }
        self.update_loss_timer(now);
        self.watch_estimates();
    }

    fn probe(&mut self, now: Instant, level: Level) {
        let patience = OWED_MAX * self.config.idle.max(self.config.handshake);
        let oldest = self.spaces[Level::Data].sent.oldest();
        if oldest.is_some_and(|time| now.saturating_duration_since(time) > patience) {
            self.vanish(CloseReason::TimedOut);
            return;
        }
        self.recovery.last_probe = Some(now);
        self.recovery.probe_count += 1;
        self.stats.probes += 1;
        self.path.marking.on_timeout();
        if self.path.discovery.on_timeouts(self.recovery.probe_count) {
            self.on_packet_size();
        }
        // Two, so that one loss more does not cost another round (RFC 9002 §6.2.4).
        self.spaces[level].probes = 2;
        self.repeat_oldest(now, level);
        // The other handshake level may be what the remote waits for.
        if level == Level::Init && self.handshake_keys.is_some() {
            self.spaces[Level::Handshake].probes = 1;
            self.repeat_oldest(now, Level::Handshake);
        }
    }
}
