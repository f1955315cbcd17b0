//! Times and sizes as people write them.

use std::time::Duration;

/// Reads `250ms`, `1.5s`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let scale = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let seconds = scaled(text, &scale).filter(|seconds| *seconds <= 86_400.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        format!("{text:?} is not a time up to a day: write a number and ms, s or m, such as 250ms")
    })
}

/// Reads `64KiB`, `10MB`, `1500`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let scale = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("kB", 1e3),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("B", 1.0),
        ("", 1.0),
    ];
    let bytes = scaled(text, &scale).filter(|bytes| *bytes <= 1e15);
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e15, and not negative")]
    #[expect(clippy::cast_sign_loss, reason = "scaled() refuses a sign")]
    bytes.map(|bytes| bytes.round() as u64).ok_or_else(|| {
        format!("{text:?} is not a size: write a number and kB, MB, KiB or MiB, such as 8MiB")
    })
}

/// A number and one of the units, multiplied; the first unit that ends the text counts.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)))?;
    let number = number.trim_end();
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && !number.is_empty()).then_some(number)?.parse::<f64>().ok().map(|n| n * factor)
}

/// A time for a table: seconds below a hundred with three digits that matter.
pub(crate) fn show(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2 m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("1.5 MB"), Ok(1_500_000));
        assert_eq!(bytes("1500"), Ok(1500));
    }

    #[test]
    fn what_is_neither_is_refused_with_an_example() {
        for text in ["", "ms", "-1s", "1e9s", "5", "inf s", "5 parsecs", "1..2s"] {
            assert!(duration(text).is_err_and(|error| error.contains("250ms")), "{text}");
        }
        for text in ["", "MB", "-1", "ten", "1e300"] {
            assert!(bytes(text).is_err_and(|error| error.contains("8MiB")), "{text}");
        }
    }
}
