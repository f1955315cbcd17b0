//! Which protocol a datagram belongs to.

/// A protocol that shares the port, told by the first byte of each datagram (RFC 9443).
///
/// The bytes 0x04 to 0x07 and 0x10 to 0x3F belong to nobody here: ZRTP and DTLS live there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// STUN (RFC 8489): 0x00 to 0x03.
    Stun,
    /// Datagrams through a relay, and what is said about them ([`RelayFrame`](crate::RelayFrame)):
    /// 0x08 to 0x0F, which RFC 9443 leaves to nobody. TURN's channel numbers (0x40 to 0x4F) would
    /// be taken for QUIC.
    Relay,
    /// Our own UDP protocol: 0x80 to 0xBF.
    Rudp,
    /// QUIC (RFC 9000): 0x40 to 0x7F and 0xC0 to 0xFF, the fixed bit set.
    Quic,
}

/// Who takes a lane's datagrams from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reading {
    /// Its own task, whenever there is something: for protocols that carry much.
    #[default]
    Eager,
    /// The tasks of the other lanes, while there is an eager one: for protocols that carry
    /// little and must not wake up for what is the others'.
    Rare,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 4] = [Self::Stun, Self::Relay, Self::Rudp, Self::Quic];

    /// The lane of a datagram that starts with `first`.
    #[must_use]
    pub const fn of(first: u8) -> Option<Self> {
        match first {
            0x00..=0x03 => Some(Self::Stun),
            0x08..=0x0F => Some(Self::Relay),
            0x04..=0x07 | 0x10..=0x3F => None,
            0x40..=0x7F | 0xC0..=0xFF => Some(Self::Quic),
            0x80..=0xBF => Some(Self::Rudp),
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Stun => 0,
            Self::Relay => 1,
            Self::Rudp => 2,
            Self::Quic => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_names_the_protocol() {
        let rows = [
            (0x00, Some(Lane::Stun)),
            (0x03, Some(Lane::Stun)),
            (0x04, None),
            (0x07, None),
            (0x08, Some(Lane::Relay)),
            (0x0F, Some(Lane::Relay)),
            (0x10, None),
            (0x3F, None),
            (0x40, Some(Lane::Quic)),
            (0x7F, Some(Lane::Quic)),
            (0x80, Some(Lane::Rudp)),
            (0xBF, Some(Lane::Rudp)),
            (0xC0, Some(Lane::Quic)),
            (0xFF, Some(Lane::Quic)),
        ];
        for (first, lane) in rows {
            assert_eq!(Lane::of(first), lane, "first byte {first:#04x}");
        }
    }
}
