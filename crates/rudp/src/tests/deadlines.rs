//! Messages with a deadline, and what they wait for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use portolan_mux::Priority;

use super::pair::Pair;
use crate::Timer;

const LIFETIME: Duration = Duration::from_millis(150);

fn say(pair: &mut Pair, size: usize) {
    let (now, payload) = (pair.now, Bytes::from(vec![7; size]));
    pair.alice().mux().send_datagram(now, payload, Some(now + LIFETIME)).expect("it fits");
}

fn sent(pair: &mut Pair) -> u64 {
    pair.alice().mux().stats().datagrams_sent
}

/// A bulk transfer that has more to send than the path takes.
fn busy() -> Pair {
    let mut pair = Pair::connected();
    let id = pair.alice().mux().open(Priority::Bulk).expect("a stream is free");
    for _ in 0..20 {
        while pair.alice().mux().write(id, &[1; 1 << 16]).is_ok_and(|len| len > 0) {}
        pair.drain();
        pair.run_for(pair.delay / 2);
    }
    while pair.alice().mux().write(id, &[1; 1 << 16]).is_ok_and(|len| len > 0) {}
    pair.drain();
    pair
}

/// When alice may next send something, asked of her own timers.
fn next(pair: &mut Pair) -> Option<(Instant, Timer)> {
    pair.alice().poll_timeout().map(|deadline| (deadline.at, deadline.why))
}

#[test]
fn a_live_message_goes_before_all_that_a_bulk_transfer_has_waiting() {
    let mut pair = busy();
    let (at, why) = next(&mut pair).expect("a transfer is under way");
    let queued = pair.alice().mux().stats().stream_bytes_queued;
    assert!(queued > 100_000, "{queued} bytes wait");
    assert_eq!((sent(&mut pair), why), (0, Timer::Pacing), "the path is full");
    say(&mut pair, 100);
    pair.drain();
    pair.now = at;
    let (now, mut buf) = (pair.now, Vec::new());
    pair.alice().handle_timeout(now);
    let first = pair.alice().poll_transmit(now, &mut buf).expect("the pacer lets something go");
    assert_eq!(sent(&mut pair), 1, "it is in the first train");
    // What else goes in that train is behind it, and no more than the pacer's burst.
    assert!(first.size <= 12 * pair.alice().stats().packet_size, "{} bytes", first.size);
}

#[test]
fn a_copy_that_finds_no_packet_to_ride_in_goes_alone_and_on_time() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    // The first messages are copied, since nothing is known of losses yet.
    for _ in 0..5 {
        say(&mut pair, 100);
        pair.drain();
        pair.run_for(Duration::from_millis(300));
    }
    let repeated = pair.alice().mux().stats().datagrams_repeated;
    say(&mut pair, 100);
    pair.drain();
    let (at, why) = next(&mut pair).expect("a copy waits");
    assert_eq!(why, Timer::Redundancy);
    assert!(at > pair.now && at <= pair.now + Duration::from_millis(40), "{:?}", at - pair.now);
    pair.run_for(at - pair.now);
    assert_eq!(pair.alice().mux().stats().datagrams_repeated, repeated + 1);
    assert_ne!(next(&mut pair).map(|(_, why)| why), Some(Timer::Redundancy), "once is enough");
    pair.run_for(Duration::from_secs(1));
    let stats = pair.alice().mux().stats();
    assert_eq!((stats.datagrams_in_time, stats.datagrams_lost, stats.datagrams_late), (6, 0, 0));
}

#[test]
fn the_last_message_of_a_flow_is_repaired_in_time_without_a_copy() {
    let mut pair = Pair::connected();
    pair.run_for(Duration::from_secs(1));
    for _ in 0..200 {
        say(&mut pair, 100);
        pair.drain();
        pair.run_for(Duration::from_millis(20));
    }
    assert!(pair.alice().mux().poll_timeout().is_none(), "nothing was lost: nothing is copied");
    pair.lose(100, 1);
    say(&mut pair, 100);
    pair.drain();
    pair.passes = Box::new(|_| true);
    pair.run_for(LIFETIME);
    assert_eq!(pair.bob().mux().stats().datagrams_received, 201);
    pair.run_for(Duration::from_millis(200));
    assert_eq!(pair.alice().mux().stats().datagrams_in_time, 201);
}
