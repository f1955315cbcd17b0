//! Which protocol a datagram belongs to.

/// A protocol that shares the port, told by the first byte of each datagram (RFC 9443).
///
/// The bytes 0x04 to 0x3F belong to nobody here: ZRTP, DTLS and TURN channels live there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// STUN (RFC 8489): 0x00 to 0x03.
    Stun,
    /// Our own UDP protocol: 0x80 to 0xBF.
    Rudp,
    /// QUIC (RFC 9000): 0x40 to 0x7F and 0xC0 to 0xFF, the fixed bit set.
    Quic,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Stun, Self::Rudp, Self::Quic];

    /// The lane of a datagram that starts with `first`.
    #[must_use]
    pub const fn of(first: u8) -> Option<Self> {
        match first {
            0x00..=0x03 => Some(Self::Stun),
            0x04..=0x3F => None,
            0x40..=0x7F | 0xC0..=0xFF => Some(Self::Quic),
            0x80..=0xBF => Some(Self::Rudp),
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Stun => 0,
            Self::Rudp => 1,
            Self::Quic => 2,
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
            (0x14, None),
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
