//! Windows that grow with their use, and what a writer may leave with the machine.

mod common;

use std::time::{Duration, Instant};

use common::{epoch, receive};
use portolan_mux::{Config, Event, Mux, Priority, Side, StreamId, WriteError};

const ROUND: Duration = Duration::from_millis(100);

/// Two machines at the ends of a long way, on which all that may be sent arrives once a round trip.
struct Way {
    alice: Mux,
    bob: Mux,
    id: StreamId,
    now: Instant,
}

impl Way {
    /// A stream from alice to bob; `round_trip` is what the carriers know of the way.
    fn new(config: Config, round_trip: Option<Duration>) -> Self {
        let mut alice = Mux::new(Side::Client, config);
        let mut bob = Mux::new(Side::Server, config);
        alice.on_params(bob.params()).expect("bob's parameters");
        bob.on_params(alice.params()).expect("alice's parameters");
        if let Some(time) = round_trip {
            alice.on_round_trip(time);
            bob.on_round_trip(time);
        }
        alice.on_congestion_window(64 << 20);
        let id = alice.open(Priority::Bulk).expect("room for a stream");
        Self { alice, bob, id, now: epoch() }
    }

    /// Alice writes and sends what she may; answers how many bytes she had to send.
    fn send(&mut self) -> usize {
        let mut written = 0;
        while let Ok(len) = self.alice.write(self.id, &[7; 64 << 10]) {
            written += len;
        }
        carry(&mut self.alice, &mut self.bob, self.now);
        written
    }

    /// Bob reads at most `max` bytes, as an application that is woken for each piece; what he tells
    /// arrives. Answers how much there was.
    fn read(&mut self, max: usize) -> usize {
        let mut read = 0;
        let mut piece = vec![0; 32 << 10];
        while read < max {
            let len = piece.len().min(max - read);
            let Ok(len) = self.bob.read(self.id, &mut piece[..len]) else { break };
            read += len;
            carry(&mut self.bob, &mut self.alice, self.now);
        }
        read
    }

    /// Bytes that bob had to read in each of so many round trips.
    fn rounds(&mut self, count: usize, read_max: usize) -> Vec<usize> {
        let round = |_| {
            self.send();
            self.now += ROUND;
            self.read(read_max)
        };
        (0..count).map(round).collect()
    }

    /// Bytes that arrive if nobody reads any more.
    fn fill(&mut self) -> usize {
        // Pages from before that are kept would hide as many new ones.
        self.bob.on_quiet();
        let before = self.bob.memory_received();
        for _ in 0..40 {
            self.send();
            self.now += ROUND;
        }
        self.bob.memory_received() - before
    }
}

/// Everything that `from` has to say arrives, and `from` knows it.
fn carry(from: &mut Mux, to: &mut Mux, now: Instant) {
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    while from.wants_to_send() && from.poll_frames(now, &mut bytes, 60_000, &mut sent) > 0 {
        receive(to, now, &bytes).expect("both obey the rules");
        sent.drain(..).for_each(|frame| from.on_acked(now, &frame));
        bytes.clear();
    }
}

#[test]
fn a_fast_reader_on_a_long_way_gets_all_that_is_promised() {
    let config = Config::default();
    let mut way = Way::new(config, Some(ROUND));
    let rounds = way.rounds(20, usize::MAX);
    assert!(rounds[0] <= Config::STREAM_WINDOW_FIRST as usize, "{rounds:?}");
    assert_eq!(rounds.last(), Some(&(config.stream_window as usize)), "{rounds:?}");
}

#[test]
fn a_slow_reader_keeps_the_first_window() {
    let mut way = Way::new(Config::default(), Some(ROUND));
    way.rounds(100, 40 << 10);
    let unread = way.bob.memory_received();
    assert!(unread <= Config::STREAM_WINDOW_FIRST as usize + (64 << 10), "{unread} bytes");
}

#[test]
fn who_reads_all_at_once_but_seldom_keeps_the_first_window() {
    let mut way = Way::new(Config::default(), Some(ROUND));
    for _ in 0..20 {
        let held = way.fill();
        assert!(held <= Config::STREAM_WINDOW_FIRST as usize + (64 << 10), "{held} bytes");
        way.read(usize::MAX);
    }
}

#[test]
fn without_a_known_round_trip_nothing_grows() {
    let mut way = Way::new(Config::default(), None);
    let rounds = way.rounds(20, usize::MAX);
    let most = rounds.into_iter().max().unwrap_or_default();
    assert_eq!(most, Config::STREAM_WINDOW_FIRST as usize);
}

#[test]
fn a_reader_that_was_fast_and_stops_holds_at_most_what_was_promised() {
    let config = Config { stream_window: 3 << 20, connection_window: 5 << 20, ..Config::default() };
    let mut way = Way::new(config, Some(ROUND));
    way.rounds(20, usize::MAX);
    let held = way.fill();
    assert!(held >= config.stream_window as usize, "the window did grow: {held} bytes");
    assert!(held <= config.stream_window as usize + (64 << 10), "{held} bytes");
    assert!(way.bob.memory_received() <= config.memory_max());
}

#[test]
fn many_fast_streams_together_hold_at_most_what_the_connection_promises() {
    let config = Config { connection_window: 6 << 20, ..Config::default() };
    let mut way = Way::new(config, Some(ROUND));
    let ids: Vec<_> = (0..8).map(|_| way.alice.open(Priority::Bulk).expect("room")).collect();
    let send = |way: &mut Way| {
        for &id in &ids {
            way.id = id;
            way.send();
        }
        way.now += ROUND;
    };
    for _ in 0..20 {
        send(&mut way);
        for &id in &ids {
            way.id = id;
            way.read(usize::MAX);
        }
    }
    (0..10).for_each(|_| send(&mut way));
    let held = way.bob.memory_received();
    assert!(held > Config::CONNECTION_WINDOW_FIRST as usize + (1 << 20), "{held} bytes");
    assert!(held <= config.connection_window as usize + (512 << 10), "{held} bytes");
}

#[test]
fn less_promised_than_the_first_windows_is_all_there_is() {
    let config = Config { stream_window: 9_000, connection_window: 20_000, ..Config::default() };
    let mut way = Way::new(config, Some(ROUND));
    assert_eq!(way.bob.params().stream_window, 9_000);
    assert_eq!(way.bob.params().connection_window, 20_000);
    assert_eq!(way.rounds(20, usize::MAX).into_iter().max(), Some(9_000));
}

/// Bytes that a stream takes while nothing is sent.
fn taken(alice: &mut Mux, id: StreamId) -> usize {
    let mut taken = 0;
    loop {
        match alice.write(id, &[1; 10_000]) {
            Ok(len) => taken += len,
            Err(WriteError::Blocked) => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_writer_is_stopped_at_four_times_what_the_way_carries() {
    let config = Config::default();
    let known = [
        (None, Config::SEND_BUFFER_FIRST),
        (Some(12_000), Config::SEND_BUFFER_MIN),
        (Some(1_500_000), 6_000_000),
        (Some(u64::MAX), config.send_buffer),
    ];
    for (window, bound) in known {
        let mut alice = Mux::new(Side::Client, config);
        alice.on_params(alice.params()).expect("sense");
        if let Some(window) = window {
            alice.on_congestion_window(window);
        }
        let id = alice.open(Priority::Bulk).expect("room");
        assert_eq!(taken(&mut alice, id), bound as usize, "{window:?}");
    }
}

#[test]
fn on_a_short_way_a_writer_is_stopped_a_little_ahead_of_what_is_sent() {
    let mut way = Way::new(Config::default(), Some(Duration::from_micros(100)));
    assert_eq!(taken(&mut way.alice, way.id), Config::SEND_QUEUE_SHORT as usize);
    while way.alice.poll_event().is_some() {}
    let mut bytes = Vec::new();
    while bytes.len() < Config::SEND_QUEUE_SHORT as usize / 2 {
        let told = way.alice.poll_event().is_some();
        assert!(!told, "half of it still waits after {} bytes", bytes.len());
        way.alice.poll_frames(way.now, &mut bytes, 1_400, &mut Vec::new());
    }
    way.alice.poll_frames(way.now, &mut bytes, 1_400, &mut Vec::new());
    assert_eq!(way.alice.poll_event(), Some(Event::Writable(way.id)), "before all is sent");
    assert!(taken(&mut way.alice, way.id) >= Config::SEND_QUEUE_SHORT as usize / 2);
}

#[test]
fn a_writer_that_waits_goes_on_after_the_way_has_become_narrow() {
    let mut way = Way::new(Config::default(), Some(ROUND));
    taken(&mut way.alice, way.id);
    way.alice.on_congestion_window(2_000);
    assert_eq!(way.alice.write(way.id, b"x"), Err(WriteError::Blocked));
    let mut events = 0;
    for _ in 0..20 {
        carry(&mut way.alice, &mut way.bob, way.now);
        way.now += ROUND;
        way.read(usize::MAX);
        events += std::iter::from_fn(|| way.alice.poll_event())
            .filter(|event| *event == Event::Writable(way.id))
            .count();
    }
    assert_eq!(events, 1, "it is told once");
    assert_eq!(taken(&mut way.alice, way.id), Config::SEND_BUFFER_MIN as usize);
}
