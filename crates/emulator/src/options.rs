//! How an emulator runs.

use std::time::Duration;

/// How an emulator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether its thread goes before all others.
    pub realtime: Realtime,
    /// It does not sleep when the next packet is due within this time: it is more exact, and a core
    /// is busy.
    pub spin: Duration,
    /// Segments that one super-packet brought leave together again when they are due within this
    /// time of the first.
    pub merge_within: Duration,
}

/// Whether the emulator's thread goes before all others (`SCHED_FIFO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Realtime {
    /// Where it may; [`crate::Health::realtime`] says whether it does.
    #[default]
    Ask,
    /// Never: on few cores it can starve those who receive.
    Never,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            realtime: Realtime::Ask,
            spin: Duration::ZERO,
            merge_within: Duration::from_micros(200),
        }
    }
}
