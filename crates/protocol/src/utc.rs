//! The calendar: what date and time of day a time stamp is.

use crate::Timestamp;

const DAY_MS: u64 = 86_400_000;

/// Date and time of day in Coordinated Universal Time, Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// Year, 1970 or later.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
    /// 0 to 999.
    pub milli: u64,
}

impl Timestamp {
    /// This moment on the calendar.
    #[must_use]
    pub fn utc(self) -> Utc {
        let (days, ms) = (self.0 / DAY_MS, self.0 % DAY_MS);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, milli) = (ms / 1_000 % 60, ms % 1_000);
        Utc { year, month, day, hour, minute, second, milli }
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
