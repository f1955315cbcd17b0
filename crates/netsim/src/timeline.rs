//! What happens to the network itself, and when.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use crate::Link;

/// Something that happens to the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// The links behave like this from now on.
    Link(Where, Link),
    /// The links swallow every packet that enters, without a word.
    Down(Where),
    /// The links carry again.
    Up(Where),
    /// What `host` sends is seen as coming from `seen_as`, and what is sent there reaches `host`;
    /// the address as which it was seen before leads nowhere. A new mapping of a NAT, or a move.
    Readdress {
        /// The host's own address: the one it sends from.
        host: SocketAddr,
        /// The address that others see.
        seen_as: SocketAddr,
    },
}

/// Which links a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// All, those of pairs that have not spoken yet included.
    Everywhere,
    /// The one direction from a host to another. A host is an IP address: give each its own, or
    /// both directions share one queue.
    Between {
        /// Where packets enter.
        from: IpAddr,
        /// Where they come out.
        to: IpAddr,
    },
}

/// Changes that are still to come, in the order of their times.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    changes: VecDeque<(Instant, Change)>,
}

impl Timeline {
    /// Changes of the same time happen in the order in which they were scheduled.
    pub(crate) fn schedule(&mut self, at: Instant, change: Change) {
        let place = self.changes.partition_point(|(time, _)| *time <= at);
        self.changes.insert(place, (at, change));
    }

    /// Takes the next change that is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Change> {
        self.changes.front().filter(|(at, _)| *at <= now)?;
        self.changes.pop_front().map(|(_, change)| change)
    }
}
