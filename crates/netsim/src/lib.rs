//! The network model: links, loss, delay and faults in virtual time, from one seed.
//!
//! ```text
//!   a simulation (virtual time)      a driver (real packets)        who asks and who waits
//!                  \                    /
//!              send(now, …)   poll_timeout()   poll_delivery(now)
//!                            │
//!                 ┌──────────┴──────────┐
//!              Network                  World        packets under way, timeline
//!        a link for each pair    hosts, networks, routers, translators, firewalls
//!                 └──────────┬──────────┘
//!              Lane (one a direction)  the state of a Link: queue, up or down, counters
//!                            │
//!               Flow (one a pair of addresses)  chance: one block of ChaCha a packet
//! ```
//!
//! A [`Network`] is the short way to two or three hosts that speak UDP; it carries the bytes
//! itself. A [`World`] is built from a [`topology::Topology`], knows IP packets of every protocol,
//! and leaves the bytes to its driver.
//!
//! The caller owns time: it passes `now`, and sleeps (or jumps) until [`Network::poll_timeout`].
//! A packet's fate is decided when it enters; afterwards it only waits for its time. What is under
//! way when a link goes down still arrives.
//!
//! Nothing here opens a socket, reads a clock or asks the system for randomness. It is not a model
//! of hosts: no checksums (corrupted packets are delivered) and no fragments.
//!
//! # Invariants
//! - Same seed and same packets: same fates, bit by bit
//!   (`the_same_seed_replays_every_delivery_bit_by_bit`).
//! - Chance is per flow: packets of one flow never change what chance does to another
//!   (`another_flow_does_not_change_the_fate_of_this_one`). Queues are shared, as in life.
//! - A packet uses the same number of random draws whatever happens to it, so changing one
//!   parameter does not reshuffle the others (`changing_one_thing_does_not_change_who_is_lost`).
//! - What waits in a queue is known on entry, CoDel's choices included
//!   (`deciding_on_entry_drops_the_same_packets_as_deciding_on_leaving`).
//! - Every packet that entered is delivered, under way or counted as dropped with its reason
//!   (`every_packet_is_accounted_for`).
//!
//! # Memory
//! A network holds the packets under way and a small state per pair of addresses that ever spoke;
//! both are decided by the caller, who is a test or a laboratory, never a remote. A world, which
//! may carry real programs for hours, forgets silent flows and sessions beyond named bounds.
//!
//! # Where to start
//! [`Link`] says what one direction does to packets and `Lane::pass` does it; another queue
//! discipline is another arm in `Bottleneck`. [`PROFILES`] are links that people know, a
//! [`LinkSpec`] is a link as one line of text, [`topology::parse`] reads a whole world. In a world, `World::step` is the one place where things happen.
//!
//! # Example
//! ```
//! use std::{net::SocketAddr, time::{Duration, Instant}};
//! use portolan_netsim::{Link, Loss, Network, Where};
//!
//! # fn simulate(start: Instant) {
//! let (alice, bob): (SocketAddr, SocketAddr) =
//!     (([10, 0, 0, 1], 1000).into(), ([10, 0, 0, 2], 2000).into());
//! let mut network = Network::new(7);
//! network.set_link(Where::Everywhere, Link {
//!     delay: Duration::from_millis(25),
//!     loss: Loss::Random(0.01),
//!     ..Link::default()
//! });
//! network.send(start, alice, bob, b"hello", None);
//! while let Some(at) = network.poll_timeout() {
//!     while let Some(delivery) = network.poll_delivery(at) {
//!         println!("{} bytes for {} at {at:?}", delivery.bytes.len(), delivery.to);
//!     }
//! }
//! # }
//! ```

mod bottleneck;
mod codel;
mod describe;
mod draft;
mod flow;
mod lane;
mod link;
mod network;
mod packet;
mod profile;
mod queue;
mod spec;
mod stats;
mod suggest;
mod timeline;
pub mod topology;
mod units;
mod world;

pub use draft::Misfit;
pub use link::{Link, Loss, Order, Rate, Reorder};
pub use network::Network;
pub use packet::{Delivery, Ecn};
pub use profile::{PROFILES, Profile, UnknownProfile};
pub use queue::{Discipline, Queue};
pub use spec::{LinkSpec, SpecError, SpecProblem};
pub use stats::LinkStats;
pub use suggest::Suggestion;
pub use timeline::{Change, Where};
pub use world::{
    Addressing, Arrival, Echo, HostChange, IcmpError, InterfaceId, Kind, NatStats, Packet, Problem,
    Protocol, Quoted, TcpFlags, Unreachable, World, WorldError, WorldStats,
};
