//! What goes out: answers, checks, draws.

use std::time::Instant;

use super::{
    Agent, Transmit,
    pair::{Pair, Sent, State},
};
use crate::{
    candidate::CandidateKind,
    credentials::Role,
    stun::{AttributeType, Class, TransactionId, Writer},
};

/// A question whether the other still consents is repeated so often at once, for what gets lost.
const REPEATS: u32 = 3;

/// What a check says besides for whom and from whom.
#[derive(Debug, Clone, Copy)]
struct Check {
    transaction: TransactionId,
    /// 0: it nominates nothing.
    nomination: u32,
}

impl Agent {
    /// Writes the next datagram into `buffer`, which is emptied; asked until there is none.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(answer) = self.answers.pop_front() {
            self.stats.answers_sent += 1;
            Writer::new(buffer, Class::Success, answer.transaction)
                .xor_mapped_address(answer.to)
                .seal(self.config.local.key())
                .fingerprint()
                .finish();
            return Some(Transmit { socket: answer.socket, to: answer.to });
        }
        if let Some(index) = self.next_check(now) {
            return Some(self.send_check(now, index, buffer));
        }
        self.send_draw(now, buffer)
    }

    /// The pair that is checked now.
    fn next_check(&mut self, now: Instant) -> Option<usize> {
        while let Some(index) = self.triggered.pop_front() {
            self.pairs[index].is_triggered = false;
            if self.may_check(index) {
                return Some(index);
            }
        }
        let is_due = |pair: &Pair| pair.next_at.is_some_and(|at| at <= now);
        if let Some(index) = self.selected.filter(|index| is_due(&self.pairs[*index])) {
            return Some(index);
        }
        if self.is_failed {
            return None;
        }
        let due = (0..self.pairs.len()).filter(|index| is_due(&self.pairs[*index]));
        let index = due
            .filter(|index| self.may_check(*index) && self.in_pace(*index, now) <= now)
            .max_by_key(|index| self.pairs[*index].priority)?;
        self.paced = Some(now);
        Some(index)
    }

    /// The first moment, not before `at`, at which the pace allows a check of this pair.
    pub(super) fn in_pace(&self, index: usize, at: Instant) -> Instant {
        let timing = &self.config.timing;
        let pace = if self.pairs[index].is_new() { timing.first_pace } else { timing.pace };
        self.paced.map_or(at, |paced| at.max(paced + pace))
    }

    /// Whether the bounds for those who do not answer allow one more check.
    pub(super) fn may_check(&self, index: usize) -> bool {
        let pair = &self.pairs[index];
        let limits = &self.config.limits;
        if pair.state == State::Failed || !pair.has_budget(limits) {
            return false;
        }
        if pair.answered_at.is_some() {
            return true;
        }
        let of_machine = |other: &&Pair| {
            other.remote.ip() == pair.remote.ip() && other.answered_at.is_none() && !other.heard
        };
        let sent: u32 = self.pairs.iter().filter(of_machine).map(|other| other.unanswered).sum();
        pair.heard || sent < limits.unanswered_per_machine
    }

    fn send_check(&mut self, now: Instant, index: usize, buffer: &mut Vec<u8>) -> Transmit {
        let transaction = self.transaction();
        let nominates = self.config.role == Role::Controlling && self.chosen == Some(index);
        let nomination = if nominates { self.nomination } else { 0 };
        self.write_check(Check { transaction, nomination }, buffer);
        self.stats.checks_sent += 1;
        let longest = self.config.timing.longest_wait;
        let pair = &mut self.pairs[index];
        pair.on_sent(Sent { transaction, at: now, nomination }, longest);
        let transmit = Transmit { socket: pair.socket, to: pair.remote };
        if self.selected == Some(index) && self.pairs[index].unanswered > REPEATS {
            // The path is silent, which it may be for a while: it is asked at its own pace.
            self.schedule_consent(now, index);
        }
        transmit
    }

    fn write_check(&self, check: Check, buffer: &mut Vec<u8>) {
        let (local, remote) = (self.config.local.fragment(), self.config.remote.fragment());
        let priority = (CandidateKind::PeerReflexive.preference() << 24) | 0x00FF_FFFF;
        let role = match self.config.role {
            Role::Controlling => AttributeType::ICE_CONTROLLING,
            Role::Controlled => AttributeType::ICE_CONTROLLED,
        };
        let mut writer = Writer::new(buffer, Class::Request, check.transaction)
            .attribute(AttributeType::USERNAME, format!("{remote}:{local}").as_bytes())
            .number(AttributeType::PRIORITY, priority)
            .attribute(role, &self.tie_breaker.to_be_bytes());
        if check.nomination > 0 {
            writer = writer
                .attribute(AttributeType::USE_CANDIDATE, &[])
                .number(AttributeType::NOMINATION, check.nomination);
        }
        writer.seal(self.config.remote.key()).fingerprint().finish();
    }

    fn send_draw(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let knock = self.birthday.poll(now, &self.config.limits, &self.config.timing)?;
        let first = self.sockets.iter().find(|(_, families)| families.include(knock.to));
        let socket = knock.socket.or(first.map(|(socket, _)| *socket))?;
        let transaction = self.transaction();
        self.write_check(Check { transaction, nomination: 0 }, buffer);
        if knock.socket.is_none() {
            self.birthday.on_drawn(now, knock.to, transaction);
        }
        self.stats.birthday_checks += 1;
        Some(Transmit { socket, to: knock.to })
    }
}
