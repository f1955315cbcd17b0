//! Axes: where a value lies between two ends, and which values are worth a label.

use crate::report::words;

/// One direction of a chart.
#[derive(Debug)]
pub(super) struct Axis {
    spacing: Spacing,
    from: f64,
    to: f64,
    /// What stands along it.
    pub(super) label: &'static str,
    /// Values with their labels.
    pub(super) ticks: Vec<(f64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Linear,
    /// Equal factors are equally far apart.
    Logarithmic,
    /// Quantiles: each further nine is equally far.
    Nines,
}

impl Axis {
    /// From zero to at least `most`, in steps of 1, 2 or 5.
    pub(super) fn linear(most: f64, label: &'static str) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 4.0);
        let steps = (most / step).ceil().clamp(1.0, 10.0);
        let mut ticks = Vec::new();
        let mut count = 0.0;
        while count <= steps {
            ticks.push((count * step, plain_number(count * step)));
            count += 1.0;
        }
        Self { spacing: Spacing::Linear, from: 0.0, to: steps * step, label, ticks }
    }

    /// Latencies in microseconds around `least` to `most`, both positive.
    pub(super) fn latency(least: f64, most: f64, label: &'static str) -> Self {
        let least = least.max(0.01);
        let most = most.max(least);
        let (first, last) = (least.log10().floor(), most.log10().ceil().min(12.0));
        let multiples: &[f64] = match most / least {
            wide if wide > 1e3 => &[1.0],
            middle if middle > 5.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        };
        let mut marks = Vec::new();
        let mut decade = first;
        while decade <= last {
            marks.extend(multiples.iter().map(|multiple| multiple * 10.0_f64.powf(decade)));
            decade += 1.0;
        }
        let from = marks.iter().copied().rfind(|mark| *mark <= least * 1.001).unwrap_or(least);
        let to = marks.iter().copied().find(|mark| *mark >= most * 0.999).unwrap_or(most);
        let to = if to > from { to } else { from * 10.0 };
        let ticks = marks.into_iter().filter(|mark| (from..=to).contains(mark));
        let ticks = ticks.map(|mark| (mark, words::latency_label(mark))).collect();
        Self { spacing: Spacing::Logarithmic, from, to, label, ticks }
    }

    /// Quantiles from 0 up to `most`.
    pub(super) fn quantiles(most: f64, label: &'static str) -> Self {
        let labels = [
            (0.5, "50 %"),
            (0.9, "90 %"),
            (0.99, "99 %"),
            (0.999, "99.9 %"),
            (0.9999, "99.99 %"),
            (0.99999, "99.999 %"),
        ];
        let to = most.clamp(0.9, 0.999_999);
        let shown = labels.into_iter().filter(|(quantile, _)| *quantile <= to);
        let ticks = shown.map(|(quantile, label)| (quantile, label.to_owned())).collect();
        Self { spacing: Spacing::Nines, from: 0.0, to, label, ticks }
    }

    /// Where a value lies: 0 at the start, 1 at the end, never beyond.
    pub(super) fn at(&self, value: f64) -> f64 {
        let measure = |value: f64| match self.spacing {
            Spacing::Linear => value,
            Spacing::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Spacing::Nines => -(1.0 - value.clamp(0.0, self.to)).log10(),
        };
        let (from, to) = (measure(self.from), measure(self.to));
        let share = (measure(value) - from) / (to - from);
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// 1, 2 or 5 times a power of ten, at least as large.
fn round_step(least: f64) -> f64 {
    let power = 10.0_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|multiple| multiple * power);
    steps.into_iter().find(|step| *step >= least * 0.999).unwrap_or(least)
}

fn plain_number(value: f64) -> String {
    if value >= 10_000.0 {
        words::number(value)
    } else {
        format!("{}", (value * 1e6).round() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_step_by_round_numbers_beyond_the_most() {
        for (most, labels) in [
            (94.0, vec!["0", "50", "100"]),
            (0.8, vec!["0", "0.2", "0.4", "0.6", "0.8"]),
            (0.0, vec!["0", "0.5", "1"]),
        ] {
            let axis = Axis::linear(most, "");
            let found: Vec<&str> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
            assert_eq!(found, labels, "{most}");
            assert!(axis.at(most) <= 1.0);
        }
    }

    #[test]
    fn each_nine_is_as_far_as_the_last() {
        let axis = Axis::quantiles(0.9999, "");
        for (quantile, at) in [(0.0, 0.0), (0.9, 0.25), (0.99, 0.5), (0.999, 0.75), (1.0, 1.0)] {
            assert!((axis.at(quantile) - at).abs() < 1e-6, "{quantile}: {}", axis.at(quantile));
        }
    }

    #[test]
    fn latencies_lie_by_their_factor_and_odd_values_stay_inside() {
        let axis = Axis::latency(10.0, 1_000.0, "");
        assert!((axis.at(100.0) - 0.5).abs() < 1e-9);
        for odd in [0.0, -5.0, 1e30, f64::NAN, f64::INFINITY] {
            assert!((0.0..=1.0).contains(&axis.at(odd)), "{odd}");
        }
        assert!(Axis::latency(0.0, 0.0, "").at(1.0).is_finite());
    }
}
