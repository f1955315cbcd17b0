//! What a connection has counted, in a line for each question.

use std::time::Duration;

use portolan::ConnectionStats;

use super::units;

/// The lines; what the transport does not know is left out.
pub(super) fn lines(stats: &ConnectionStats) -> Vec<String> {
    let mut lines = vec![format!(
        "{} packets and {} bytes sent, {} and {} received",
        stats.packets_sent, stats.bytes_sent, stats.packets_received, stats.bytes_received
    )];
    let counts = [
        ("lost", stats.packets_lost),
        ("late", stats.packets_late),
        ("repeated", stats.packets_repeated),
        ("forged", stats.packets_forged),
        ("marked", stats.packets_marked),
        ("probes", stats.probes),
        ("path changes", stats.path_changes),
        ("key updates", stats.key_updates),
        ("window", stats.congestion_window),
        ("pacing rate", stats.pacing_rate),
        ("packet size", stats.packet_size),
    ];
    lines.extend(joined(counts.map(|(word, count)| Some(format!("{word} {}", count?)))));
    let times = [
        ("round trip", stats.rtt),
        ("shortest", stats.rtt_min),
        ("variation", stats.rtt_variation),
    ];
    lines.extend(joined(times.map(|(word, time)| Some(format!("{word} {}", shown(time?))))));
    lines.extend(stats.waited.map(|waited| {
        format!(
            "waited {} for the application, {} for the reader, {} for the window, {} for the pacer",
            shown(waited.for_application),
            shown(waited.for_remote),
            shown(waited.for_window),
            shown(waited.for_pacer)
        )
    }));
    lines
}

fn joined<const N: usize>(words: [Option<String>; N]) -> Option<String> {
    let known: Vec<String> = words.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(", "))
}

fn shown(time: Duration) -> String {
    units::show(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_said() {
        let little = lines(&ConnectionStats::default());
        assert_eq!(little, ["0 packets and 0 bytes sent, 0 and 0 received"]);
        let more = ConnectionStats {
            packets_lost: Some(3),
            rtt: Some(Duration::from_millis(20)),
            ..ConnectionStats::default()
        };
        let more = lines(&more);
        assert_eq!(more[1], "lost 3");
        assert!(more[2].starts_with("round trip 20"), "{}", more[2]);
    }
}
