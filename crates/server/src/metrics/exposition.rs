//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use super::histogram::Reading;

/// What the format calls a metric family: a name, what it means, and how it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Up only.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The answer to one question for all metrics.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// A metric with one value.
    pub(super) fn value(&mut self, family: &Family, value: f64) {
        self.head(family);
        self.sample(family.name, "", value);
    }

    /// The same, where it fits into a counter of ours.
    pub(super) fn count(&mut self, family: &Family, value: u64) {
        self.value(family, float(value));
    }

    /// A metric with a value for each of `label`.
    pub(super) fn by<'a>(
        &mut self,
        family: &Family,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(family);
        for (word, value) in values {
            self.sample(family.name, &format!("{{{label}=\"{}\"}}", escape(word)), float(value));
        }
    }

    pub(super) fn histogram(&mut self, family: &Family, reading: &Reading) {
        self.head(family);
        let bucket = format!("{}_bucket", family.name);
        for (bound, count) in &reading.at_most {
            self.sample(&bucket, &format!("{{le=\"{bound}\"}}"), float(*count));
        }
        self.sample(&bucket, "{le=\"+Inf\"}", float(reading.count));
        self.sample(&format!("{}_sum", family.name), "", reading.sum);
        self.sample(&format!("{}_count", family.name), "", float(reading.count));
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn head(&mut self, family: &Family) {
        let Family { name, kind, help } = family;
        let kind = kind.as_str();
        let _fits = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _fits = writeln!(self.text, "{name}{labels} {value}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format knows no other numbers")]
fn float(value: u64) -> f64 {
    value as f64
}

/// A label's value as the format wants it.
fn escape(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn labels_cannot_end_early() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
