//! Times, rates, sizes and shares as people write them: `25ms`, `100 Mbit/s`, `64 KiB`, `1%`.

use std::time::Duration;

/// The longest time that can be written: a day.
const TIME_MAX: Duration = Duration::from_secs(86_400);
/// The highest rate that can be written: 1 Tbit/s.
const RATE_MAX: f64 = 1e12;

const NANOSECONDS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3600e9)];

const BITS_PER_SECOND: &[(&str, f64)] = &[
    ("bit", 1.0),
    ("kbit", 1e3),
    ("mbit", 1e6),
    ("gbit", 1e9),
    ("bit/s", 1.0),
    ("kbit/s", 1e3),
    ("mbit/s", 1e6),
    ("gbit/s", 1e9),
    ("bps", 1.0),
    ("kbps", 1e3),
    ("mbps", 1e6),
    ("gbps", 1e9),
];

const BYTES: &[(&str, f64)] = &[
    ("", 1.0),
    ("b", 1.0),
    ("bytes", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
];

/// A length of a queue, which is one of bytes or one of time at the link's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Bytes(u32),
    Time(Duration),
}

/// `25ms`, `1.5 s`, `2min`; a plain `0` needs no unit. At most a day.
pub(crate) fn time(text: &str) -> Option<Duration> {
    if text.trim() == "0" {
        return Some(Duration::ZERO);
    }
    let nanoseconds = measured(text, NANOSECONDS)?;
    let within = nanoseconds <= TIME_MAX.as_nanos() as f64;
    #[expect(clippy::cast_possible_truncation, reason = "at most a day")]
    within.then_some(Duration::from_nanos(nanoseconds.round() as u64))
}

/// `100Mbit`, `100 Mbit/s`, `2.5 Gbps`, in bits a second; more than 0.
pub(crate) fn rate(text: &str) -> Option<u64> {
    let bits = measured(text, BITS_PER_SECOND)?.round();
    #[expect(clippy::cast_possible_truncation, reason = "within 1 and 1e12")]
    (1.0..=RATE_MAX).contains(&bits).then_some(bits as u64)
}

/// `64 KiB`, `1500`, `1.5 MB`, in bytes.
pub(crate) fn size(text: &str) -> Option<u32> {
    let bytes = measured(text, BYTES)?.round();
    #[expect(clippy::cast_possible_truncation, reason = "within 32 bits")]
    (bytes <= f64::from(u32::MAX)).then_some(bytes as u32)
}

/// `100ms` or `64 KiB`.
pub(crate) fn amount(text: &str) -> Option<Amount> {
    time(text).map(Amount::Time).or_else(|| size(text).map(Amount::Bytes))
}

/// `1%` or `0.01`: from 0 to 1.
pub(crate) fn share(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    let share = match unit {
        "%" => number / 100.0,
        "" => number,
        _ => return None,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// A plain number from 1 to a million.
pub(crate) fn count(text: &str) -> Option<f64> {
    let (number, unit) = split(text)?;
    (unit.is_empty() && (1.0..=1e6).contains(&number)).then_some(number)
}

fn measured(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, unit) = split(text)?;
    let unit = unit.to_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some(number * factor)
}

/// The number (never negative, never infinite) and what stands behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_and_need_a_unit() {
        assert_eq!(time("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(time(" 1.5 s "), Some(Duration::from_millis(1_500)));
        assert_eq!(time("0.1 ms"), Some(Duration::from_micros(100)));
        assert_eq!(time("250 µs"), Some(Duration::from_micros(250)));
        assert_eq!(time("2min"), Some(Duration::from_secs(120)));
        assert_eq!(time("0"), Some(Duration::ZERO));
        for wrong in ["", "50", "ms", "-1ms", "1e3ms", "1.2.3s", "25h", "5 mss", "NaNs", "infs"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates_are_bits_however_they_are_spelled() {
        for text in ["100Mbit", "100 Mbit/s", "100mbps", "0.1 Gbit", "100000 kbit/s"] {
            assert_eq!(rate(text), Some(100_000_000), "{text}");
        }
        for wrong in ["0Mbit", "100", "100MB", "100 MB/s", "2000 Gbit", "Mbit"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_know_both_thousands() {
        assert_eq!(size("64 KiB"), Some(65_536));
        assert_eq!(size("64kB"), Some(64_000));
        assert_eq!(size("1500"), Some(1_500));
        assert_eq!(size("1.5MB"), Some(1_500_000));
        assert_eq!(size("5 GiB"), None);
        assert_eq!(amount("100ms"), Some(Amount::Time(Duration::from_millis(100))));
        assert_eq!(amount("30 KiB"), Some(Amount::Bytes(30_720)));
    }

    #[test]
    fn shares_lie_between_nothing_and_all() {
        assert_eq!(share("1%"), Some(0.01));
        assert_eq!(share("0.5 %"), Some(0.005));
        assert_eq!(share("0.25"), Some(0.25));
        for wrong in ["101%", "1.5", "-1%", "1 percent", "%"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
    }
}
