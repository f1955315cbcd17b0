//! The messages of `protocol`: frames on a stream, then each of the three kinds of stream.

use std::fmt::Debug;

use bytes::BytesMut;
use portolan_protocol::{
    Command, Event, FrameBuffer, Message, Nothing, Opened, Opening, PeerCommand, PeerEvent,
    PeerReply, Reply, Table, decode, encode,
};

/// One message of every kind, as the protocol's own tests fix them: `table/kind hex`.
const GOLDEN: &str = include_str!("../../protocol/tests/golden/messages.txt");

/// Frames longer than this are refused by the target, so that its inputs can be small.
const FRAME_MAX: u32 = 4096;

/// Cuts a stream into frames, in pieces as long as the first byte says.
pub(crate) fn frames(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let mut buffer = FrameBuffer::new(FRAME_MAX);
    let mut taken = 0;
    for piece in stream.chunks(usize::from(piece).max(1)) {
        buffer.bytes_mut().extend_from_slice(piece);
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => taken += frame.len() + 4,
                Ok(None) => break,
                Err(_) => return,
            }
        }
        // One read more than a frame is the bound that the buffer promises.
        assert!(buffer.bytes_mut().len() <= FRAME_MAX as usize + 4 + piece.len());
    }
    assert_eq!(taken + buffer.into_rest().len(), stream.len(), "no byte is lost or made up");
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let stream: Vec<u8> = golden("").into_iter().take(5).flatten().collect();
    let mut seeds: Vec<Vec<u8>> = [0, 1, 3, 4, 200]
        .into_iter()
        .map(|piece| [&[piece][..], stream.as_slice()].concat())
        .collect();
    seeds.push([&[255][..], &u32::MAX.to_be_bytes(), b"four gibibytes"].concat());
    seeds.push([&[255][..], &FRAME_MAX.to_be_bytes()].concat());
    seeds.push([&[7][..], &[0; 64]].concat());
    seeds
}

/// A control stream: commands, replies, events.
pub(crate) fn control(frame: &[u8]) {
    round_trip::<Command, Reply, Event>(frame);
}

pub(crate) fn control_seeds() -> Vec<Vec<u8>> {
    contents(&["command/", "reply/", "event/", "error/"])
}

/// The first frames of every stream.
pub(crate) fn opening(frame: &[u8]) {
    round_trip::<Opening, Opened, Nothing>(frame);
}

pub(crate) fn opening_seeds() -> Vec<Vec<u8>> {
    contents(&["open", "error/"])
}

/// A stream between two peers.
pub(crate) fn peer(frame: &[u8]) {
    round_trip::<PeerCommand, PeerReply, PeerEvent>(frame);
}

pub(crate) fn peer_seeds() -> Vec<Vec<u8>> {
    contents(&["peer", "error/"])
}

/// What decodes encodes, if it still fits, to something that decodes to the same.
fn round_trip<C, R, E>(frame: &[u8])
where
    C: Table + Debug + PartialEq,
    R: Table + Debug + PartialEq,
    E: Table + Debug + PartialEq,
{
    let message: Message<C, R, E> = match decode(frame) {
        Ok(message) => message,
        Err(error) => {
            let answer = error.answer().map(|(_, body)| format!("{body:?}").len());
            assert!(answer.unwrap_or(0) < 8 * frame.len() + 1024, "a refusal stays small");
            return;
        }
    };
    let mut bytes = BytesMut::new();
    if encode(&message, &mut bytes).is_err() {
        return;
    }
    let content = bytes.get(4..).expect("a frame has a prefix");
    let again: Message<C, R, E> = decode(content).expect("our own frames can be read");
    assert_eq!(again, message);
}

/// Frames without their length prefixes.
fn contents(tables: &[&str]) -> Vec<Vec<u8>> {
    let frames = tables.iter().flat_map(|table| golden(table));
    frames.filter_map(|frame| frame.get(4..).map(<[u8]>::to_vec)).collect()
}

/// The golden frames whose label begins with `table`.
fn golden(table: &str) -> Vec<Vec<u8>> {
    let rows = GOLDEN.lines().filter_map(|line| line.split_once(' '));
    rows.filter(|(label, _)| label.starts_with(table)).map(|(_, hex)| from_hex(hex)).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}
