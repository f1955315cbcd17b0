//! Packet headers. The whole wire format is written down in `WIRE.md`.

use std::ops::Range;

use portolan_mux::{Reader, put_varint};

use crate::ConnectionId;

/// The version of this wire format.
pub(crate) const VERSION: u8 = 1;

/// Client datagrams with an Init packet are at least this long; every path must carry it.
pub(crate) const DATAGRAM_MIN: u16 = 1200;

/// Bytes of the authentication tag at the end of every packet.
pub(crate) const TAG_LEN: usize = 16;

/// Bytes after the start of the packet number at which header protection takes its sample
/// (RFC 9001 §5.4.2).
const SAMPLE_OFFSET: usize = 4;
const SAMPLE_LEN: usize = 16;

/// Longest token in bytes that is looked at or returned.
pub(crate) const TOKEN_MAX: usize = 64;

const FORM: u8 = 0b1000_0000;
const FORM_MASK: u8 = 0b1100_0000;
const TYPE_MASK: u8 = 0b0011_0000;
const KEY_PHASE: u8 = 0b0000_1000;
const NUMBER_LEN_MASK: u8 = 0b0000_0011;

const INIT: u8 = 0b0000_0000;
const HANDSHAKE: u8 = 0b0001_0000;
const DATA: u8 = 0b0010_0000;
const STATELESS: u8 = 0b0011_0000;

const RETRY: u8 = FORM | STATELESS;
const VERSIONS: u8 = FORM | STATELESS | 1;

/// Bytes before the packet number in a Data packet.
pub(crate) const DATA_PREFIX: usize = 1 + ConnectionId::LEN;

/// Most that header and tag of a Data packet take.
pub(crate) const DATA_OVERHEAD_MAX: usize = DATA_PREFIX + 4 + TAG_LEN;

/// Bytes that a Data packet takes on the wire to `remote` beside its frames, at least: headers of
/// IP and UDP, ours, and the tag.
pub(crate) const fn wire_overhead(remote: std::net::SocketAddr) -> usize {
    let network = if remote.is_ipv4() { 20 } else { 40 };
    network + 8 + DATA_PREFIX + 1 + TAG_LEN
}

/// The keys that protect a packet, and the numbers that it is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Init,
    Handshake,
    Data,
}

impl Level {
    pub(crate) const ALL: [Self; 3] = [Self::Init, Self::Handshake, Self::Data];
}

/// What can be read of a packet without keys. Offsets count from the packet's first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Header {
    Init(InitHeader),
    Handshake { destination: ConnectionId, number_at: usize, end: usize },
    Data { destination: ConnectionId, number_at: usize },
    Retry { destination: ConnectionId, source: ConnectionId, token: Range<usize> },
    Versions { destination: ConnectionId, source: ConnectionId, offered: Range<usize> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InitHeader {
    pub(crate) version: u8,
    pub(crate) destination: ConnectionId,
    pub(crate) source: ConnectionId,
    pub(crate) token: Range<usize>,
    pub(crate) number_at: usize,
    pub(crate) end: usize,
}

impl Header {
    /// Reads the header of the packet at the start of `bytes`; `None` if there is none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let first = reader.byte().ok()?;
        if first & FORM_MASK != FORM {
            return None;
        }
        match first & TYPE_MASK {
            INIT => parse_init(bytes.len(), &mut reader),
            HANDSHAKE => parse_handshake(bytes.len(), &mut reader),
            DATA => {
                let destination = connection_id(&mut reader)?;
                Some(Self::Data { destination, number_at: DATA_PREFIX })
            }
            _ => parse_stateless(first, bytes.len(), &mut reader),
        }
    }

    pub(crate) fn destination(&self) -> ConnectionId {
        match self {
            Self::Init(header) => header.destination,
            Self::Handshake { destination, .. }
            | Self::Data { destination, .. }
            | Self::Retry { destination, .. }
            | Self::Versions { destination, .. } => *destination,
        }
    }

    /// Where the packet ends, of `len` bytes that are left of the datagram.
    pub(crate) fn end(&self, len: usize) -> usize {
        match self {
            Self::Init(header) => header.end,
            Self::Handshake { end, .. } => *end,
            Self::Data { .. } | Self::Retry { .. } | Self::Versions { .. } => len,
        }
    }
}

/// Who is meant by a datagram that is one Data packet; `None` if it is something else.
pub(crate) fn data_destination(datagram: &[u8]) -> Option<ConnectionId> {
    let [first, destination @ ..] = *datagram.first_chunk::<DATA_PREFIX>()?;
    (first & (FORM_MASK | TYPE_MASK) == FORM | DATA).then_some(ConnectionId(destination))
}

/// Bytes of the datagrams at the start of `train` that go where its first one goes: what
/// [`Endpoint::handle_datagram`](crate::Endpoint::handle_datagram) says of that one holds for them
/// too. Each but the last of a train has `stride` bytes.
///
/// Such trains are of one remote, and in a transfer all of it are packets for one connection.
#[must_use]
pub fn leading_run(train: &[u8], stride: usize) -> usize {
    let mut datagrams = train.chunks(stride.max(1));
    let Some(first) = datagrams.next() else { return 0 };
    let of_data = |datagram: &[u8]| {
        let prefix = datagram.first_chunk::<DATA_PREFIX>()?;
        (prefix[0] & (FORM_MASK | TYPE_MASK) == FORM | DATA).then_some(*prefix)
    };
    let Some([_, destination @ ..]) = of_data(first) else { return first.len() };
    let is_alike =
        |datagram: &&[u8]| of_data(datagram).is_some_and(|[_, other @ ..]| other == destination);
    first.len() + datagrams.take_while(is_alike).map(<[u8]>::len).sum::<usize>()
}

fn parse_init(len: usize, reader: &mut Reader<'_>) -> Option<Header> {
    let version = reader.byte().ok()?;
    let destination = connection_id(reader)?;
    let source = connection_id(reader)?;
    let token = reader.prefixed().ok()?.len();
    let token_end = len - reader.remaining();
    let (number_at, end) = length(len, reader)?;
    let token = token_end - token..token_end;
    Some(Header::Init(InitHeader { version, destination, source, token, number_at, end }))
}

fn parse_handshake(len: usize, reader: &mut Reader<'_>) -> Option<Header> {
    let destination = connection_id(reader)?;
    let (number_at, end) = length(len, reader)?;
    Some(Header::Handshake { destination, number_at, end })
}

fn parse_stateless(first: u8, len: usize, reader: &mut Reader<'_>) -> Option<Header> {
    let destination = connection_id(reader)?;
    let source = connection_id(reader)?;
    let rest = len - reader.remaining()..len.checked_sub(TAG_LEN)?;
    if rest.len() > TOKEN_MAX {
        return None;
    }
    match first {
        RETRY => Some(Header::Retry { destination, source, token: rest }),
        VERSIONS => Some(Header::Versions { destination, source, offered: rest }),
        _ => None,
    }
}

fn connection_id(reader: &mut Reader<'_>) -> Option<ConnectionId> {
    reader.array().ok().map(ConnectionId)
}

/// Where packet number and packet begin and end, by the length field.
fn length(len: usize, reader: &mut Reader<'_>) -> Option<(usize, usize)> {
    let body = usize::from(u16::from_be_bytes(reader.array().ok()?));
    let number_at = len - reader.remaining();
    (body <= reader.remaining()).then_some((number_at, number_at + body))
}

/// A packet under construction at the end of a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    pub(crate) level: Level,
    pub(crate) number: u64,
    /// Where the packet begins in the buffer.
    pub(crate) start: usize,
    pub(crate) number_at: usize,
    pub(crate) payload_at: usize,
}

/// Who sends an Init packet to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InitNames<'a> {
    pub(crate) destination: ConnectionId,
    pub(crate) source: ConnectionId,
    pub(crate) token: &'a [u8],
}

impl Draft {
    pub(crate) fn init(
        out: &mut Vec<u8>,
        names: InitNames<'_>,
        number: u64,
        acked: Option<u64>,
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&[FORM | INIT, VERSION]);
        out.extend_from_slice(&names.destination.0);
        out.extend_from_slice(&names.source.0);
        put_varint(out, names.token.len() as u64);
        out.extend_from_slice(names.token);
        out.extend_from_slice(&[0, 0]);
        Self::with_number(out, start, Level::Init, (number, acked))
    }

    pub(crate) fn handshake(
        out: &mut Vec<u8>,
        destination: ConnectionId,
        number: u64,
        acked: Option<u64>,
    ) -> Self {
        let start = out.len();
        out.push(FORM | HANDSHAKE);
        out.extend_from_slice(&destination.0);
        out.extend_from_slice(&[0, 0]);
        Self::with_number(out, start, Level::Handshake, (number, acked))
    }

    pub(crate) fn data(
        out: &mut Vec<u8>,
        destination: ConnectionId,
        phase: KeyPhase,
        number: u64,
        acked: Option<u64>,
    ) -> Self {
        let start = out.len();
        out.push(FORM | DATA | phase.bit());
        out.extend_from_slice(&destination.0);
        Self::with_number(out, start, Level::Data, (number, acked))
    }

    /// Takes back what was written of it.
    pub(crate) fn discard(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    fn with_number(
        out: &mut Vec<u8>,
        start: usize,
        level: Level,
        (number, acked): (u64, Option<u64>),
    ) -> Self {
        let number_at = out.len();
        let len = number_len(number, acked);
        out.extend_from_slice(&number.to_be_bytes()[8 - len..]);
        out[start] |= u8::try_from(len - 1).unwrap_or(0);
        Self { level, number, start, number_at, payload_at: out.len() }
    }

    /// Whether nothing was written after the header.
    pub(crate) fn is_empty(&self, out: &[u8]) -> bool {
        out.len() == self.payload_at
    }

    /// Pads until header protection finds its sample, and writes the length where there is one.
    pub(crate) fn close(&self, out: &mut Vec<u8>) {
        let len_min = self.number_at + SAMPLE_OFFSET;
        if out.len() < len_min {
            out.resize(len_min, 0);
        }
        if self.level != Level::Data {
            let length = u16::try_from(out.len() + TAG_LEN - self.number_at).unwrap_or(u16::MAX);
            out[self.number_at - 2..self.number_at].copy_from_slice(&length.to_be_bytes());
        }
    }
}

/// Which of two sets of keys protects a Data packet; it changes with every update (RFC 9001 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPhase {
    Even,
    Odd,
}

impl KeyPhase {
    pub(crate) fn of(first: u8) -> Self {
        if first & KEY_PHASE == 0 { Self::Even } else { Self::Odd }
    }

    pub(crate) fn next(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Even => 0,
            Self::Odd => KEY_PHASE,
        }
    }
}

/// Bytes that a packet number takes when `acked` is the largest that the remote has (RFC 9000
/// §A.2).
fn number_len(number: u64, acked: Option<u64>) -> usize {
    let unacked = acked.map_or(number + 1, |acked| number - acked);
    match unacked.saturating_mul(2) {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}

/// Bytes that a cipher handles at once: a last block that is not whole costs as much as two more.
const BLOCK_LEN: usize = 16;

/// One byte in so many may stay unused for the sake of whole blocks.
const UNUSED_SHARE: usize = 512;

/// The length at most `size` with which a Data packet of this number is made of whole blocks, if
/// little is lost by it.
pub(crate) fn whole_blocks(size: usize, number: u64, acked: Option<u64>) -> usize {
    let around = DATA_PREFIX + number_len(number, acked) + TAG_LEN;
    let excess = size.saturating_sub(around) % BLOCK_LEN;
    if excess * UNUSED_SHARE <= size { size - excess } else { size }
}

/// Bytes of the packet number by the (unprotected) first byte.
pub(crate) fn number_len_of(first: u8) -> usize {
    usize::from(first & NUMBER_LEN_MASK) + 1
}

/// The number whose last bytes are `bytes`, closest to the one after `largest` (RFC 9000 §A.3).
pub(crate) fn expand_number(bytes: &[u8], largest: Option<u64>) -> u64 {
    let truncated = bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let window = 1_u64 << (8 * bytes.len().min(4));
    let expected = largest.map_or(0, |largest| largest + 1);
    let candidate = expected & !(window - 1) | truncated;
    if candidate + window / 2 <= expected {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// Packet number bytes (and more) and sample of a packet, for header protection.
pub(crate) fn protected_parts(
    packet: &mut [u8],
    number_at: usize,
) -> Option<(&mut u8, &mut [u8], &[u8])> {
    let (head, tail) = packet.split_at_mut_checked(number_at)?;
    let (number, rest) = tail.split_at_mut_checked(SAMPLE_OFFSET)?;
    Some((head.first_mut()?, number, rest.get(..SAMPLE_LEN)?))
}

/// A Retry packet without its tag.
pub(crate) fn put_retry(
    out: &mut Vec<u8>,
    destination: ConnectionId,
    source: ConnectionId,
    token: &[u8],
) {
    put_stateless(out, RETRY, destination, source);
    out.extend_from_slice(token);
}

/// A Versions packet without its tag.
pub(crate) fn put_versions(
    out: &mut Vec<u8>,
    destination: ConnectionId,
    source: ConnectionId,
    offered: &[u8],
) {
    put_stateless(out, VERSIONS, destination, source);
    out.extend_from_slice(offered);
}

fn put_stateless(out: &mut Vec<u8>, first: u8, destination: ConnectionId, source: ConnectionId) {
    out.push(first);
    out.extend_from_slice(&destination.0);
    out.extend_from_slice(&source.0);
}

/// Makes random bytes look like the start of a Data packet.
pub(crate) fn disguise_as_data(first: &mut u8) {
    *first = FORM | DATA | (*first & 0x0f);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_ends_where_another_connection_or_another_kind_begins() {
        const STRIDE: usize = 12;
        let datagram = |first: u8, id: u8| [[first].as_slice(), &[id; STRIDE - 1]].concat();
        let data = FORM | DATA;
        let alike = [datagram(data, 1), datagram(data | KEY_PHASE | 3, 1)].concat();
        assert_eq!(leading_run(&alike, STRIDE), 2 * STRIDE);
        for other in [datagram(data, 2), datagram(FORM | HANDSHAKE, 1), datagram(0x40, 1)] {
            let train = [&alike[..], &other].concat();
            assert_eq!(leading_run(&train, STRIDE), 2 * STRIDE);
        }
        let short = [&alike[..], &[data, 1]].concat();
        assert_eq!(leading_run(&short, STRIDE), 2 * STRIDE, "too short for a name");
        let handshakes = datagram(FORM | HANDSHAKE, 1).repeat(2);
        assert_eq!(leading_run(&handshakes, STRIDE), STRIDE);
        assert_eq!(leading_run(&[], 0), 0);
    }

    const TO: ConnectionId = ConnectionId([1; 8]);
    const FROM: ConnectionId = ConnectionId([2; 8]);

    fn init(token: &[u8], payload: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let names = InitNames { destination: TO, source: FROM, token };
        let draft = Draft::init(&mut out, names, 7, None);
        out.resize(out.len() + payload, 0);
        draft.close(&mut out);
        out.resize(out.len() + TAG_LEN, 0);
        out
    }

    #[test]
    fn an_init_packet_says_where_everything_is() {
        let mut bytes = init(b"token", 100);
        let end = bytes.len();
        bytes.extend_from_slice(&[0; 50]);
        let Some(Header::Init(header)) = Header::parse(&bytes) else { panic!("no Init") };
        assert_eq!((header.version, header.destination, header.source), (VERSION, TO, FROM));
        assert_eq!(&bytes[header.token], b"token");
        assert_eq!(header.end, end);
        assert_eq!(bytes[header.number_at], 7);
    }

    #[test]
    fn a_length_beyond_the_datagram_is_no_packet() {
        let bytes = init(b"", 100);
        for len in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..len]), None, "cut to {len}");
        }
    }

    #[test]
    fn other_protocols_on_the_port_are_not_ours() {
        for first in (0..=u8::MAX).filter(|first| first & FORM_MASK != FORM) {
            assert_eq!(Header::parse(&[first; 64]), None);
        }
    }

    #[test]
    fn an_empty_packet_is_padded_for_its_sample() {
        let mut out = Vec::new();
        let draft = Draft::data(&mut out, TO, KeyPhase::Odd, 3, Some(2));
        draft.close(&mut out);
        out.resize(out.len() + TAG_LEN, 0);
        assert!(protected_parts(&mut out, draft.number_at).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(header) = Header::parse(&bytes) {
                prop_assert!(header.end(bytes.len()) <= bytes.len());
            }
        }

        #[test]
        fn a_number_is_understood_while_the_gap_is_in_the_window(
            acked in 0..1_u64 << 40,
            ahead in 1..1_u64 << 20,
            received in 0..1_u64 << 19,
        ) {
            let number = acked + ahead;
            let largest = (acked + received).min(number - 1);
            let len = number_len(number, Some(acked));
            let bytes = &number.to_be_bytes()[8 - len..];
            prop_assert_eq!(expand_number(bytes, Some(largest)), number);
        }
    }
}
