//! What happens by itself.

use std::time::Instant;

use super::{
    Agent, Deadline, Event, FailReason, LostReason, Reason,
    pair::{Pair, State},
};

impl Agent {
    /// Lets everything happen that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.consent_ends().is_some_and(|at| at <= now) {
            self.lose(now, LostReason::ConsentExpired);
        }
        self.fail_silent_pairs(now);
        self.decide(now);
        if self.birthday_begins().is_some_and(|at| at <= now) {
            self.begin_birthday(now);
        }
        if self.gives_up_at().is_some_and(|at| at <= now) {
            self.is_failed = true;
            self.birthday.end();
            self.tell(Event::Failed(self.fail_reason()));
            if !self.birthday.sockets.is_empty() {
                self.tell(Event::SocketsUnneeded);
            }
        }
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`] next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let rows = [
            (self.next_check_at(), Reason::Check),
            (self.consent_due(), Reason::Consent),
            (self.choice_due(), Reason::Choice),
            (self.birthday_due(), Reason::Birthday),
            (self.gives_up_at(), Reason::GiveUp),
        ];
        rows.into_iter()
            .filter_map(|(at, reason)| Some(Deadline { at: at?, reason }))
            .min_by_key(|deadline| deadline.at)
    }

    /// The next check of a pair that is not on the path; or when it is known to have failed.
    fn next_check_at(&self) -> Option<Instant> {
        if self.is_failed {
            return None;
        }
        let waiting = (0..self.pairs.len()).filter(|index| self.selected != Some(*index));
        let at = |index: usize| {
            let at = self.pairs[index].next_at?;
            Some(if self.may_check(index) { self.in_pace(index, at) } else { at })
        };
        waiting.filter_map(at).min()
    }

    fn consent_due(&self) -> Option<Instant> {
        let asks = self.selected.and_then(|index| self.pairs[index].next_at);
        [asks, self.consent_ends()].into_iter().flatten().min()
    }

    fn consent_ends(&self) -> Option<Instant> {
        let pair = &self.pairs[self.selected?];
        Some(pair.answered_at? + self.config.timing.consent_expires)
    }

    fn fail_silent_pairs(&mut self, now: Instant) {
        for index in 0..self.pairs.len() {
            let is_due = self.pairs[index].next_at.is_some_and(|at| at <= now);
            if is_due && self.selected != Some(index) && !self.may_check(index) {
                self.pairs[index].next_at = None;
                self.pairs[index].state = State::Failed;
                self.chosen = self.chosen.filter(|chosen| *chosen != index);
            }
        }
    }

    fn works(&self) -> bool {
        self.selected.is_some() || self.pairs.iter().any(|pair| pair.state == State::Working)
    }

    fn birthday_begins(&self) -> Option<Instant> {
        let is_wanted = self.birthday.is_possible() && !self.works() && !self.is_failed;
        is_wanted.then(|| self.started + self.config.timing.birthday_after)
    }

    fn birthday_due(&self) -> Option<Instant> {
        [self.birthday_begins(), self.birthday.next_at()].into_iter().flatten().min()
    }

    fn begin_birthday(&mut self, now: Instant) {
        let vouched = self.birthday.vouched;
        let known = self.candidates.iter().filter(|known| Some(known.address.ip()) == vouched);
        let Some(known) = known.max_by_key(|known| known.priority).map(|known| known.address)
        else {
            // The other one is not where it was seen: there is nothing to begin with.
            return self.birthday.end();
        };
        let bounds = (&self.config.limits, &self.config.timing);
        let wanted = self.birthday.begin(now, known, bounds, &mut self.random);
        if wanted > 0 {
            self.tell(Event::SocketsWanted(wanted));
        }
    }

    fn gives_up_at(&self) -> Option<Instant> {
        let is_trying = self.selected.is_none() && !self.is_failed && !self.candidates.is_empty();
        is_trying.then(|| self.started + self.config.timing.give_up)
    }

    fn fail_reason(&self) -> FailReason {
        let pairs = self.pairs.iter().filter(|pair: &&Pair| pair.unanswered > 0).count();
        match (pairs, self.stats.birthday_checks) {
            (0, _) => FailReason::NoCandidates,
            (_, 0) => FailReason::NoAnswer { pairs },
            (_, checks) => FailReason::NoLuck { pairs, checks },
        }
    }
}
