//! What a datagram between two peers begins with.

/// Bytes of a [`DatagramHead`].
pub const DATAGRAM_HEAD: usize = 5;

/// What a datagram between two peers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKind {
    /// A frame of live audio.
    Audio,
    /// How live audio arrives, told to its sender.
    Report,
}

impl DatagramKind {
    /// Every kind with its byte on the wire. 0x00 and 0x40 to 0xff are never used: they may be
    /// taken for what else comes to a port.
    pub const TABLE: [(Self, u8); 2] = [(Self::Audio, 0x01), (Self::Report, 0x02)];

    /// The kind of a byte; those of newer versions are unknown, and such datagrams are dropped.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known)| *known == byte).map(|(kind, _)| *kind)
    }

    /// The byte on the wire.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Audio => 0x01,
            Self::Report => 0x02,
        }
    }
}

/// The first bytes of a datagram between two peers: its kind, and the number of the stream, big
/// endian, that its receiver has given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatagramHead {
    /// What it is.
    pub kind: DatagramKind,
    /// What it belongs to.
    pub stream: u32,
}

impl DatagramHead {
    /// Reads the head; `None`: too short, or of a kind that this version does not know.
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let (&[kind, ref stream @ ..], _) = datagram.split_first_chunk::<DATAGRAM_HEAD>()?;
        Some(Self { kind: DatagramKind::from_byte(kind)?, stream: u32::from_be_bytes(*stream) })
    }

    /// The head's bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; DATAGRAM_HEAD] {
        let [a, b, c, d] = self.stream.to_be_bytes();
        [self.kind.to_byte(), a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::{DATAGRAM_HEAD, DatagramHead, DatagramKind};

    #[test]
    fn heads_are_read_as_written_and_others_are_none() {
        for (kind, byte) in DatagramKind::TABLE {
            let head = DatagramHead { kind, stream: 0x0102_0304 };
            assert_eq!(head.bytes(), [byte, 1, 2, 3, 4]);
            let mut datagram = head.bytes().to_vec();
            datagram.push(9);
            assert_eq!(DatagramHead::read(&datagram), Some(head));
            for length in 0..DATAGRAM_HEAD {
                assert_eq!(DatagramHead::read(&datagram[..length]), None);
            }
        }
        let known: Vec<u8> = DatagramKind::TABLE.iter().map(|(_, byte)| *byte).collect();
        for byte in (0..=u8::MAX).filter(|byte| !known.contains(byte)) {
            assert_eq!(DatagramHead::read(&[byte, 0, 0, 0, 0, 0]), None, "{byte:#04x}");
        }
    }
}
