//! An attacker who reads everything on the way and adds packets of his own, but has no key.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portolan_netsim::Delivery;

use crate::chance::Chance;

/// Where he is himself.
pub(crate) const THIEF: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 66, 6, 6)), 666);

/// Makes up packets for every packet that passes.
pub(crate) struct Forger(Chance);

/// Bytes of an Init packet before its names, and of each name (`WIRE.md`).
const NAMES_AT: usize = 2;
const NAME: usize = 8;

impl Forger {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Chance::new(seed, 8))
    }

    /// What the attacker sends when he sees `seen`: to its receiver, and to its sender in the
    /// receiver's name.
    pub(crate) fn packets(&mut self, seen: &Delivery) -> Vec<Delivery> {
        let mut forged = vec![self.cut(seen), self.with_other_content(seen)];
        // A copy that overtakes the original, from where the client never was (RFC 9000 §9.3.3).
        if self.0.one_in(20) {
            forged.push(Delivery { from: THIEF, ..seen.clone() });
        }
        // Only Init packets show the name by which their sender wants to be called.
        if seen.bytes.first().is_some_and(|first| first & 0b1111_0000 == 0b1000_0000) {
            forged.extend(
                [0b1001_0000, 0b1010_0000, 0b1011_0000].map(|kind| self.answer(seen, kind)),
            );
        }
        forged
    }

    fn cut(&mut self, seen: &Delivery) -> Delivery {
        let mut forged = seen.clone();
        let len = self.0.within(0..=seen.bytes.len() as u64);
        forged.bytes.truncate(len as usize);
        forged
    }

    /// The same header, so that it is routed to the same connection, around noise.
    fn with_other_content(&mut self, seen: &Delivery) -> Delivery {
        let mut forged = seen.clone();
        let start = self.0.within(1..=30) as usize;
        for byte in forged.bytes.iter_mut().skip(start) {
            *byte ^= self.0.within(0..=255) as u8;
        }
        forged
    }

    /// A packet of another kind for whoever sent this Init.
    fn answer(&mut self, seen: &Delivery, kind: u8) -> Delivery {
        let names = seen.bytes.get(NAMES_AT..NAMES_AT + 2 * NAME).unwrap_or_default();
        let (receiver, sender) = names.split_at(names.len() / 2);
        let mut bytes = [&[kind][..], sender, receiver].concat();
        bytes.resize(self.0.within(20..=1_200) as usize, self.0.within(0..=255) as u8);
        Delivery { from: seen.to, to: seen.from, bytes, ..seen.clone() }
    }
}
