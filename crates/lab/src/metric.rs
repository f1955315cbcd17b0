//! What is measured: one table for workloads, reports and comparisons.

use Group::{Bulk, Connecting, Live, Loaded, Memory, Messages, RoundTrip};

/// One figure that a round gives for each subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name in JSON and on the command line.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Its unit, as in `MiB/s`.
    pub unit: &'static str,
    /// Which way is good.
    pub better: Better,
    /// Where reports show it.
    pub group: Group,
    /// What a reader should know about how it was taken.
    pub about: &'static str,
}

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is better: rates.
    Higher,
    /// Less is better: times and costs.
    Lower,
}

/// What belongs together in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Bytes a second, and what they cost.
    Bulk,
    /// Questions and answers.
    RoundTrip,
    /// Many small messages.
    Messages,
    /// Meeting, and meeting again.
    Connecting,
    /// Messages with a time of their own, such as audio.
    Live,
    /// Small messages beside a bulk transfer.
    Loaded,
    /// Memory.
    Memory,
}

/// All groups, in the order of reports.
pub const GROUPS: &[Group] = &[Bulk, RoundTrip, Messages, Connecting, Live, Loaded, Memory];

impl Group {
    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Bulk => "Throughput",
            Self::RoundTrip => "Round trips",
            Self::Messages => "Small messages",
            Self::Connecting => "Connecting",
            Self::Live => "Live messages",
            Self::Loaded => "Round trips under load",
            Self::Memory => "Memory",
        }
    }
}

/// How two figures of a metric are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// One divided by the other.
    Ratio,
    /// One less the other: shares in percent, which may well be zero.
    Points,
}

impl Scale {
    /// What equals say: `1` times, or `0` points apart.
    #[must_use]
    pub fn neutral(self) -> f64 {
        match self {
            Self::Ratio => 1.0,
            Self::Points => 0.0,
        }
    }
}

impl Metric {
    /// How two of its figures are compared.
    #[must_use]
    pub fn scale(&self) -> Scale {
        if self.unit == "%" { Scale::Points } else { Scale::Ratio }
    }
}

const fn higher(
    group: Group,
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Metric {
    Metric { id, title, unit, better: Better::Higher, group, about }
}

const fn lower(
    group: Group,
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Metric {
    Metric { id, title, unit, better: Better::Lower, group, about }
}

/// All metrics, in the order of reports.
pub const METRICS: &[Metric] = &[
    higher(Bulk, "bulk-up", "bulk, 1 stream, up", "MiB/s", "client to server"),
    higher(Bulk, "bulk-down", "bulk, 1 stream, down", "MiB/s", "server to client"),
    higher(Bulk, "bulk-up-4", "bulk, 4 streams, up", "MiB/s", "the sum of four"),
    higher(Bulk, "bulk-down-4", "bulk, 4 streams, down", "MiB/s", "the sum of four"),
    lower(Bulk, "cpu", "CPU of bulk up", "s/GiB", "both sides and the kernel on their behalf"),
    lower(RoundTrip, "rtt-64-p50", "round trip 64 B, p50", "µs", "one question at a time"),
    lower(RoundTrip, "rtt-64-p99", "round trip 64 B, p99", "µs", "one question at a time"),
    lower(RoundTrip, "rtt-64-p999", "round trip 64 B, p99.9", "µs", "one question at a time"),
    lower(RoundTrip, "rtt-1k-p50", "round trip 1 KiB, p50", "µs", "one question at a time"),
    lower(RoundTrip, "rtt-1k-p99", "round trip 1 KiB, p99", "µs", "one question at a time"),
    lower(RoundTrip, "rtt-1k-p999", "round trip 1 KiB, p99.9", "µs", "one question at a time"),
    higher(Messages, "messages", "100 B messages, flushed each", "/s", "one stream, one way"),
    higher(Messages, "messages-batched", "100 B messages, batched", "/s", "flushed every 64 KiB"),
    higher(Connecting, "handshakes", "handshakes", "/s", "one after the other, no data"),
    lower(Connecting, "first-byte", "time to first byte, p50", "µs", "connect, ask 1 B, get 1 B"),
    lower(Live, "live-once-p99", "live message, sent once, p99", "µs", "one way, 50/s, 100 B"),
    lower(Live, "live-once-lost", "live message, sent once, lost", "%", "never arrived"),
    lower(Live, "live-until-p99", "live message, 150 ms, p99", "µs", "one way, 50/s, 100 B"),
    lower(Live, "live-until-lost", "live message, 150 ms, lost", "%", "late counts as lost"),
    lower(Live, "live-until-wire", "live message, 150 ms, wire", "×", "bytes, sent once: 1"),
    lower(Live, "live-stream-p99", "live message, on a stream, p99", "µs", "one way, 50/s"),
    lower(
        Loaded,
        "loaded-rtt-p50",
        "round trip 64 B under load, p50",
        "µs",
        "beside a bulk stream",
    ),
    lower(
        Loaded,
        "loaded-rtt-p99",
        "round trip 64 B under load, p99",
        "µs",
        "beside a bulk stream",
    ),
    lower(Memory, "memory-1k", "memory per idle connection, of 1,000", "KiB", "server side"),
    lower(Memory, "memory-10k", "memory per idle connection, of 10,000", "KiB", "server side"),
    lower(Connecting, "after-idle", "1 MiB after 2 s idle", "ms", "on a connection that was fast"),
];

/// The metric of this id.
#[must_use]
pub fn metric_of(id: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.id == id)
}
