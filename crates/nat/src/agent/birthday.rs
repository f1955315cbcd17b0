//! Meeting through one address-dependent mapping by the birthday paradox.
//!
//! Who sits behind such a mapping has another outside port for each of the other's ports, which
//! nobody can know. It opens many sockets and knocks from each at the other's known port; the
//! other one, whose port never changes, draws ports by lot. With s sockets and c draws out of
//! 64,512 ports they meet with a probability of 1 − (1 − s/64512)^c: 98 % for 256 and 1,024.
//!
//! That is a thousand packets for somebody who has never answered. So it goes only to an address
//! at which the server itself has seen the other one, never to one that was merely claimed.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use rand_chacha::{ChaCha12Rng, rand_core::RngCore};

use super::SocketId;
use crate::{
    limits::{Limits, Timing},
    stun::TransactionId,
};

/// How a translator maps one inside port towards different remotes (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mapping {
    /// Nobody has measured.
    #[default]
    Unknown,
    /// To one outside port for all, or there is no translator.
    Independent,
    /// To one for each remote.
    Dependent,
}

/// Ports that translators give away.
const PORTS: u32 = 64_512;
const FIRST_PORT: u32 = 1024;
/// Draws that follow the last known port: many translators count.
const NEAR: u16 = 64;
/// Each socket knocks so often, for the packets that get lost.
const ROUNDS: u8 = 2;

/// What to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Knock {
    /// `None`: the agent's first socket.
    pub(super) socket: Option<SocketId>,
    pub(super) to: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Birthday {
    pub(super) local: Mapping,
    pub(super) remote: Mapping,
    /// Where the server has seen the other one.
    pub(super) vouched: Option<IpAddr>,
    pub(super) sockets: Vec<SocketId>,
    stage: Stage,
    draws: Vec<(SocketAddr, TransactionId, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Knocking { at: SocketAddr, next: usize, round: u8, next_at: Instant },
    Drawing { near: SocketAddr, sent: u16, step: u32, offset: u32, next_at: Instant },
    Over,
}

impl Birthday {
    pub(super) const fn new() -> Self {
        Self {
            local: Mapping::Unknown,
            remote: Mapping::Unknown,
            vouched: None,
            sockets: Vec::new(),
            stage: Stage::Idle,
            draws: Vec::new(),
        }
    }

    /// Whether it makes sense and has not been tried.
    pub(super) fn is_possible(&self) -> bool {
        self.stage == Stage::Idle
            && self.vouched.is_some()
            && matches!(
                (self.local, self.remote),
                (Mapping::Dependent, Mapping::Independent)
                    | (Mapping::Independent, Mapping::Dependent)
            )
    }

    /// Begins; `known` is the other's best known address where it was seen. Returns how many
    /// sockets are wanted.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        known: SocketAddr,
        (limits, timing): (&Limits, &Timing),
        random: &mut ChaCha12Rng,
    ) -> u16 {
        if self.local == Mapping::Dependent {
            self.stage = Stage::Knocking { at: known, next: 0, round: 0, next_at: now };
            return limits.birthday_sockets;
        }
        // Any odd step that shares no factor with 64,512 = 2^10 · 3^2 · 7 visits every port once.
        let steps =
            (random.next_u32() % PORTS..).filter(|n| n % 2 == 1 && n % 3 != 0 && n % 7 != 0);
        self.stage = Stage::Drawing {
            near: known,
            sent: 0,
            step: steps.take(1).sum(),
            offset: random.next_u32() % PORTS,
            // Not before the other one's sockets have knocked.
            next_at: now + timing.birthday_pace * u32::from(limits.birthday_sockets),
        };
        0
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle | Stage::Over => None,
            Stage::Knocking { next_at, .. } => (!self.sockets.is_empty()).then_some(next_at),
            Stage::Drawing { next_at, .. } => Some(next_at),
        }
    }

    /// Takes the next thing to send, if it is due.
    pub(super) fn poll(&mut self, now: Instant, limits: &Limits, timing: &Timing) -> Option<Knock> {
        if self.next_at().is_none_or(|at| at > now) {
            return None;
        }
        match &mut self.stage {
            Stage::Idle | Stage::Over => None,
            Stage::Knocking { at, next, round, next_at } => {
                let knock = Knock { socket: self.sockets.get(*next).copied(), to: *at };
                *next_at = now + timing.birthday_pace;
                *next += 1;
                if *next >= self.sockets.len() {
                    (*next, *round) = (0, *round + 1);
                    *next_at = now + timing.birthday_after;
                }
                if *round >= ROUNDS {
                    self.stage = Stage::Over;
                }
                Some(knock)
            }
            Stage::Drawing { near, sent, step, offset, next_at } => {
                let to = SocketAddr::new(near.ip(), draw(near.port(), *sent, (*step, *offset)));
                *next_at = now + timing.birthday_pace;
                *sent += 1;
                if *sent >= limits.birthday_checks {
                    self.stage = Stage::Over;
                }
                Some(Knock { socket: None, to })
            }
        }
    }

    /// Remembers a draw, so that its answer is known.
    pub(super) fn on_drawn(&mut self, now: Instant, to: SocketAddr, transaction: TransactionId) {
        self.draws.push((to, transaction, now));
    }

    /// When the check of this transaction went to `from`; each is answered once.
    pub(super) fn take_drawn(
        &mut self,
        from: SocketAddr,
        transaction: TransactionId,
    ) -> Option<Instant> {
        let found = self.draws.iter().position(|(to, id, _)| *id == transaction && *to == from)?;
        Some(self.draws.swap_remove(found).2)
    }

    pub(super) fn awaits(&self, transaction: TransactionId) -> bool {
        self.draws.iter().any(|(_, id, _)| *id == transaction)
    }

    /// Nothing more is sent.
    pub(super) fn end(&mut self) {
        self.stage = Stage::Over;
        self.draws = Vec::new();
    }

    /// It may be tried again: the network is another one.
    pub(super) fn reset(&mut self) {
        self.stage = Stage::Idle;
        self.draws = Vec::new();
    }
}

/// The next port: first those that a counting translator would give, then each of the rest once.
#[expect(clippy::cast_possible_truncation, reason = "below FIRST_PORT + PORTS, which is 65,536")]
fn draw(near: u16, index: u16, (step, offset): (u32, u32)) -> u16 {
    if index < NEAR {
        let after = u32::from(near).saturating_sub(FIRST_PORT) + 1 + u32::from(index);
        return (FIRST_PORT + after % PORTS) as u16;
    }
    let place = (u64::from(offset) + u64::from(step) * u64::from(index)) % u64::from(PORTS);
    FIRST_PORT as u16 + place as u16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn no_port_is_drawn_twice_by_lot_and_those_that_follow_come_first() {
        let mut random = ChaCha12Rng::seed_from_u64(7);
        for _ in 0..20 {
            let mut birthday = Birthday::new();
            (birthday.local, birthday.remote) = (Mapping::Independent, Mapping::Dependent);
            birthday.vouched = Some([203, 0, 113, 7].into());
            assert!(birthday.is_possible());
            let (limits, timing) = (Limits::default(), Timing::default());
            let now = crate::agent::tests_start();
            let known = SocketAddr::from(([203, 0, 113, 7], 65_530));
            birthday.begin(now, known, (&limits, &timing), &mut random);
            let mut drawn = Vec::new();
            while let Some(at) = birthday.next_at() {
                drawn.extend(birthday.poll(at, &limits, &timing).map(|knock| knock.to.port()));
            }
            assert_eq!(drawn.len(), usize::from(limits.birthday_checks));
            assert_eq!(drawn[..7], [65_531, 65_532, 65_533, 65_534, 65_535, 1024, 1025]);
            let by_lot: BTreeSet<_> = drawn[usize::from(NEAR)..].iter().collect();
            assert_eq!(by_lot.len(), drawn.len() - usize::from(NEAR));
        }
    }
}
