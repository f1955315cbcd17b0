//! A program that moves into namespaces of its own, and takes everything with it when it ends.
//!
//! ```text
//!   launcher ──clone──▶ first process (1) ──exec──▶ the program again (2) ──▶ its programs
//!     waits              reaps orphans              `launch` says Inside
//! ```
//!
//! When the launcher dies, the kernel kills the first process; when that dies, the kernel kills
//! everything in its PID namespace, and the other namespaces go with their last process.

use std::{
    env, fs, io,
    os::fd::OwnedFd,
    process::{self, ExitCode},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, PidfdFlags, WaitOptions, WaitStatus, getegid, geteuid, getpid, kill_process,
        pidfd_open, waitpid,
    },
    thread::UnshareFlags,
};

use super::{
    first::{self, Outside, Report, Step},
    netlink, sys,
};
use crate::{Launch, Missing};

/// Tells the program that it is inside: its process id there.
pub(super) const INSIDE: &str = "PORTOLAN_EMULATOR_INSIDE";

/// What a shell adds to the number of the signal that ended a program.
const SIGNAL_BASE: i32 = 128;

/// Runs this program again as the only one in fresh PID, network and mount namespaces (and, when it
/// is not root's, in a user namespace), and waits for it. Called first thing by a command that
/// needs the emulator, before there is any thread.
///
/// Signals that a process sends to the launcher reach the program inside; those of the terminal
/// reach it anyway. However either dies, nothing of the inside is left.
///
/// # Errors
/// When the system lacks something; the error says what to do.
///
/// # Panics
/// When there is another thread already.
pub fn launch() -> Result<Launch, Missing> {
    if env::var(INSIDE).is_ok_and(|id| id == process::id().to_string()) {
        if let Err(reason) = netlink::prepare() {
            tracing::debug!(reason, "the loopback interface stays down");
        }
        return Ok(Launch::Inside);
    }
    check_device()?;
    let launcher = pidfd_open(getpid(), PidfdFlags::empty()).map_err(setup("pidfd"))?;
    let (reports, report) = pipe_with(PipeFlags::CLOEXEC).map_err(setup("pipe"))?;
    let signals = |source| Missing::Setup { step: "signals", source };
    sys::hold_signals().map_err(signals)?;
    let outcome = enter_namespaces(Outside { launcher, report });
    let outcome = outcome.and_then(|child| wait(child, &reports));
    sys::release_signals().map_err(signals)?;
    outcome.map(Launch::Finished)
}

/// Whether TUN devices can be had here.
pub(super) fn check_device() -> Result<(), Missing> {
    match sys::open_tun() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Missing::DeviceForbidden(error))
        }
        Err(_) => Err(Missing::Device),
    }
}

fn setup(step: &'static str) -> impl Fn(Errno) -> Missing {
    move |error| Missing::Setup { step, source: error.into() }
}

/// Starts the first process of the inside: as root if possible, else in a user namespace.
fn enter_namespaces(outside: Outside) -> Result<Pid, Missing> {
    let flags = UnshareFlags::NEWPID | UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let privileged = if user == 0 { sys::fork_into(flags) } else { Err(Errno::PERM.into()) };
    let child = match privileged {
        Ok(None) => first::live(outside, None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            match sys::fork_into(flags | UnshareFlags::NEWUSER) {
                Ok(None) => first::live(outside, Some((user, group))),
                other => other,
            }
        }
        other => other,
    };
    match child {
        Ok(Some(child)) => Ok(child),
        Ok(None) => unreachable!("the first process does not come back from its life"),
        Err(source) => Err(Missing::Namespaces { advice: advice(&source), source }),
    }
}

/// What stands in the way of user namespaces, as far as the system tells.
fn advice(error: &io::Error) -> &'static str {
    let setting = |name: &str| {
        fs::read_to_string(format!("/proc/sys/{name}")).map(|text| text.trim().to_owned())
    };
    if setting("kernel/unprivileged_userns_clone").is_ok_and(|value| value == "0") {
        return "run this as root, or: sysctl kernel.unprivileged_userns_clone=1";
    }
    if setting("user/max_user_namespaces").is_ok_and(|value| value == "0") {
        return "run this as root, or: sysctl user.max_user_namespaces=10000";
    }
    if setting("kernel/apparmor_restrict_unprivileged_userns").is_ok_and(|value| value == "1") {
        return "run this as root, or: sysctl kernel.apparmor_restrict_unprivileged_userns=0";
    }
    if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) {
        return "there are too many of them already (sysctl user.max_user_namespaces)";
    }
    "run this as root; in a container, give it CAP_SYS_ADMIN (docker run --privileged)"
}

/// Waits for the end of the inside and hands on signals meanwhile.
fn wait(child: Pid, reports: &OwnedFd) -> Result<ExitCode, Missing> {
    loop {
        if let Ok(Some((_, status))) = waitpid(Some(child), WaitOptions::NOHANG) {
            return judge(first::read_report(reports), status);
        }
        match sys::next_signal() {
            Ok(received) if received.signal != libc::SIGCHLD && !received.from_kernel => {
                hand_on(child, received.signal);
            }
            // A child has ended, a terminal has told everybody, or another signal was handled.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Sends a signal to a process, which may have ended meanwhile.
pub(super) fn hand_on(child: Pid, signal: i32) {
    let signal = match signal {
        libc::SIGINT => rustix::process::Signal::INT,
        libc::SIGHUP => rustix::process::Signal::HUP,
        libc::SIGQUIT => rustix::process::Signal::QUIT,
        _ => rustix::process::Signal::TERM,
    };
    let _ = kill_process(child, signal);
}

/// What to exit with, from what the first process has reported and how it ended.
fn judge(report: Option<Report>, status: WaitStatus) -> Result<ExitCode, Missing> {
    match report {
        Some(Report::Exited(code)) => Ok(exit_code(code)),
        Some(Report::Killed(signal)) => Ok(killed("the program in the emulated network", signal)),
        Some(Report::Failed(step, source)) => Err(failed(step, source)),
        None => {
            let signal = status.terminating_signal().unwrap_or(libc::SIGKILL);
            Ok(killed("the emulated network", signal))
        }
    }
}

fn failed(step: Step, source: io::Error) -> Missing {
    if step == Step::Identity {
        return Missing::Namespaces { advice: advice(&source), source };
    }
    Missing::Setup { step: step.name(), source }
}

fn killed(who: &str, signal: i32) -> ExitCode {
    eprintln!("{who} was killed by signal {signal}; everything in it has ended");
    exit_code(SIGNAL_BASE + signal)
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
