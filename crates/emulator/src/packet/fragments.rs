//! The ports of fragmented datagrams: only the first fragment has them.

use std::{collections::VecDeque, net::IpAddr};

use super::frame::Frame;

/// Datagrams under way in fragments that are remembered; the oldest is forgotten.
const DATAGRAMS_MAX: usize = 64;

/// What the fragments of a datagram have in common (RFC 791 §2.3, RFC 8200 §4.5).
type Datagram = (IpAddr, IpAddr, u8, u32);

/// Remembers which ports a datagram has.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    seen: VecDeque<(Datagram, (u16, u16))>,
}

impl Fragments {
    /// The ports of the datagram of which this is a fragment; `None`: it has its own, or nobody
    /// knows.
    pub(crate) fn ports(&mut self, frame: &Frame) -> Option<(u16, u16)> {
        let fragment = frame.layout().fragment?;
        let (source, destination) = frame.layout().addresses(frame.bytes()).ok()?;
        let datagram = (source, destination, frame.layout().protocol, fragment.id);
        if fragment.first {
            self.seen.truncate(DATAGRAMS_MAX - 1);
            self.seen.push_front((datagram, frame.layout().ports(frame.bytes())));
            return None;
        }
        self.seen.iter().find(|(seen, _)| *seen == datagram).map(|(_, ports)| *ports)
    }
}
