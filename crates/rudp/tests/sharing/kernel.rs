//! A model of another's sender: TCP as Linux has it, with its BBR of version 1 (`tcp_bbr.c`), which
//! does not mind losses. Time and acknowledgements go in, packets come out.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What a packet of it is long on the way, headers included.
pub(crate) const PACKET: u32 = 1_500;

/// What the acknowledgement of one is.
pub(crate) const ACKNOWLEDGEMENT: u32 = 52;

/// What it carries.
pub(crate) const PAYLOAD: u64 = 1_448;

const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const WINDOW_MIN: u64 = 4;
const WINDOW_INITIAL: u64 = 10;
const RATE_ROUNDS: u64 = 10;
const LOOK_EVERY: Duration = Duration::from_secs(10);
const LOOK_TIME: Duration = Duration::from_millis(200);
const MARGIN: f64 = 0.99;
const TIMEOUT_MIN: Duration = Duration::from_millis(200);

/// Packets by which another must have been overtaken to be lost.
const OVERTAKEN: usize = 3;

/// Packets, of a number of them that was computed.
#[expect(clippy::cast_possible_truncation, reason = "windows of a test are small")]
fn whole(packets: f64) -> u64 {
    packets as u64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    ProbeBw,
    ProbeRtt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    UnderWay,
    Arrived,
    Lost,
}

/// One packet that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    data: u64,
    at: Instant,
    first_sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    fate: Fate,
}

/// Packets are counted, not bytes.
#[derive(Debug)]
pub(crate) struct KernelBbr {
    mode: Mode,
    window: u64,
    /// Packets a second.
    pacing: f64,
    next_send: Instant,
    sent: VecDeque<Sent>,
    /// Number of the first of `sent`.
    base: u64,
    next_data: u64,
    again: VecDeque<u64>,
    in_flight: u64,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    acked_at: Instant,
    rates: VecDeque<(u64, f64)>,
    round: u64,
    round_ends: u64,
    full: (f64, u8),
    rtt_min: Option<(Duration, Instant)>,
    cycle: (usize, Instant),
    probe_rtt: (Option<Instant>, bool),
    window_before: u64,
    /// Data below this is missing in recovery, and how much of it is.
    recovery: Option<(u64, u64)>,
    conserves: bool,
    chance: u64,
}

impl KernelBbr {
    pub(crate) fn new(now: Instant, seed: u64) -> Self {
        Self {
            mode: Mode::Startup,
            window: WINDOW_INITIAL,
            pacing: HIGH_GAIN * 10_000.0,
            next_send: now,
            sent: VecDeque::new(),
            base: 0,
            next_data: 0,
            again: VecDeque::new(),
            in_flight: 0,
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            acked_at: now,
            rates: VecDeque::new(),
            round: 0,
            round_ends: 0,
            full: (0.0, 0),
            rtt_min: None,
            cycle: (0, now),
            probe_rtt: (None, false),
            window_before: 0,
            recovery: None,
            conserves: false,
            chance: seed,
        }
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered * PAYLOAD
    }

    /// When something is to be done without an acknowledgement.
    pub(crate) fn next_time(&self) -> Instant {
        let timeout = self.acked_at + self.timeout();
        if self.in_flight < self.window { self.next_send.min(timeout) } else { timeout }
    }

    fn timeout(&self) -> Duration {
        self.rtt_min.map_or(Duration::from_secs(1), |(rtt, _)| TIMEOUT_MIN + 3 * rtt)
    }

    /// The numbers of the packets that leave now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<u64> {
        if now >= self.acked_at + self.timeout() {
            self.acked_at = now;
            for index in 0..self.sent.len() {
                self.lose(index);
            }
        }
        let mut numbers = Vec::new();
        if now < self.next_send {
            return numbers;
        }
        for _ in 0..self.train().min(self.window.saturating_sub(self.in_flight)) {
            numbers.push(self.send(now));
        }
        let pause = numbers.len() as f64 / self.pacing;
        self.next_send = self.next_send.max(now) + Duration::from_secs_f64(pause);
        numbers
    }

    /// What leaves at once: a millisecond's worth.
    fn train(&self) -> u64 {
        whole((self.pacing / 1_000.0).max(2.0))
    }

    fn send(&mut self, now: Instant) -> u64 {
        if self.in_flight == 0 {
            (self.first_sent, self.delivered_at, self.acked_at) = (now, now, now);
        }
        let data = self.again.pop_front().unwrap_or_else(|| {
            self.next_data += 1;
            self.next_data - 1
        });
        self.in_flight += 1;
        self.sent.push_back(Sent {
            data,
            at: now,
            first_sent: self.first_sent,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            fate: Fate::UnderWay,
        });
        self.base + self.sent.len() as u64 - 1
    }

    fn lose(&mut self, index: usize) -> bool {
        let sent = &mut self.sent[index];
        let is_lost = sent.fate == Fate::UnderWay;
        if is_lost {
            sent.fate = Fate::Lost;
            self.again.push_back(sent.data);
            self.in_flight -= 1;
        }
        is_lost
    }

    /// The packet of that number has arrived, and its acknowledgement now.
    pub(crate) fn on_ack(&mut self, now: Instant, number: u64) {
        let Some(index) = number.checked_sub(self.base) else { return };
        let index = usize::try_from(index).expect("few are under way");
        let Some(sent) = self.sent.get_mut(index) else { return };
        if sent.fate != Fate::UnderWay {
            return;
        }
        sent.fate = Fate::Arrived;
        let sent = *sent;
        self.in_flight -= 1;
        self.delivered += 1;
        (self.delivered_at, self.acked_at, self.first_sent) = (now, now, sent.at);
        let overtaken = index.saturating_sub(OVERTAKEN);
        let losses = (0..overtaken).filter(|&index| self.lose(index)).count() as u64;
        while self.sent.front().is_some_and(|sent| sent.fate != Fate::UnderWay) {
            self.sent.pop_front();
            self.base += 1;
        }
        let is_round_start = self.update_rate(now, &sent);
        self.update_mode(now, (now - sent.at, losses > 0), is_round_start);
        self.set_pacing();
        self.set_window(&sent, losses);
    }

    fn update_rate(&mut self, now: Instant, sent: &Sent) -> bool {
        let is_round_start = sent.delivered >= self.round_ends;
        if is_round_start {
            self.round_ends = self.delivered;
            self.round += 1;
            self.conserves = false;
        }
        let interval = (sent.at - sent.first_sent).max(now - sent.delivered_at);
        if self.rtt_min.is_some_and(|(min, _)| interval < min) || interval.is_zero() {
            return is_round_start;
        }
        let rate = (self.delivered - sent.delivered) as f64 / interval.as_secs_f64();
        while self.rates.back().is_some_and(|(_, last)| *last <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
        while self.rates.front().is_some_and(|(round, _)| round + RATE_ROUNDS < self.round) {
            self.rates.pop_front();
        }
        is_round_start
    }

    fn rate(&self) -> f64 {
        self.rates.front().map_or(0.0, |(_, rate)| *rate)
    }

    fn product(&self, gain: f64) -> u64 {
        let Some((rtt, _)) = self.rtt_min else { return WINDOW_INITIAL };
        whole((self.rate() * rtt.as_secs_f64() * gain).ceil())
    }

    fn update_mode(&mut self, now: Instant, (rtt, loses): (Duration, bool), is_round_start: bool) {
        self.advance_cycle(now, loses);
        if is_round_start && self.full.1 < 3 {
            let rate = self.rate();
            self.full =
                if rate >= self.full.0 * 1.25 { (rate, 0) } else { (self.full.0, self.full.1 + 1) };
        }
        if self.mode == Mode::Startup && self.full.1 >= 3 {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && self.in_flight <= self.product(1.0) {
            self.begin_cycle(now);
        }
        self.look(now, rtt, is_round_start);
    }

    fn begin_cycle(&mut self, now: Instant) {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let by_chance = usize::try_from((self.chance >> 33) % 7).expect("below seven");
        self.mode = Mode::ProbeBw;
        self.cycle = ((CYCLE.len() - by_chance) % CYCLE.len(), now);
    }

    fn advance_cycle(&mut self, now: Instant, loses: bool) {
        let (place, since) = self.cycle;
        if self.mode != Mode::ProbeBw {
            return;
        }
        let is_full_length = self.rtt_min.is_some_and(|(rtt, _)| now - since > rtt);
        let is_over = match place {
            0 => is_full_length && (loses || self.in_flight >= self.product(1.25)),
            1 => is_full_length || self.in_flight <= self.product(1.0),
            _ => is_full_length,
        };
        if is_over {
            self.cycle = ((place + 1) % CYCLE.len(), now);
        }
    }

    fn look(&mut self, now: Instant, rtt: Duration, is_round_start: bool) {
        let is_expired = self.rtt_min.is_some_and(|(_, at)| now > at + LOOK_EVERY);
        if self.rtt_min.is_none_or(|(min, _)| rtt < min) || is_expired {
            self.rtt_min = Some((rtt, now));
        }
        if is_expired && self.mode != Mode::ProbeRtt {
            self.mode = Mode::ProbeRtt;
            self.window_before = self.window_before.max(self.window);
            self.probe_rtt = (None, false);
        }
        if self.mode != Mode::ProbeRtt {
            return;
        }
        match self.probe_rtt.0 {
            None if self.in_flight <= WINDOW_MIN => {
                self.probe_rtt = (Some(now + LOOK_TIME), false);
                self.round_ends = self.delivered;
            }
            None => {}
            Some(until) => {
                self.probe_rtt.1 |= is_round_start;
                if self.probe_rtt.1 && now > until {
                    self.rtt_min = self.rtt_min.map(|(min, _)| (min, now));
                    self.window = self.window.max(self.window_before);
                    if self.full.1 >= 3 { self.begin_cycle(now) } else { self.mode = Mode::Startup }
                }
            }
        }
    }

    fn gains(&self) -> (f64, f64) {
        match self.mode {
            Mode::Startup => (HIGH_GAIN, HIGH_GAIN),
            Mode::Drain => (1.0 / HIGH_GAIN, HIGH_GAIN),
            Mode::ProbeBw => (CYCLE[self.cycle.0], 2.0),
            Mode::ProbeRtt => (1.0, 1.0),
        }
    }

    fn set_pacing(&mut self) {
        let pacing = self.rate() * self.gains().0 * MARGIN;
        if self.full.1 >= 3 || pacing > self.pacing {
            self.pacing = pacing.max(1.0);
        }
    }

    fn set_window(&mut self, sent: &Sent, losses: u64) {
        if losses > 0 {
            self.window = self.window.saturating_sub(losses).max(1);
        }
        if self.recovers(sent, losses) {
            self.window = self.window.max(self.in_flight + 1);
        } else {
            let is_probing = self.mode == Mode::ProbeBw && self.cycle.0 == 0;
            let extra = 3 * self.train() + if is_probing { 2 } else { 0 };
            let target = (self.product(self.gains().1) + extra).next_multiple_of(2);
            if self.full.1 >= 3 {
                self.window = (self.window + 1).min(target);
            } else if self.window < target {
                self.window += 1;
            }
            self.window = self.window.max(WINDOW_MIN);
        }
        if self.mode == Mode::ProbeRtt {
            self.window = self.window.min(WINDOW_MIN);
        }
    }

    /// Follows the states of TCP's recovery; answers whether packets are conserved: for the first
    /// round of it.
    fn recovers(&mut self, sent: &Sent, losses: u64) -> bool {
        match &mut self.recovery {
            None if losses > 0 => {
                if self.mode != Mode::ProbeRtt {
                    self.window_before = self.window + losses;
                }
                self.recovery = Some((self.next_data, self.in_flight + self.again.len() as u64));
                self.conserves = true;
                self.round_ends = self.delivered;
                self.window = self.in_flight + 1;
            }
            None => {}
            Some((below, missing)) if sent.data < *below => {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    self.recovery = None;
                    self.conserves = false;
                    self.window = self.window.max(self.window_before);
                }
            }
            Some(_) => {}
        }
        self.conserves
    }
}
