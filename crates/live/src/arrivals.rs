//! Which numbers have come, and what to tell the sender about it.

use crate::{
    datagram::{Report, StreamNumber},
    tally::Tally,
};

/// Between two reports.
const EVERY_MICROS: i64 = 1_000_000;

/// Counts numbers from the first to the highest, through new beginnings.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    first: Option<i64>,
    highest: i64,
    highest_came: i64,
    /// Expected before the last new beginning.
    closed: u64,
    reported: Tally,
    /// When the last report was made.
    last: Option<i64>,
}

impl Arrivals {
    /// A frame with this number came; whether it is the newest.
    pub(crate) fn on_frame(&mut self, now: i64, sequence: i64, tally: &mut Tally) -> bool {
        tally.received += 1;
        let newest = self.first.is_none() || sequence > self.highest;
        if newest {
            self.highest = sequence;
            self.highest_came = now;
        }
        let first = self.first.map_or(sequence, |first| first.min(sequence));
        self.first = Some(first);
        let numbers = u64::try_from(self.highest - first + 1).unwrap_or_default();
        tally.expected = tally.expected.max(self.closed + numbers);
        newest
    }

    /// Numbers begin anew: what was lost before is lost.
    pub(crate) fn restart(&mut self, tally: &mut Tally) {
        tally.restarts += 1;
        self.closed = tally.expected;
        self.first = None;
    }

    /// What to tell, once a second while something comes or should.
    pub(crate) fn report(&mut self, now: i64, tally: &Tally) -> Option<Report> {
        self.first?;
        let last = *self.last.get_or_insert(now);
        if now - last < EVERY_MICROS || tally.received == self.reported.received {
            return None;
        }
        self.last = Some(now);
        let news = tally.since(&self.reported);
        self.reported = *tally;
        Some(Report {
            highest: low(self.highest),
            held: count((now - self.highest_came) / 100),
            expected: count(news.expected),
            lost: count(news.expected.saturating_sub(news.received)),
            late: count(news.late),
            ..Report::default()
        })
    }
}

impl Report {
    pub(crate) fn about(mut self, stream: StreamNumber, epoch: u8) -> Self {
        self.stream = stream;
        self.epoch = epoch;
        self
    }
}

/// What of a count fits into the wire's sixteen bits.
pub(crate) fn count(number: impl TryInto<u16>) -> u16 {
    number.try_into().unwrap_or(u16::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "numbers are told modulo 2^16")]
#[expect(clippy::cast_sign_loss, reason = "numbers are told modulo 2^16")]
const fn low(sequence: i64) -> u16 {
    sequence as u16
}
