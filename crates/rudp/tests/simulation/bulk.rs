//! One transfer over one link, measured: for what must hold of congestion control.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::{Expect, Identity};
use portolan_mux::{Priority, ReadError, StreamId};
use portolan_netsim::{Link, LinkStats, Where};
use portolan_rudp::{Congestion, ConnectionConfig, ConnectionStats, EndpointConfig};

use crate::world::World;

/// Virtual time after which a transfer counts as stuck.
const TIME_MAX: Duration = Duration::from_secs(600);

/// A transfer from a client to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk {
    pub(crate) congestion: Congestion,
    pub(crate) bytes: usize,
    /// The client's link to the server; the way back has the same delay and nothing else.
    pub(crate) link: Link,
    /// Timers go off at multiples of this; zero: at the time.
    pub(crate) tick: Duration,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Transferred {
    /// From the first byte written to the last one read.
    pub(crate) took: Duration,
    pub(crate) sender: ConnectionStats,
    pub(crate) link: LinkStats,
}

impl Transferred {
    /// Mbit/s of what was asked for.
    pub(crate) fn mbit(&self, bytes: usize) -> f64 {
        bytes as f64 * 8.0 / 1e6 / self.took.as_secs_f64()
    }
}

impl Bulk {
    pub(crate) fn run(&self) -> Transferred {
        let [alice, bob] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 7275)));
        let [client, server] = [[1; 32], [2; 32]].map(Identity::from_seed);
        let way = Where::Between { from: alice.ip(), to: bob.ip() };
        let back = Where::Between { from: bob.ip(), to: alice.ip() };
        let mut world = World::new(1);
        world.tick = self.tick;
        world.network.set_link(way, self.link);
        world.network.set_link(back, Link { delay: self.link.delay, ..Link::default() });
        let config = ConnectionConfig {
            congestion: self.congestion,
            packet_limit: 1_200,
            ..ConnectionConfig::default()
        };
        let config = Arc::new(EndpointConfig::new(config));
        world.add(alice, Arc::clone(&config), None, [3; 32]);
        world.add(bob, config, Some(&server), [4; 32]);
        world.connect(0, bob, &client, Expect::Id(server.id()));
        let up = |world: &World| {
            world.nodes.iter().all(|node| node.sessions.first().is_some_and(|s| s.is_up()))
        };
        while !up(&world) {
            assert!(world.step(None), "no handshake: {}", world.state());
        }
        let took = self.transfer(&mut world);
        let sender = world.nodes[0].sessions[0].connection.stats();
        Transferred { took, sender, link: world.network.stats(way) }
    }

    fn transfer(&self, world: &mut World) -> Duration {
        let start = world.now;
        let id =
            world.nodes[0].sessions[0].connection.mux().open(Priority::Bulk).expect("a stream");
        let (mut written, mut received) = (0, 0);
        loop {
            written += write(world, id, self.bytes - written);
            received += read(world, id);
            if received == self.bytes {
                return world.now - start;
            }
            assert!(world.step(None), "nothing will ever happen: {}", world.state());
            assert!(world.now - start < TIME_MAX, "no end: {}", world.state());
        }
    }
}

/// Writes all that is taken of `left` bytes.
fn write(world: &mut World, id: StreamId, left: usize) -> usize {
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];
    let mux = world.nodes[0].sessions[0].connection.mux();
    let mut written = 0;
    while written < left
        && let Ok(len) = mux.write(id, &PIECE[..PIECE.len().min(left - written)])
    {
        written += len;
    }
    while mux.poll_event().is_some() {}
    if written > 0 {
        world.drain(0);
    }
    written
}

/// Reads all that has come.
fn read(world: &mut World, id: StreamId) -> usize {
    let mux = world.nodes[1].sessions[0].connection.mux();
    while mux.accept().is_some() {}
    while mux.poll_event().is_some() {}
    let mut buffer = [0; 16 << 10];
    let mut received = 0;
    loop {
        match mux.read(id, &mut buffer) {
            Ok(0) | Err(ReadError::Blocked | ReadError::UnknownStream) => break,
            Ok(len) => received += len,
            Err(error) => panic!("{error}"),
        }
    }
    if received > 0 {
        world.drain(1);
    }
    received
}
