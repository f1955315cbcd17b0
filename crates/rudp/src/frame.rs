//! The frames of our own in packets; the frames of `mux` stand between them.

use std::ops::RangeInclusive;

use portolan_mux::{
    RangeSet, Reader, Violation, ViolationCode,
    frame::{Session, is_piece, is_session_frame, is_stream_frame},
    put_varint, varint_len,
};

use crate::{ConnectionId, cadence::Wish, ecn::EcnCounts, event::ResetToken, ids::RemoteId};

const PADDING: u64 = 0x00;
const PROBE: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;
const NEW_ID: u64 = 0x07;
const RETIRE_ID: u64 = 0x08;
const PATH_CHALLENGE: u64 = 0x1a;
const PATH_RESPONSE: u64 = 0x1b;
const DONE: u64 = 0x1e;
const IMMEDIATE_ACK: u64 = 0x1f;
pub(crate) const ACK_FREQUENCY: u64 = 0xaf;

/// Ranges in one ACK frame, at most.
const RANGES_MAX: u64 = 256;

/// Whether `kind` is that of a piece of a stream: one byte, as every kind.
pub(crate) fn is_of_stream(kind: &u8) -> bool {
    is_piece(*kind)
}

/// A frame in a packet.
#[derive(Debug, Clone)]
pub(crate) enum Frame<'a> {
    /// Nothing.
    Padding,
    /// Nothing, but to be acknowledged.
    Probe,
    Ack(Ack<'a>),
    Crypto {
        offset: u64,
        data: &'a [u8],
    },
    /// Another name by which the sender may be called (RFC 9000 §19.15).
    NewId(RemoteId),
    /// A name that the sender will not call us by any more (RFC 9000 §19.16).
    RetireId(u64),
    /// To be answered to where it came from (RFC 9000 §19.17).
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    /// How often the remote wishes to be acknowledged.
    AckFrequency(Wish),
    /// To be acknowledged without delay.
    ImmediateAck,
    /// The server has the client's last handshake message.
    Done,
    Session(Session<'a>),
    /// A frame of the streams: its kind, the rest is unread.
    Mux(u64),
}

impl<'a> Frame<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        match reader.varint().map_err(|_| CUT)? {
            PADDING => Ok(Self::Padding),
            PROBE => Ok(Self::Probe),
            ACK => Ok(Self::Ack(Ack::decode(reader)?)),
            ACK_ECN => Ok(Self::Ack(Ack::decode_with_ecn(reader)?)),
            CRYPTO => {
                let offset = reader.varint().map_err(|_| CUT)?;
                let data = reader.prefixed().map_err(|_| CUT)?;
                Ok(Self::Crypto { offset, data })
            }
            NEW_ID => Ok(Self::NewId(decode_new_id(reader)?)),
            RETIRE_ID => Ok(Self::RetireId(reader.varint().map_err(|_| CUT)?)),
            PATH_CHALLENGE => Ok(Self::PathChallenge(reader.array().map_err(|_| CUT)?)),
            PATH_RESPONSE => Ok(Self::PathResponse(reader.array().map_err(|_| CUT)?)),
            DONE => Ok(Self::Done),
            IMMEDIATE_ACK => Ok(Self::ImmediateAck),
            ACK_FREQUENCY => Ok(Self::AckFrequency(decode_wish(reader)?)),
            kind if is_stream_frame(kind) => Ok(Self::Mux(kind)),
            kind if is_session_frame(kind) => Ok(Self::Session(Session::decode(kind, reader)?)),
            _ => Err(malformed("an unknown frame type")),
        }
    }

    /// Whether it may be sent on a path only to try it (RFC 9000 §9.1).
    pub(crate) fn is_probing(&self) -> bool {
        match self {
            Self::Padding | Self::NewId(_) | Self::PathChallenge(_) | Self::PathResponse(_) => true,
            Self::Probe
            | Self::Ack(_)
            | Self::Crypto { .. }
            | Self::RetireId(_)
            | Self::Done
            | Self::AckFrequency(_)
            | Self::ImmediateAck
            | Self::Session(_)
            | Self::Mux(_) => false,
        }
    }

    /// Whether its packet must be acknowledged (RFC 9002 §2).
    pub(crate) fn is_ack_eliciting(&self) -> bool {
        match self {
            Self::Padding | Self::Ack(_) | Self::Session(Session::Close(_) | Session::Pong(_)) => {
                false
            }
            Self::Probe
            | Self::Crypto { .. }
            | Self::NewId(_)
            | Self::RetireId(_)
            | Self::PathChallenge(_)
            | Self::PathResponse(_)
            | Self::AckFrequency(_)
            | Self::ImmediateAck
            | Self::Done
            | Self::Session(Session::Ping(_) | Session::Greeting(_))
            | Self::Mux(_) => true,
        }
    }
}

fn decode_new_id(reader: &mut Reader<'_>) -> Result<RemoteId, Violation> {
    let number = reader.varint().map_err(|_| CUT)?;
    let id = ConnectionId(reader.array().map_err(|_| CUT)?);
    let token = Some(ResetToken(reader.array().map_err(|_| CUT)?));
    Ok(RemoteId { number, id, token })
}

/// An acknowledgement; its ranges are known to be well-formed.
#[derive(Debug, Clone)]
pub(crate) struct Ack<'a> {
    pub(crate) largest: u64,
    pub(crate) delay_us: u64,
    first_len: u64,
    more: Reader<'a>,
    more_count: u64,
    /// Marks that have arrived so far, if the remote counts them.
    pub(crate) ecn: Option<EcnCounts>,
}

impl<'a> Ack<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let mut next = || reader.varint().map_err(|_| CUT);
        let (largest, delay_us, more_count, first_len) = (next()?, next()?, next()?, next()?);
        if more_count >= RANGES_MAX {
            return Err(malformed("an ACK with too many ranges"));
        }
        let ack =
            Self { largest, delay_us, first_len, more: reader.clone(), more_count, ecn: None };
        let mut smallest = largest.checked_sub(first_len).ok_or(BELOW_ZERO)?;
        for _ in 0..more_count {
            let (gap, len) = next_pair(reader)?;
            let end = smallest.checked_sub(gap + 2).ok_or(BELOW_ZERO)?;
            smallest = end.checked_sub(len).ok_or(BELOW_ZERO)?;
        }
        Ok(ack)
    }

    fn decode_with_ecn(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let mut ack = Self::decode(reader)?;
        let mut next = || reader.varint().map_err(|_| CUT);
        ack.ecn = Some(EcnCounts { ect0: next()?, ect1: next()?, ce: next()? });
        Ok(ack)
    }

    /// The acknowledged numbers, from the largest down.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let mut more = self.more.clone();
        let first = self.largest - self.first_len;
        let mut smallest = first;
        let rest = (0..self.more_count).map_while(move |_| {
            let (gap, len) = next_pair(&mut more).ok()?;
            let end = smallest.checked_sub(gap + 2)?;
            smallest = end.checked_sub(len)?;
            Some(smallest..=end)
        });
        std::iter::once(first..=self.largest).chain(rest)
    }
}

fn decode_wish(reader: &mut Reader<'_>) -> Result<Wish, Violation> {
    let mut next = || reader.varint().map_err(|_| CUT);
    let (sequence, packets, delay_us, reorder) = (next()?, next()?, next()?, next()?);
    Ok(Wish { sequence, packets, delay_us, reorder })
}

fn next_pair(reader: &mut Reader<'_>) -> Result<(u64, u64), Violation> {
    Ok((reader.varint().map_err(|_| CUT)?, reader.varint().map_err(|_| CUT)?))
}

const CUT: Violation = malformed("a frame ends in the middle");
const BELOW_ZERO: Violation = malformed("an ACK of numbers below zero");

const fn malformed(detail: &'static str) -> Violation {
    Violation::new(ViolationCode::FrameEncoding, detail)
}

/// What stands in an ACK besides the ranges.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AckHead {
    /// Numbers below are known to the remote.
    pub(crate) above: u64,
    pub(crate) delay_us: u64,
    /// Said only if there are any.
    pub(crate) ecn: EcnCounts,
}

/// Appends an ACK of as many of `ranges` as fit before `end`, the newest first, down to the number
/// `above`; answers the largest number, if at least one range fits.
pub(crate) fn put_ack(
    out: &mut Vec<u8>,
    end: usize,
    ranges: &RangeSet,
    head: AckHead,
) -> Option<u64> {
    let AckHead { above, delay_us, ecn } = head;
    let counts = [ecn.ect0, ecn.ect1, ecn.ce];
    let counts = counts.into_iter().filter(|_| !ecn.is_empty());
    let mut descending = ranges.descending();
    let newest = descending.next()?;
    let largest = newest.end - 1;
    let first_len = newest.end - 1 - newest.start;
    let fixed = 1 + varint_len(largest) + varint_len(delay_us) + 2 + varint_len(first_len);
    let fixed = fixed + counts.clone().map(varint_len).sum::<usize>();
    let mut room = end.checked_sub(out.len())?.checked_sub(fixed)?;
    let mut below = newest.start;
    let mut more = 0;
    let descending = descending.take_while(|range| range.end > above);
    for range in descending.take(usize::try_from(RANGES_MAX).unwrap_or(1) - 1) {
        let len = varint_len(below - range.end - 1) + varint_len(range.end - range.start - 1);
        if len > room {
            break;
        }
        room -= len;
        more += 1;
        below = range.start;
    }
    let kind = if ecn.is_empty() { ACK } else { ACK_ECN };
    for value in [kind, largest, delay_us, more as u64, first_len] {
        put_varint(out, value);
    }
    let mut below = newest.start;
    for range in ranges.descending().skip(1).take(more) {
        put_varint(out, below - range.end - 1);
        put_varint(out, range.end - range.start - 1);
        below = range.start;
    }
    counts.for_each(|count| put_varint(out, count));
    Some(largest)
}

/// Bytes before the data in a CRYPTO frame.
pub(crate) fn crypto_overhead(offset: u64, len: usize) -> usize {
    1 + varint_len(offset) + varint_len(len as u64)
}

pub(crate) fn put_crypto_header(out: &mut Vec<u8>, offset: u64, len: usize) {
    put_varint(out, CRYPTO);
    put_varint(out, offset);
    put_varint(out, len as u64);
}

pub(crate) fn put_probe(out: &mut Vec<u8>) {
    put_varint(out, PROBE);
}

pub(crate) fn put_immediate_ack(out: &mut Vec<u8>) {
    put_varint(out, IMMEDIATE_ACK);
}

pub(crate) fn put_done(out: &mut Vec<u8>) {
    put_varint(out, DONE);
}

/// Bytes of a NEW_ID, at most.
pub(crate) const NEW_ID_LEN: usize = 1 + 8 + ConnectionId::LEN + ResetToken::LEN;

pub(crate) fn put_new_id(out: &mut Vec<u8>, number: u64, id: ConnectionId, token: ResetToken) {
    put_varint(out, NEW_ID);
    put_varint(out, number);
    out.extend_from_slice(&id.0);
    out.extend_from_slice(&token.0);
}

/// Bytes of a RETIRE_ID, at most.
pub(crate) const RETIRE_ID_LEN: usize = 9;

pub(crate) fn put_retire_id(out: &mut Vec<u8>, number: u64) {
    put_varint(out, RETIRE_ID);
    put_varint(out, number);
}

/// Bytes of a PATH_CHALLENGE or PATH_RESPONSE.
pub(crate) const PATH_FRAME_LEN: usize = 9;

pub(crate) fn put_path_challenge(out: &mut Vec<u8>, data: [u8; 8]) {
    put_varint(out, PATH_CHALLENGE);
    out.extend_from_slice(&data);
}

pub(crate) fn put_path_response(out: &mut Vec<u8>, data: [u8; 8]) {
    put_varint(out, PATH_RESPONSE);
    out.extend_from_slice(&data);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_as_they_were_written() {
        let (id, token) = (ConnectionId([5; 8]), ResetToken([6; 16]));
        let mut out = Vec::new();
        put_new_id(&mut out, 300, id, token);
        put_retire_id(&mut out, 70);
        let mut reader = Reader::new(&out);
        let expected = RemoteId { number: 300, id, token: Some(token) };
        let new = Frame::decode(&mut reader);
        assert!(matches!(&new, Ok(Frame::NewId(read)) if *read == expected), "{new:?}");
        assert!(matches!(Frame::decode(&mut reader), Ok(Frame::RetireId(70))));
        assert!(reader.is_empty());
    }

    fn set_of(numbers: &[u64]) -> RangeSet {
        let mut set = RangeSet::default();
        for &number in numbers {
            set.insert(number..number + 1);
        }
        set
    }

    fn acked(bytes: &[u8]) -> Vec<u64> {
        let Ok(Frame::Ack(ack)) = Frame::decode(&mut Reader::new(bytes)) else {
            panic!("no ACK in {bytes:?}")
        };
        let mut numbers: Vec<u64> = ack.ranges().flatten().collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn an_ack_that_does_not_fit_keeps_the_newest() {
        let ranges = set_of(&[1, 3, 5, 7, 9]);
        let mut out = Vec::new();
        let head = AckHead::default();
        assert_eq!(put_ack(&mut out, 10, &ranges, head), Some(9));
        assert!(out.len() <= 10);
        assert_eq!(acked(&out), [5, 7, 9]);
        assert_eq!(put_ack(&mut Vec::new(), 4, &ranges, head), None);
    }

    #[test]
    fn counts_of_marks_are_said_when_there_are_any() {
        let counts = EcnCounts { ect0: 300, ect1: 0, ce: 7 };
        for (ecn, expected) in [(counts, Some(counts)), (EcnCounts::default(), None)] {
            let mut out = Vec::new();
            let head = AckHead { ecn, ..AckHead::default() };
            put_ack(&mut out, 12, &set_of(&[1, 3, 5]), head).unwrap();
            assert!(out.len() <= 12);
            let Ok(Frame::Ack(ack)) = Frame::decode(&mut Reader::new(&out)) else {
                panic!("no ACK in {out:?}")
            };
            assert_eq!(ack.ecn, expected);
        }
    }

    #[test]
    fn an_ack_below_zero_is_refused() {
        for bytes in [&[0x02, 5, 0, 0, 6][..], &[0x02, 5, 0, 1, 3, 1, 0], &[0x02, 9, 0, 1, 0, 2, 6]]
        {
            let violation = Frame::decode(&mut Reader::new(bytes)).unwrap_err();
            assert_eq!(violation.code, ViolationCode::FrameEncoding, "{bytes:?}");
        }
    }

    #[test]
    fn an_unknown_frame_is_refused() {
        assert!(Frame::decode(&mut Reader::new(&[0x1d])).is_err());
    }

    proptest! {
        #[test]
        fn every_number_that_is_acknowledged_arrives(
            numbers in prop::collection::vec(0..500_u64, 1..120),
            delay_us in 0..100_000_u64,
        ) {
            let mut out = Vec::new();
            let head = AckHead { delay_us, ..AckHead::default() };
            let largest = put_ack(&mut out, 10_000, &set_of(&numbers), head);
            prop_assert_eq!(largest, numbers.iter().max().copied());
            let mut expected = numbers;
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(acked(&out), expected);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(frame) = Frame::decode(&mut reader) {
                if let Frame::Ack(ack) = frame {
                    for range in ack.ranges() {
                        prop_assert!(range.start() <= range.end());
                    }
                }
                if reader.is_empty() {
                    break;
                }
            }
        }
    }
}
