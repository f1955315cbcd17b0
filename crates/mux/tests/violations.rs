//! Every broken rule has its code, and no bytes cause a panic.

mod common;

use common::{Pair, epoch, seeds};
use portolan_mux::{
    Config, Mux, Params, Priority, Reader, Side, StreamId, VARINT_MAX, ViolationCode, frame::Frame,
};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONFIG: Config = Config {
    streams: 2,
    stream_window: 100,
    connection_window: 150,
    send_buffer: 1_000,
    datagram_queue: 10_000,
    datagram_max: 50,
    redundancy_percent: 70,
    stream_frame_max: 16_384,
};

/// Alice's first and third stream, which bob sees.
const FIRST: StreamId = StreamId(0);
const THIRD: StreamId = StreamId(4);
/// Bob's first stream, which he never opened.
const UNOPENED: StreamId = StreamId(1);

fn piece(id: StreamId, offset: u64, data: &[u8], fin: bool) -> Frame<'_> {
    Frame::Stream { id, priority: Priority::Bulk, offset, data, fin }
}

/// Gives `frames` to bob; what he says to the last one.
fn verdict(frames: &[Frame<'_>]) -> Option<ViolationCode> {
    let mut bob = Mux::new(Side::Server, CONFIG);
    let (last, first) = frames.split_last().expect("a frame");
    for frame in first {
        bob.on_frame(epoch(), *frame).expect("an obedient frame");
    }
    bob.on_frame(epoch(), *last).err().map(|violation| violation.code)
}

#[test]
fn each_broken_rule_has_its_code() {
    use ViolationCode::*;
    let data = [0; 101];
    let rows: [(&[Frame<'_>], Option<ViolationCode>); 22] = [
        (&[piece(FIRST, 0, &data[..100], true)], None),
        (&[piece(FIRST, 0, &data, false)], Some(FlowControl)),
        (&[piece(FIRST, 1, &data[..100], false)], Some(FlowControl)),
        (&[Frame::Reset { id: FIRST, code: 0, final_size: 101 }], Some(FlowControl)),
        (
            &[piece(FIRST, 0, &data[..100], false), piece(StreamId(2), 0, &data[..51], false)],
            Some(FlowControl),
        ),
        (
            &[
                piece(FIRST, 0, &data[..100], false),
                Frame::Reset { id: StreamId(2), code: 0, final_size: 51 },
            ],
            Some(FlowControl),
        ),
        (&[piece(THIRD, 0, b"x", false)], Some(StreamLimit)),
        (&[Frame::Stop { id: THIRD, code: 0 }], Some(StreamLimit)),
        (&[Frame::MaxStreamData { id: THIRD, max: 0 }], Some(StreamLimit)),
        (&[Frame::Reset { id: THIRD, code: 0, final_size: 0 }], Some(StreamLimit)),
        (&[piece(UNOPENED, 0, b"x", false)], Some(StreamState)),
        (&[Frame::Reset { id: UNOPENED, code: 0, final_size: 0 }], Some(StreamState)),
        (&[Frame::Stop { id: UNOPENED, code: 0 }], Some(StreamState)),
        (&[Frame::MaxStreamData { id: UNOPENED, max: 9 }], Some(StreamState)),
        (&[piece(FIRST, 0, b"ab", true), piece(FIRST, 0, b"abc", true)], Some(FinalSize)),
        (&[piece(FIRST, 0, b"ab", true), piece(FIRST, 0, b"a", true)], Some(FinalSize)),
        (&[piece(FIRST, 0, b"ab", true), piece(FIRST, 1, b"bc", false)], Some(FinalSize)),
        (&[piece(FIRST, 0, b"ab", false), piece(FIRST, 0, b"a", true)], Some(FinalSize)),
        (
            &[piece(FIRST, 0, b"ab", false), Frame::Reset { id: FIRST, code: 0, final_size: 1 }],
            Some(FinalSize),
        ),
        (
            &[piece(FIRST, 1, b"b", true), Frame::Reset { id: FIRST, code: 0, final_size: 3 }],
            Some(FinalSize),
        ),
        (&[Frame::Datagram { copy: None, data: &data[..51] }], Some(ProtocolViolation)),
        (&[piece(FIRST, 0, b"", true), piece(FIRST, 0, b"", true)], None),
    ];
    for (number, (frames, code)) in rows.into_iter().enumerate() {
        assert_eq!(verdict(frames), code, "row {number}");
    }
}

#[test]
fn a_frame_that_cannot_be_read_is_an_encoding_error() {
    let rows: [&[u8]; 6] = [
        &[0x20],                                                    // no id
        &[0x20, 0, 0, 5, 1],                                        // data cut
        &[0x2d],                                                    // unknown type
        &[0x37],                                                    // unknown type
        &[0x29, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // code above 32 bits
        &[0x2c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],    // too many streams
    ];
    for bytes in rows {
        let mut bob = Mux::new(Side::Server, CONFIG);
        let mut reader = Reader::new(bytes);
        let kind = reader.varint().expect("a type");
        let violation = bob.handle_frame(epoch(), kind, &mut reader).expect_err("unreadable");
        assert_eq!(violation.code, ViolationCode::FrameEncoding, "{bytes:?}");
    }
}

#[test]
fn late_frames_of_a_finished_stream_are_ignored() {
    let mut pair = Pair::new(CONFIG);
    let id = pair.alice.mux.open(Priority::Bulk).expect("room");
    pair.alice.mux.reset(id, 1);
    pair.alice.mux.stop(id, 1);
    pair.settle();
    assert_eq!(pair.bob.mux.accept(), Some(id));
    assert!(pair.bob.mux.read(id, &mut [0]).is_err());
    pair.bob.mux.reset(id, 0);
    pair.settle();
    for frame in [piece(id, 0, b"late", false), Frame::Stop { id, code: 0 }] {
        assert_eq!(pair.bob.mux.on_frame(epoch(), frame), Ok(()));
        assert_eq!(pair.alice.mux.on_frame(epoch(), frame), Ok(()));
    }
    assert_eq!(pair.bob.mux.accept(), None);
}

#[test]
fn parameters_come_once_and_make_sense() {
    let mut alice = Mux::new(Side::Client, CONFIG);
    let senseless = Params { streams: VARINT_MAX, ..CONFIG_PARAMS };
    let violation = alice.on_params(senseless).expect_err("too many streams");
    assert_eq!(violation.code, ViolationCode::TransportParameter);
    alice.on_params(CONFIG_PARAMS).expect("sense");
    alice.on_params(CONFIG_PARAMS).expect_err("a second time");
}

const CONFIG_PARAMS: Params =
    Params { streams: 1, stream_window: 2, connection_window: 3, datagram_max: 4 };

/// Frames with plausible and absurd numbers.
fn some_frame<'a>(rng: &mut ChaCha8Rng, data: &'a [u8]) -> Frame<'a> {
    let id = StreamId(match rng.random_range(0..200) {
        0 => rng.random_range(0..6),
        _ => rng.random_range(0..3),
    });
    let number = match rng.random_range(0..200) {
        0 => VARINT_MAX,
        1 => rng.random_range(0..VARINT_MAX),
        _ => rng.random_range(0..60),
    };
    let data = &data[..rng.random_range(0..data.len())];
    match rng.random_range(0..40) {
        0..=30 => piece(id, number.min(VARINT_MAX - 200), data, rng.random_range(0..60) == 0),
        31 => Frame::Reset { id, code: 1, final_size: number },
        32 => Frame::Stop { id, code: 2 },
        33..=35 => Frame::MaxStreamData { id, max: number },
        36..=38 => Frame::MaxData { max: number },
        _ => Frame::MaxStreams { max: number.min(StreamId::INDEX_MAX) },
    }
}

#[test]
fn hostile_frames_never_panic_and_never_exceed_the_bound() {
    let mut taken = 0_u64;
    for seed in seeds(20_000) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bob = Mux::new(Side::Server, CONFIG);
        bob.on_params(Params {
            streams: 3,
            stream_window: 99,
            connection_window: 99,
            datagram_max: 9,
        })
        .expect("sense");
        bob.open(Priority::Bulk);
        let (mut sent, mut known) = (Vec::new(), vec![StreamId(1)]);
        for _ in 0..200 {
            taken += 1;
            if bob.on_frame(epoch(), some_frame(&mut rng, &[7; 40])).is_err() {
                break;
            }
            known.extend(bob.accept());
            let id = known[rng.random_range(0..known.len())];
            act(&mut bob, id, &mut rng);
            sent.clear();
            bob.poll_frames(epoch(), &mut Vec::new(), 500, &mut sent);
            for frame in &sent {
                match rng.random_range(0..3) {
                    0 => bob.on_lost(epoch(), frame),
                    _ => bob.on_acked(epoch(), frame),
                }
            }
            while bob.poll_event().is_some() {}
            assert!(bob.memory_received() <= CONFIG.memory_max(), "SEED={seed}");
        }
    }
    eprintln!("{taken} frames were taken");
}

fn act(bob: &mut Mux, id: StreamId, rng: &mut ChaCha8Rng) {
    match rng.random_range(0..8) {
        0..=2 => drop(bob.read(id, &mut [0; 40])),
        3 | 4 => drop(bob.write(id, &[1; 80])),
        5 => drop(bob.finish(id)),
        6 => bob.reset(id, 3),
        _ => bob.stop(id, 4),
    }
}

#[test]
fn garbage_never_panics() {
    for seed in seeds(3_000) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bob = Mux::new(Side::Server, CONFIG);
        let mut bytes = vec![0; 400];
        rng.fill_bytes(&mut bytes);
        let mut reader = Reader::new(&bytes);
        while !reader.is_empty() {
            let kind = 0x20 + rng.random_range(0..0x18);
            if bob.handle_frame(epoch(), kind, &mut reader).is_err() {
                break;
            }
        }
    }
}
