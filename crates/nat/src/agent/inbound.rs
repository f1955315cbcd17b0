//! What comes in: checks of the other one, and answers to ours.

use std::{net::SocketAddr, time::Instant};

use super::{
    Agent, SocketId,
    pair::{Seen, Sent, State},
};
use crate::{
    candidate::{CandidateKind, canonical, check_remote},
    credentials::Role,
    stun::{AttributeType, Class, Message, TransactionId},
};

/// Whether a datagram was for this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It was, and has been dealt with.
    Ours,
    /// It may be for another one.
    NotOurs,
}

/// An answer that waits to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) socket: SocketId,
    pub(super) to: SocketAddr,
    pub(super) transaction: TransactionId,
}

impl Agent {
    /// Takes a datagram that came to one of the sockets.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Handled {
        match Message::decode(bytes) {
            Ok(message) => self.handle_message(now, socket, from, &message),
            Err(_) => Handled::NotOurs,
        }
    }

    /// The same, for an owner of several agents who has decoded it once.
    pub fn handle_message(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> Handled {
        if !self.has_socket(socket) || !self.owns(message) {
            return Handled::NotOurs;
        }
        let from = canonical(from);
        match message.class() {
            Class::Request => self.on_check(now, socket, from, message),
            Class::Success => self.on_answer(now, socket, from, message),
            // Nobody who knows our key refuses us; and what others say does not count.
            Class::Error | Class::Indication => self.stats.refused += 1,
        }
        self.decide(now);
        Handled::Ours
    }

    fn has_socket(&self, socket: SocketId) -> bool {
        self.sockets.iter().any(|(known, _)| *known == socket)
            || self.birthday.sockets.contains(&socket)
    }

    /// By names and numbers alone; whether it is authentic is not asked.
    fn owns(&self, message: &Message<'_>) -> bool {
        match message.class() {
            Class::Request => message.username().is_some_and(|name| self.is_addressed_by(name)),
            Class::Success | Class::Error | Class::Indication => {
                let transaction = message.transaction();
                self.pairs.iter().any(|pair| pair.awaits(transaction))
                    || self.birthday.awaits(transaction)
            }
        }
    }

    /// `receiver:sender` (RFC 8445 §7.2.2).
    fn is_addressed_by(&self, username: &str) -> bool {
        let (local, remote) = (self.config.local.fragment(), self.config.remote.fragment());
        username.split_once(':') == Some((local, remote))
    }

    fn on_check(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        message: &Message<'_>,
    ) {
        if !self.is_authentic_check(from, message) {
            self.stats.refused += 1;
            return;
        }
        self.stats.checks_received += 1;
        if self.answers.len() < self.config.limits.answers {
            let transaction = message.transaction();
            self.answers.push_back(Answer { socket, to: from, transaction });
        }
        let Some(index) = self.pair(socket, from).or_else(|| {
            let kind = CandidateKind::PeerReflexive;
            let claimed = message.number(AttributeType::PRIORITY).unwrap_or(0);
            let priority = claimed.min((kind.preference() << 24) | 0x00FF_FFFF);
            self.insert(now, Seen { socket, remote: from, kind, priority })
        }) else {
            return;
        };
        self.on_check_of(now, index, message);
    }

    fn is_authentic_check(&self, from: SocketAddr, message: &Message<'_>) -> bool {
        let role = match self.config.role {
            Role::Controlling => AttributeType::ICE_CONTROLLED,
            Role::Controlled => AttributeType::ICE_CONTROLLING,
        };
        message.has_fingerprint()
            && check_remote(from, self.config.loopback).is_ok()
            && message.get(role).is_some()
            && message.is_sealed_by(self.config.local.key())
    }

    fn on_check_of(&mut self, now: Instant, index: usize, message: &Message<'_>) {
        let is_asked = self.config.role == Role::Controlled
            && message.get(AttributeType::USE_CANDIDATE).is_some();
        let nomination = message.number(AttributeType::NOMINATION).unwrap_or(1);
        let timing = self.config.timing;
        // The nomination that holds, from another address: their translator has been rebound.
        let is_news = nomination >= self.nomination && self.selected != Some(index);
        let pair = &mut self.pairs[index];
        pair.heard = true;
        if is_asked && is_news {
            pair.wanted = nomination.max(1);
        }
        match pair.state {
            State::Working if pair.wanted > 0 => self.select(now, index, nomination),
            State::Working => {}
            // A hole has opened: the answer to our check can come through now (§7.3.1.4).
            State::Checking => self.trigger(index),
            State::Failed => {
                let wanted = pair.wanted;
                pair.revive(now, timing.first_wait);
                pair.wanted = wanted;
                self.trigger(index);
            }
        }
    }

    fn on_answer(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        message: &Message<'_>,
    ) {
        let is_sealed = message.has_fingerprint() && message.is_sealed_by(self.config.remote.key());
        let found = if is_sealed { self.answered_pair(now, socket, from, message) } else { None };
        let Some((index, sent)) = found else {
            self.stats.refused += 1;
            return;
        };
        self.stats.answers_received += 1;
        self.first_worked.get_or_insert(now);
        self.pairs[index].on_answer(now, sent, message.mapped_address());
        let wanted = self.pairs[index].wanted;
        match self.config.role {
            Role::Controlling if sent.nomination == self.nomination && sent.nomination > 0 => {
                self.select(now, index, sent.nomination);
            }
            Role::Controlled if wanted > 0 && wanted >= self.nomination => {
                self.select(now, index, wanted);
            }
            Role::Controlling | Role::Controlled => {}
        }
        let first_wait = self.config.timing.first_wait;
        if self.selected == Some(index) {
            self.schedule_consent(now, index);
            return;
        }
        if self.chosen == Some(index) {
            // An earlier check was answered; the one that nominates may get lost.
            self.pairs[index].ask(now + first_wait, first_wait);
        }
        if let Some(selected) = self.selected {
            // A rival answers: does the path still? It is asked at once.
            self.pairs[selected].ask(now, first_wait);
        }
    }

    /// The pair that was asked; the answer has to come from where the check went (§7.2.5.2.1).
    fn answered_pair(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> Option<(usize, Sent)> {
        let transaction = message.transaction();
        if let Some(index) = self.pair(socket, from)
            && let Some(sent) = self.pairs[index].take_sent(transaction)
        {
            return Some((index, sent));
        }
        let at = self.birthday.take_drawn(from, transaction)?;
        let kind = CandidateKind::PeerReflexive;
        let priority = kind.preference() << 24;
        let seen = Seen { socket, remote: from, kind, priority };
        let index = self.pair(socket, from).or_else(|| self.insert(now, seen))?;
        Some((index, Sent { transaction, at, nomination: 0 }))
    }
}
