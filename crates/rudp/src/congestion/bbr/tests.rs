//! The model on a path that is a formula: a rate, a delay, a buffer, losses.

use std::{collections::VecDeque, time::Duration};

use super::*;
use crate::{delivery::Delivery, tests::epoch};

const PACKET: u64 = 1_200;
const MS: Duration = Duration::from_millis(1);

/// A bottleneck between an endless sender and a receiver that acknowledges every packet.
struct Path {
    bbr: Bbr,
    delivery: Delivery,
    now: Instant,
    /// Bytes a second.
    rate: u64,
    rtt: Duration,
    /// Bytes that may wait.
    buffer: u64,
    /// One of so many packets is lost by itself; zero: none.
    loses_one_in: u64,
    /// Sent at, acknowledged at (or found lost), snapshot.
    flight: VecDeque<(Instant, Instant, bool, crate::delivery::Snapshot)>,
    in_flight: u64,
    busy_until: Instant,
    next_send: Instant,
    sent: u64,
    delivered: u64,
    queue_max: Duration,
    /// Messages with a deadline travel beside.
    is_live: bool,
}

impl Path {
    fn new(megabits: u64, rtt: Duration) -> Self {
        let rate = megabits * 1_000_000 / 8;
        Self {
            bbr: Bbr::new(PACKET, 7),
            delivery: Delivery::new(epoch()),
            now: epoch(),
            rate,
            rtt,
            buffer: rate / 10,
            loses_one_in: 0,
            flight: VecDeque::new(),
            in_flight: 0,
            busy_until: epoch(),
            next_send: epoch(),
            sent: 0,
            delivered: 0,
            queue_max: Duration::ZERO,
            is_live: false,
        }
    }

    /// How long a packet takes onto the wire.
    fn wire(&self) -> Duration {
        Duration::from_nanos(PACKET * 1_000_000_000 / self.rate)
    }

    fn send(&mut self) {
        let wire = self.wire();
        let start = self.busy_until.max(self.now);
        let waits = start - self.now;
        let overflows =
            u64::try_from(waits.as_nanos()).unwrap() * self.rate / 1_000_000_000 > self.buffer;
        self.sent += 1;
        let dies = self.loses_one_in > 0 && self.sent.is_multiple_of(self.loses_one_in);
        if !overflows {
            self.busy_until = start + wire;
            self.queue_max = self.queue_max.max(waits);
        }
        let answered = self.busy_until.max(start) + self.rtt;
        self.in_flight += PACKET;
        let then = self.delivery.on_sent(self.now, PACKET, self.in_flight);
        self.flight.push_back((self.now, answered, overflows || dies, then));
        let pace = self.bbr.pacing_rate().map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(PACKET * 1_000_000_000 / rate.max(1))
        });
        self.next_send = self.next_send.max(self.now) + pace;
    }

    fn answer(&mut self) {
        let Some((sent, _, is_lost, then)) = self.flight.pop_front() else { return };
        let is_window_limited = self.in_flight + PACKET > self.bbr.window();
        self.in_flight -= PACKET;
        if is_lost {
            let lost = self.delivery.on_lost(PACKET, then);
            self.bbr.on_lost(self.now, &lost, self.delivery.total());
            let event = CongestionEvent { sent, is_persistent: false, is_mark: false };
            self.bbr.on_congestion(self.now, &event);
            return;
        }
        self.delivered += PACKET;
        self.delivery.on_acked(self.now, PACKET, sent, then);
        let sample = self.delivery.sample(self.bbr.min_rtt.get().unwrap_or_default());
        self.bbr.on_ack(&AckSummary {
            is_live: self.is_live,
            now: self.now,
            rtt: self.now - sent,
            delivered: self.delivery.total(),
            in_flight: self.in_flight,
            is_window_limited,
            sample,
        });
    }

    /// Runs for a time; answers the share of the rate that was delivered.
    fn run(&mut self, time: Duration) -> f64 {
        let (end, before) = (self.now + time, self.delivered);
        while self.now < end {
            let answer = self.flight.front().map(|(_, at, ..)| *at);
            let may_send = self.in_flight + PACKET <= self.bbr.window();
            let send = may_send.then(|| self.next_send.max(self.now));
            match (answer, send) {
                (Some(answer), Some(send)) if answer <= send => {
                    self.now = answer;
                    self.answer();
                }
                (_, Some(send)) => {
                    self.now = send;
                    self.send();
                }
                (Some(answer), None) => {
                    self.now = answer;
                    self.answer();
                }
                (None, None) => panic!("the window is shut, and nothing is under way"),
            }
        }
        let possible = self.rate as f64 * time.as_secs_f64();
        (self.delivered - before) as f64 / possible
    }
}

#[test]
fn start_up_finds_the_rate_of_the_path() {
    for megabits in [1, 10, 100] {
        let mut path = Path::new(megabits, 50 * MS);
        path.run(3 * Duration::from_secs(1));
        let found = path.bbr.max_bw.get() as f64 / path.rate as f64;
        assert!((0.9..=1.1).contains(&found), "{found} of {megabits} Mbit/s");
        assert!(path.bbr.phase.is_probe_bw(), "{:?}", path.bbr.phase);
    }
}

#[test]
fn a_clean_path_is_filled_with_a_short_queue() {
    let mut path = Path::new(100, 50 * MS);
    path.run(Duration::from_secs(3));
    path.queue_max = Duration::ZERO;
    let share = path.run(Duration::from_secs(20));
    assert!(share > 0.93, "{share}");
    assert!(path.queue_max < 40 * MS, "{:?}", path.queue_max);
}

#[test]
fn beside_live_media_the_path_is_used_and_hardly_a_queue_stands() {
    for (megabits, rtt) in [(10, 20), (10, 60), (100, 50)] {
        let mut path = Path::new(megabits, rtt * MS);
        path.is_live = true;
        path.run(Duration::from_secs(3));
        path.queue_max = Duration::ZERO;
        let share = path.run(Duration::from_secs(20));
        assert!(share > 0.85, "{share} of {megabits} Mbit/s, {rtt} ms");
        assert!(path.queue_max < 12 * MS, "{:?} at {megabits} Mbit/s, {rtt} ms", path.queue_max);
    }
}

#[test]
fn a_file_that_begins_beside_live_media_makes_no_long_queue() {
    let [alone, beside] = [false, true].map(|is_live| {
        let mut path = Path::new(10, 50 * MS);
        (path.is_live, path.buffer) = (is_live, path.rate);
        path.run(Duration::from_secs(3));
        path.queue_max
    });
    assert!(beside < alone / 2, "{beside:?} beside, {alone:?} alone");
}

#[test]
fn losses_of_the_path_itself_do_not_slow_it_down() {
    for loses_one_in in [100, 20, 10] {
        let mut path = Path::new(100, 50 * MS);
        path.loses_one_in = loses_one_in;
        path.run(Duration::from_secs(5));
        let share = path.run(Duration::from_secs(20));
        let left = 1.0 - 1.0 / loses_one_in as f64;
        assert!(share > 0.9 * left, "{share} with one in {loses_one_in} lost");
    }
}

#[test]
fn a_small_buffer_is_not_flooded() {
    let mut path = Path::new(100, 50 * MS);
    path.buffer = path.rate / 200;
    path.run(Duration::from_secs(5));
    let (sent, delivered) = (path.sent, path.delivered);
    let share = path.run(Duration::from_secs(20));
    let lost = 1.0 - (path.delivered - delivered) as f64 / ((path.sent - sent) * PACKET) as f64;
    assert!(share > 0.75, "{share}");
    assert!(lost < 0.05, "{lost} lost");
}

#[test]
fn a_path_that_becomes_slower_is_followed() {
    let mut path = Path::new(100, 50 * MS);
    path.run(Duration::from_secs(5));
    path.rate /= 10;
    path.buffer /= 10;
    path.run(Duration::from_secs(12));
    let found = path.bbr.bw() as f64 / path.rate as f64;
    assert!((0.8..=1.3).contains(&found), "{found}");
}

#[test]
fn a_path_that_becomes_faster_is_followed() {
    let mut path = Path::new(10, 50 * MS);
    path.run(Duration::from_secs(5));
    path.rate *= 10;
    path.buffer *= 10;
    path.run(Duration::from_secs(30));
    let share = path.run(Duration::from_secs(10));
    assert!(share > 0.8, "{share}");
}

/// Looks at the empty path in so many steps of 50 ms.
fn looks(path: &mut Path, steps: u32) -> u32 {
    let mut looks = 0;
    for _ in 0..steps {
        let before = path.bbr.phase;
        path.run(50 * MS);
        looks += u32::from(before != Phase::ProbeRtt && path.bbr.phase == Phase::ProbeRtt);
    }
    looks
}

#[test]
fn a_path_that_shows_itself_empty_is_not_looked_at() {
    let mut path = Path::new(10, 50 * MS);
    path.run(Duration::from_secs(3));
    assert_eq!(looks(&mut path, 600), 0);
}

#[test]
fn a_path_that_does_not_show_itself_empty_any_more_is_looked_at_until_it_is_known_anew() {
    let mut path = Path::new(10, 50 * MS);
    path.run(Duration::from_secs(3));
    path.rtt = 58 * MS;
    assert!((1..=4).contains(&looks(&mut path, 300)));
    assert_eq!(path.bbr.min_rtt.get(), Some(path.rtt + path.wire()));
    assert_eq!(looks(&mut path, 600), 0);
}

#[test]
fn a_queue_that_is_not_ours_counts_as_part_of_the_round_trip() {
    let mut path = Path::new(10, 20 * MS);
    path.run(Duration::from_secs(3));
    assert!(!path.bbr.min_rtt.is_in_company());
    // Others have filled the queue, and do not yield.
    path.rtt = 90 * MS;
    let share = path.run(Duration::from_secs(4));
    assert!(path.bbr.min_rtt.is_in_company());
    assert!(share > 0.4, "{share}");
    assert!(path.run(Duration::from_secs(4)) > 0.9);
    // They have gone.
    path.rtt = 20 * MS;
    path.run(Duration::from_secs(8));
    assert!(!path.bbr.min_rtt.is_in_company());
}

#[test]
fn a_probe_of_an_empty_path_makes_a_queue_of_a_fifth_of_a_round_trip_at_most() {
    let mut path = Path::new(20, 50 * MS);
    path.run(Duration::from_secs(2));
    path.queue_max = Duration::ZERO;
    path.run(Duration::from_secs(20));
    assert!(path.queue_max < 50 * MS / 5, "{:?}", path.queue_max);
}

#[test]
fn persistent_congestion_leaves_the_least_window_for_a_moment_only() {
    let mut path = Path::new(100, 50 * MS);
    path.run(Duration::from_secs(3));
    let event = CongestionEvent { sent: path.now, is_persistent: true, is_mark: false };
    path.bbr.on_congestion(path.now, &event);
    assert_eq!(path.bbr.window(), PACKETS_MIN * PACKET);
    path.run(Duration::from_secs(3));
    assert!(path.run(Duration::from_secs(3)) > 0.9);
}
