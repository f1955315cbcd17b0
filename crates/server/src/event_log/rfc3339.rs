//! Wall-clock time as text (RFC 3339 §5.6), in UTC with milliseconds.

use std::fmt;

use portolan_protocol::Timestamp;

const DAY_MS: u64 = 86_400_000;

/// Prints a time stamp as `2026-03-01T12:00:00.000Z`.
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.0 / DAY_MS, self.0.0 % DAY_MS);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01.
///
/// Years are counted from March, so that the leap day is a year's last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097; // Days of 400 years.
    const BEFORE_EPOCH: u64 = 719_468; // Days from 0000-03-01 to 1970-01-01.
    let shifted = days.saturating_add(BEFORE_EPOCH);
    let (era, day_of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
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
