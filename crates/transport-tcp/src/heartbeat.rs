//! Signs of life: when to send one, when to give up, and what the round trip takes.

use std::time::Duration;

use portolan_mux::frame::Session;
use tokio::time::Instant;

/// PINGs at the beginning, each as soon as the one before is answered. The first waits until the
/// other side has set its end up and says too much; and while bytes flow there are no others.
const FIRST_PINGS: u64 = 4;

/// What PINGs have told of the round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    /// Of late (RFC 6298 §2).
    pub(crate) smoothed: Duration,
    /// Ever: what the way takes when nothing is queued on it.
    pub(crate) shortest: Duration,
}

/// Signs of life of one connection.
///
/// A side that has sent nothing for a while sends a PING, so that the other never waits in vain,
/// however slow its own sending is.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    keep_alive: Duration,
    idle: Duration,
    heard: Instant,
    sent: Instant,
    /// Number and time of the PING under way.
    asked: Option<(u64, Instant)>,
    next: u64,
    ping_due: bool,
    /// Number of the PONG to send; only the last one asked for.
    pong_due: Option<u64>,
    round_trip: Option<RoundTrip>,
}

impl Heartbeat {
    /// Starts with a PING, to know the round trip.
    pub(crate) fn new(now: Instant, keep_alive: Duration, idle: Duration) -> Self {
        Self {
            // At least a millisecond, so that the clock is not looked at without end.
            keep_alive: keep_alive.min(idle / 2).max(Duration::from_millis(1)),
            idle,
            heard: now,
            sent: now,
            asked: None,
            next: 0,
            ping_due: true,
            pong_due: None,
            round_trip: None,
        }
    }

    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.sent = now;
    }

    pub(crate) fn on_ping(&mut self, number: u64) {
        self.pong_due = Some(number);
    }

    /// Answers what the round trip takes, if this is the answer to our PING.
    pub(crate) fn on_pong(&mut self, now: Instant, number: u64) -> Option<RoundTrip> {
        let (_, at) = self.asked.take_if(|(asked, _)| *asked == number)?;
        let sample = now - at;
        let first = RoundTrip { smoothed: sample, shortest: sample };
        self.round_trip = Some(self.round_trip.map_or(first, |before| RoundTrip {
            smoothed: (before.smoothed * 7 + sample) / 8,
            shortest: before.shortest.min(sample),
        }));
        self.ping_due |= self.next < FIRST_PINGS;
        self.round_trip
    }

    /// Whether the other side must be given up.
    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        now >= self.heard + self.idle
    }

    /// Looks at the clock: too long a silence makes a PING due; answers whether it is one.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        let is_silent = now >= self.sent + self.keep_alive;
        self.ping_due |= is_silent;
        is_silent
    }

    /// When to look at the clock again.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        // A PING that waits for the carrier must not spin.
        let quiet = if self.ping_due { now + self.keep_alive } else { self.sent + self.keep_alive };
        quiet.min(self.heard + self.idle)
    }

    /// Appends what is due; answers how many frames.
    pub(crate) fn poll_frames(&mut self, now: Instant, out: &mut Vec<u8>) -> u64 {
        let mut frames = 0;
        if let Some(number) = self.pong_due.take() {
            Session::Pong(number).encode(out);
            frames += 1;
        }
        if std::mem::take(&mut self.ping_due) {
            self.asked = Some((self.next, now));
            self.sent = now;
            Session::Ping(self.next).encode(out);
            self.next += 1;
            frames += 1;
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(20);

    #[test]
    fn a_silent_side_sends_a_ping_and_a_talking_one_does_not() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, KEEP_ALIVE, IDLE);
        let mut out = Vec::new();
        assert_eq!(heartbeat.poll_frames(start, &mut out), 1, "the first, for the round trip");
        let later = start + Duration::from_secs(4);
        heartbeat.on_sent(later);
        heartbeat.on_time(start + KEEP_ALIVE);
        assert_eq!(heartbeat.poll_frames(later, &mut out), 0);
        assert_eq!(heartbeat.deadline(later), later + KEEP_ALIVE);
        heartbeat.on_time(later + KEEP_ALIVE);
        assert_eq!(heartbeat.poll_frames(later + KEEP_ALIVE, &mut out), 1);
    }

    #[test]
    fn only_the_answer_to_the_last_ping_counts() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, KEEP_ALIVE, IDLE);
        heartbeat.poll_frames(start, &mut Vec::new());
        let later = start + Duration::from_millis(30);
        assert_eq!(heartbeat.on_pong(later, 7), None);
        let taken = heartbeat.on_pong(later, 0).map(|round_trip| round_trip.smoothed);
        assert_eq!(taken, Some(Duration::from_millis(30)));
        assert_eq!(heartbeat.on_pong(later, 0), None);
    }

    #[test]
    fn a_slow_first_answer_does_not_make_the_way_seem_long() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, KEEP_ALIVE, IDLE);
        let (mut now, mut told) = (start, Vec::new());
        for took in [40, 1, 3, 2] {
            assert_eq!(heartbeat.poll_frames(now, &mut Vec::new()), 1, "the next is asked at once");
            now += Duration::from_millis(took);
            told.extend(heartbeat.on_pong(now, told.len() as u64));
        }
        assert_eq!(heartbeat.poll_frames(now, &mut Vec::new()), 0, "it knows enough");
        let shortest: Vec<_> = told.iter().map(|told| told.shortest.as_millis()).collect();
        assert_eq!(shortest, [40, 1, 1, 1]);
        assert!(told[3].smoothed > Duration::from_millis(20), "the other goes by what was last");
    }

    #[test]
    fn silence_is_death_and_any_sign_is_life() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, KEEP_ALIVE, IDLE);
        assert!(heartbeat.is_dead(start + IDLE));
        heartbeat.on_heard(start + KEEP_ALIVE);
        assert!(!heartbeat.is_dead(start + IDLE));
    }
}
