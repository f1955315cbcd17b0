//! The only place that reads the clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use portolan_protocol::Timestamp;

use crate::core::Now;

/// The time on both clocks.
#[expect(clippy::disallowed_methods, reason = "the shell brings the wall clock to the core")]
pub(crate) fn now() -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        instant: tokio::time::Instant::now().into_std(),
        wall: Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)),
    }
}
