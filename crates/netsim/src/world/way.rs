//! One direction of an attachment: a lane and its flows.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::Packet;
use crate::{
    Link,
    flow::Flow,
    lane::{Lane, Passage},
};

/// Flows that a direction remembers; beyond, those that are silent go.
const FLOWS_MAX: usize = 65_536;
/// A flow that is silent for this long may be forgotten: its chance then begins anew.
const FLOW_SILENT: Duration = Duration::from_secs(60);

/// A direction of an attachment.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) lane: Lane,
    /// Makes its chance another than that of all other ways.
    name: String,
    seed: u64,
    /// With the time of the last packet.
    flows: HashMap<FlowKey, (Flow, Instant), BuildHasherDefault<FlowHasher>>,
}

type FlowKey = (u8, SocketAddr, SocketAddr);

impl Way {
    /// # Panics
    /// When a probability is not one, or a rate is zero.
    pub(super) fn new(seed: u64, name: String, link: Link) -> Self {
        link.check();
        Self { lane: Lane::new(link, true), name, seed, flows: HashMap::default() }
    }

    pub(super) fn set_link(&mut self, link: Link) {
        link.check();
        self.lane.link = link;
    }

    /// Decides what becomes of a packet; `None`: dropped, and counted by the lane.
    pub(super) fn pass<P>(&mut self, now: Instant, packet: &Packet<P>) -> Option<Passage> {
        if self.flows.len() >= FLOWS_MAX {
            self.forget_silent_flows(now);
        }
        let Self { lane, name, seed, flows } = self;
        let key @ (protocol, from, to) =
            (packet.protocol.number(), packet.source, packet.destination);
        let new = || (Flow::in_lane(*seed, name, protocol, from, to), now);
        let (flow, last) = flows.entry(key).or_insert_with(new);
        *last = now;
        lane.pass(now, u64::from(packet.size), packet.ecn, flow)
    }

    fn forget_silent_flows(&mut self, now: Instant) {
        self.flows.retain(|_, (_, last)| *last + FLOW_SILENT > now);
        if self.flows.len() >= FLOWS_MAX {
            self.flows.clear();
        }
    }

    /// Whether the packet is longer than the link can carry.
    pub(super) const fn is_too_narrow<P>(&self, packet: &Packet<P>) -> bool {
        packet.size > self.lane.link.mtu
    }
}

/// FNV-1a: the keys come from the laboratory itself.
#[derive(Debug)]
pub(super) struct FlowHasher(u64);

impl Default for FlowHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for FlowHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
