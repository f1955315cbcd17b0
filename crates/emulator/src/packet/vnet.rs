//! The header that the kernel puts before each packet of a device with offloads
//! (`struct virtio_net_hdr`, Virtio 1.2 §5.1.6, in the byte order of this machine).

/// Its length.
pub(crate) const VNET_HEADER: usize = 10;

/// The checksum is unfinished: the field holds the sum of the pseudo header.
const NEEDS_CHECKSUM: u8 = 1;

/// The kind of segmentation is in these bits; the one above them says that ECN's CWR is set.
const KIND: u8 = 0x7f;
const TCP_ECN: u8 = 0x80;

/// What is still to be done to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offload {
    /// Where the unfinished checksum starts to count, and where it stands from there.
    pub(crate) checksum: Option<(u16, u16)>,
    /// The segments that it stands for.
    pub(crate) segments: Option<Segments>,
}

/// A packet that stands for many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    /// How they are cut.
    pub(crate) kind: SegmentKind,
    /// Payload bytes of each but the last.
    pub(crate) size: u16,
    /// The length of the headers.
    pub(crate) headers: u16,
    /// The first has CWR (RFC 3168 §6.1.2), the others must not.
    pub(crate) ecn: bool,
}

/// Protocols that the kernel cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either.
    Udp,
}

impl SegmentKind {
    const fn number(self) -> u8 {
        match self {
            Self::TcpV4 => 1,
            Self::TcpV6 => 4,
            Self::Udp => 5,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::TcpV4, Self::TcpV6, Self::Udp].into_iter().find(|kind| kind.number() == number)
    }
}

impl Offload {
    /// Reads the header; `None`: a kind of segmentation that was not asked for.
    pub(crate) fn decode(header: [u8; VNET_HEADER]) -> Option<Self> {
        let [flags, kind, header_low, header_high, size_low, size_high, ..] = header;
        let [.., start_low, start_high, offset_low, offset_high] = header;
        let checksum = (flags & NEEDS_CHECKSUM != 0).then_some((
            u16::from_ne_bytes([start_low, start_high]),
            u16::from_ne_bytes([offset_low, offset_high]),
        ));
        let segments = match kind & KIND {
            0 => None,
            number => Some(Segments {
                kind: SegmentKind::of(number)?,
                size: u16::from_ne_bytes([size_low, size_high]),
                headers: u16::from_ne_bytes([header_low, header_high]),
                ecn: kind & TCP_ECN != 0,
            }),
        };
        Some(Self { checksum, segments })
    }

    /// Writes the header, with places counted from `shift` bytes before the IP packet.
    pub(crate) fn encode(self, shift: u16) -> [u8; VNET_HEADER] {
        let mut header = [0; VNET_HEADER];
        if let Some((start, offset)) = self.checksum {
            header[0] = NEEDS_CHECKSUM;
            header[6..8].copy_from_slice(&(start + shift).to_ne_bytes());
            header[8..10].copy_from_slice(&offset.to_ne_bytes());
        }
        if let Some(segments) = self.segments {
            header[1] = segments.kind.number() | if segments.ecn { TCP_ECN } else { 0 };
            header[2..4].copy_from_slice(&(segments.headers + shift).to_ne_bytes());
            header[4..6].copy_from_slice(&segments.size.to_ne_bytes());
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        let segments = Segments { kind: SegmentKind::TcpV6, size: 1440, headers: 72, ecn: true };
        for offload in [
            Offload::default(),
            Offload { checksum: Some((20, 6)), segments: None },
            Offload { checksum: Some((40, 16)), segments: Some(segments) },
        ] {
            assert_eq!(Offload::decode(offload.encode(0)), Some(offload));
        }
    }

    #[test]
    fn a_segmentation_that_was_not_asked_for_is_refused() {
        assert_eq!(Offload::decode([0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
