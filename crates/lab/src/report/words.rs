//! Figures and names as people read them.

use crate::{
    metric::{Better, Metric, Scale},
    report::stats::Estimate,
};

/// A figure to three digits, or four, thousands apart: `0.0123`, `1.23`, `12.3`, `1,234`, `12.3 M`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !size.is_finite() => "–".to_owned(),
        _ if size >= 1e15 => format!("{value:.2e}"),
        _ if size >= 999_500_000.0 => format!("{} G", number(value / 1e9)),
        _ if size >= 999_500.0 => format!("{} M", number(value / 1e6)),
        _ if size >= 99_950.0 => thousands((value / 1e3).round() * 1e3),
        _ if size >= 9_995.0 => thousands((value / 1e2).round() * 1e2),
        _ if size >= 999.5 => thousands(value),
        _ if size >= 99.95 => format!("{value:.0}"),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.9995 => format!("{value:.2}"),
        _ if size >= 0.0995 => format!("{value:.3}"),
        _ if size >= 0.000_05 => format!("{value:.4}"),
        _ => "0".to_owned(),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A median's interval: `[1,200–1,300]`. Empty where one value has none.
pub(crate) fn interval(estimate: &Estimate) -> String {
    match estimate.count {
        0 | 1 => String::new(),
        _ => format!("[{}–{}]", number(estimate.low), number(estimate.high)),
    }
}

/// How one figure stands to another: `1.62 ×`, `+0.4 pt`.
pub(crate) fn relation(value: f64, scale: Scale) -> String {
    match scale {
        Scale::Ratio => format!("{} ×", factor(value)),
        Scale::Points => format!("{} pt", points(value)),
    }
}

/// A relation's interval: `[1.51–1.70]`, `[-0.1 to +0.3]`.
pub(crate) fn relation_interval(estimate: &Estimate, scale: Scale) -> String {
    match (scale, estimate.count) {
        (_, 0 | 1) => String::new(),
        (Scale::Ratio, _) => format!("[{}–{}]", factor(estimate.low), factor(estimate.high)),
        (Scale::Points, _) => format!("[{} to {}]", points(estimate.low), points(estimate.high)),
    }
}

fn points(value: f64) -> String {
    format!("{value:+.2}")
}

/// A ratio, with as many digits as tell it from 1.
fn factor(value: f64) -> String {
    if (0.0995..9.995).contains(&value) { format!("{value:.2}") } else { number(value) }
}

/// A coverage: `94 %`; never rounded up to all.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        near if (99.0..100.0).contains(&near) => format!("{:.1} %", (near * 10.0).floor() / 10.0),
        other => format!("{other:.0} %"),
    }
}

/// A latency with a unit of its size, from microseconds.
pub(crate) fn latency(microseconds: f64) -> String {
    match microseconds {
        large if large >= 999_500.0 => format!("{} s", number(large / 1e6)),
        middle if middle >= 999.5 => format!("{} ms", number(middle / 1e3)),
        small => format!("{} µs", number(small)),
    }
}

/// A round latency at an axis: `500 µs`, `1 ms`.
pub(crate) fn latency_label(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        large if large >= 999_500.0 => (large / 1e6, "s"),
        middle if middle >= 999.5 => (middle / 1e3, "ms"),
        small => (small, "µs"),
    };
    format!("{} {unit}", (value * 1e3).round() / 1e3)
}

/// A figure of this metric with its unit.
pub(crate) fn with_unit(value: f64, metric: &Metric) -> String {
    match metric.unit {
        "µs" => latency(value),
        "/s" => format!("{}/s", number(value)),
        unit => format!("{} {unit}", number(value)),
    }
}

/// Which way is good.
pub(crate) fn direction(better: Better) -> &'static str {
    match better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// With a capital at its start.
pub(crate) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect())
}

/// `1 round`, `2 rounds`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Text from a file, without what would drive a terminal or break a line.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_whatever_their_size() {
        let rows = [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.5, "0.500"),
            (1.0, "1.00"),
            (9.999, "10.0"),
            (99.96, "100"),
            (999.6, "1,000"),
            (12_345.6, "12,300"),
            (999_499.0, "999,000"),
            (-1_234.0, "-1,234"),
            (12_345_678.0, "12.3 M"),
            (2e9, "2.00 G"),
        ];
        for (value, text) in rows {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_coverage_is_never_rounded_up_to_certainty() {
        assert_eq!(percent(0.9375), "94 %");
        assert_eq!(percent(0.99994), "99.9 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn latencies_take_the_unit_of_their_size() {
        assert_eq!(latency(12.34), "12.3 µs");
        assert_eq!(latency(50_200.0), "50.2 ms");
        assert_eq!(latency(1_500_000.0), "1.50 s");
    }

    #[test]
    fn text_from_a_file_cannot_drive_a_terminal() {
        assert_eq!(plain("a\x1b[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
    }
}
