//! The remote's address changes (RFC 9000 §9.3): a server follows its client, and goes back if the
//! client does not prove to be there.

use std::time::Instant;

use portolan_mux::Side;

use super::{
    Connection, State,
    migration::{Candidate, Previous},
    receive::Circumstances,
};
use crate::{Route, challenge::Challenge};

impl Connection {
    /// Whether a packet means that the remote is elsewhere now: only the newest says so, and only
    /// if it does more than to try the path (RFC 9000 §9.3).
    pub(super) fn follow(&mut self, when: &Circumstances) {
        let may_follow = self.side == Side::Server && self.is_confirmed;
        if !may_follow || !matches!(self.state, State::Established) {
            return;
        }
        if self.previous().is_some_and(|previous| previous.route == when.route) {
            self.go_back(when.now);
            return;
        }
        let candidate = self.take_candidate(when.route);
        let is_deliberate = when.destination != self.names.addressed_as;
        let name = match &candidate {
            Some(candidate) => Some(candidate.remote),
            None if is_deliberate => self.remote_ids.take(),
            None => None,
        };
        let left = self.names.remote_number;
        self.leave(when.now, when.route, is_deliberate);
        self.names.addressed_as = when.destination;
        if let Some(name) = name {
            self.call_remote(name);
        }
        self.retire_unused(left);
        match candidate {
            Some(Candidate { received, sent, .. }) => self.path.count(received, sent),
            None => self.path.on_received(when.size),
        }
        match candidate.and_then(|candidate| candidate.works) {
            Some(rtt) => self.on_path_proved(when.now, Some(rtt)),
            None => self.demand_proof(when.now),
        }
        self.begin_anew(when.now);
    }

    /// Puts the path in use aside, to go back to if the remote has proved to be there, and begins
    /// one to `route`.
    fn leave(&mut self, now: Instant, route: Route, is_deliberate: bool) {
        let is_proved = self.path.is_validated;
        let mut previous = Previous {
            route: self.path.route,
            remote: self.names.remote_id(),
            addressed_as: self.names.addressed_as,
            number: self.path.number,
            in_flight: self.path.in_flight,
            path: None,
            question_is_due: true,
        };
        if !is_deliberate && self.path.route.is_same_host(&route) {
            // A translator's doing: the same way, under another port (RFC 9000 §9.4).
            self.recovery.paths += 1;
            self.path.rebind(route, self.recovery.paths);
        } else {
            let fresh = self.fresh_path(now, route);
            previous.path = Some(std::mem::replace(&mut self.path, fresh));
        }
        let standby = self.standby.get_or_insert_default();
        match &mut standby.previous {
            // The one just left was not proved: what was before it stays the way back.
            Some(proved) if !is_proved => {
                proved.path = proved.path.take().or(previous.path);
            }
            before => *before = Some(previous),
        }
    }

    fn demand_proof(&mut self, now: Instant) {
        let challenge = Challenge::new(now, self.validation_delay());
        self.standby.get_or_insert_default().challenge = Some(challenge);
    }

    /// The remote has not proved to be where it seemed to be, or is heard where it was.
    pub(super) fn go_back(&mut self, now: Instant) {
        let Some(standby) = &mut self.standby else { return };
        standby.challenge = None;
        let Some(previous) = standby.previous.take() else { return };
        let left = self.names.remote_number;
        if let Some(path) = previous.path {
            self.path = path;
        }
        self.path.rebind(previous.route, previous.number);
        self.path.in_flight = previous.in_flight;
        self.path.is_validated = true;
        self.names.addressed_as = previous.addressed_as;
        if left != previous.remote.number {
            self.call_remote(previous.remote);
        }
        self.retire_unused(left);
        self.begin_anew(now);
    }

    /// A packet that was sent on another path is acknowledged or lost.
    pub(super) fn on_packet_of_other_path(&mut self, number: u32, size: u64) {
        let standby = self.standby.as_mut();
        let previous = standby.and_then(|standby| standby.previous.as_mut());
        if let Some(previous) = previous.filter(|previous| previous.number == number) {
            previous.in_flight = previous.in_flight.saturating_sub(size);
        }
    }

    /// Gives a name up unless it is the one in use, or of the path to go back to.
    pub(super) fn retire_unused(&mut self, number: u64) {
        let is_kept = self.previous().is_some_and(|kept| kept.remote.number == number);
        if number != self.names.remote_number && !is_kept {
            self.retire(number);
        }
    }

    fn take_candidate(&mut self, route: Route) -> Option<Candidate> {
        let standby = self.standby.as_mut()?;
        standby.candidate.take_if(|candidate| candidate.route == route)
    }

    fn previous(&self) -> Option<&Previous> {
        self.standby.as_ref()?.previous.as_ref()
    }
}
