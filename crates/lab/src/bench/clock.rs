//! Time and CPU time, as the system tells them.

use std::time::{Duration, Instant};

/// The clock that all durations are taken from.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds on the clock that all processes of this machine share.
#[cfg(unix)]
pub(crate) fn shared_nanos() -> u64 {
    nanos(rustix::time::ClockId::Monotonic)
}

/// CPU time of the calling thread: one side, with the kernel's work on its behalf.
#[cfg(unix)]
pub(crate) fn thread_cpu() -> Duration {
    Duration::from_nanos(nanos(rustix::time::ClockId::ThreadCPUTime))
}

/// CPU time of this process, all threads.
#[cfg(unix)]
pub(crate) fn process_cpu() -> Duration {
    Duration::from_nanos(nanos(rustix::time::ClockId::ProcessCPUTime))
}

#[cfg(unix)]
fn nanos(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let rest = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Nanoseconds since this process first asked: there is one process only.
#[cfg(not(unix))]
pub(crate) fn shared_nanos() -> u64 {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(EPOCH.get_or_init(now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Unknown here.
#[cfg(not(unix))]
pub(crate) fn thread_cpu() -> Duration {
    Duration::ZERO
}

/// Unknown here.
#[cfg(not(unix))]
pub(crate) fn process_cpu() -> Duration {
    Duration::ZERO
}
