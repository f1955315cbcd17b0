//! How fast the path delivers: one sample for each acknowledgement
//! (draft-cheng-iccrg-delivery-rate-estimation).
//!
//! Every packet remembers how much had been delivered when it was sent. When it arrives, what was
//! delivered since, over the longer of the times that sending and acknowledging took, is a rate
//! that the path has shown: never more than it can.

use std::time::{Duration, Instant};

/// What has been delivered on a path so far.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Bytes acknowledged.
    delivered: u64,
    /// When the last of them were.
    at: Instant,
    /// When the first packet of the present flight was sent.
    first_sent: Instant,
    /// Until more than this is delivered, samples show what the application had to send, not what
    /// the path can carry.
    app_limited_until: Option<u64>,
    /// Bytes declared lost.
    lost: u64,
    /// The packet that the next sample is of: the one sent last of those just acknowledged.
    newest: Option<(Instant, Snapshot)>,
    /// Bytes acknowledged since the last sample.
    newly_acked: u64,
}

/// What was true when a packet was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    delivered: u64,
    at: Instant,
    first_sent: Instant,
    lost: u64,
    is_app_limited: bool,
    /// Bytes under way, the packet included.
    in_flight: u64,
}

impl Snapshot {
    /// Of a packet that was sent in the same moment, `bytes` later.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.in_flight += bytes;
    }
}

/// What one acknowledgement has shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Bytes a second; `None`: the time was too short to tell.
    pub(crate) rate: Option<u64>,
    /// Bytes delivered between sending and acknowledgement of the newest packet.
    pub(crate) delivered: u64,
    /// What had been delivered when that packet was sent.
    pub(crate) prior_delivered: u64,
    /// Bytes lost in that time.
    pub(crate) lost: u64,
    /// Bytes that were under way when it was sent.
    pub(crate) in_flight_then: u64,
    /// The application had no more to send.
    pub(crate) is_app_limited: bool,
    /// Bytes that were acknowledged since the sample before.
    pub(crate) newly_acked: u64,
}

/// A lost packet, seen from when it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost {
    pub(crate) bytes: u64,
    /// Bytes that were under way when it was sent, and lost since, both with it.
    pub(crate) in_flight_then: u64,
    pub(crate) lost_since: u64,
    pub(crate) is_app_limited: bool,
}

impl Delivery {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            at: now,
            first_sent: now,
            app_limited_until: None,
            lost: 0,
            newest: None,
            newly_acked: 0,
        }
    }

    /// Bytes delivered since the start.
    pub(crate) fn total(&self) -> u64 {
        self.delivered
    }

    /// A packet is sent, with which so many bytes are under way.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) -> Snapshot {
        if in_flight == bytes {
            (self.first_sent, self.at) = (now, now);
        }
        Snapshot {
            delivered: self.delivered,
            at: self.at,
            first_sent: self.first_sent,
            lost: self.lost,
            is_app_limited: self.app_limited_until.is_some_and(|until| self.delivered <= until),
            in_flight,
        }
    }

    /// The application has no more to send while so many bytes are under way.
    pub(crate) fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = Some(self.delivered + in_flight);
    }

    /// A packet was acknowledged.
    pub(crate) fn on_acked(&mut self, now: Instant, bytes: u64, sent: Instant, then: Snapshot) {
        self.delivered += bytes;
        self.newly_acked += bytes;
        self.at = now;
        let is_newer = self.newest.is_none_or(|(time, newest)| {
            then.delivered > newest.delivered || then.delivered == newest.delivered && sent > time
        });
        if is_newer {
            self.newest = Some((sent, then));
        }
    }

    /// A packet was declared lost.
    pub(crate) fn on_lost(&mut self, bytes: u64, then: Snapshot) -> Lost {
        self.lost += bytes;
        Lost {
            bytes,
            in_flight_then: then.in_flight,
            lost_since: self.lost.saturating_sub(then.lost),
            is_app_limited: then.is_app_limited,
        }
    }

    /// A packet that was declared lost has arrived. It is not counted as delivered: what was sent
    /// again in its place is.
    pub(crate) fn on_late(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_sub(bytes);
    }

    /// What was shown by the packets acknowledged since the last call; a rate over less than
    /// `rtt_min` would be one of bursts.
    pub(crate) fn sample(&mut self, rtt_min: Duration) -> Option<Sample> {
        let (sent, then) = self.newest.take()?;
        let delivered = self.delivered - then.delivered;
        let sending = sent.saturating_duration_since(then.first_sent);
        let acknowledging = self.at.saturating_duration_since(then.at);
        let interval = sending.max(acknowledging);
        self.first_sent = sent;
        let rate = (interval >= rtt_min && !interval.is_zero()).then(|| {
            let rate = u128::from(delivered) * 1_000_000_000 / interval.as_nanos();
            u64::try_from(rate).unwrap_or(u64::MAX)
        });
        Some(Sample {
            rate,
            delivered,
            prior_delivered: then.delivered,
            lost: self.lost.saturating_sub(then.lost),
            in_flight_then: then.in_flight,
            is_app_limited: then.is_app_limited,
            newly_acked: std::mem::take(&mut self.newly_acked),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::epoch;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_flow_shows_the_rate_of_the_path() {
        let mut delivery = Delivery::new(epoch());
        // A packet of 1,000 bytes each millisecond, acknowledged 10 ms later: 1 MB/s.
        let mut flight = std::collections::VecDeque::new();
        let mut rates = Vec::new();
        for ms in 0..100 {
            let now = epoch() + ms * MS;
            if ms >= 10 {
                let (sent, then) = flight.pop_front().unwrap();
                delivery.on_acked(now, 1_000, sent, then);
                rates.extend(delivery.sample(10 * MS).unwrap().rate);
            }
            let in_flight = 1_000 * (flight.len() as u64 + 1);
            flight.push_back((now, delivery.on_sent(now, 1_000, in_flight)));
        }
        assert!(rates.iter().skip(20).all(|rate| *rate == 1_000_000), "{rates:?}");
    }

    #[test]
    fn acknowledgements_that_come_in_a_burst_do_not_show_more_than_was_sent() {
        let mut delivery = Delivery::new(epoch());
        let sent: Vec<_> = (0..10)
            .map(|ms| {
                let now = epoch() + ms * MS;
                (now, delivery.on_sent(now, 1_000, 1_000 * (u64::from(ms) + 1)))
            })
            .collect();
        let now = epoch() + 20 * MS;
        for (time, then) in sent {
            delivery.on_acked(now, 1_000, time, then);
        }
        let sample = delivery.sample(10 * MS).unwrap();
        assert_eq!(sample.rate, Some(10_000 * 1_000 / 20));
        assert_eq!(sample.newly_acked, 10_000);
        assert!(delivery.sample(MS).is_none(), "nothing new");
    }

    #[test]
    fn what_is_sent_while_the_application_has_no_more_is_marked() {
        let mut delivery = Delivery::new(epoch());
        let first = delivery.on_sent(epoch(), 1_000, 1_000);
        delivery.on_app_limited(1_000);
        let second = delivery.on_sent(epoch() + MS, 1_000, 2_000);
        delivery.on_acked(epoch() + 10 * MS, 1_000, epoch(), first);
        assert!(!delivery.sample(MS).unwrap().is_app_limited);
        let third = delivery.on_sent(epoch() + 10 * MS, 1_000, 2_000);
        delivery.on_acked(epoch() + 11 * MS, 1_000, epoch() + MS, second);
        assert!(delivery.sample(MS).unwrap().is_app_limited);
        let fourth = delivery.on_sent(epoch() + 11 * MS, 1_000, 2_000);
        delivery.on_acked(epoch() + 20 * MS, 1_000, epoch() + 10 * MS, third);
        assert!(delivery.sample(MS).unwrap().is_app_limited, "sent before all of that had arrived");
        delivery.on_acked(epoch() + 21 * MS, 1_000, epoch() + 11 * MS, fourth);
        assert!(!delivery.sample(MS).unwrap().is_app_limited, "what was limited is delivered");
    }

    #[test]
    fn one_question_after_another_shows_nothing_of_the_path() {
        let mut delivery = Delivery::new(epoch());
        for turn in 0..5 {
            let sent = epoch() + turn * 10 * MS;
            let then = delivery.on_sent(sent, 100, 100);
            delivery.on_app_limited(100);
            delivery.on_acked(sent + 5 * MS, 100, sent, then);
            assert_eq!(delivery.sample(MS).unwrap().is_app_limited, turn > 0);
        }
    }

    #[test]
    fn losses_are_counted_from_when_a_packet_was_sent() {
        let mut delivery = Delivery::new(epoch());
        let snapshots: Vec<_> =
            (1..=4).map(|count| delivery.on_sent(epoch(), 1_000, 1_000 * count)).collect();
        let lost = delivery.on_lost(1_000, snapshots[0]);
        assert_eq!((lost.lost_since, lost.in_flight_then), (1_000, 1_000));
        let lost = delivery.on_lost(1_000, snapshots[1]);
        assert_eq!((lost.lost_since, lost.in_flight_then), (2_000, 2_000));
        let after = delivery.on_sent(epoch() + MS, 1_000, 3_000);
        delivery.on_acked(epoch() + 9 * MS, 1_000, epoch() + MS, after);
        assert_eq!(delivery.sample(MS).unwrap().lost, 0, "sent after the losses");
    }
}
