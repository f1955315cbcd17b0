//! Pieces of one stream for packets that carry nothing else.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::Pair;
use portolan_mux::{Config, Mux, Priority, SentFrame, StreamId};

const CONFIG: Config = Config {
    streams: 8,
    stream_window: 100_000,
    connection_window: 120_000,
    send_buffer: 100_000,
    datagram_queue: 10_000,
    datagram_max: 2_000,
    redundancy_percent: 70,
    stream_frame_max: 16_384,
};

const PACKET: usize = 1_200;

/// One end that has a stream with so many bytes to send.
fn with_bytes(len: usize) -> (Pair, StreamId) {
    let mut pair = Pair::new(CONFIG);
    let id = pair.alice.mux.open(Priority::Bulk).expect("room");
    let bytes: Vec<u8> = (0..251).cycle().take(len).collect();
    pair.alice.mux.write(id, &bytes).expect("room");
    (pair, id)
}

/// Packets of a run, and the pieces they carry.
fn run(mux: &mut Mux, packets: usize) -> (Vec<Vec<u8>>, Vec<SentFrame>) {
    let (mut all, mut sent) = (Vec::new(), Vec::new());
    let Some(mut run) = mux.stream_run() else { return (all, sent) };
    let id = run.id();
    for _ in 0..packets {
        let mut out = Vec::new();
        let Some(piece) = run.put(&mut out, PACKET, None) else { break };
        let len = u32::try_from(piece.end - piece.start).expect("short");
        sent.push(SentFrame::Stream { id, start: piece.start, len, fin: false });
        all.push(out);
    }
    run.finish();
    (all, sent)
}

#[test]
fn a_run_gives_what_packet_after_packet_would() {
    let ((mut alike, _), (mut pair, _)) = (with_bytes(50_000), with_bytes(50_000));
    let (bytes, sent) = run(&mut pair.alice.mux, 100);
    assert!(bytes.len() > 40, "{} packets", bytes.len());
    for (packet, piece) in bytes.iter().zip(sent) {
        let (mut out, mut frames) = (Vec::new(), Vec::new());
        alike.alice.mux.poll_frames(alike.now, &mut out, PACKET, &mut frames);
        assert_eq!((packet, vec![piece]), (&out, frames));
    }
    assert_eq!(pair.alice.mux.stats(), alike.alice.mux.stats());
    let (mut rest, mut others) = (Vec::new(), Vec::new());
    pair.alice.mux.poll_frames(pair.now, &mut rest, PACKET, &mut Vec::new());
    alike.alice.mux.poll_frames(alike.now, &mut others, PACKET, &mut Vec::new());
    assert_eq!(rest, others, "what is too short for a whole packet comes the usual way");
    assert!(!rest.is_empty() && !pair.alice.mux.wants_to_send());
}

#[test]
fn there_is_no_run_beside_anything_else() {
    let changes: [fn(&mut Pair, StreamId); 5] = [
        |pair, _| {
            let other = pair.alice.mux.open(Priority::Bulk).expect("room");
            pair.alice.mux.write(other, b"more of the same class").expect("room");
        },
        |pair, _| {
            let urgent = pair.alice.mux.open(Priority::Control).expect("room");
            pair.alice.mux.write(urgent, b"more urgent").expect("room");
        },
        |pair, _| {
            let datagram = Bytes::from_static(b"now or never");
            pair.alice.mux.send_datagram(pair.now, datagram, None).expect("short");
        },
        |pair, _| {
            let second = pair.alice.mux.open(Priority::Bulk).expect("room");
            pair.alice.mux.reset(second, 1);
        },
        |pair, id| {
            pair.alice.mux.stop(id, 1);
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (mut pair, id) = with_bytes(50_000);
        assert!(pair.alice.mux.stream_run().is_some());
        change(&mut pair, id);
        assert!(pair.alice.mux.stream_run().is_none(), "change {index}");
    }
}

#[test]
fn a_copy_in_advance_that_waits_for_a_packet_is_not_passed_by() {
    let (mut pair, _) = with_bytes(50_000);
    pair.alice.mux.set_packet_overhead(60);
    pair.alice.mux.on_round_trip(Duration::from_millis(200));
    let expires = pair.now + Duration::from_millis(250);
    let datagram = Bytes::from_static(&[7; 100]);
    pair.alice.mux.send_datagram(pair.now, datagram, Some(expires)).expect("short");
    let mut sent = Vec::new();
    pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), PACKET, &mut sent);
    assert!(matches!(sent[0], SentFrame::RepairableDatagram { .. }), "{sent:?}");
    assert!(pair.alice.mux.poll_timeout().is_some(), "a copy is planned");
    assert!(pair.alice.mux.stream_run().is_none());
}

#[test]
fn lost_pieces_and_the_end_of_a_stream_are_left_to_the_usual_way() {
    let (mut pair, id) = with_bytes(10_000);
    let (_, sent) = run(&mut pair.alice.mux, 2);
    pair.alice.mux.on_lost(pair.now, &sent[0]);
    assert!(run(&mut pair.alice.mux, 1).0.is_empty());
    let mut repeated = Vec::new();
    pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), PACKET, &mut repeated);
    assert_eq!(repeated[0], sent[0]);
    pair.alice.mux.finish(id).expect("open");
    let (packets, _) = run(&mut pair.alice.mux, 100);
    assert_eq!(packets.len(), 10_000 / PACKET - 2, "all but the last");
}

#[test]
fn a_run_stops_at_the_limits_of_the_remote() {
    let (mut pair, _) = with_bytes(100_000);
    let (packets, _) = run(&mut pair.alice.mux, 1_000);
    assert!(packets.len() <= 100_000 / (PACKET - 10), "{} packets", packets.len());
    let second = pair.alice.mux.open(Priority::Bulk).expect("room");
    while pair.alice.mux.wants_to_send() {
        pair.alice.mux.poll_frames(pair.now, &mut Vec::new(), PACKET, &mut Vec::new());
    }
    pair.alice.mux.write(second, &[0; 50_000]).expect("room");
    let (more, _) = run(&mut pair.alice.mux, 1_000);
    assert!((10..=20_000 / (PACKET - 10)).contains(&more.len()), "{} packets", more.len());
}
