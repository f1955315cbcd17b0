//! Between the machine's terms and the transport's.

use portolan_mux::{Config, MuxStats, Priority as MuxPriority};
use portolan_transport::{ConnectionStats, DatagramOutcomes, Limits, Priority};

/// The machine's bounds for the transport's `limits`, with datagrams of up to `datagram_max`
/// bytes.
#[must_use]
pub fn mux_config(limits: &Limits, datagram_max: u32) -> Config {
    Config {
        streams: limits.streams,
        stream_window: limits.stream_window,
        connection_window: limits.connection_window,
        send_buffer: limits.send_buffer,
        datagram_queue: limits.datagram_queue,
        datagram_max,
        ..Config::default()
    }
}

/// Fills in what the machine counts.
pub fn add_mux_stats(stats: &mut ConnectionStats, mux: &MuxStats) {
    stats.datagrams_sent = mux.datagrams_sent;
    stats.datagrams_received = mux.datagrams_received;
    stats.datagrams_repaired = mux.datagrams_repaired;
    stats.datagrams_repeated = mux.datagrams_repeated;
    stats.datagram_bytes_repeated = mux.datagram_bytes_repeated;
    stats.datagrams_expired = mux.datagrams_expired;
    stats.datagrams_dropped = mux.datagrams_dropped;
    stats.send_queue = mux.stream_bytes_queued + mux.datagram_bytes_queued;
}

/// What the machine knows of datagrams with a deadline, where the carrier tells what arrived.
#[must_use]
pub const fn datagram_outcomes(mux: &MuxStats) -> DatagramOutcomes {
    DatagramOutcomes {
        in_time: mux.datagrams_in_time,
        late: mux.datagrams_late,
        lost: mux.datagrams_lost,
    }
}

pub(crate) const fn mux_priority(priority: Priority) -> MuxPriority {
    match priority {
        Priority::Control => MuxPriority::Control,
        Priority::Live => MuxPriority::Live,
        Priority::Interactive => MuxPriority::Interactive,
        Priority::Bulk => MuxPriority::Bulk,
    }
}
