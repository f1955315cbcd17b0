//! Wall-clock time as text (RFC 3339 §5.6), in UTC with milliseconds.

use std::fmt;

use portolan_protocol::{Timestamp, Utc};

/// Prints a time stamp as `2026-03-01T12:00:00.000Z`.
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, hour, minute, second, milli } = self.0.utc();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Timestamp;

    use super::Rfc3339;

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (ms, text) in rows {
            assert_eq!(Rfc3339(Timestamp(ms)).to_string(), text);
        }
    }
}
