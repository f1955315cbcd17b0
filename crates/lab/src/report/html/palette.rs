//! One colour and one dash for each subject, the same throughout a page.
//!
//! The hues lie apart in lightness as well, so that they can be told apart with any kind of colour
//! blindness and in print; each has a contrast of at least 3 to 1 to its background (WCAG 2.2,
//! 1.4.11). Dashes and names at the lines say the same without colour.

use std::fmt::Write as _;

/// On white, on dark, and the dash of lines.
const COLOURS: &[(&str, &str, &str)] = &[
    ("#0b62c4", "#6aa8ff", ""),
    ("#d1480a", "#ff8a50", ""),
    ("#0a7d55", "#4fd0a0", ""),
    ("#8a3fb0", "#c99bf0", "7 3"),
    ("#9a6b00", "#e8b93e", "2 3"),
    ("#1c86b5", "#7fd3f7", "8 3 2 3"),
    ("#3d4654", "#c3ccd9", "5 2"),
    ("#c2377f", "#ff8cc0", "7 3"),
    ("#5f7a12", "#b5cf5a", "2 3"),
    ("#7b1f3a", "#e28a9e", "8 3 2 3"),
];

/// The longest name that charts have room for.
const NAME_MAX: usize = 14;

/// The rules of all colours.
pub(super) fn css() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    let mut rules = String::new();
    for (index, (on_light, on_dark, dash)) in COLOURS.iter().enumerate() {
        let _ = write!(light, "--s{index}:{on_light};");
        let _ = write!(dark, "--s{index}:{on_dark};");
        let _ = writeln!(rules, "[data-s=\"{index}\"]{{--s:var(--s{index})}}");
        if !dash.is_empty() {
            let _ = writeln!(rules, "[data-s=\"{index}\"] .line{{stroke-dasharray:{dash}}}");
        }
        let _ = writeln!(rules, ".off{index} svg [data-s=\"{index}\"]{{opacity:.07}}");
    }
    format!(
        ":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}"
    )
}

/// The attribute that gives an element the colour of a subject.
pub(super) fn of(subject: usize) -> String {
    format!("data-s=\"{}\"", subject % COLOURS.len())
}

/// The number that the attribute has, for the legend.
pub(super) fn number(subject: usize) -> usize {
    subject % COLOURS.len()
}

/// A name that fits beside a chart.
pub(super) fn short(name: &str) -> String {
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        let channel = |from: usize| {
            let value = u8::from_str_radix(&colour[from..from + 2], 16).unwrap();
            let share = f64::from(value) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_colour_stands_out_from_its_background() {
        for (on_light, on_dark, _) in COLOURS {
            assert!(contrast(on_light, "#ffffff") >= 3.0, "{on_light}");
            assert!(contrast(on_dark, "#14171c") >= 3.0, "{on_dark}");
        }
    }
}
