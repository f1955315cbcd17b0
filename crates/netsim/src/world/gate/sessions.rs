//! With whom an inside socket speaks, and for how long that is remembered.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Direction;
use crate::{
    topology::Scope,
    world::{Kind, Protocol, TcpFlags},
};

/// A TCP connection that is being opened or has been closed is remembered this long
/// (RFC 5382 §5, REQ-5).
const TCP_TRANSITORY: Duration = Duration::from_secs(4 * 60);
/// A ping waits this long for its reply (RFC 5508 §3.2, REQ-2).
const ECHO_TIMEOUT: Duration = Duration::from_secs(60);
/// Other protocols, without a figure of their own.
const OTHER_TIMEOUT: Duration = Duration::from_secs(600);
/// Remotes of one inside socket at once; beyond, the one that would be forgotten first goes.
const SESSIONS_MAX: usize = 4096;

/// Times after which what is silent is forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) udp: Duration,
    pub(super) tcp: Duration,
}

/// The remotes of one inside socket, in the order of their addresses.
#[derive(Debug, Default)]
pub(super) struct Sessions(Vec<Session>);

/// One of them.
#[derive(Debug)]
struct Session {
    remote: SocketAddr,
    expires: Instant,
    tcp: Phase,
}

/// How far a TCP connection is, from the flags seen.
#[derive(Debug, Clone, Copy, Default)]
struct Phase {
    outward: Side,
    inward: Side,
    is_reset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Side {
    #[default]
    Silent,
    Speaks,
    Finished,
}

impl Sessions {
    /// A packet of the inside socket goes out: remembers its remote.
    pub(super) fn on_outward(
        &mut self,
        now: Instant,
        (protocol, kind): (Protocol, Kind),
        remote: SocketAddr,
        timeouts: &Timeouts,
    ) {
        let session = self.open(now, remote);
        session.see(Direction::Outward, kind);
        session.expires = now + session.timeout(protocol, timeouts);
    }

    /// A packet that was let in. Only TCP is kept alive by it: else a stranger could keep a
    /// mapping open for ever (RFC 4787 §4.3, REQ-6).
    pub(super) fn on_inward(
        &mut self,
        now: Instant,
        (protocol, kind): (Protocol, Kind),
        remote: SocketAddr,
        timeouts: &Timeouts,
    ) {
        if protocol == Protocol::Tcp {
            let session = self.open(now, remote);
            session.see(Direction::Inward, kind);
            session.expires = now + session.timeout(protocol, timeouts);
        }
    }

    /// Whether a packet of this remote may come in.
    pub(super) fn admit(&self, now: Instant, filtering: Scope, remote: SocketAddr) -> bool {
        match filtering {
            Scope::EndpointIndependent => self.is_alive(now),
            Scope::AddressDependent => self.know_address(now, remote),
            Scope::AddressAndPortDependent => self.know(now, remote),
        }
    }

    /// Whether the inside socket speaks with this very remote.
    pub(super) fn know(&self, now: Instant, remote: SocketAddr) -> bool {
        let found = self.0.binary_search_by_key(&remote, |session| session.remote);
        found.is_ok_and(|index| self.0[index].is_open(now))
    }

    fn know_address(&self, now: Instant, remote: SocketAddr) -> bool {
        let first = self.0.partition_point(|session| session.remote.ip() < remote.ip());
        self.0[first..]
            .iter()
            .take_while(|session| session.remote.ip() == remote.ip())
            .any(|session| session.is_open(now))
    }

    /// Whether anything of it is still remembered.
    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.0.iter().any(|session| session.expires > now)
    }

    /// The session with a remote, a new one if it has been forgotten.
    fn open(&mut self, now: Instant, remote: SocketAddr) -> &mut Session {
        let mut found = self.0.binary_search_by_key(&remote, |session| session.remote);
        if found.is_err() && self.0.len() >= SESSIONS_MAX {
            self.make_room(now);
            found = self.0.binary_search_by_key(&remote, |session| session.remote);
        }
        let new = || Session { remote, expires: now, tcp: Phase::default() };
        match found {
            Ok(index) if self.0[index].expires <= now => {
                self.0[index] = new();
                &mut self.0[index]
            }
            Ok(index) => &mut self.0[index],
            Err(index) => {
                self.0.insert(index, new());
                &mut self.0[index]
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        self.0.retain(|session| session.expires > now);
        if self.0.len() < SESSIONS_MAX {
            return;
        }
        let first = self.0.iter().enumerate().min_by_key(|(_, session)| session.expires);
        if let Some((index, _)) = first {
            self.0.remove(index);
        }
    }
}

impl Session {
    /// A connection that was reset keeps its mapping, but lets nobody in.
    fn is_open(&self, now: Instant) -> bool {
        self.expires > now && !self.tcp.is_reset
    }

    fn see(&mut self, direction: Direction, kind: Kind) {
        match kind {
            Kind::Tcp(flags) => self.tcp.see(direction, flags),
            Kind::Plain | Kind::Echo(_) | Kind::Error(_) => {}
        }
    }

    fn timeout(&self, protocol: Protocol, timeouts: &Timeouts) -> Duration {
        match protocol {
            Protocol::Udp => timeouts.udp,
            Protocol::Icmp => ECHO_TIMEOUT,
            Protocol::Other(_) => OTHER_TIMEOUT,
            Protocol::Tcp if self.tcp.is_established() => timeouts.tcp,
            Protocol::Tcp => timeouts.tcp.min(TCP_TRANSITORY),
        }
    }
}

impl Phase {
    fn see(&mut self, direction: Direction, flags: TcpFlags) {
        if flags.syn && !flags.ack && self.is_closed() {
            *self = Self::default();
        }
        self.is_reset |= flags.rst;
        let side = match direction {
            Direction::Outward => &mut self.outward,
            Direction::Inward => &mut self.inward,
        };
        let now = if flags.fin { Side::Finished } else { Side::Speaks };
        *side = now.max(*side);
    }

    fn is_established(self) -> bool {
        self.outward != Side::Silent && self.inward != Side::Silent && !self.is_closed()
    }

    fn is_closed(self) -> bool {
        let both_finished = self.outward == Side::Finished && self.inward == Side::Finished;
        self.is_reset || both_finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts =
        Timeouts { udp: Duration::from_secs(30), tcp: Duration::from_secs(7440) };
    const UDP: (Protocol, Kind) = (Protocol::Udp, Kind::Plain);

    fn remote(number: usize) -> SocketAddr {
        let number = u32::try_from(number).unwrap();
        SocketAddr::new(std::net::Ipv4Addr::from_bits(number).into(), 1)
    }

    #[test]
    fn remotes_are_bounded_and_the_one_that_would_go_first_goes() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let start = Instant::now();
        let mut sessions = Sessions::default();
        for number in 0..=SESSIONS_MAX {
            let now = start + Duration::from_millis(1) * u32::try_from(number).unwrap();
            sessions.on_outward(now, UDP, remote(number), &TIMEOUTS);
        }
        let now = start + Duration::from_secs(10);
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        assert!(!sessions.know(now, remote(0)));
        assert!(sessions.know(now, remote(1)));
        assert!(sessions.know(now, remote(SESSIONS_MAX)));
    }

    #[test]
    fn a_stranger_keeps_nothing_open() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let start = Instant::now();
        let mut sessions = Sessions::default();
        sessions.on_outward(start, UDP, remote(1), &TIMEOUTS);
        let later = start + Duration::from_secs(29);
        sessions.on_inward(later, UDP, remote(1), &TIMEOUTS);
        assert!(sessions.is_alive(later));
        assert!(!sessions.is_alive(later + Duration::from_secs(1)));
    }
}
