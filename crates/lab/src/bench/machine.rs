//! Where a measurement runs, and who else ran there at the same time.

use std::{fs, time::Duration};

use crate::{bench::clock, result::Machine};

/// Above this share of the machine, other programs disturb.
const FOREIGN_SHARE_MAX: f64 = 0.05;

/// The kernel counts in ticks of 10 ms; fewer than this many seconds are noise.
const FOREIGN_SECONDS_MIN: f64 = 0.03;

/// Ticks a second in `/proc/stat` (`USER_HZ`), the same on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine in words.
pub(crate) fn describe() -> Machine {
    Machine { cpu: cpu_name(), cores: cores(), system: system() }
}

/// Cores that we may use.
pub(crate) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().filter_map(|line| line.split_once(':'));
    let name = named.into_iter().find(|(key, _)| key.trim() == "model name");
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned()
}

/// Resident memory of this process that no file backs.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The whole machine's clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    at_nanos: u64,
    own: Duration,
    busy_seconds: f64,
    steal_seconds: f64,
}

impl Load {
    /// Reads them; `own` is the CPU time of all processes of this measurement.
    pub(crate) fn now(own: Duration) -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let (busy_seconds, steal_seconds) = totals(&stat)?;
        Some(Self { at_nanos: clock::shared_nanos(), own, busy_seconds, steal_seconds })
    }

    /// Why figures taken between `self` and `later` should not be trusted.
    pub(crate) fn doubt(&self, later: &Self) -> Option<String> {
        let wall = Duration::from_nanos(later.at_nanos.saturating_sub(self.at_nanos));
        let capacity = wall.as_secs_f64() * f64::from(cores());
        let own = later.own.saturating_sub(self.own).as_secs_f64();
        let foreign = later.busy_seconds - self.busy_seconds - own;
        let steal = later.steal_seconds - self.steal_seconds;
        let mut doubts = Vec::new();
        for (seconds, who) in [(foreign, "other programs"), (steal, "the host")] {
            let share = seconds / capacity;
            if seconds >= FOREIGN_SECONDS_MIN && share > FOREIGN_SHARE_MAX {
                doubts.push(format!("{who} took {:.0} % of the machine", share * 100.0));
            }
        }
        (!doubts.is_empty()).then(|| doubts.join(", "))
    }
}

/// Busy and stolen seconds of all cores (proc(5)): user, nice, system, idle, iowait, irq, softirq,
/// steal.
fn totals(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let of = |field: usize| ticks.get(field).copied().unwrap_or_default() / TICKS_PER_SECOND;
    Some((of(0) + of(1) + of(2) + of(5) + of(6), of(7)))
}

/// Keeps the calling thread on one core; where that is not possible nothing happens.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &cores);
}

/// Not possible here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_core: usize) {}

/// Raises the limit of open files to what is allowed, and says what it is now.
#[cfg(unix)]
pub(crate) fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    now.unwrap_or(u64::MAX)
}

/// Nothing to raise here.
#[cfg(not(unix))]
pub(crate) fn raise_open_files() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Load, totals};

    #[test]
    fn ticks_become_seconds_and_idle_ones_do_not_count() {
        let stat = "cpu  100 10 200 9999 50 5 20 30 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(totals(stat), Some((3.35, 0.3)));
        assert_eq!(totals("intr 1"), None);
    }

    #[test]
    fn others_are_seen_when_they_take_a_share_and_only_then() {
        let before =
            Load { at_nanos: 0, own: Duration::ZERO, busy_seconds: 10.0, steal_seconds: 1.0 };
        let second = 1_000_000_000;
        let own = Duration::from_millis(900);
        let quiet = Load { at_nanos: second, own, busy_seconds: 10.92, steal_seconds: 1.0 };
        assert_eq!(before.doubt(&quiet), None);
        let busy = Load { busy_seconds: 60.0, ..quiet };
        assert!(before.doubt(&busy).is_some_and(|doubt| doubt.contains("other programs")));
        let stolen = Load { steal_seconds: 60.0, ..quiet };
        assert!(before.doubt(&stolen).is_some_and(|doubt| doubt.contains("the host")));
    }
}
