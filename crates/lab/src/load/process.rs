//! The server under load: a process of its own, and what it uses.

use std::{fs, io, path::Path, process::Stdio, time::Duration};

use tokio::process::{Child, Command};

/// Ticks a second in `/proc/PID/stat` (`USER_HZ`), the same on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a server that ends may still write to the disk.
const END_TIME: Duration = Duration::from_secs(10);

/// A child that ends with its owner.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
}

impl Process {
    /// Starts a program whose standard input and output are pipes; it says what it has to say on
    /// standard error, if `talkative`.
    pub(crate) fn start(program: &Path, arguments: &[String], errors: Stdio) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        Ok(Self { child: command.spawn()? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Closes its standard input, upon which ours ends, and waits; then it is killed.
    pub(crate) async fn end(mut self) {
        drop(self.child.stdin.take());
        let _in_time = tokio::time::timeout(END_TIME, self.child.wait()).await;
    }
}

/// CPU time of a process so far, with the kernel's work on its behalf.
pub(crate) fn cpu(pid: u32) -> Duration {
    by_threads(pid).or_else(|| by_ticks(pid)).unwrap_or_default()
}

/// Nanoseconds of every thread that lives, where the kernel counts them.
fn by_threads(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let times = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanos += times.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

fn by_ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&stat).map(|ticks| Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}

/// User and system time, fields 14 and 15 (proc(5)); the name in field 2 may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// Resident memory of a process that no file backs.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::{cpu, ticks};

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 31 11 0 0 20 0";
        assert_eq!(ticks(stat), Some(42.0));
        assert_eq!(ticks("7"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_time_grows() {
        let before = cpu(std::process::id());
        let mut x = 1_u64;
        while cpu(std::process::id()) <= before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }
}
