//! When a quiet connection asks whether the remote is still there.
//!
//! A heartbeat shows three things: that the remote lives, that translators on the way still know
//! us, and to the remote the same of us. How seldom it may come depends on how long translators
//! remember; that is found out. Clients begin often, and ask ever more seldom while the answers
//! come to the address that the remote knows; a remote that asks for proof of a new one
//! (RFC 9000 §9.3) has seen a translator forget us, and then we ask more often than that for
//! good. Servers ask only when a client that should have asked has not, so that what clients try
//! out is not disturbed.
//!
//! In the middle of what a client receives, a silence is suspicious much sooner: if a translator
//! has given us another port, the remote does not know where to send, and only we can tell it.
//! Then one heartbeat comes within a fraction of a round trip (the quick one).

use std::time::{Duration, Instant};

use portolan_mux::Side;

/// Heartbeats are not asked for more often because of a translator, however short its memory.
const SHORTEST: Duration = Duration::from_secs(5);

/// A pause in what is received that means nothing yet, besides half a round trip: timers are
/// coarse, and remotes hold things back.
const PAUSE: Duration = Duration::from_millis(25);

/// Usual distances between packets after which a pause is suspicious.
const GAPS: u32 = 4;

/// Silence after which what only a busy connection needs is let go when the remote asks.
const QUIET: Duration = Duration::from_secs(1);

/// The usual distance before any is known.
const GAP_FIRST: Duration = Duration::from_secs(1);

/// What is asked of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// The connection was quiet for long.
    Regular,
    /// Something that came steadily has stopped.
    Quick,
}

#[derive(Debug)]
pub(crate) struct Heartbeat {
    side: Side,
    /// Between two regular ones; zero: never.
    interval: Duration,
    /// Up to here the interval grows: what the configuration wants, or less since a translator
    /// forgot us, or more since one did not.
    most: Duration,
    /// How long the connection had been quiet before the last regular one.
    quiet: Option<Duration>,
    is_answered: bool,
    /// Since when nothing was said or heard.
    rest: Instant,
    /// When the remote last said something of its own.
    heard: Instant,
    /// The usual distance between two such packets.
    gap: Duration,
    is_quick_spent: bool,
}

impl Heartbeat {
    /// Begins with `first` between two heartbeats (zero: there are none) and goes up to `most`.
    pub(crate) fn new(now: Instant, side: Side, first: Duration, most: Duration) -> Self {
        Self {
            side,
            interval: first,
            most: most.max(first),
            quiet: None,
            is_answered: false,
            rest: now,
            heard: now,
            gap: first.min(GAP_FIRST),
            is_quick_spent: true,
        }
    }

    /// Learns after how long a silence the connection is given up.
    pub(crate) fn limit(&mut self, idle: Duration) {
        let most = self.most.min(idle / 2);
        (self.most, self.interval) = (most, self.interval.min(most));
    }

    /// When the next one is due, if nothing is said or heard until then.
    pub(crate) fn due(&self, rtt: Duration) -> Option<Instant> {
        if self.interval.is_zero() {
            return None;
        }
        let regular = self.rest + self.pause();
        let quick = self.heard + rtt / 2 + PAUSE + GAPS * self.gap;
        match self.side {
            Side::Client if !self.is_quick_spent => Some(regular.min(quick)),
            Side::Client | Side::Server => Some(regular),
        }
    }

    /// How long a quiet connection waits; a server longer than any client that does its part.
    fn pause(&self) -> Duration {
        match self.side {
            Side::Client => self.interval,
            Side::Server => self.most * 5 / 4,
        }
    }

    /// Something that is to be acknowledged was sent.
    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.rest = now;
    }

    /// A packet came; `is_eliciting`: with something of the remote's own.
    pub(crate) fn on_received(&mut self, now: Instant, is_eliciting: bool) {
        self.rest = now;
        if is_eliciting {
            let gap = now.saturating_duration_since(self.heard).min(self.most);
            self.gap = (self.gap * 7 + gap) / 8;
            self.heard = now;
            self.is_quick_spent = false;
        }
    }

    /// Whether nothing has been said or heard for a while.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.rest) >= QUIET
    }

    /// One is due: says which it is.
    pub(crate) fn on_due(&mut self, now: Instant) -> Beat {
        let quiet = now.saturating_duration_since(self.rest);
        self.is_quick_spent = true;
        if quiet < self.pause() {
            return Beat::Quick;
        }
        self.believe_last();
        (self.quiet, self.is_answered) = (Some(quiet), false);
        self.rest = now;
        Beat::Regular
    }

    /// The last one was answered, and nothing has been said against it since: translators remember
    /// for so long.
    fn believe_last(&mut self) {
        if let Some(quiet) = self.quiet.filter(|_| self.is_answered) {
            self.most = self.most.max(quiet);
            self.interval = (self.interval * 4 / 3).min(self.most);
        }
    }

    /// The answer has come.
    pub(crate) fn on_answered(&mut self) {
        self.is_answered = true;
    }

    /// The remote sees us at another address, although we did not move.
    pub(crate) fn on_rebound(&mut self) {
        if let Some(quiet) = self.quiet.take() {
            self.most = (quiet * 2 / 3).max(SHORTEST).min(self.most);
            self.interval = self.interval.min(self.most);
        }
    }

    /// We have moved: what a translator does there remains to be seen, and that the remote asks
    /// for proof is no news.
    pub(crate) fn on_moved(&mut self) {
        self.quiet = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const S: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    const RTT: Duration = Duration::from_millis(50);

    fn client() -> Heartbeat {
        Heartbeat::new(epoch(), Side::Client, 15 * S, 25 * S)
    }

    /// A quiet connection until so many heartbeats have been answered; `forgets` says whether a
    /// translator has forgotten us after so long. Answers the pauses.
    fn beats(heartbeat: &mut Heartbeat, count: usize, forgets: Duration) -> Vec<Duration> {
        let mut now = epoch();
        let mut pauses = Vec::new();
        while pauses.len() < count {
            let due = heartbeat.due(RTT).expect("there are heartbeats");
            let quiet = due - now;
            if heartbeat.on_due(due) == Beat::Regular {
                pauses.push(quiet);
            }
            heartbeat.on_sent(due);
            now = due + RTT;
            heartbeat.on_received(now, true);
            heartbeat.on_answered();
            if quiet >= forgets {
                heartbeat.on_rebound();
            }
            // The quick one after the answer is not of interest here.
            heartbeat.is_quick_spent = true;
        }
        pauses
    }

    #[test]
    fn it_becomes_rarer_up_to_the_limit_while_it_is_answered() {
        let pauses = beats(&mut client(), 5, Duration::MAX);
        assert_eq!(pauses, [15 * S, 15 * S, 20 * S, 25 * S, 25 * S]);
    }

    #[test]
    fn it_stays_below_what_a_translator_has_forgotten() {
        let mut heartbeat = client();
        let pauses = beats(&mut heartbeat, 10, 18 * S);
        assert!(pauses[..4].contains(&(20 * S)), "{pauses:?}");
        let later = &pauses[4..];
        assert!(later.iter().all(|pause| *pause < 18 * S), "{pauses:?}");
        assert!(heartbeat.most >= SHORTEST);
    }

    #[test]
    fn it_leaves_time_to_ask_again_before_the_connection_is_given_up() {
        let mut heartbeat = client();
        heartbeat.limit(20 * S);
        assert_eq!(beats(&mut heartbeat, 3, Duration::MAX), [10 * S; 3]);
    }

    #[test]
    fn a_longer_silence_that_was_survived_is_believed() {
        let mut heartbeat = client();
        // The machine slept.
        let late = epoch() + 40 * S;
        assert_eq!(heartbeat.on_due(late), Beat::Regular);
        heartbeat.on_answered();
        assert_eq!(heartbeat.on_due(late + 15 * S), Beat::Regular);
        assert_eq!(heartbeat.most, 40 * S);
    }

    #[test]
    fn an_unanswered_one_proves_nothing() {
        let mut heartbeat = client();
        for count in 1..4 {
            assert_eq!(heartbeat.on_due(epoch() + count * 15 * S), Beat::Regular);
        }
        assert_eq!(heartbeat.interval, 15 * S);
    }

    #[test]
    fn a_server_lets_the_client_ask() {
        let server = Heartbeat::new(epoch(), Side::Server, 15 * S, 25 * S);
        assert!(server.due(RTT) > Some(epoch() + 25 * S));
    }

    #[test]
    fn a_steady_stream_that_stops_is_asked_about_at_once_and_once() {
        let mut heartbeat = client();
        let mut now = epoch();
        for _ in 0..200 {
            now += MS;
            heartbeat.on_received(now, true);
        }
        let due = heartbeat.due(RTT).expect("there are heartbeats");
        assert!(due - now <= RTT / 2 + PAUSE + 5 * MS, "{:?}", due - now);
        assert_eq!(heartbeat.on_due(due), Beat::Quick);
        heartbeat.on_sent(due);
        assert_eq!(heartbeat.due(RTT), Some(due + 15 * S));
    }

    #[test]
    fn single_messages_are_not_asked_about() {
        let mut heartbeat = client();
        for count in 1..20 {
            let now = epoch() + count * 3 * S;
            heartbeat.on_received(now, true);
            assert!(heartbeat.due(RTT) > Some(now + 3 * S));
        }
    }

    #[test]
    fn zero_means_never() {
        let heartbeat = Heartbeat::new(epoch(), Side::Client, Duration::ZERO, Duration::ZERO);
        assert_eq!(heartbeat.due(RTT), None);
    }
}
