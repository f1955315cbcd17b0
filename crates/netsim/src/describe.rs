//! Links as the text that describes them.

use std::{fmt, time::Duration};

use crate::{Discipline, Link, Loss, Order, Rate, draft::MTU, topology::Duplex};

/// The [`crate::LinkSpec`] of both directions; what is as in [`Duplex::PERFECT`] is left out.
///
/// It parses back to the same links, but for bursts: their share and length are rounded, and
/// losses outside of bursts are not told.
impl fmt::Display for Duplex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (up, down) = (words(&self.up), words(&self.down));
        let mut said: Vec<String> = Vec::new();
        for key in KEYS {
            let value = |words: &[(&str, String)]| {
                words.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
            };
            match (value(&up), value(&down)) {
                (Some(up), Some(down)) if up == down => said.push(format!("{key}={up}")),
                (up, down) => {
                    said.extend(up.map(|up| format!("up.{key}={up}")));
                    said.extend(down.map(|down| format!("down.{key}={down}")));
                }
            }
        }
        match said.is_empty() {
            true => formatter.write_str("delay=0ms"),
            false => formatter.write_str(&said.join(",")),
        }
    }
}

/// The order of the words.
const KEYS: &[&str] = &[
    "delay",
    "jitter",
    "order",
    "rate",
    "queue",
    "discipline",
    "target",
    "interval",
    "ecn",
    "loss",
    "burst",
    "reorder",
    "hold",
    "duplicate",
    "corrupt",
    "mtu",
];

fn words(link: &Link) -> Vec<(&'static str, String)> {
    let mut words = Vec::new();
    let mut say = |key, is_said, value: String| {
        if is_said {
            words.push((key, value));
        }
    };
    say("delay", !link.delay.is_zero(), time(link.delay));
    say("jitter", !link.jitter.is_zero(), time(link.jitter));
    say("order", link.order == Order::Free, "free".to_owned());
    say("duplicate", link.duplicate > 0.0, share(link.duplicate));
    say("corrupt", link.corrupt > 0.0, share(link.corrupt));
    say("mtu", link.mtu != MTU, link.mtu.to_string());
    words.extend(loss(link.loss));
    if let Some(rate) = &link.rate {
        words.extend(rate_and_queue(rate));
    }
    if let Some(reorder) = link.reorder {
        words.extend([("reorder", share(reorder.probability)), ("hold", time(reorder.hold))]);
    }
    words
}

fn rate_and_queue(rate: &Rate) -> Vec<(&'static str, String)> {
    let mut words = vec![("rate", bits(rate.bits_per_second)), ("queue", bytes(rate.queue.bytes))];
    match rate.queue.discipline {
        Discipline::DropTail => {}
        Discipline::CoDel { target, interval } => words.extend([
            ("discipline", "codel".to_owned()),
            ("target", time(target)),
            ("interval", time(interval)),
        ]),
    }
    words.extend(rate.queue.ecn_threshold.map(|threshold| ("ecn", bytes(threshold))));
    words
}

fn loss(loss: Loss) -> Vec<(&'static str, String)> {
    match loss {
        Loss::None => Vec::new(),
        Loss::Random(lost) => vec![("loss", share(lost))],
        Loss::Burst { begin, end, bad, .. } => {
            let lost = if begin + end > 0.0 { bad * begin / (begin + end) } else { 0.0 };
            let length = if end > 0.0 { (1.0 / end).min(1e6) } else { 1.0 };
            vec![("loss", format!("{}%", rounded(lost * 100.0))), ("burst", rounded(length))]
        }
    }
}

/// A time in the largest unit that it is whole in.
fn time(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    match units.iter().find(|(unit, _)| nanoseconds > 0 && nanoseconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", nanoseconds / unit),
        None => format!("{nanoseconds}ns"),
    }
}

fn bits(rate: u64) -> String {
    let units = [(1_000_000_000, "Gbit"), (1_000_000, "Mbit"), (1_000, "kbit")];
    match units.iter().find(|(unit, _)| rate.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", rate / unit),
        None => format!("{rate}bit"),
    }
}

fn bytes(size: u32) -> String {
    let units = [(1_048_576, "MiB"), (1_000_000, "MB"), (1024, "KiB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| size > 0 && size.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", size / unit),
        None => format!("{size}B"),
    }
}

/// As percent where that is exact.
fn share(share: f64) -> String {
    let percent = share * 100.0;
    let (long, short) = (format!("{percent}"), rounded(percent));
    [short, long]
        .into_iter()
        .find(|text| text.parse::<f64>().is_ok_and(|percent| percent / 100.0 == share))
        .map_or_else(|| share.to_string(), |percent| format!("{percent}%"))
}

/// Four digits behind the point, and none for nothing.
fn rounded(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
