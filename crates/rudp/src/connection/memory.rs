//! What a connection holds.

use std::mem::size_of;

use super::{Connection, migration::Standby, receive::EARLY_MAX};
use crate::{ConnectionConfig, Event, ids};

/// Events that wait at once, at most: they are few and told once.
const EVENTS: usize = 16;

impl Connection {
    /// Bytes held now because of the remote: at most [`ConnectionConfig::memory_max`].
    ///
    /// Not counted: what the application has written and the remote not acknowledged, with the
    /// slots of the packets that carry it (both bounded by the mux's send buffers), the keys (some
    /// 3 KiB), and the TLS engine (some 7 KiB) while there is one: a server's until its handshake
    /// is over, a client's until its first heartbeat.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.mux.memory_received()
            + self.spaces.memory()
            + self.standby.as_ref().map_or(0, |standby| size_of_val(&**standby))
            + self.remote_ids.memory()
            + self.early.iter().map(|(_, packet)| packet.capacity()).sum::<usize>()
            + self.events.capacity() * size_of::<Event>()
    }
}

impl ConnectionConfig {
    /// Upper bound of [`Connection::memory`]: what a remote can make one connection hold.
    #[must_use]
    pub fn memory_max(&self) -> usize {
        const LEVELS: usize = 3;
        size_of::<Connection>()
            + self.mux.memory_max()
            // The buffers may have twice the room that is used.
            + LEVELS * 2 * (self.crypto_buffer + self.ack_ranges * 64)
            + self.early_packets * EARLY_MAX
            + size_of::<Standby>()
            + ids::MEMORY_MAX
            + EVENTS * size_of::<Event>()
            // Handshake messages of our own.
            + 32 * 1024
    }
}
