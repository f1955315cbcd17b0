//! Tells who asks as which it is seen: the server's side of STUN.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    candidate::canonical,
    stun::{AttributeType, Class, ErrorCode, Message, Writer},
};

/// No answer is longer than so many times its question, for whoever forges addresses.
const AMPLIFICATION_MAX: usize = 3;

/// Bits of a CHANGE-REQUEST (RFC 5780 §7.2).
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// What strangers may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponderLimits {
    /// Answers for one machine (an IPv4 address, an IPv6 /64) that come at once.
    pub burst: u32,
    /// Answers a second for one machine.
    pub per_machine: u32,
    /// Answers a second for all.
    pub per_second: u32,
    /// Machines that are remembered; all others share one allowance.
    pub machines: usize,
}

impl Default for ResponderLimits {
    fn default() -> Self {
        Self { burst: 50, per_machine: 10, per_second: 5_000, machines: 4_096 }
    }
}

/// One of the sockets of a server that answers from two addresses and two ports (RFC 5780 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Door {
    /// At its other address.
    pub other_ip: bool,
    /// At its other port.
    pub other_port: bool,
}

impl Door {
    /// All four, the one that everyone knows first.
    pub const ALL: [Self; 4] = [
        Self { other_ip: false, other_port: false },
        Self { other_ip: false, other_port: true },
        Self { other_ip: true, other_port: false },
        Self { other_ip: true, other_port: true },
    ];
}

/// What has been answered and what not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponderStats {
    /// Answers, refusals included.
    pub answered: u64,
    /// Questions left unanswered because too many came.
    pub throttled: u64,
    /// What is no question, or none for a server.
    pub ignored: u64,
}

/// Answers Binding requests (RFC 8489 §12), and as RFC 5780 says if it has other doors.
///
/// It keeps nothing of who asks but how often. An answer is never longer than three times its
/// question: what does not fit is left out, so a forged address gains nobody anything.
#[derive(Debug)]
pub struct Responder {
    /// Doors that are open besides the first, with their addresses.
    doors: BTreeMap<Door, SocketAddr>,
    limits: ResponderLimits,
    all: Allowance,
    rest: Allowance,
    machines: BTreeMap<IpAddr, Allowance>,
    stats: ResponderStats,
}

/// So much may still be answered.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Responder {
    /// Answers at one door only.
    #[must_use]
    pub fn new(limits: ResponderLimits, now: Instant) -> Self {
        Self {
            doors: BTreeMap::new(),
            all: Allowance { left: limits.per_second, since: now },
            rest: Allowance { left: limits.burst, since: now },
            machines: BTreeMap::new(),
            limits,
            stats: ResponderStats::default(),
        }
    }

    /// Opens another door, as which others see it.
    pub fn open_door(&mut self, door: Door, address: SocketAddr) {
        self.doors.insert(door, address);
    }

    /// What was done so far.
    #[must_use]
    pub const fn stats(&self) -> ResponderStats {
        self.stats
    }

    /// Answers a datagram that came to `door` from `from`: writes the answer into `out` and says
    /// by which door it leaves.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        (door, from): (Door, SocketAddr),
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Door> {
        let Some(question) = question(bytes) else {
            self.stats.ignored += 1;
            return None;
        };
        let from = canonical(from);
        if !self.allows(now, from.ip()) {
            self.stats.throttled += 1;
            return None;
        }
        self.stats.answered += 1;
        let change = question.number(AttributeType::CHANGE_REQUEST).unwrap_or(0);
        let leaves = Door {
            other_ip: door.other_ip ^ (change & CHANGE_IP != 0),
            other_port: door.other_port ^ (change & CHANGE_PORT != 0),
        };
        let unknown = question.not_understood().next();
        if let Some(unknown) = unknown {
            refuse(&question, unknown, out);
        } else if leaves != door && !self.is_open(leaves) {
            refuse(&question, AttributeType::CHANGE_REQUEST, out);
        } else {
            self.answer(&question, (door, leaves), from, out);
            return Some(leaves);
        }
        Some(door)
    }

    fn is_open(&self, door: Door) -> bool {
        door == Door::default() || self.doors.contains_key(&door)
    }

    fn answer(
        &self,
        question: &Message<'_>,
        (door, leaves): (Door, Door),
        from: SocketAddr,
        out: &mut Vec<u8>,
    ) {
        let seal = if question.has_fingerprint() { 8 } else { 0 };
        let room = question.len() * AMPLIFICATION_MAX - seal;
        let across = Door { other_ip: !door.other_ip, other_port: !door.other_port };
        let rows = [
            (AttributeType::OTHER_ADDRESS, self.doors.get(&across)),
            (AttributeType::RESPONSE_ORIGIN, self.doors.get(&leaves)),
        ];
        let mut writer = Writer::new(out, Class::Success, question.transaction());
        writer = writer.xor_mapped_address(from);
        for (kind, address) in rows {
            // A server that is bound to all its addresses does not know which one is asked.
            let fits = |address: &&SocketAddr| {
                address.is_ipv4() == from.is_ipv4() && !address.ip().is_unspecified()
            };
            let Some(address) = address.filter(fits) else { continue };
            let len = if address.is_ipv4() { 12 } else { 24 };
            if writer.len() + len <= room {
                writer = writer.plain_address(kind, *address);
            }
        }
        finish(writer, question);
    }

    fn allows(&mut self, now: Instant, ip: IpAddr) -> bool {
        let ResponderLimits { burst, per_machine, per_second, machines } = self.limits;
        if !self.all.take(now, per_second, per_second) {
            return false;
        }
        let machine = machine(ip);
        if self.machines.len() >= machines && !self.machines.contains_key(&machine) {
            self.machines.retain(|_, allowance| !allowance.is_full(now, per_machine, burst));
        }
        let is_known = self.machines.contains_key(&machine);
        let allowance = if is_known || self.machines.len() < machines {
            self.machines.entry(machine).or_insert(Allowance { left: burst, since: now })
        } else {
            &mut self.rest
        };
        allowance.take(now, per_machine, burst)
    }
}

impl Allowance {
    fn take(&mut self, now: Instant, rate: u32, max: u32) -> bool {
        self.refill(now, rate, max);
        let is_left = self.left > 0;
        self.left -= u32::from(is_left);
        is_left
    }

    fn is_full(&mut self, now: Instant, rate: u32, max: u32) -> bool {
        self.refill(now, rate, max);
        self.left >= max
    }

    fn refill(&mut self, now: Instant, rate: u32, max: u32) {
        let each = Duration::from_secs(1) / rate.max(1);
        let passed = now.saturating_duration_since(self.since);
        let count = passed.as_nanos() / each.as_nanos().max(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(max);
        if count >= max - self.left {
            (self.left, self.since) = (max, now);
        } else {
            self.left += count;
            self.since += each * count;
        }
    }
}

/// A request for a server: checks between peers carry a name.
fn question(bytes: &[u8]) -> Option<Message<'_>> {
    let message = Message::decode(bytes).ok()?;
    let is_ours = message.class() == Class::Request && message.username().is_none();
    is_ours.then_some(message)
}

fn refuse(question: &Message<'_>, unknown: AttributeType, out: &mut Vec<u8>) {
    let writer = Writer::new(out, Class::Error, question.transaction())
        .error(ErrorCode::UNKNOWN_ATTRIBUTE)
        .attribute(AttributeType::UNKNOWN_ATTRIBUTES, &unknown.0.to_be_bytes());
    finish(writer, question);
}

fn finish(writer: Writer<'_>, question: &Message<'_>) {
    if question.has_fingerprint() {
        writer.fingerprint().finish();
    } else {
        writer.finish();
    }
}

/// An IPv4 address, or the network of an IPv6 one: who has one address of it has them all.
fn machine(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::tests_start, stun::TransactionId};

    const ID: TransactionId = TransactionId([3; 12]);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ask(build: impl FnOnce(Writer<'_>) -> Writer<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        build(Writer::new(&mut bytes, Class::Request, ID)).finish();
        bytes
    }

    fn with_doors() -> Responder {
        let mut responder = Responder::new(ResponderLimits::default(), tests_start());
        let addresses =
            ["192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"].map(at);
        for (door, address) in Door::ALL.into_iter().zip(addresses) {
            responder.open_door(door, address);
        }
        responder
    }

    #[test]
    fn who_asks_is_told_as_which_it_is_seen() {
        let mut responder = Responder::new(ResponderLimits::default(), tests_start());
        let mut out = Vec::new();
        for from in ["198.51.100.7:4711", "[2001:db8::7]:4711"].map(at) {
            let question = ask(|writer| writer);
            let came = (Door::default(), from);
            let door = responder.handle_datagram(tests_start(), came, &question, &mut out);
            assert_eq!(door, Some(Door::default()));
            let answer = Message::decode(&out).unwrap();
            assert_eq!((answer.class(), answer.transaction()), (Class::Success, ID));
            assert_eq!(answer.mapped_address(), Some(from));
        }
    }

    #[test]
    fn every_door_answers_by_the_door_that_is_asked_for() {
        let mut responder = with_doors();
        let (mut out, from) = (Vec::new(), at("198.51.100.7:4711"));
        for door in Door::ALL {
            for change in [0, 2, 4, 6] {
                let question = ask(|writer| {
                    writer.number(AttributeType::CHANGE_REQUEST, change).fingerprint()
                });
                let came = (door, from);
                let leaves =
                    responder.handle_datagram(tests_start(), came, &question, &mut out).unwrap();
                assert_eq!(leaves.other_ip, door.other_ip ^ (change & 4 != 0));
                assert_eq!(leaves.other_port, door.other_port ^ (change & 2 != 0));
                let answer = Message::decode(&out).unwrap();
                let origin = answer.plain_address(AttributeType::RESPONSE_ORIGIN);
                assert_eq!(origin, responder.doors.get(&leaves).copied());
                let other = answer.plain_address(AttributeType::OTHER_ADDRESS).unwrap();
                let across = Door { other_ip: !door.other_ip, other_port: !door.other_port };
                assert_eq!(Some(&other), responder.doors.get(&across));
            }
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let mut responder = Responder::new(ResponderLimits::default(), tests_start());
        let came = (Door::default(), at("198.51.100.7:4711"));
        let mut out = Vec::new();
        let questions = [
            ask(|writer| writer.number(AttributeType::CHANGE_REQUEST, 6)),
            ask(|writer| writer.attribute(AttributeType(0x7FFE), &[])),
        ];
        for question in questions {
            responder.handle_datagram(tests_start(), came, &question, &mut out).unwrap();
            let answer = Message::decode(&out).unwrap();
            assert_eq!(answer.error_code(), Some(ErrorCode::UNKNOWN_ATTRIBUTE));
        }
    }

    #[test]
    fn no_answer_is_longer_than_three_times_its_question() {
        let mut responder = with_doors();
        for (door, port) in Door::ALL.into_iter().zip(1..) {
            responder.open_door(door, SocketAddr::new(at("[2001:db8::1]:0").ip(), port));
        }
        let mut out = Vec::new();
        for from in ["198.51.100.7:4711", "[2001:db8::7]:4711"].map(at) {
            for question in [
                ask(|writer| writer),
                ask(|writer| writer.fingerprint()),
                ask(|writer| writer.attribute(AttributeType::PADDING, &[0; 40])),
                ask(|writer| writer.attribute(AttributeType(0x7FFE), &[])),
            ] {
                let came = (Door::default(), from);
                responder.handle_datagram(tests_start(), came, &question, &mut out).unwrap();
                assert!(out.len() <= 3 * question.len(), "{} for {}", out.len(), question.len());
            }
        }
    }

    #[test]
    fn checks_between_peers_answers_and_garbage_are_ignored() {
        let mut responder = with_doors();
        let came = (Door::default(), at("198.51.100.7:4711"));
        let mut answer = Vec::new();
        Writer::new(&mut answer, Class::Success, ID).finish();
        let mut out = Vec::new();
        let rows =
            [ask(|writer| writer.attribute(AttributeType::USERNAME, b"a:b")), answer, vec![0; 20]];
        for bytes in rows {
            assert_eq!(responder.handle_datagram(tests_start(), came, &bytes, &mut out), None);
        }
        assert_eq!(responder.stats(), ResponderStats { ignored: 3, ..Default::default() });
    }

    #[test]
    fn floods_are_answered_slowly_and_remembered_within_bounds() {
        let limits = ResponderLimits { burst: 5, per_machine: 10, per_second: 1000, machines: 8 };
        let start = tests_start();
        let mut responder = Responder::new(limits, start);
        let (question, mut out) = (ask(|writer| writer), Vec::new());
        let mut flood = |responder: &mut Responder, now, ip: [u8; 4], count| {
            let came = (Door::default(), SocketAddr::from((ip, 9)));
            let answers = (0..count)
                .filter_map(|_| responder.handle_datagram(now, came, &question, &mut out));
            answers.count()
        };
        assert_eq!(flood(&mut responder, start, [198, 51, 100, 7], 100), 5);
        let later = start + Duration::from_millis(350);
        assert_eq!(flood(&mut responder, later, [198, 51, 100, 7], 100), 3);
        // A thousand machines: eight are remembered, the others share.
        let total: usize =
            (0..200).map(|host| flood(&mut responder, later, [203, 0, 113, host], 2)).sum();
        assert!(total <= 7 * 2 + 5, "{total} answers");
        assert!(responder.machines.len() <= 8);
        assert!(responder.stats().throttled > 400);
    }
}
