//! Finds out how the translators between us and a server behave (RFC 5780 §4).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::{
    agent::{Handled, Mapping},
    candidate::canonical,
    stun::{AttributeType, Class, Message, TransactionId, Writer},
};

/// A question is asked so often before it counts as not answered.
const TRIES: u32 = 4;
/// Between the first two tries; twice as long before the next, and so on.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// On how much of the remote something depends (RFC 4787 §4.1, §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Not at all.
    EndpointIndependent,
    /// On the remote's address.
    AddressDependent,
    /// On the remote's address and port.
    AddressAndPortDependent,
}

impl Scope {
    /// The word for people and for JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

/// What a survey has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Survey {
    /// As which the server sees us; `None`: it does not answer over UDP.
    pub mapped: Option<SocketAddr>,
    /// Of the first question that was answered.
    pub rtt: Option<Duration>,
    /// Where else the server answers; without that, the next two cannot be found out.
    pub other: Option<SocketAddr>,
    /// On what the outside port depends. From a server with one address only: on the port or not.
    pub mapping: Option<Scope>,
    /// Whose packets are let in.
    pub filtering: Option<Scope>,
    /// Whether the inside is reached by its outside address.
    pub hairpin: Option<bool>,
}

impl Survey {
    /// What matters for meeting others.
    #[must_use]
    pub const fn mapping(&self) -> Mapping {
        match self.mapping {
            None => Mapping::Unknown,
            Some(Scope::EndpointIndependent) => Mapping::Independent,
            Some(Scope::AddressDependent | Scope::AddressAndPortDependent) => Mapping::Dependent,
        }
    }
}

/// What is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Plain,
    /// Filtering first: it must not have been asked at the other address before.
    FromElsewhere,
    FromOtherPort,
    ToOtherAddress,
    ToOther,
    Hairpin,
    Over,
}

/// Asks one question after the other and says what the answers mean. Its socket should have sent
/// nothing to the server's other address before.
#[derive(Debug)]
pub struct Surveyor {
    server: SocketAddr,
    random: ChaCha12Rng,
    step: Step,
    transaction: TransactionId,
    tries: u32,
    asked_at: Instant,
    next_at: Instant,
    /// As which the server's other address sees us.
    seen_by_other: Option<SocketAddr>,
    /// Where it ends.
    last: Last,
    found: Survey,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Everything,
    Mapping,
}

impl Surveyor {
    /// Begins to ask `server`. All chance comes from `seed`.
    #[must_use]
    pub fn new(now: Instant, server: SocketAddr, seed: [u8; 32]) -> Self {
        let mut surveyor = Self {
            server: canonical(server),
            random: ChaCha12Rng::from_seed(seed),
            step: Step::Plain,
            transaction: TransactionId([0; 12]),
            tries: 0,
            asked_at: now,
            next_at: now,
            seen_by_other: None,
            last: Last::Everything,
            found: Survey::default(),
        };
        surveyor.go_to(now, Step::Plain);
        surveyor
    }

    /// Begins to ask for [`Survey::mapping`] only, which takes two or three round trips: nothing
    /// is asked that might not be answered.
    #[must_use]
    pub fn of_mapping(now: Instant, server: SocketAddr, seed: [u8; 32]) -> Self {
        Self { last: Last::Mapping, ..Self::new(now, server, seed) }
    }

    /// What has been found, when there is no more to ask.
    #[must_use]
    pub fn finished(&self) -> Option<Survey> {
        (self.step == Step::Over).then_some(self.found)
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_transmit`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.step != Step::Over).then_some(self.next_at)
    }

    /// What is not answered by now never will be.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_at && self.tries >= TRIES {
            self.on_silence(now);
        }
    }

    /// Writes the next question into `buffer` and says where it goes.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<SocketAddr> {
        if now < self.next_at || self.tries >= TRIES {
            return None;
        }
        let (to, change) = self.question()?;
        self.asked_at = now;
        self.next_at = now + FIRST_WAIT * 2_u32.pow(self.tries);
        self.tries += 1;
        let mut writer = Writer::new(buffer, Class::Request, self.transaction);
        if change > 0 {
            writer = writer.number(AttributeType::CHANGE_REQUEST, change);
        }
        // Long enough for every attribute of an answer.
        writer.attribute(AttributeType::SOFTWARE, b"portolan").fingerprint().finish();
        Some(to)
    }

    fn question(&self) -> Option<(SocketAddr, u32)> {
        let other = self.found.other;
        match self.step {
            Step::Plain => Some((self.server, 0)),
            Step::FromElsewhere => Some((self.server, 6)),
            Step::FromOtherPort => Some((self.server, 2)),
            Step::ToOtherAddress => Some((SocketAddr::new(other?.ip(), self.server.port()), 0)),
            Step::ToOther => Some((other?, 0)),
            Step::Hairpin => Some((self.found.mapped?, 0)),
            Step::Over => None,
        }
    }

    /// Takes a datagram.
    pub fn handle_message(&mut self, now: Instant, message: &Message<'_>) -> Handled {
        if message.transaction() != self.transaction || self.step == Step::Over {
            return Handled::NotOurs;
        }
        match (message.class(), self.step) {
            // Our own question, come back from outside.
            (Class::Request, Step::Hairpin) => {
                self.found.hairpin = Some(true);
                self.go_to(now, Step::Over);
            }
            (Class::Success, _) => self.on_answer(now, message),
            (Class::Error, _) => self.on_silence(now),
            (Class::Request | Class::Indication, _) => return Handled::NotOurs,
        }
        Handled::Ours
    }

    fn on_answer(&mut self, now: Instant, message: &Message<'_>) {
        let mapped = message.mapped_address().map(canonical);
        match self.step {
            Step::Plain => {
                self.found.mapped = mapped;
                self.found.rtt = Some(now.saturating_duration_since(self.asked_at));
                self.found.other = message.plain_address(AttributeType::OTHER_ADDRESS);
                let next = match (self.found.other, self.last) {
                    (Some(_), Last::Everything) => Step::FromElsewhere,
                    (Some(_), Last::Mapping) => self.first_of_mapping(),
                    (None, _) => Step::Hairpin,
                };
                self.go_to(now, next);
            }
            Step::FromElsewhere => self.on_filtering(now, Scope::EndpointIndependent),
            Step::FromOtherPort => self.on_filtering(now, Scope::AddressDependent),
            Step::ToOtherAddress if mapped == self.found.mapped => {
                self.on_mapping(now, Scope::EndpointIndependent);
            }
            Step::ToOtherAddress => {
                self.seen_by_other = mapped;
                self.go_to(now, Step::ToOther);
            }
            Step::ToOther => {
                let is_same = mapped == self.seen_by_other.or(self.found.mapped);
                let scope = match (is_same, self.seen_by_other) {
                    (true, Some(_)) => Scope::AddressDependent,
                    (true, None) => Scope::EndpointIndependent,
                    (false, _) => Scope::AddressAndPortDependent,
                };
                self.on_mapping(now, scope);
            }
            Step::Hairpin | Step::Over => {}
        }
    }

    fn on_filtering(&mut self, now: Instant, scope: Scope) {
        self.found.filtering = Some(scope);
        self.go_to(now, self.first_of_mapping());
    }

    /// A server with one address and two ports cannot be asked at the other address.
    fn first_of_mapping(&self) -> Step {
        let has_two = self.found.other.is_some_and(|other| other.ip() != self.server.ip());
        if has_two { Step::ToOtherAddress } else { Step::ToOther }
    }

    fn on_mapping(&mut self, now: Instant, scope: Scope) {
        self.found.mapping = Some(scope);
        self.go_to(now, Step::Hairpin);
    }

    fn on_silence(&mut self, now: Instant) {
        match self.step {
            Step::Plain | Step::Over => self.go_to(now, Step::Over),
            Step::FromElsewhere => self.go_to(now, Step::FromOtherPort),
            Step::FromOtherPort => self.on_filtering(now, Scope::AddressAndPortDependent),
            Step::ToOtherAddress | Step::ToOther => self.go_to(now, Step::Hairpin),
            Step::Hairpin => {
                self.found.hairpin = Some(false);
                self.go_to(now, Step::Over);
            }
        }
    }

    fn go_to(&mut self, now: Instant, step: Step) {
        let is_enough = self.last == Last::Mapping && step == Step::Hairpin;
        let step = if is_enough { Step::Over } else { step };
        (self.step, self.tries, self.next_at) = (step, 0, now);
        self.random.fill_bytes(&mut self.transaction.0);
    }
}
