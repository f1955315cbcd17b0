//! What the simulation drives: an endpoint with its one connection, without socket or clock.

use std::{net::SocketAddr, time::Duration, time::Instant};

use bytes::Bytes;
use portolan_mux::Priority;
use portolan_netsim::Ecn;

/// An endpoint and its only connection.
///
/// The first half of the calls is the network's: one input, then [`Self::poll_transmit`] and
/// [`Self::poll_event`] until `None`, then [`Self::poll_timeout`]. The second half is the
/// application's; it may use it once [`Event::Connected`] was told.
pub(crate) trait Machine {
    /// Begins the handshake with the server at `remote`.
    fn connect(&mut self, now: Instant, remote: SocketAddr);

    /// Takes a datagram that has arrived.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, ecn: Option<Ecn>, bytes: Vec<u8>);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// Writes datagrams into `buffer`, which it empties first.
    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Train>;

    /// What the application should know.
    fn poll_event(&mut self) -> Option<Event>;

    /// When [`Self::handle_timeout`] is to be called.
    fn poll_timeout(&mut self) -> Option<Instant>;

    /// Opens a stream; `None` while there is no room.
    fn open(&mut self, priority: Priority) -> Option<Stream>;

    /// The next stream that the other side has opened.
    fn accept(&mut self) -> Option<Stream>;

    /// Takes as many of `bytes` as there is room for.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> usize;

    /// Reads what has arrived, 0 while nothing has.
    fn read(&mut self, stream: Stream, out: &mut [u8]) -> usize;

    /// Queues a message: sent once, or repaired until `lifetime` has passed by those who can.
    fn send_message(&mut self, now: Instant, payload: Bytes, lifetime: Option<Duration>);

    /// The next message from the other side.
    fn recv_message(&mut self) -> Option<Bytes>;
}

/// A stream of one machine, counted in the order in which it came to know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stream(pub(crate) usize);

/// Datagrams in the buffer: one, or several of the same length but for the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Train {
    /// Where to.
    pub(crate) destination: SocketAddr,
    /// Bytes of each datagram; `None`: there is only one.
    pub(crate) segment: Option<usize>,
    /// The mark to send them with.
    pub(crate) ecn: Option<Ecn>,
}

/// What a machine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Streams and messages can be used.
    Connected,
    /// The connection is over, and why.
    Closed(String),
}
