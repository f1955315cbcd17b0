//! How the connection to the server fares, as far as its transport can tell.

use std::time::Duration;

use portolan_transport::{ConnectionStats, Waited};
use serde::Serialize;

use super::text::size;

/// Counters and estimates, for `/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Counters {
    packets_sent: u64,
    packets_received: u64,
    #[serde(flatten)]
    wire: Wire,
    datagrams_sent: u64,
    datagrams_received: u64,
    datagrams_repaired: u64,
    datagrams_expired: u64,
    datagrams_dropped: u64,
    send_queue: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_us: Option<WaitedUs>,
}

/// What not every transport knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Wire {
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_min_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_variation_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    congestion_window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pacing_rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_late: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_repeated: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_forged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_marked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_changes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_updates: Option<u64>,
}

/// For how long sending waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct WaitedUs {
    application: u64,
    remote: u64,
    window: u64,
    pacer: u64,
}

impl From<&ConnectionStats> for Counters {
    fn from(stats: &ConnectionStats) -> Self {
        Self {
            packets_sent: stats.packets_sent,
            packets_received: stats.packets_received,
            wire: stats.into(),
            datagrams_sent: stats.datagrams_sent,
            datagrams_received: stats.datagrams_received,
            datagrams_repaired: stats.datagrams_repaired,
            datagrams_expired: stats.datagrams_expired,
            datagrams_dropped: stats.datagrams_dropped,
            send_queue: stats.send_queue,
            waited_us: stats.waited.map(WaitedUs::from),
        }
    }
}

impl From<&ConnectionStats> for Wire {
    fn from(stats: &ConnectionStats) -> Self {
        Self {
            rtt_min_us: stats.rtt_min.map(micros),
            rtt_variation_us: stats.rtt_variation.map(micros),
            congestion_window: stats.congestion_window,
            in_flight: stats.in_flight,
            pacing_rate: stats.pacing_rate,
            packet_size: stats.packet_size,
            packets_lost: stats.packets_lost,
            packets_late: stats.packets_late,
            packets_repeated: stats.packets_repeated,
            packets_forged: stats.packets_forged,
            packets_marked: stats.packets_marked,
            probes: stats.probes,
            path_changes: stats.path_changes,
            key_updates: stats.key_updates,
        }
    }
}

impl From<Waited> for WaitedUs {
    fn from(waited: Waited) -> Self {
        let Waited { for_application, for_remote, for_window, for_pacer } = waited;
        Self {
            application: micros(for_application),
            remote: micros(for_remote),
            window: micros(for_window),
            pacer: micros(for_pacer),
        }
    }
}

impl Counters {
    /// Lines for people, each behind its label.
    pub(crate) fn lines(&self) -> Vec<String> {
        let late = self.wire.packets_late.filter(|late| *late > 0);
        let late = late.map(|late| format!(" ({late} of them only late)")).unwrap_or_default();
        let lost = self.wire.packets_lost.map(|lost| format!(", {lost} lost{late}"));
        let mut lines = vec![format!(
            "packets      {} sent, {} received{}",
            self.packets_sent,
            self.packets_received,
            lost.unwrap_or_default()
        )];
        if let Some(window) = self.wire.congestion_window {
            let long = self.wire.packet_size.map(|bytes| format!(", packets of {bytes} bytes"));
            lines.push(format!("window       {}{}", size(window), long.unwrap_or_default()));
        }
        if let Some(waited) = self.waited_us {
            lines.push(format!(
                "waited       {} for something to send, {} for the reader, {} for the network",
                seconds(waited.application),
                seconds(waited.remote),
                seconds(waited.window + waited.pacer)
            ));
        }
        lines
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(micros: u64) -> String {
    format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_transport_does_not_know_is_not_said() {
        let counters = Counters::from(&ConnectionStats::default());
        let json = serde_json::to_value(&counters).unwrap();
        let object = json.as_object().unwrap();
        assert!(object.contains_key("packets_sent"));
        for absent in ["packets_lost", "congestion_window", "waited_us", "probes"] {
            assert!(!object.contains_key(absent), "{absent}");
        }
        assert_eq!(counters.lines(), ["packets      0 sent, 0 received"]);
    }

    #[test]
    fn people_are_told_what_a_transfer_waited_for() {
        let waited = Waited {
            for_application: Duration::from_millis(1_250),
            for_remote: Duration::from_secs(3),
            for_window: Duration::from_millis(100),
            for_pacer: Duration::from_millis(400),
        };
        let stats = ConnectionStats {
            packets_lost: Some(3),
            packets_late: Some(1),
            congestion_window: Some(64 << 10),
            packet_size: Some(1_452),
            waited: Some(waited),
            ..ConnectionStats::default()
        };
        let counters = Counters::from(&stats);
        let expected = [
            "packets      0 sent, 0 received, 3 lost (1 of them only late)",
            "window       64.0 KiB, packets of 1452 bytes",
            "waited       1.2 s for something to send, 3.0 s for the reader, 0.5 s for the network",
        ];
        assert_eq!(counters.lines(), expected);
        let json = serde_json::to_value(&counters).unwrap();
        assert_eq!(json["waited_us"]["pacer"], 400_000);
    }
}
