//! Text of others before it reaches a terminal, and numbers as people read them.

use portolan_protocol::{Timestamp, Utc};

/// Makes text of others harmless: no control sequences, nothing that turns the direction of
/// reading, and lines after the first set in, so that none looks like one of ours.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push_str("\n    "),
            '\t' => plain.push(' '),
            c if c.is_control() => plain.push('\u{fffd}'),
            '\u{061c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' => plain.push('\u{fffd}'),
            c => plain.push(c),
        }
    }
    plain
}

/// `1.5 MiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// Reads `1500`, `10K`, `1.5GiB`: units are powers of 1024, whatever they are called.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write 500K, 10MiB or 2G");
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.to_lowercase();
    let letter = unit.trim_end_matches('b').trim_end_matches('i');
    let power = match letter {
        "" if !unit.contains('i') => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let value: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = value * f64::from(1_u32 << 10).powi(power / 10);
    if !(0.0..1e18).contains(&bytes) {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(bytes as u64)
}

/// `12 s`, `3:05 min`, `2:04 h`: how long something will take.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `2026-11-21 08:15 UTC`.
pub(crate) fn time(at: Timestamp) -> String {
    let Utc { year, month, day, hour, minute, .. } = at.utc();
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Timestamp;

    use super::{parse_size, plain, size, span, time};

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let rows = [
            ("0", 0),
            ("1500", 1500),
            ("10K", 10 << 10),
            ("1.5 GiB", 3 << 29),
            ("2t", 2 << 40),
            ("7MB", 7 << 20),
            ("9b", 9),
        ];
        for (text, bytes) in rows {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1X", "1e99", "many", "5i"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(
            (span(59), span(185), span(7_440)),
            ("59 s".into(), "3:05 min".into(), "2:04 h".into())
        );
    }

    #[test]
    fn text_of_others_cannot_move_the_cursor_or_pretend_to_be_ours() {
        let rows = [
            ("plain text, Łódź, 李", "plain text, Łódź, 李"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\u{fffd}[2J\u{fffd}]0;title\u{fffd}"),
            ("over\rwritten\u{8}", "over\u{fffd}written\u{fffd}"),
            ("c1 \u{9b}31m", "c1 \u{fffd}31m"),
            ("evil\u{202e}gpj", "evil\u{fffd}gpj"),
            ("one\n* bob is there", "one\n    * bob is there"),
        ];
        for (text, wanted) in rows {
            assert_eq!(plain(text), wanted);
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(100 << 20), "100.0 MiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(time(Timestamp(0)), "1970-01-01 00:00 UTC");
        assert_eq!(time(Timestamp(951_782_400_000)), "2000-02-29 00:00 UTC");
        assert_eq!(time(Timestamp(1_795_248_900_000)), "2026-11-21 08:15 UTC");
    }
}
