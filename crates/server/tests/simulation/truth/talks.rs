//! Who talks with whom, and who has asked whom.

use std::collections::BTreeMap;

use portolan_protocol::{Command, ErrorCode};

use super::Word;
use crate::world::{limits, user_of};

/// How long a request stands.
const LAPSES: u64 = 30_000;

#[derive(Default)]
pub(crate) struct Talks {
    partners: BTreeMap<usize, usize>,
    /// Asker and asked, and when it lapses.
    requests: BTreeMap<(usize, usize), u64>,
}

impl Talks {
    pub(crate) fn partner(&self, user: usize) -> Option<usize> {
        self.partners.get(&user).copied()
    }

    pub(crate) fn lapse(&mut self, now: u64) {
        self.requests.retain(|_, lapses_at| *lapses_at > now);
    }

    /// The user is gone: so is what they had with others.
    pub(crate) fn leave(&mut self, user: usize) {
        if let Some(partner) = self.partners.remove(&user) {
            self.partners.remove(&partner);
        }
        self.requests.retain(|&(asker, asked), _| asker != user && asked != user);
    }

    /// Whether `user` may ask `other` for a conversation.
    pub(crate) fn may_ask(&self, user: usize, other: usize) -> Result<(), ErrorCode> {
        if user == other {
            return Err(ErrorCode::BadRequest);
        }
        if self.partners.contains_key(&user) {
            return Err(ErrorCode::Conflict);
        }
        if self.partners.contains_key(&other) {
            return Err(ErrorCode::Busy);
        }
        let is_open = self.requests.contains_key(&(user, other));
        let count = |of: &dyn Fn(&(usize, usize)) -> bool| {
            self.requests.keys().filter(|request| of(request)).count()
        };
        if !is_open && count(&|(asker, _)| *asker == user) >= limits().requests_per_user {
            return Err(ErrorCode::Quota);
        }
        if !is_open && count(&|(_, asked)| *asked == other) >= limits().requests_per_user {
            return Err(ErrorCode::Busy);
        }
        Ok(())
    }

    pub(crate) fn has_asked(&self, asker: usize, asked: usize) -> Result<(), ErrorCode> {
        let is_open = self.requests.contains_key(&(asker, asked));
        is_open.then_some(()).ok_or(ErrorCode::NoConversation)
    }

    pub(crate) fn may_end(&self, user: usize, other: usize) -> Result<(), ErrorCode> {
        match self.partners.get(&user) == Some(&other) {
            true => Ok(()),
            false => self.has_asked(user, other),
        }
    }

    /// What was granted is so.
    pub(crate) fn on_granted(&mut self, now: u64, user: usize, command: &Command) -> Word {
        match command {
            Command::Converse(converse) => {
                let other = user_of(&converse.with);
                if self.requests.contains_key(&(other, user)) {
                    self.begin(user, other);
                    return Word::Crossed;
                }
                self.requests.entry((user, other)).or_insert(now + LAPSES);
                Word::Nothing
            }
            Command::Accept(accept) => {
                self.begin(user, user_of(&accept.with));
                Word::TalkBegun
            }
            Command::Deny(deny) => {
                self.requests.remove(&(user_of(&deny.with), user));
                Word::Nothing
            }
            Command::End(end) => {
                let other = user_of(&end.with);
                if self.partners.get(&user) == Some(&other) {
                    self.partners.remove(&user);
                    self.partners.remove(&other);
                } else {
                    self.requests.remove(&(user, other));
                }
                Word::Nothing
            }
            _ => Word::Nothing,
        }
    }

    fn begin(&mut self, one: usize, other: usize) {
        self.partners.insert(one, other);
        self.partners.insert(other, one);
        let both = [one, other];
        self.requests.retain(|(asker, asked), _| !both.contains(asker) && !both.contains(asked));
    }
}
