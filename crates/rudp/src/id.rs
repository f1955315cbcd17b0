//! Names of connections on the wire.

use std::fmt;

use rand_core::RngCore;

/// Which connection a packet belongs to: eight bytes that its receiver chose.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(crate) [u8; Self::LEN]);

impl ConnectionId {
    /// Bytes on the wire.
    pub const LEN: usize = 8;

    pub(crate) fn random(random: &mut impl RngCore) -> Self {
        let mut bytes = [0; Self::LEN];
        random.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes as a number: a seed for what need not be secret.
    pub(crate) fn seed(self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A connection of one [`Endpoint`](crate::Endpoint); never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionHandle(pub u64);
