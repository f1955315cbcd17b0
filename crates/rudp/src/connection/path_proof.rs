//! Proofs that a path works in both directions (RFC 9000 §8.2): what is asked, what is answered, and
//! what follows when no answer comes.

use std::time::{Duration, Instant};

use portolan_mux::{Side, Violation};

use super::{Connection, migration::Candidate, receive::Circumstances};
use crate::{Event, PathEvent, Route, Timer, challenge::Challenge, packet::Level};

impl Connection {
    pub(super) fn on_path_challenge(
        &mut self,
        when: &Circumstances,
        data: [u8; 8],
    ) -> Result<(), Violation> {
        if when.route == self.path.route {
            // Goes with an acknowledgement, which shows that we are here and nowhere else.
            self.pending.path_response = Some(data);
            self.heartbeat.on_rebound();
            return Ok(());
        }
        if self.candidate_at(when.route).is_none() && self.side == Side::Server {
            self.admit_candidate(when);
        }
        if let Some(candidate) = self.candidate_at(when.route) {
            candidate.answer = Some(data);
        }
        Ok(())
    }

    /// A client tries another path: it is answered there, and asked for proof at once.
    fn admit_candidate(&mut self, when: &Circumstances) {
        if !self.is_confirmed {
            return;
        }
        let challenge = Challenge::new(when.now, self.validation_delay());
        let Some(remote) = self.remote_ids.take() else { return };
        self.drop_candidate();
        let mut candidate = Candidate::new(when.route, remote, challenge);
        candidate.received = when.size as u64;
        self.standby.get_or_insert_default().candidate = Some(candidate);
        self.update_path_timer();
    }

    pub(super) fn on_path_response(
        &mut self,
        now: Instant,
        data: [u8; 8],
    ) -> Result<(), Violation> {
        let side = self.side;
        let Some(standby) = &mut self.standby else { return Ok(()) };
        let asked = standby.challenge.as_ref().and_then(|challenge| challenge.answered(data));
        if let Some(asked) = asked {
            self.on_path_proved(now, Some(now.saturating_duration_since(asked)));
        } else if let Some(candidate) = &mut standby.candidate
            && candidate.works.is_none()
            && let Some(asked) = candidate.challenge.answered(data)
        {
            candidate.works = Some(now.saturating_duration_since(asked));
            let works = PathEvent::Works(candidate.route);
            self.events.extend((side == Side::Client).then_some(Event::Path(works)));
        }
        self.update_path_timer();
        Ok(())
    }

    /// The remote receives where it is now: there is no way back any more.
    pub(super) fn on_path_proved(&mut self, now: Instant, rtt: Option<Duration>) {
        self.path.is_validated = true;
        if let Some(rtt) = rtt.filter(|_| self.path.rtt.first_sample().is_none()) {
            self.path.rtt.on_sample(now, rtt, Duration::ZERO);
        }
        if let Some(standby) = &mut self.standby {
            standby.challenge = None;
            if let Some(previous) = standby.previous.take() {
                self.retire_unused(previous.remote.number);
            }
        }
        self.update_loss_timer(now);
    }

    /// A datagram came from elsewhere than the path in use.
    pub(super) fn on_received_elsewhere(&mut self, route: Route, bytes: usize) {
        if let Some(candidate) = self.candidate_at(route) {
            candidate.received += bytes as u64;
        }
    }

    pub(super) fn on_path_timeout(&mut self, now: Instant) {
        let Some(standby) = &mut self.standby else { return };
        let is_over = standby.challenge.as_ref().is_some_and(|challenge| challenge.is_over(now));
        let fails = |candidate: &mut Candidate| {
            candidate.works.is_none() && candidate.challenge.is_over(now)
        };
        if let Some(candidate) = standby.candidate.take_if(fails) {
            let event = PathEvent::Fails(candidate.route);
            self.events.extend((self.side == Side::Client).then_some(Event::Path(event)));
            self.retire(candidate.remote.number);
        }
        if is_over {
            self.go_back(now);
        }
        // A question that is due is asked with the next packet, which sets the timer again.
        let next = self.standby.as_ref().and_then(|standby| standby.deadline());
        self.timers.set_or_stop(Timer::Path, next.filter(|at| *at > now));
    }

    pub(super) fn update_path_timer(&mut self) {
        let at = self.standby.as_ref().and_then(|standby| standby.deadline());
        if self.standby.as_ref().is_some_and(|standby| standby.is_empty()) {
            self.standby = None;
        }
        self.timers.set_or_stop(Timer::Path, at.filter(|_| !self.is_closed()));
    }

    /// How long an answer on a path that nothing is known of may take (RFC 9000 §8.2.4).
    pub(super) fn validation_delay(&self) -> Duration {
        let unknown = crate::rtt::Rtt::new(self.config.initial_rtt).probe_delay();
        self.probe_delay(Level::Data).max(unknown)
    }

    pub(super) fn candidate_at(&mut self, route: Route) -> Option<&mut Candidate> {
        let candidate = self.standby.as_mut()?.candidate.as_mut()?;
        (candidate.route == route).then_some(candidate)
    }
}
