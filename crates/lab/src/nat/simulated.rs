//! A pair of places in virtual time: two agents over the network model.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_nat::{
    Agent, AgentConfig, Candidate, CandidateKind, Event, Families, Mapping, Role, SocketId,
};
use portolan_netsim::{Arrival, Kind, Packet, Protocol, World};

use super::{
    Outcome, Place,
    places::{NAMES, STUN, pair},
};

/// The first socket; those for birthdays count on, at ports from here.
const FIRST: SocketId = SocketId(0);
const BIRTHDAY_PORT: u16 = 20_000;
/// Until a question to the server is asked again, and how often.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const ASKS: u32 = 6;
/// Longer than an agent tries.
const PATIENCE: Duration = Duration::from_secs(30);

struct Peer {
    name: &'static str,
    socket: SocketAddr,
    agent: Agent,
    met_at: Option<Instant>,
    is_over: bool,
}

struct Simulation {
    world: World<Vec<u8>>,
    now: Instant,
    peers: Vec<Peer>,
    /// What came to the server: as which the sender is seen, and what it said.
    asked: Vec<(SocketAddr, Vec<u8>)>,
}

/// Lets two peers try to meet.
pub(super) fn run(places: [&Place; 2], seed: u64) -> Outcome {
    let mut simulation = Simulation::new(places, seed);
    let since = simulation.introduce();
    let end = since + PATIENCE;
    while simulation.now < end && !simulation.peers.iter().all(|peer| peer.is_over) {
        if !simulation.step(end) {
            break;
        }
    }
    let met: Option<Vec<Instant>> = simulation.peers.iter().map(|peer| peer.met_at).collect();
    met.and_then(|met| met.into_iter().max())
        .map_or(Outcome::Relayed, |at| Outcome::Direct(at.saturating_duration_since(since)))
}

impl Simulation {
    fn new(places: [&Place; 2], seed: u64) -> Self {
        let start = crate::virtual_time::start();
        let pair = pair(places, seed);
        let roles = [Role::Controlling, Role::Controlled];
        let peers = NAMES.into_iter().zip(pair.sockets).zip(roles).map(|((name, socket), role)| {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&seed.to_le_bytes());
            random[8] = u8::from(role == Role::Controlled);
            let agent = Agent::new(AgentConfig::new(role, b"a ticket", random), start);
            Peer { name, socket, agent, met_at: None, is_over: false }
        });
        let peers = peers.collect();
        let world = World::new(&pair.topology, start)
            .unwrap_or_else(|error| unreachable!("the table makes worlds that are whole: {error}"));
        Self { world, now: start, peers, asked: Vec::new() }
    }

    /// Both ask as which they are seen and are told of each other. Returns when.
    fn introduce(&mut self) -> Instant {
        let seen = [0, 1].map(|index| STUN.map(|server| self.ask(index, server)));
        let mapping = |seen: [Option<SocketAddr>; 2]| match seen {
            [Some(one), Some(other)] if one == other => Mapping::Independent,
            [Some(_), Some(_)] => Mapping::Dependent,
            [_, _] => Mapping::Unknown,
        };
        let now = self.now;
        let sockets = [0, 1].map(|index| self.peers[index].socket);
        for (index, other) in [(0, 1), (1, 0)] {
            let agent = &mut self.peers[index].agent;
            agent.add_socket(now, FIRST, Families::V4);
            agent.set_mapping(mapping(seen[index]), mapping(seen[other]));
            let reflexive = seen[other][0].map(|seen| (CandidateKind::Reflexive, seen));
            let all = [Some((CandidateKind::Host, sockets[other])), reflexive];
            for (kind, address) in all.into_iter().flatten() {
                let _always_one = agent.add_remote(now, Candidate::new(kind, address, 0));
            }
            if let Some(seen) = seen[other][0] {
                agent.vouch(seen.ip());
            }
        }
        (0..2).for_each(|index| self.drain(index));
        now
    }

    fn ask(&mut self, index: usize, server: SocketAddr) -> Option<SocketAddr> {
        let question = format!("as whom do you see {index} at {server}?").into_bytes();
        for _ in 0..ASKS {
            self.send(index, FIRST, server, &question);
            let until = self.now + ASK_AGAIN;
            while self.step(until) {}
            self.now = until;
            let found = self.asked.iter().find(|(_, asked)| *asked == question);
            if let Some((seen, _)) = found {
                return Some(*seen);
            }
        }
        None
    }

    /// Lets the next thing happen, if it is due by `until`.
    fn step(&mut self, until: Instant) -> bool {
        let agents = self.peers.iter().filter_map(|peer| peer.agent.poll_timeout());
        let due = agents.map(|deadline| deadline.at).chain(self.world.poll_timeout()).min();
        let Some(due) = due.filter(|due| *due <= until) else { return false };
        self.now = self.now.max(due);
        while let Some(arrival) = self.world.poll_delivery(self.now) {
            self.on_arrival(&arrival);
        }
        for index in 0..self.peers.len() {
            self.peers[index].agent.handle_timeout(self.now);
            self.drain(index);
        }
        true
    }

    fn on_arrival(&mut self, arrival: &Arrival<Vec<u8>>) {
        let Packet { source, destination, ref payload, kind, .. } = arrival.packet;
        if kind != Kind::Plain {
            return;
        }
        let world = &self.world;
        let is_at = |peer: &Peer| world.host(peer.name) == Some(arrival.interface);
        let Some(index) = self.peers.iter().position(is_at) else {
            return self.asked.push((source, payload.clone()));
        };
        let peer = &mut self.peers[index];
        let socket = match destination.port().checked_sub(BIRTHDAY_PORT) {
            _ if destination == peer.socket => FIRST,
            Some(number) => SocketId(number),
            None => return,
        };
        peer.agent.handle_datagram(self.now, socket, source, payload);
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        let mut buffer = Vec::new();
        loop {
            while let Some(out) = self.peers[index].agent.poll_transmit(self.now, &mut buffer) {
                self.send(index, out.socket, out.to, &buffer);
            }
            let now = self.now;
            let peer = &mut self.peers[index];
            match peer.agent.poll_event() {
                Some(Event::Nominated(_)) => {
                    peer.met_at.get_or_insert(now);
                    peer.is_over = true;
                }
                Some(Event::Failed(_)) => peer.is_over = true,
                Some(Event::SocketsWanted(count)) => {
                    let sockets = (1..=count).map(SocketId);
                    sockets.for_each(|socket| peer.agent.add_birthday_socket(socket));
                }
                Some(Event::Lost(..) | Event::SocketsUnneeded) => {}
                None => return,
            }
        }
    }

    fn send(&mut self, index: usize, socket: SocketId, to: SocketAddr, bytes: &[u8]) {
        let peer = &self.peers[index];
        let source = match socket {
            FIRST => peer.socket,
            SocketId(number) => SocketAddr::new(peer.socket.ip(), BIRTHDAY_PORT + number),
        };
        let Some(interface) = self.world.host(peer.name) else { return };
        let packet = Packet {
            protocol: Protocol::Udp,
            source,
            destination: to,
            size: 28 + u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            ecn: None,
            hop_limit: 64,
            may_fragment: false,
            kind: Kind::Plain,
            payload: bytes.to_vec(),
        };
        self.world.send(self.now, interface, packet);
    }
}
