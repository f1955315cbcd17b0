//! The frames and parameters of `mux`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use portolan_mux::{
    Config, Mux, Params, Priority, Reader, Side, StreamId,
    frame::{
        Close, CloseCause, DatagramCopy, Frame, Greeting, RepairHeader, Session, is_session_frame,
        is_stream_frame,
    },
};

use crate::start;

/// Decodes frame after frame, as a carrier does.
pub(crate) fn frames(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(kind) = reader.varint() {
        let before = reader.remaining();
        let decoded = if is_session_frame(kind) {
            session(kind, &mut reader)
        } else {
            stream(kind, &mut reader)
        };
        if !decoded {
            return;
        }
        assert!(reader.remaining() < before, "every frame takes bytes");
    }
}

fn session(kind: u64, reader: &mut Reader<'_>) -> bool {
    let Ok(frame) = Session::decode(kind, reader) else { return false };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    let mut again = Reader::new(&bytes);
    assert_eq!(again.varint(), Ok(kind));
    // A greeting of another version is read as far as its version only.
    assert_eq!(Session::decode(kind, &mut again), Ok(frame));
    assert!(again.is_empty());
    true
}

fn stream(kind: u64, reader: &mut Reader<'_>) -> bool {
    let Ok(frame) = Frame::decode(kind, reader) else { return false };
    assert!(is_stream_frame(kind));
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    let mut again = Reader::new(&bytes);
    assert_eq!(again.varint(), Ok(kind));
    assert_eq!(Frame::decode(kind, &mut again), Ok(frame));
    assert!(again.is_empty());
    true
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let frames = sample_frames();
    let sessions = sample_sessions();
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    seeds.extend(frames.iter().map(|frame| encoded(|out| frame.encode(out))));
    seeds.extend(sessions.iter().map(|frame| encoded(|out| frame.encode(out))));
    seeds.push(seeds.concat());
    seeds
}

pub(crate) fn sample_frames() -> Vec<Frame<'static>> {
    let id = StreamId(4);
    let stream = |priority, offset, data, fin| Frame::Stream { id, priority, offset, data, fin };
    let copy = |sequence, repeated| Some(DatagramCopy { sequence, repeated });
    let repair = |first, members, index, data| Frame::Repair {
        header: RepairHeader { first, members, index },
        data,
    };
    vec![
        stream(Priority::Control, 0, b"hello", false),
        stream(Priority::Live, 70, b"", true),
        stream(Priority::Bulk, 1 << 40, b"far away", true),
        Frame::Reset { id: StreamId(5), code: u32::MAX, final_size: 100_000 },
        Frame::Stop { id, code: 7 },
        Frame::MaxStreamData { id, max: 1 << 20 },
        Frame::MaxData { max: 4 << 20 },
        Frame::MaxStreams { max: 512 },
        Frame::Datagram { copy: None, data: b"once" },
        Frame::Datagram { copy: copy(0, false), data: b"repairable" },
        Frame::Datagram { copy: copy((1 << 14) - 1, true), data: b"" },
        // The exclusive or of "repairable" as message 0 and "b" as message 1, each with its length.
        repair(0, 2, 0, b"\x00\x0b\x10epairable"),
        repair((1 << 14) - 3, 16, 2, b"\x00\x01?"),
    ]
}

fn sample_sessions() -> Vec<Session<'static>> {
    let close = |cause, reason| Session::Close(Close { cause, reason });
    vec![
        Session::Ping(1),
        Session::Pong(1 << 61),
        close(CloseCause::Application(3), b"bye"),
        close(CloseCause::Violation(10), b""),
        Session::Greeting(Greeting { version: 1, idle_ms: 20_000, params: sample_params() }),
    ]
}

/// Transport parameters.
pub(crate) fn params(bytes: &[u8]) {
    let Ok(params) = Params::decode(bytes) else { return };
    let again = encoded(|out| params.encode(out));
    assert_eq!(Params::decode(&again), Ok(params));
}

pub(crate) fn params_seeds() -> Vec<Vec<u8>> {
    let usual = encoded(|out| sample_params().encode(out));
    let unknown = [usual.as_slice(), &[0x3f, 3, 1, 2, 3]].concat();
    let twice = [usual.as_slice(), usual.as_slice()].concat();
    vec![usual, unknown, twice, encoded(|out| Params::default().encode(out)), Vec::new()]
}

fn sample_params() -> Params {
    Params { streams: 256, stream_window: 1 << 20, connection_window: 4 << 20, datagram_max: 1200 }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

/// Small bounds, so that small inputs reach them.
const BOUNDS: Config = Config {
    streams: 4,
    stream_window: 1000,
    connection_window: 2000,
    send_buffer: 1000,
    datagram_queue: 500,
    datagram_max: 300,
    redundancy_percent: 70,
    stream_frame_max: 1000,
};

/// A whole machine: frames of a remote, interleaved with what an application does.
///
/// Frames of type 0x10 are not the remote's: they act on this side, so that the fuzzer can mix
/// both.
pub(crate) fn machine(bytes: &[u8]) {
    let now = start();
    let Some((&first, rest)) = bytes.split_first() else { return };
    let side = if first & 1 == 0 { Side::Client } else { Side::Server };
    let mut mux = Mux::new(side, BOUNDS);
    // As few streams of ours: what we open is not the remote's doing.
    let remote = Params { streams: BOUNDS.streams.into(), ..sample_params() };
    mux.on_params(remote).expect("sensible parameters");
    mux.set_packet_overhead(54);
    let mut reader = Reader::new(rest);
    while let Ok(kind) = reader.varint() {
        let goes_on = match kind {
            ACT => act(&mut mux, now, &mut reader),
            _ => mux.handle_frame(now, kind, &mut reader).is_ok(),
        };
        assert!(mux.memory_received() <= BOUNDS.memory_max(), "{}", mux.memory_received());
        if !goes_on {
            return;
        }
    }
}

const ACT: u64 = 0x10;

/// Of the datagrams that this side sends.
const LIFETIME: Duration = Duration::from_millis(100);

fn act(mux: &mut Mux, now: Instant, reader: &mut Reader<'_>) -> bool {
    let (Ok(what), Ok(id)) = (reader.byte(), reader.varint()) else { return false };
    let id = StreamId(id);
    let mut buffer = [0; 64];
    match what % 11 {
        0 => drop(mux.open(Priority::Bulk)),
        1 => drop(mux.accept()),
        2 => drop(mux.read(id, &mut buffer)),
        3 => drop(mux.write(id, &buffer)),
        4 => drop(mux.finish(id)),
        5 => mux.reset(id, 1),
        6 => mux.stop(id, 2),
        7 => drop(mux.recv_datagram()),
        8 => drop(mux.send_datagram(now, Bytes::from_static(&[7; 250]), Some(now + LIFETIME))),
        9 => mux.handle_timeout(now + LIFETIME / 2),
        _ => transmit(mux, now, what),
    }
    while mux.poll_event().is_some() {}
    true
}

/// Sends what waits; some of it arrives, some is lost.
fn transmit(mux: &mut Mux, now: Instant, draw: u8) {
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    let written = mux.poll_frames(now, &mut bytes, 200, &mut sent);
    assert!(written <= 200 && bytes.len() == written);
    for (index, frame) in sent.iter().enumerate() {
        if (index + usize::from(draw / 11)).is_multiple_of(2) {
            mux.on_acked(now, frame);
        } else {
            mux.on_lost(now, frame);
        }
    }
}

pub(crate) fn machine_seeds() -> Vec<Vec<u8>> {
    let acts: Vec<u8> = (0..33).flat_map(|what| [0x10, what, 4]).collect();
    let frames = frames_seeds();
    let mut seeds = vec![[&[0][..], &acts].concat()];
    for (index, frame) in frames.iter().enumerate() {
        let side = u8::from(index % 2 == 0);
        let what = u8::try_from(index).unwrap_or_default();
        seeds.push([&[side][..], frame, &[0x10, 1, 0, 0x10, what, 4], &acts].concat());
    }
    seeds
}
