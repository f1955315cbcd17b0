//! What is measured: one table for workloads, reports and comparisons.

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

const fn metric(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
    about: &'static str,
) -> Metric {
    Metric { id, title, unit, better, about }
}

use Better::{Higher, Lower};

/// All metrics, in the order of reports.
pub const METRICS: &[Metric] = &[
    metric("bulk-up", "bulk, 1 stream, up", "MiB/s", Higher, "client to server"),
    metric("bulk-down", "bulk, 1 stream, down", "MiB/s", Higher, "server to client"),
    metric("bulk-up-4", "bulk, 4 streams, up", "MiB/s", Higher, "the sum of four"),
    metric("bulk-down-4", "bulk, 4 streams, down", "MiB/s", Higher, "the sum of four"),
    metric("cpu", "CPU of bulk up", "s/GiB", Lower, "both sides and the kernel on their behalf"),
    metric("rtt-64-p50", "round trip 64 B, p50", "µs", Lower, "one question at a time"),
    metric("rtt-64-p99", "round trip 64 B, p99", "µs", Lower, "one question at a time"),
    metric("rtt-64-p999", "round trip 64 B, p99.9", "µs", Lower, "one question at a time"),
    metric("rtt-1k-p50", "round trip 1 KiB, p50", "µs", Lower, "one question at a time"),
    metric("rtt-1k-p99", "round trip 1 KiB, p99", "µs", Lower, "one question at a time"),
    metric("rtt-1k-p999", "round trip 1 KiB, p99.9", "µs", Lower, "one question at a time"),
    metric("messages", "100 B messages, flushed each", "/s", Higher, "one stream, one way"),
    metric("messages-batched", "100 B messages, batched", "/s", Higher, "flushed every 64 KiB"),
    metric("handshakes", "handshakes", "/s", Higher, "one after the other, no data"),
    metric("first-byte", "time to first byte, p50", "µs", Lower, "connect, ask 1 B, get 1 B"),
    metric("live-once-p99", "live message, sent once, p99", "µs", Lower, "one way, 50/s, 160 B"),
    metric("live-once-lost", "live message, sent once, lost", "%", Lower, "never arrived"),
    metric("live-until-p99", "live message, 150 ms, p99", "µs", Lower, "one way, 50/s, 160 B"),
    metric("live-until-lost", "live message, 150 ms, lost", "%", Lower, "late counts as lost"),
    metric("live-stream-p99", "live message, on a stream, p99", "µs", Lower, "one way, 50/s"),
    metric(
        "loaded-rtt-p50",
        "round trip 64 B under load, p50",
        "µs",
        Lower,
        "beside a bulk stream",
    ),
    metric(
        "loaded-rtt-p99",
        "round trip 64 B under load, p99",
        "µs",
        Lower,
        "beside a bulk stream",
    ),
    metric("memory-1k", "memory per idle connection, of 1,000", "KiB", Lower, "server side"),
    metric("memory-10k", "memory per idle connection, of 10,000", "KiB", Lower, "server side"),
    metric("after-idle", "1 MiB after 2 s idle", "ms", Lower, "on a connection that was fast"),
];

/// The metric of this id.
#[must_use]
pub fn metric_of(id: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.id == id)
}
