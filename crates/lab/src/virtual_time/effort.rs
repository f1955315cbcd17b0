//! How much is measured.

use std::time::Duration;

/// How much is measured, in virtual time and in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Each bulk transfer, from its first byte.
    pub bulk: Duration,
    /// The transfer behind each curve.
    pub curve: Duration,
    /// Bytes after which a transfer ends in any case: what fast links cost in real time.
    pub bytes_max: u64,
    /// Questions of each length.
    pub questions: u32,
    /// Questions beside a bulk transfer.
    pub loaded_questions: u32,
    /// Messages of each live flow.
    pub live_messages: u32,
    /// Connections, one after the other.
    pub connects: u32,
}

impl Effort {
    /// A few seconds of real time for each subject and round.
    pub const FULL: Self = Self {
        bulk: Duration::from_secs(10),
        curve: Duration::from_secs(20),
        bytes_max: 512 << 20,
        questions: 4000,
        loaded_questions: 1000,
        live_messages: 3000,
        connects: 100,
    };

    /// A second or less of real time for each subject and round.
    pub const QUICK: Self = Self {
        bulk: Duration::from_secs(3),
        curve: Duration::from_secs(5),
        bytes_max: 48 << 20,
        questions: 1000,
        loaded_questions: 200,
        live_messages: 1000,
        connects: 20,
    };
}
