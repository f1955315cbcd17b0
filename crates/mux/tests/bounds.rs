//! What the remote can make us hold.

mod common;

use common::{Pair, epoch};
use portolan_mux::{
    Config, Mux, Priority, Side, StreamId, ViolationCode,
    frame::{DatagramCopy, Frame},
};

fn piece(id: StreamId, offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream { id, priority: Priority::Bulk, offset, data, fin: false }
}

fn bob(config: Config) -> Mux {
    Mux::new(Side::Server, config)
}

#[test]
fn full_windows_on_all_streams_stay_within_the_bound() {
    let config = Config::default();
    let mut bob = bob(config);
    let told = bob.params().connection_window;
    let share = usize::try_from(told).expect("32 bits") / config.streams as usize;
    for index in 0..config.streams.into() {
        let id = StreamId::new(Side::Client, index);
        bob.on_frame(epoch(), piece(id, 0, &vec![1; share])).expect("within the limits");
    }
    assert!(bob.memory() as u64 >= told);
    assert!(bob.memory() <= config.memory_max(), "{} bytes", bob.memory());
}

#[test]
fn unread_rests_of_many_full_streams_stay_within_the_bound() {
    // Each stream is filled and read to its last byte, which keeps its page.
    let config = Config { stream_window: 1 << 20, ..Config::default() };
    let mut bob = bob(config);
    bob.on_params(config_params(&config)).expect("sense");
    for index in 0..config.streams.into() {
        let id = StreamId::new(Side::Client, index);
        let mut left = config.stream_window as usize;
        let mut offset = 0;
        while left > 0 {
            let len = left.min(16_000);
            bob.on_frame(epoch(), piece(id, offset, &vec![1; len])).expect("within the limits");
            let keep = usize::from(left == len);
            let mut buffer = vec![0; len - keep];
            assert_eq!(bob.read(id, &mut buffer), Ok(len - keep));
            left -= len;
            offset += len as u64;
            bob.poll_frames(epoch(), &mut Vec::new(), 9_000, &mut Vec::new());
        }
    }
    assert!(bob.memory() <= config.memory_max(), "{} bytes", bob.memory());
}

fn config_params(config: &Config) -> portolan_mux::Params {
    Mux::new(Side::Client, *config).params()
}

#[test]
fn single_bytes_far_apart_stay_within_the_bound() {
    let config = Config::default();
    let mut bob = bob(config);
    let mut broken = None;
    'all: for index in 0..4 {
        let id = StreamId::new(Side::Client, index);
        for offset in (1..u64::from(config.stream_window)).step_by(2) {
            if let Err(violation) = bob.on_frame(epoch(), piece(id, offset, b"x")) {
                broken = Some(violation.code);
                break 'all;
            }
            assert!(offset % 4096 > 1 || bob.memory() <= config.memory_max());
        }
    }
    assert_eq!(broken, Some(ViolationCode::InternalError));
    assert!(bob.memory() <= config.memory_max(), "{} bytes", bob.memory());
}

#[test]
fn datagrams_that_nobody_takes_stay_within_the_bound() {
    let config = Config { datagram_queue: 50_000, ..Config::default() };
    let mut bob = bob(config);
    for sequence in 0..20_000 {
        let copy = Some(DatagramCopy { sequence, repeated: false });
        let data: &[u8] = if sequence % 2 == 0 { &[0; 500] } else { &[] };
        bob.on_frame(epoch(), Frame::Datagram { copy, data }).expect("short");
        assert!(bob.memory() <= config.memory_max());
    }
    assert!(bob.stats().datagrams_dropped > 19_000);
}

#[test]
fn opening_and_abandoning_streams_for_ever_leaves_nothing() {
    let config = Config { streams: 8, ..Config::default() };
    let mut pair = Pair::new(config);
    let mut high = 0;
    for round in 0..2_000 {
        let id = pair.stream(Priority::Bulk);
        pair.alice.mux.reset(id, 0);
        pair.alice.mux.stop(id, 0);
        pair.settle();
        assert!(pair.bob.mux.read(id, &mut [0]).is_err());
        pair.bob.mux.reset(id, 0);
        pair.settle();
        pair.alice.events.clear();
        pair.bob.events.clear();
        if round == 100 {
            high = pair.bob.mux.memory() + pair.alice.mux.memory();
        }
    }
    assert!(pair.bob.mux.memory() + pair.alice.mux.memory() <= high);
}

#[test]
fn a_stopped_stream_keeps_nothing_and_returns_its_credit() {
    let config = Config { stream_window: 1_000, connection_window: 1_000, ..Config::default() };
    let mut pair = Pair::new(config);
    let id = pair.stream(Priority::Bulk);
    pair.alice.mux.write(id, &[0; 900]).expect("room");
    pair.settle();
    pair.bob.mux.stop(id, 7);
    pair.settle();
    assert_eq!(pair.alice.mux.write(id, b"x"), Err(portolan_mux::WriteError::Stopped(7)));
    let other = pair.stream(Priority::Bulk);
    pair.alice.mux.write(other, &[0; 900]).expect("room");
    pair.settle();
    assert_eq!(pair.bob.mux.read(other, &mut [0; 2_000]), Ok(900));
}
