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

/// `2026-11-21 08:15 UTC`.
pub(crate) fn time(at: Timestamp) -> String {
    let Utc { year, month, day, hour, minute, .. } = at.utc();
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Timestamp;

    use super::{plain, size, time};

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
