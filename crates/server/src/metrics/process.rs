//! What the system says of this process, where it says it (Linux); names as Prometheus' own
//! clients give them.

use std::fs;

/// The process at one moment; `None` where the system does not tell.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_max: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            resident_bytes: number(&status, "VmRSS:", 0).map(|kib| kib << 10),
            threads: number(&status, "Threads:", 0),
            open_files: open_files(),
            open_files_max: number(&limits, "Max open files", 0),
            cpu_seconds: cpu_seconds(),
        }
    }
}

/// The word at `place` behind the beginning of a line, if it is a number.
fn number(text: &str, start: &str, place: usize) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    rest.split_whitespace().nth(place)?.parse().ok()
}

/// Less the one that counting takes.
fn open_files() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries.saturating_sub(1)).ok()
}

#[cfg(unix)]
fn cpu_seconds() -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(spent).ok().map(|spent| spent.as_secs_f64())
}

#[cfg(not(unix))]
fn cpu_seconds() -> Option<f64> {
    None
}

#[cfg(test)]
mod tests {
    use super::{Process, number};

    #[test]
    fn numbers_are_found_by_the_beginning_of_their_line() {
        let text = "Name:\tserver\nVmRSS:\t   12345 kB\nThreads:\t7\n";
        assert_eq!(number(text, "VmRSS:", 0), Some(12345));
        assert_eq!(number(text, "Threads:", 0), Some(7));
        assert_eq!(number(text, "VmSwap:", 0), None);
        assert_eq!(number("Max open files  1024  4096 files", "Max open files", 0), Some(1024));
        assert_eq!(number("Max open files  unlimited", "Max open files", 0), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_everything() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 0);
        assert!(process.threads.unwrap() > 0);
        assert!(process.open_files.unwrap() > 0);
        assert!(process.cpu_seconds.unwrap() >= 0.0);
    }
}
