//! Windows that grow on long ways for those who read fast.

use std::{sync::Arc, time::Duration};

use portolan_mux::{Config, Priority, StreamId};

use super::{
    pair::Pair,
    streams::{content, transfer},
};
use crate::{Congestion, ConnectionConfig, EndpointConfig};

const ROUND: Duration = Duration::from_millis(200);

/// What a machine holds besides what lies there to be read.
const REST: usize = 256 << 10;

/// A way of 200 ms there and back.
fn long_way() -> Pair {
    let mut config = EndpointConfig::default();
    Arc::make_mut(&mut config.connection).congestion = Congestion::Bbr;
    let mut pair = Pair::with(config.clone(), config);
    pair.delay = ROUND / 2;
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    pair
}

/// Writes all that alice takes; answers how much that was.
fn write(pair: &mut Pair, id: StreamId) -> usize {
    let mut written = 0;
    while let Ok(len) = pair.alice().mux().write(id, &[7; 64 << 10]) {
        written += len;
    }
    pair.drain();
    written
}

/// Reads at most `max` bytes of what bob has; answers how much there was.
fn read(pair: &mut Pair, id: StreamId, max: usize) -> usize {
    let mut read = 0;
    while let Ok(len) = pair.bob().mux().read_with(id, max - read, |_| {})
        && len > 0
    {
        read += len;
    }
    pair.drain();
    read
}

/// Writes for so long; bob reads at most `max` bytes each time that something happens.
fn flow(pair: &mut Pair, id: StreamId, time: Duration, max: usize) -> (usize, usize) {
    let end = pair.now + time;
    let (mut written, mut received) = (0, 0);
    pair.run_until(|pair| {
        written += write(pair, id);
        received += read(pair, id, max);
        pair.now >= end
    });
    (written, received)
}

fn open(pair: &mut Pair) -> StreamId {
    pair.alice().mux().open(Priority::Bulk).expect("a stream is free")
}

#[test]
fn a_fast_reader_on_a_long_way_is_not_stopped_by_the_first_window() {
    let mut pair = long_way();
    let id = open(&mut pair);
    flow(&mut pair, id, 20 * ROUND, usize::MAX);
    let (_, received) = flow(&mut pair, id, 5 * ROUND, usize::MAX);
    let first = 5 * Config::STREAM_WINDOW_FIRST as usize;
    assert!(received > 3 * first, "{received} bytes in five round trips");
}

#[test]
fn a_reader_that_was_fast_and_stops_holds_what_was_promised_and_stops_its_writer() {
    let mut pair = long_way();
    let id = open(&mut pair);
    let before = flow(&mut pair, id, 20 * ROUND, usize::MAX);
    let after = flow(&mut pair, id, 40 * ROUND, 0);
    let config = ConnectionConfig::default();
    let held = pair.bob().memory();
    assert!(held <= config.mux.stream_window as usize + REST, "{held} bytes");
    assert!(held <= config.memory_max(), "{held} bytes");
    let taken = before.0 + after.0 - before.1;
    let bound = config.mux.stream_window as usize + config.mux.send_buffer as usize;
    assert!(taken <= bound, "{taken} bytes were taken from the writer, {bound} are allowed");
}

#[test]
fn a_slow_reader_makes_nobody_hold_more_than_the_first_window() {
    let mut pair = long_way();
    let id = open(&mut pair);
    let mut received = 0;
    for _ in 0..50 {
        flow(&mut pair, id, ROUND, 0);
        received += read(&mut pair, id, 50_000);
        let held = pair.bob().memory();
        assert!(held <= Config::STREAM_WINDOW_FIRST as usize + REST, "{held} bytes");
    }
    assert!(received > 1_000_000, "it does read: {received} bytes");
}

#[test]
fn on_a_short_way_the_first_window_is_all() {
    let mut pair = Pair::connected();
    pair.delay = Duration::from_micros(100);
    // The handshake went a longer way: a new connection knows the short one only.
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, &content(8 << 20));
    let id = open(&mut pair);
    flow(&mut pair, id, Duration::from_millis(100), usize::MAX);
    flow(&mut pair, id, Duration::from_millis(500), 0);
    let held = pair.bob().memory();
    assert!(held <= Config::STREAM_WINDOW_FIRST as usize + REST, "{held} bytes");
}
