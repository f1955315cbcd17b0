//! A stateful firewall without translation (RFC 6092).

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Verdict, forwards_v6, is_reset, remote,
    sessions::{Sessions, Timeouts},
};
use crate::{
    topology::{Firewall, Nat, Scope, Unsolicited},
    world::{Echo, Kind, Protocol, packet::Head},
};

/// An established TCP connection without traffic is remembered this long (RFC 6092 §3.3.1).
const TCP_TIMEOUT: Duration = Duration::from_secs(7440);
/// Inside sockets at once that a firewall remembers.
const SOCKETS_MAX: usize = 65_536;

/// What a firewall remembers.
#[derive(Debug)]
pub(in crate::world) struct Guard {
    rules: GuardRules,
    sockets: HashMap<(Protocol, SocketAddr), Sessions>,
}

/// What it lets pass.
#[derive(Debug)]
pub(in crate::world) struct GuardRules {
    filtering: Scope,
    timeouts: Timeouts,
    blocks_udp: bool,
    sockets_max: usize,
    /// Inside sockets that everybody may reach.
    open: Vec<SocketAddr>,
    unsolicited: Unsolicited,
}

impl GuardRules {
    /// How a translator treats IPv6.
    pub(super) fn of_nat(nat: &Nat) -> Self {
        Self {
            filtering: nat.filtering,
            timeouts: Timeouts { udp: nat.udp_timeout, tcp: nat.tcp_timeout },
            blocks_udp: nat.blocks_udp,
            sockets_max: usize::try_from(nat.mappings_max).unwrap_or(usize::MAX),
            open: forwards_v6(nat),
            unsolicited: nat.unsolicited,
        }
    }
}

impl From<&Firewall> for GuardRules {
    fn from(wall: &Firewall) -> Self {
        Self {
            filtering: wall.filtering,
            timeouts: Timeouts { udp: wall.udp_timeout, tcp: TCP_TIMEOUT },
            blocks_udp: wall.blocks_udp,
            sockets_max: SOCKETS_MAX,
            open: Vec::new(),
            unsolicited: wall.unsolicited,
        }
    }
}

impl Guard {
    pub(super) fn new(rules: GuardRules) -> Self {
        Self { rules, sockets: HashMap::new() }
    }

    pub(in crate::world) const fn unsolicited(&self) -> Unsolicited {
        self.rules.unsolicited
    }

    /// Closes everything that had been opened.
    pub(in crate::world) fn forget(&mut self) {
        self.sockets.clear();
    }

    /// A packet goes from inside to outside: its answers may come in.
    pub(in crate::world) fn outward(&mut self, now: Instant, packet: &Head) -> Verdict {
        match (packet.protocol, packet.kind) {
            (Protocol::Udp, _) if self.rules.blocks_udp => return Verdict::Blocked,
            (_, Kind::Error(_)) => return Verdict::Pass,
            (Protocol::Tcp | Protocol::Udp | Protocol::Icmp | Protocol::Other(_), _) => {}
        }
        let socket = (packet.protocol, packet.source);
        if !self.sockets.contains_key(&socket) {
            if is_reset(packet) {
                return Verdict::Pass;
            }
            if self.sockets.len() >= self.rules.sockets_max {
                self.sockets.retain(|_, sessions| sessions.is_alive(now));
            }
            if self.sockets.len() >= self.rules.sockets_max {
                return Verdict::Refused;
            }
        }
        let to = remote(packet.protocol, packet.destination);
        let sessions = self.sockets.entry(socket).or_default();
        sessions.on_outward(now, (packet.protocol, packet.kind), to, &self.rules.timeouts);
        Verdict::Pass
    }

    /// A packet comes from outside.
    pub(in crate::world) fn inward(&mut self, now: Instant, packet: &Head) -> Verdict {
        let may_pass = match (packet.protocol, packet.kind) {
            (Protocol::Udp, _) if self.rules.blocks_udp => return Verdict::Blocked,
            (_, Kind::Error(error)) => {
                let about = error.about;
                let sessions = self.sockets.get(&(about.protocol, about.source));
                let to = remote(about.protocol, about.destination);
                sessions.is_some_and(|sessions| sessions.know(now, to))
                    || self.is_open(about.source)
            }
            (_, Kind::Echo(Echo::Request)) => false,
            (Protocol::Tcp | Protocol::Udp | Protocol::Icmp | Protocol::Other(_), _) => {
                self.is_open(packet.destination) || self.is_expected(now, packet)
            }
        };
        if may_pass { Verdict::Pass } else { Verdict::Unsolicited }
    }

    fn is_open(&self, inside: SocketAddr) -> bool {
        self.rules.open.contains(&inside)
    }

    fn is_expected(&mut self, now: Instant, packet: &Head) -> bool {
        let socket = (packet.protocol, packet.destination);
        let Some(sessions) = self.sockets.get_mut(&socket) else { return false };
        let from = remote(packet.protocol, packet.source);
        let admitted = sessions.admit(now, self.rules.filtering, from);
        if admitted {
            let kind = (packet.protocol, packet.kind);
            sessions.on_inward(now, kind, from, &self.rules.timeouts);
        }
        admitted
    }
}
