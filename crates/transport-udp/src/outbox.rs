//! The one datagram, or train of datagrams, that is on its way out.

use std::{io, net::SocketAddr};

use portolan_datagram_io::{EcnCodepoint, LaneSocket, Transmit};

/// What goes out of the socket; keeps what the system has no room for.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    buffer: Vec<u8>,
    label: Option<Label>,
    sent: usize,
}

/// Where a train goes, and how it is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) segment_size: Option<usize>,
}

impl Outbox {
    /// Whether the system has no room for what is under way.
    pub(crate) fn is_blocked(&self) -> bool {
        self.label.is_some()
    }

    /// Sends what `fill` writes, if it names a destination. False: nothing was written.
    pub(crate) fn send(
        &mut self,
        socket: &LaneSocket,
        fill: impl FnOnce(&mut Vec<u8>) -> Option<Label>,
    ) -> bool {
        debug_assert!(!self.is_blocked(), "one at a time");
        self.buffer.clear();
        self.sent = 0;
        self.label = fill(&mut self.buffer);
        let filled = self.is_blocked();
        self.flush(socket);
        filled
    }

    /// Tries again to send what is left.
    pub(crate) fn flush(&mut self, socket: &LaneSocket) {
        let Some(label) = self.label else { return };
        while self.sent < self.buffer.len() {
            match socket.try_send(&self.rest(label)) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Not promised by the socket; a datagram lost, as datagrams are.
                Err(_) => break,
            }
        }
        self.label = None;
    }

    fn rest(&self, label: Label) -> Transmit<'_> {
        Transmit {
            destination: label.destination,
            ecn: label.ecn,
            contents: self.buffer.get(self.sent..).unwrap_or_default(),
            segment_size: label.segment_size,
            src_ip: None,
        }
    }
}
