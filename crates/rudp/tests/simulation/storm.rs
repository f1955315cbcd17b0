//! Many clients that shake hands with one server at once.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::{Expect, Identity, remote_id};
use portolan_netsim::{Link, Loss, Reorder, Where};
use portolan_rudp::{CloseReason, CookiePolicy};

use crate::{
    chance::Chance,
    setup::Setup,
    world::{Node, Session, World, start},
};

pub(crate) const RTT: Duration = Duration::from_millis(40);

const SERVER: usize = 0;

/// One storm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storm {
    pub(crate) clients: u16,
    pub(crate) loss: f64,
    pub(crate) cookies: CookiePolicy,
    pub(crate) voices: Voices,
}

/// Whether the clients are where they say that they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voices {
    Honest,
    /// They say one datagram from addresses that are not theirs and never hear an answer.
    Spoofed,
}

/// What became of the clients.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) connected: usize,
    pub(crate) timed_out: usize,
    /// How long each handshake took that succeeded.
    pub(crate) took: Vec<Duration>,
    /// Most handshakes that the server had under way at once.
    pub(crate) half_open_max: usize,
    /// Most bytes that the server sent to one address for each byte that came from there.
    pub(crate) amplification_max: f64,
}

impl Storm {
    /// Runs until every client is connected or has given up, and the server has forgotten those
    /// that are not there.
    pub(crate) fn rage(self, seed: u64) -> Aftermath {
        let mut chance = Chance::new(seed, 7);
        let server = Identity::from_seed(chance.seed());
        let mut world = self.world(seed);
        let config = Arc::new(Setup { cookies: self.cookies, ..Setup::default() }.config());
        world.add(address(0), Arc::clone(&config), Some(&server), chance.seed());
        let clients: Vec<Identity> =
            (0..self.clients).map(|_| Identity::from_seed(chance.seed())).collect();
        for (client, number) in clients.iter().zip(1..) {
            let node = world.add(address(number), Arc::clone(&config), None, chance.seed());
            world.connect(node, address(0), client, Expect::Id(server.id()));
            world.nodes[node].is_dead = self.voices == Voices::Spoofed;
        }

        let mut aftermath = Aftermath::default();
        while !self.is_over(&world) && world.step(None) {
            aftermath.watch(&world.nodes[SERVER]);
        }
        for (node, identity) in world.nodes[1..].iter().zip(&clients) {
            aftermath.judge(&node.sessions[0], &world.nodes[SERVER], identity);
        }
        aftermath
    }

    fn world(self, seed: u64) -> World {
        let mut world = World::new(seed);
        let lossy = self.loss > 0.0;
        world.network.set_link(
            Where::Everywhere,
            Link {
                delay: RTT / 2,
                loss: Loss::Random(self.loss),
                reorder: lossy.then_some(Reorder { probability: 0.1, hold: RTT }),
                duplicate: if lossy { 0.05 } else { 0.0 },
                corrupt: if lossy { 0.01 } else { 0.0 },
                ..Link::default()
            },
        );
        world
    }

    fn is_over(self, world: &World) -> bool {
        let settled = |node: &Node| node.sessions.iter().all(|session| !session.is_half_open());
        match self.voices {
            Voices::Honest => world.nodes.iter().all(settled),
            Voices::Spoofed => false,
        }
    }
}

impl Aftermath {
    /// Both storms together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.connected += other.connected;
        self.timed_out += other.timed_out;
        self.took.extend(other.took);
        self.half_open_max = self.half_open_max.max(other.half_open_max);
        self.amplification_max = self.amplification_max.max(other.amplification_max);
        self
    }

    fn watch(&mut self, server: &Node) {
        let half_open = server.sessions.iter().filter(|session| session.is_half_open()).count();
        self.half_open_max = self.half_open_max.max(half_open);
        for traffic in server.traffic.values() {
            let factor = traffic.sent as f64 / traffic.received.max(1) as f64;
            self.amplification_max = self.amplification_max.max(factor);
        }
    }

    fn judge(&mut self, client: &Session, server: &Node, identity: &Identity) {
        match (client.connected, &client.closed) {
            (Some(at), _) => {
                self.connected += 1;
                self.took.push(at - start());
                let known = |session: &Session| {
                    remote_id(session.connection.remote_certificates()).ok() == Some(identity.id())
                };
                assert!(server.sessions.iter().any(known), "connected to a server that is not");
            }
            (None, Some(CloseReason::HandshakeTimedOut)) => self.timed_out += 1,
            (None, None) => {}
            (None, Some(reason)) => panic!("a handshake ended with {reason:?}"),
        }
    }
}

fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    ([10, 1, high, low], 7275).into()
}
