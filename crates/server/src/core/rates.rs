//! How often a key may do what: token buckets.

use std::{collections::HashMap, time::Instant};

use portolan_identity::PeerId;

use crate::config::{Limits, Rate};

/// Lets something happen at a rate, with a burst after a rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenBucket {
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(now: Instant, rate: Rate) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    /// Takes one token if there is one.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        self.refill(now, rate);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    fn refill(&mut self, now: Instant, rate: Rate) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate.per_second).min(rate.burst);
        self.at = self.at.max(now);
    }

    pub(super) fn is_full(&mut self, now: Instant, rate: Rate) -> bool {
        self.refill(now, rate);
        self.tokens >= rate.burst
    }
}

/// What is counted for each key, whatever its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Any request.
    Command,
    /// A message to everyone.
    Broadcast,
    /// A request for a conversation.
    Request,
    /// A word that one is away or back.
    Away,
    /// A question about those who are not there.
    Absent,
    /// A login.
    Login,
    /// A message to a group.
    GroupMessage,
    /// A change of a group.
    GroupChange,
    /// A password to be hashed.
    Password,
}

const ACTIONS: [Action; 9] = [
    Action::Command,
    Action::Broadcast,
    Action::Request,
    Action::Away,
    Action::Absent,
    Action::Login,
    Action::GroupMessage,
    Action::GroupChange,
    Action::Password,
];

/// The buckets of every key that was seen lately.
#[derive(Debug)]
pub(super) struct KeyRates {
    rates: [Rate; ACTIONS.len()],
    keys: HashMap<PeerId, [TokenBucket; ACTIONS.len()]>,
    keys_max: usize,
}

impl KeyRates {
    pub(super) fn new(limits: &Limits) -> Self {
        let rates = ACTIONS.map(|action| match action {
            Action::Command => Rate {
                per_second: limits.commands.per_second * 4.0,
                burst: limits.commands.burst * 4.0,
            },
            Action::Broadcast => limits.broadcasts,
            Action::Request | Action::Away => limits.requests,
            Action::Absent => limits.absent,
            Action::Login => limits.logins,
            Action::GroupMessage => limits.group_messages,
            Action::GroupChange => limits.group_changes,
            Action::Password => limits.passwords,
        });
        Self { rates, keys: HashMap::new(), keys_max: limits.keys }
    }

    /// Whether `key` may do it now; if so, it is counted.
    pub(super) fn take(&mut self, now: Instant, key: PeerId, action: Action) -> bool {
        if !self.keys.contains_key(&key) && !self.has_room(now) {
            return false;
        }
        let rates = self.rates;
        let buckets =
            self.keys.entry(key).or_insert_with(|| rates.map(|rate| TokenBucket::new(now, rate)));
        let index = action as usize;
        buckets[index].take(now, rates[index])
    }

    /// Forgets keys that have rested, if there are too many: a full bucket is as good as none.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.keys.len() >= self.keys_max {
            let rates = self.rates;
            self.keys.retain(|_, buckets| {
                buckets.iter_mut().zip(rates).any(|(bucket, rate)| !bucket.is_full(now, rate))
            });
        }
        self.keys.len() < self.keys_max
    }
}
