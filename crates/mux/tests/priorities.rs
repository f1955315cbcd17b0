//! Who goes first.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Pair, epoch, read_all};
use portolan_mux::{Config, Priority, SentFrame, StreamId};

const CONFIG: Config = Config {
    streams: 8,
    stream_window: 100_000,
    connection_window: 400_000,
    send_buffer: 100_000,
    datagram_queue: 10_000,
    datagram_max: 2_000,
    redundancy_percent: 70,
    stream_frame_max: 16_384,
};

/// The streams of the frames that alice would send next, in order.
fn order(pair: &mut Pair, packets: usize) -> Vec<Option<StreamId>> {
    let mut sent = Vec::new();
    for _ in 0..packets {
        pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), 1_200, &mut sent);
    }
    let stream = |frame: &SentFrame| match frame {
        SentFrame::Stream { id, .. } => Some(*id),
        SentFrame::Datagram | SentFrame::RepairableDatagram { .. } | SentFrame::Repair { .. } => {
            None
        }
        other => panic!("{other:?}"),
    };
    sent.iter().map(stream).collect()
}

#[test]
fn a_class_waits_for_all_more_urgent_ones() {
    let mut pair = Pair::new(CONFIG);
    let ids = Priority::ALL.map(|class| pair.alice.mux.open(class).expect("room"));
    for id in ids.iter().rev() {
        pair.alice.mux.write(*id, &[0; 2_000]).expect("room");
    }
    pair.alice.mux.send_datagram(pair.now, Bytes::from_static(&[0; 50]), None).expect("short");
    let mut seen = order(&mut pair, 10);
    seen.dedup();
    assert_eq!(seen, [Some(ids[0]), None, Some(ids[1]), Some(ids[2]), Some(ids[3])]);
}

#[test]
fn streams_of_one_class_take_turns() {
    let mut pair = Pair::new(CONFIG);
    let a = pair.alice.mux.open(Priority::Bulk).expect("room");
    let b = pair.alice.mux.open(Priority::Bulk).expect("room");
    for id in [a, b] {
        pair.alice.mux.write(id, &[0; 10_000]).expect("room");
    }
    let seen = order(&mut pair, 6);
    assert_eq!(seen, [Some(a), Some(b), Some(a), Some(b), Some(a), Some(b)]);
}

#[test]
fn a_late_urgent_byte_overtakes_queued_bulk() {
    let mut pair = Pair::new(CONFIG);
    let bulk = pair.alice.mux.open(Priority::Bulk).expect("room");
    pair.alice.mux.write(bulk, &[0; 50_000]).expect("room");
    order(&mut pair, 3);
    let control = pair.alice.mux.open(Priority::Control).expect("room");
    pair.alice.mux.write(control, b"now").expect("room");
    assert_eq!(order(&mut pair, 1), [Some(control), Some(bulk)]);
}

#[test]
fn an_answer_travels_in_the_class_of_the_question() {
    let mut pair = Pair::new(CONFIG);
    let bulk = pair.stream(Priority::Bulk);
    let control = pair.stream(Priority::Control);
    pair.bob.mux.write(bulk, &[0; 5_000]).expect("room");
    pair.bob.mux.write(control, &[0; 5_000]).expect("room");
    let mut sent = Vec::new();
    pair.bob.mux.poll_frames(pair.now, &mut Vec::new(), 1_200, &mut sent);
    assert!(matches!(sent[..], [SentFrame::Stream { id, .. }] if id == control), "{sent:?}");
}

#[test]
fn a_lost_piece_goes_before_new_ones() {
    let mut pair = Pair::new(CONFIG);
    let id = pair.alice.mux.open(Priority::Bulk).expect("room");
    pair.alice.mux.write(id, &[0; 5_000]).expect("room");
    let mut sent = Vec::new();
    for _ in 0..2 {
        pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), 1_200, &mut sent);
    }
    let lost = sent[0];
    pair.alice.mux.on_lost(pair.now, &lost);
    sent.clear();
    pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), 1_200, &mut sent);
    assert_eq!(sent[0], lost);
}

#[test]
fn a_slow_reader_stops_the_writer() {
    let mut pair = Pair::new(CONFIG);
    let id = pair.stream(Priority::Bulk);
    let mut written = 0;
    loop {
        match pair.alice.mux.write(id, &[0; 10_000]) {
            Ok(more) => written += more,
            Err(_) if !pair.step().expect("rules") => break,
            Err(_) => {}
        }
    }
    assert!(written <= 200_000, "{written} bytes were taken");
    assert!(!read_all(&mut pair.bob.mux, id, &mut Vec::new()));
    pair.settle();
    assert!(pair.alice.mux.write(id, &[0; 10_000]).is_ok());
}

#[test]
fn a_stream_that_nobody_reads_does_not_stop_the_others() {
    let mut pair = Pair::new(CONFIG);
    let stuck = pair.stream(Priority::Control);
    let alive = pair.stream(Priority::Bulk);
    while pair.alice.mux.write(stuck, &[0; 10_000]).is_ok() {
        pair.settle();
    }
    let mut got = Vec::new();
    for _ in 0..100 {
        assert_eq!(pair.alice.mux.write(alive, &[1; 5_000]), Ok(5_000));
        pair.settle();
        read_all(&mut pair.bob.mux, alive, &mut got);
    }
    assert_eq!(got.len(), 500_000);
}

#[test]
fn the_connection_limit_holds_all_streams_together() {
    let config = Config { connection_window: 10_000, ..CONFIG };
    let mut pair = Pair::new(config);
    let ids = [pair.stream(Priority::Bulk), pair.stream(Priority::Interactive)];
    for id in ids {
        pair.alice.mux.write(id, &[0; 50_000]).expect("room");
    }
    pair.settle();
    let stats = pair.alice.mux.stats();
    assert_eq!(stats.stream_bytes_queued, 100_000 - 10_000 + 2, "two bytes were read before");
    let mut got = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        for (id, got) in ids.iter().zip(&mut got) {
            read_all(&mut pair.bob.mux, *id, got);
        }
        pair.settle();
    }
    assert_eq!(got.map(|bytes| bytes.len()), [50_000, 50_000]);
}

#[test]
fn an_opener_waits_for_a_place_and_is_told() {
    let config = Config { streams: 1, ..CONFIG };
    let mut pair = Pair::new(config);
    let id = pair.stream(Priority::Bulk);
    assert_eq!(pair.alice.mux.open(Priority::Bulk), None);
    pair.alice.mux.finish(id).expect("open");
    pair.settle();
    assert!(read_all(&mut pair.bob.mux, id, &mut Vec::new()));
    pair.settle();
    assert_eq!(pair.alice.mux.open(Priority::Bulk), None, "bob has not ended his half");
    pair.alice.events.clear();
    pair.bob.mux.finish(id).expect("open");
    pair.settle();
    assert!(pair.alice.events.contains(&portolan_mux::Event::StreamsAvailable));
    assert!(pair.alice.mux.open(Priority::Bulk).is_some());
}

#[test]
fn places_that_came_free_early_are_told_once_they_are_needed() {
    let config = Config { streams: 3, ..CONFIG };
    let mut pair = Pair::new(config);
    let first = pair.stream(Priority::Bulk);
    pair.alice.mux.reset(first, 0);
    pair.alice.mux.stop(first, 0);
    pair.settle();
    pair.bob.mux.reset(first, 0);
    pair.bob.mux.stop(first, 0);
    pair.settle();
    // Two are left of the limit that alice knows, which was not worth a word yet.
    for _ in 0..3 {
        pair.stream(Priority::Bulk);
        pair.settle();
    }
    assert_eq!(pair.alice.mux.open(Priority::Bulk), None, "three are open");
}

#[test]
fn nothing_is_sent_before_the_remote_has_spoken() {
    let mut mux = portolan_mux::Mux::new(portolan_mux::Side::Client, CONFIG);
    assert_eq!(mux.open(Priority::Control), None);
    assert!(!mux.wants_to_send());
    assert_eq!(mux.poll_frames(epoch(), &mut Vec::new(), 1_200, &mut Vec::new()), 0);
}

#[test]
fn an_expired_datagram_is_never_sent() {
    let mut pair = Pair::new(CONFIG);
    let soon = pair.now + Duration::from_millis(5);
    let late = pair.now + Duration::from_millis(500);
    for expires in [soon, late] {
        let payload = Bytes::from_static(b"tick");
        pair.alice.mux.send_datagram(pair.now, payload, Some(expires)).expect("short");
    }
    pair.now += Duration::from_millis(5);
    pair.settle();
    assert_eq!(pair.alice.mux.stats().datagrams_expired, 1);
    assert_eq!(pair.alice.mux.stats().datagrams_sent, 1);
    assert_eq!(pair.bob.mux.stats().datagrams_received, 1);
}

#[test]
fn a_lost_datagram_is_not_repaired_when_its_time_has_passed() {
    let mut pair = Pair::new(CONFIG);
    let soon = pair.now + Duration::from_millis(5);
    pair.alice.mux.send_datagram(pair.now, Bytes::from_static(b"x"), Some(soon)).expect("short");
    let mut sent = Vec::new();
    pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), 1_200, &mut sent);
    pair.alice.mux.on_lost(soon, &sent[0]);
    assert!(!pair.alice.mux.wants_to_send());
    assert_eq!(pair.alice.mux.stats().datagrams_lost, 1);
}

#[test]
fn a_full_queue_drops_the_oldest_datagram() {
    let mut pair = Pair::new(CONFIG);
    for number in 0..100_u8 {
        let payload = Bytes::from(vec![number; 872]);
        pair.alice.mux.send_datagram(pair.now, payload, None).expect("short");
    }
    assert_eq!(pair.alice.mux.stats().datagrams_dropped, 90);
    pair.settle();
    let got: Vec<_> = std::iter::from_fn(|| pair.bob.mux.recv_datagram()).map(|d| d[0]).collect();
    assert_eq!(got, (90..100).collect::<Vec<_>>());
}

#[test]
fn a_datagram_that_no_longer_fits_the_path_is_dropped() {
    let mut pair = Pair::new(CONFIG);
    pair.alice.mux.send_datagram(pair.now, Bytes::from(vec![0; 1_500]), None).expect("short");
    pair.alice.mux.set_path_datagram_max(1_100);
    pair.alice.mux.send_datagram(pair.now, Bytes::from(vec![1; 1_100]), None).expect("short");
    let error = pair.alice.mux.send_datagram(pair.now, Bytes::from(vec![2; 1_101]), None);
    assert_eq!(error.expect_err("long").max, 1_100);
    pair.settle();
    assert_eq!(pair.bob.mux.recv_datagram().map(|payload| payload.len()), Some(1_100));
    assert_eq!(pair.alice.mux.stats().datagrams_dropped, 1);
}

#[test]
fn a_datagram_that_was_not_lost_after_all_is_not_repeated() {
    let mut pair = Pair::new(CONFIG);
    let late = pair.now + Duration::from_secs(5);
    for _ in 0..3 {
        let payload = Bytes::from_static(b"tick");
        pair.alice.mux.send_datagram(pair.now, payload, Some(late)).expect("short");
    }
    let mut sent = Vec::new();
    pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), 1_200, &mut sent);
    sent.iter().for_each(|frame| pair.alice.mux.on_lost(pair.now, frame));
    pair.alice.mux.on_acked(pair.now, &sent[1]);
    pair.settle();
    assert_eq!(pair.bob.mux.stats().datagrams_received, 2);
    assert_eq!(pair.alice.mux.stats().datagram_bytes_queued, 0);
}
