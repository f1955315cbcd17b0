//! Which path is used.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use rand_chacha::rand_core::RngCore;

use super::{
    Agent, Event, LostReason,
    pair::{Pair, State},
};
use crate::credentials::Role;

/// A path that leaves so many checks unanswered while another one answers is given up.
const SILENT: u32 = 2;

/// Between two machines on one desk better pairs have so long to work too.
const SETTLE_LEAST: Duration = Duration::from_millis(20);

impl Agent {
    /// The controlling end chooses the best path that works (RFC 8445 §8.1.1).
    pub(super) fn decide(&mut self, now: Instant) {
        if self.config.role != Role::Controlling {
            return;
        }
        let Some(best) = self.best() else { return };
        let is_better = match self.chosen.map(|index| &self.pairs[index]) {
            Some(chosen) if chosen.state == State::Working => {
                self.pairs[best].kind > chosen.kind || self.is_silent_beside(chosen, best)
            }
            Some(_) => true,
            None => self.choice_at(best).is_none_or(|at| at <= now),
        };
        if is_better && self.chosen != Some(best) {
            self.chosen = Some(best);
            self.nomination += 1;
            let first_wait = self.config.timing.first_wait;
            self.pairs[best].ask(now, first_wait);
            self.trigger(best);
        }
    }

    fn is_silent_beside(&self, chosen: &Pair, best: usize) -> bool {
        chosen.unanswered >= SILENT && self.pairs[best].answered_at > chosen.answered_at
    }

    /// The best pair that works; a silent one is worse than any that answers.
    fn best(&self) -> Option<usize> {
        let working =
            (0..self.pairs.len()).filter(|index| self.pairs[*index].state == State::Working);
        working.max_by_key(|index| {
            let pair = &self.pairs[*index];
            (pair.unanswered < SILENT, pair.priority, Reverse(pair.rtt))
        })
    }

    /// Until when better pairs than this may still turn out to work; `None`: there are none.
    fn choice_at(&self, best: usize) -> Option<Instant> {
        let priority = self.pairs[best].priority;
        let is_open = |pair: &Pair| pair.state == State::Checking && pair.priority > priority;
        let worked = self.first_worked?;
        // What is better was asked before: where this answers quickly, so does that, if at all.
        let settle = self.config.timing.settle.min(SETTLE_LEAST + self.pairs[best].rtt);
        self.pairs.iter().any(is_open).then_some(worked + settle)
    }

    /// When the choice is made, if it waits for that.
    pub(super) fn choice_due(&self) -> Option<Instant> {
        let waits = self.config.role == Role::Controlling && self.chosen.is_none();
        self.best().filter(|_| waits).and_then(|best| self.choice_at(best))
    }

    /// Both use this pair.
    pub(super) fn select(&mut self, now: Instant, index: usize, nomination: u32) {
        self.nomination = nomination;
        self.pairs[index].wanted = 0;
        if self.selected != Some(index) {
            self.selected = Some(index);
            self.is_failed = false;
            self.tell(Event::Nominated(self.path_of(index)));
            self.birthday.end();
            if !self.birthday.sockets.is_empty() {
                self.tell(Event::SocketsUnneeded);
            }
        }
        self.schedule_consent(now, index);
    }

    /// The next question, between 0.8 and 1.2 of its interval from now (RFC 7675 §5.1).
    pub(super) fn schedule_consent(&mut self, now: Instant, index: usize) {
        let share = 800 + self.random.next_u32() % 401;
        let at = now + self.config.timing.consent_every * share / 1000;
        self.pairs[index].ask(at, self.config.timing.first_wait);
    }

    /// The path is gone; everything is tried anew.
    pub(super) fn lose(&mut self, now: Instant, reason: LostReason) {
        if let Some(index) = self.selected.take() {
            self.tell(Event::Lost(self.path_of(index), reason));
        }
        self.try_all_again(now);
    }

    pub(super) fn try_all_again(&mut self, now: Instant) {
        (self.chosen, self.first_worked) = (None, None);
        (self.started, self.is_failed) = (now, false);
        self.birthday.reset();
        let first_wait = self.config.timing.first_wait;
        let sockets = &self.sockets;
        let is_open = |pair: &Pair| sockets.iter().any(|(socket, _)| *socket == pair.socket);
        for pair in self.pairs.iter_mut().filter(|pair| is_open(pair)) {
            pair.revive(now, first_wait);
        }
    }
}
