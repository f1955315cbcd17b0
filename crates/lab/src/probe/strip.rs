//! Which streams were late when, as lines of characters.

use std::{collections::BTreeMap, time::Duration};

/// Columns of a strip.
const COLUMNS: usize = 60;

/// One answered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Its stream, from 0.
    pub(super) stream: usize,
    /// When it was sent.
    pub(super) sent: Duration,
    /// How long the answer took.
    pub(super) took: Duration,
}

/// Messages of several streams over time.
#[derive(Debug)]
pub(super) struct Strips {
    /// Stream and column; whether one of its messages was late.
    cells: BTreeMap<(usize, usize), bool>,
    streams: usize,
}

/// How often streams were late together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Together {
    /// Moments with a late message.
    pub(super) moments: usize,
    /// Moments in which every stream was late.
    pub(super) all: usize,
    /// Moments in which one stream was.
    pub(super) one: usize,
}

impl Strips {
    /// Sorts `records` of `whole` into columns; late is what took half as long again as the
    /// fastest, or longer.
    pub(super) fn new(records: &[Record], streams: usize, whole: Duration) -> Self {
        let fastest = records.iter().map(|record| record.took).min().unwrap_or_default();
        let late = late_from(fastest);
        let column = (whole / u32::try_from(COLUMNS).unwrap_or(1)).max(Duration::from_millis(1));
        let mut cells = BTreeMap::new();
        for record in records {
            let place = usize::try_from(record.sent.as_millis() / column.as_millis().max(1));
            let place = place.unwrap_or(COLUMNS).min(COLUMNS - 1);
            *cells.entry((record.stream, place)).or_insert(false) |= record.took >= late;
        }
        Self { cells, streams }
    }

    /// The line of a stream: `.` on time, `#` late, blank: nothing answered.
    pub(super) fn line(&self, stream: usize) -> String {
        let cell = |column| match self.cells.get(&(stream, column)) {
            Some(true) => '#',
            Some(false) => '.',
            None => ' ',
        };
        (0..COLUMNS).map(cell).collect()
    }

    /// Counts the columns in which one, some or all were late.
    pub(super) fn together(&self) -> Together {
        let mut together = Together { moments: 0, all: 0, one: 0 };
        for column in 0..COLUMNS {
            let late = (0..self.streams)
                .filter(|stream| self.cells.get(&(*stream, column)) == Some(&true))
                .count();
            together.moments += usize::from(late > 0);
            together.all += usize::from(late > 0 && late == self.streams);
            together.one += usize::from(late == 1);
        }
        together
    }
}

/// What counts as late where the fastest message took `fastest`.
pub(super) fn late_from(fastest: Duration) -> Duration {
    fastest.mul_f64(1.5).max(fastest + Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: usize, sent: u64, took: u64) -> Record {
        let (sent, took) = (Duration::from_millis(sent), Duration::from_millis(took));
        Record { stream, sent, took }
    }

    #[test]
    fn a_late_message_marks_its_stream_and_its_moment() {
        let mut records = Vec::new();
        for tick in 0..60 {
            records.extend([record(0, tick * 100, 50), record(1, tick * 100, 50)]);
        }
        // One alone at the start, both at the end.
        records.extend([record(0, 150, 100), record(0, 5900, 90), record(1, 5950, 76)]);
        let strips = Strips::new(&records, 2, Duration::from_secs(6));
        assert_eq!(strips.line(0), format!(".#{}#", ".".repeat(57)));
        assert_eq!(strips.line(1), format!("{}#", ".".repeat(59)));
        assert_eq!(strips.together(), Together { moments: 2, all: 1, one: 1 });
    }

    #[test]
    fn a_stream_without_answers_is_blank() {
        let strips = Strips::new(&[record(0, 10, 50)], 2, Duration::from_secs(6));
        assert_eq!(strips.line(1).trim(), "");
    }
}
