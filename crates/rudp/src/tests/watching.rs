//! What an observer is told.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portolan_mux::Priority;

use super::pair::{Pair, server_address};
use crate::{
    FrameView, Observation, Observer, Owner, PacketKind, Stage,
    observe::{Dropped, PacketView},
};

/// Bytes that no log may show.
const SECRET: &[u8] = b"between alice and bob";

/// What one side was told.
#[derive(Debug, Default)]
struct Told {
    sent: Vec<(PacketKind, u64, usize)>,
    received: Vec<(PacketKind, u64, usize)>,
    lost: Vec<(PacketKind, u64)>,
    frames: Vec<String>,
    stages: Vec<Stage>,
    dropped: Vec<Dropped>,
    phases: Vec<&'static str>,
    keys: Vec<(u64, Owner)>,
    parameters: Vec<Owner>,
    sizes: Vec<usize>,
    windows: Vec<u64>,
    timers: usize,
    closed: Vec<String>,
    last: Option<Instant>,
    everything: String,
}

#[derive(Debug, Clone, Default)]
struct Onlooker(Arc<Mutex<Told>>);

impl Onlooker {
    fn told<R>(&self, look: impl FnOnce(&Told) -> R) -> R {
        look(&self.0.lock().unwrap())
    }
}

impl Told {
    fn frames_of(&mut self, packet: &PacketView<'_>) {
        for frame in packet.frames() {
            let name = match frame {
                FrameView::Padding { .. } => "padding",
                FrameView::Probe => "probe",
                FrameView::Ack(_) => "ack",
                FrameView::Crypto { .. } => "crypto",
                FrameView::Stream { .. } => "stream",
                FrameView::Done => "done",
                FrameView::Close { .. } => "close",
                _ => "another",
            };
            self.frames.push(name.to_owned());
        }
    }
}

impl Observer for Onlooker {
    fn observe(&mut self, now: Instant, event: Observation<'_>) {
        let told = &mut *self.0.lock().unwrap();
        assert!(told.last.is_none_or(|last| last <= now), "time goes on");
        told.last = Some(now);
        told.everything.push_str(&format!("{event:?}"));
        match event {
            Observation::Sent(packet) => {
                told.sent.push((packet.kind, packet.number, packet.size));
                told.frames_of(&packet);
            }
            Observation::Received(packet) => {
                told.received.push((packet.kind, packet.number, packet.size));
                told.frames_of(&packet);
            }
            Observation::Dropped { why, .. } => told.dropped.push(why),
            Observation::Lost(packet) => told.lost.push((packet.kind, packet.number)),
            Observation::Metrics(stats) => told.windows.push(stats.congestion_window),
            Observation::Phase { new, .. } => told.phases.push(new),
            Observation::LossTimer(_) => told.timers += 1,
            Observation::Parameters(parameters) => told.parameters.push(parameters.owner),
            Observation::PacketSize { new, .. } => told.sizes.push(new),
            Observation::KeysUpdated { generation, by } => told.keys.push((generation, by)),
            Observation::RemoteMoved { .. } => {}
            Observation::Stage(stage) => told.stages.push(stage),
            Observation::Closed(reason) => told.closed.push(reason.to_string()),
        }
    }
}

/// A pair whose client, and then whose server, is watched from its first packet on.
fn watched() -> (Pair, Onlooker, Onlooker) {
    let (alice, bob) = (Onlooker::default(), Onlooker::default());
    let mut pair = Pair::new();
    for (end, onlooker) in [(&mut pair.client, &alice), (&mut pair.server, &bob)] {
        let onlooker = onlooker.clone();
        end.on_new =
            Some(Box::new(move |now, machine| machine.observe(now, Box::new(onlooker.clone()))));
    }
    (pair, alice, bob)
}

/// Lets alice send `bytes` bytes, which bob reads.
fn transfer(pair: &mut Pair, bytes: usize) {
    let id = pair.alice().mux().open(Priority::Bulk).unwrap();
    let data = SECRET.repeat(bytes / SECRET.len());
    let (mut written, mut read) = (0, 0);
    let mut out = vec![0; 64 << 10];
    pair.run_until(|pair| {
        written += pair.alice().mux().write(id, &data[written..]).unwrap_or(0);
        pair.bob().mux().accept();
        while let Ok(len) = pair.bob().mux().read(id, &mut out)
            && len > 0
        {
            read += len;
        }
        pair.drain();
        read >= data.len()
    });
}

#[test]
fn an_observer_sees_every_packet_from_the_first_to_the_last() {
    let (mut pair, alice, bob) = watched();
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, 200_000);
    let now = pair.now;
    pair.alice().close(now, 7, b"enough");
    pair.drain();
    pair.run_for(Duration::from_secs(2));

    let sent = alice.told(|told| told.sent.len() as u64);
    assert_eq!(sent, pair.alice().stats().packets_sent);
    // The farewell is heard when the connection is read no further.
    let received = bob.told(|told| told.received.len() as u64);
    assert_eq!(received, pair.bob().stats().packets_received);
    let on_wire = pair.bytes_sent(super::pair::client_address(), server_address());
    let told: usize = alice.told(|told| told.sent.iter().map(|(.., size)| size).sum());
    assert!(told <= on_wire && on_wire - told < 3_000, "{told} of {on_wire}: padding of Inits");
    bob.told(|told| {
        for frame in ["crypto", "stream", "ack", "close"] {
            assert!(told.frames.iter().any(|name| name == frame), "no {frame} was told");
        }
        let expected =
            [Stage::Attempted, Stage::Established, Stage::Confirmed, Stage::Draining, Stage::Gone];
        assert_eq!(told.stages, expected);
        assert_eq!(told.closed.len(), 1);
        assert_eq!(told.parameters, [Owner::Local, Owner::Remote]);
    });
    alice.told(|told| {
        assert_eq!(told.phases.first(), Some(&"startup"));
        assert!(told.windows.len() > 10 && told.timers > 10);
        assert!(told.sizes.iter().is_sorted() && !told.sizes.is_empty(), "{:?}", told.sizes);
    });
}

#[test]
fn what_is_told_never_contains_what_the_application_said() {
    let (mut pair, alice, bob) = watched();
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, 20_000);
    let shown = format!("{SECRET:?}");
    let core = &shown[1..shown.len() - 1];
    for onlooker in [alice, bob] {
        onlooker.told(|told| {
            assert!(told.everything.contains("Stream"), "streams were told");
            assert!(!told.everything.contains(core), "bytes of a stream were told");
        });
    }
}

#[test]
fn each_loss_is_told_once_and_nothing_else_is() {
    let (mut pair, alice, _) = watched();
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    pair.lose(5, 11);
    transfer(&mut pair, 400_000);
    let mut lost = alice.told(|told| told.lost.clone());
    let count = lost.len();
    lost.sort_unstable_by_key(|(_, number)| *number);
    lost.dedup();
    assert_eq!(lost.len(), count, "some were told twice");
    assert!(count as u64 >= pair.alice().stats().packets_lost, "all were told");
    assert!(count > 5, "some were lost");
}

#[test]
fn a_change_of_keys_is_told_on_both_sides_with_whose_wish_it_was() {
    let (mut pair, alice, bob) = watched();
    pair.connect();
    pair.run_until(|pair| pair.is_connected() && pair.alice().is_confirmed());
    assert!(pair.alice().update_keys());
    transfer(&mut pair, 20_000);
    assert_eq!(alice.told(|told| told.keys.clone()), [(1, Owner::Local)]);
    assert_eq!(bob.told(|told| told.keys.clone()), [(1, Owner::Remote)]);
}

#[test]
fn garbage_and_replays_are_told_as_dropped() {
    let (mut pair, _, bob) = watched();
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    transfer(&mut pair, 5_000);
    let from = super::pair::client_address();
    let mut flights = pair.log.iter().filter(|flight| flight.from == from);
    let replay = flights.next_back().expect("alice has sent").bytes.clone();
    pair.inject(from, server_address(), &replay);
    let mut forged = replay;
    *forged.last_mut().expect("it is long") ^= 1;
    pair.inject(from, server_address(), &forged);
    let dropped = bob.told(|told| told.dropped.clone());
    assert!(dropped.ends_with(&[Dropped::Duplicate, Dropped::Forged]), "{dropped:?}");
}

#[test]
fn waiting_is_blamed_on_whom_it_is_due_to() {
    let (mut pair, ..) = watched();
    pair.connect();
    pair.run_until(|pair| pair.is_connected());
    let id = pair.alice().mux().open(Priority::Bulk).unwrap();
    pair.drain();
    pair.run_for(Duration::from_secs(21));
    let idle = pair.alice().stats().waited;
    assert!(idle.for_application > Duration::from_secs(9), "{idle:?}");
    assert_eq!(idle.for_remote, Duration::ZERO);
    // Nobody reads.
    let data = vec![0; 16 << 20];
    let mut written = 0;
    for _ in 0..2_000 {
        written += pair.alice().mux().write(id, &data[written..]).unwrap_or(0);
        pair.drain();
        pair.step();
    }
    let stuck = pair.alice().stats().waited;
    assert!(stuck.for_remote > Duration::from_secs(1), "{stuck:?}");
}
