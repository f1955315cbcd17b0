//! The first process of the inside: it sets up, starts the program, reaps orphans, and ends with
//! the program. When it ends, the kernel ends everything inside.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    mount::{MountFlags, mount},
    process::{Pid, Signal, WaitOptions, WaitStatus, set_parent_process_death_signal, wait},
};

use super::{
    launch::{INSIDE, hand_on},
    namespace::make_mounts_private,
    sys,
};

/// The process id of the program: the second process of its namespace.
const PROGRAM: &str = "2";

/// What the first process has of the outside.
pub(super) struct Outside {
    /// The launcher; readable when it has ended.
    pub(super) launcher: OwnedFd,
    /// Takes one [`Report`].
    pub(super) report: OwnedFd,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Report {
    /// The program exited with this code.
    Exited(i32),
    /// The program was ended by this signal.
    Killed(i32),
    /// The program never ran.
    Failed(Step, io::Error),
}

/// What is done before the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Becoming root inside.
    Identity,
    /// A view of the file system of its own.
    Mounts,
    /// Ending with the launcher.
    Leash,
    /// Starting the program.
    Program,
}

impl Step {
    const ALL: [Self; 4] = [Self::Identity, Self::Mounts, Self::Leash, Self::Program];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "user and group",
            Self::Mounts => "private mounts",
            Self::Leash => "ending with the launcher",
            Self::Program => "starting the program again",
        }
    }
}

/// Lives and ends. `identity`: the user and group to be root for, in a new user namespace.
pub(super) fn live(outside: Outside, identity: Option<(u32, u32)>) -> ! {
    let Outside { launcher, report } = outside;
    let outcome = set_up(&launcher, identity).and_then(|program| {
        drop(launcher);
        watch(program)
    });
    let (code, words) = match outcome {
        Ok(Report::Exited(code)) => (code, [0, code]),
        Ok(Report::Killed(signal)) => (1, [1, signal]),
        Ok(Report::Failed(step, error)) | Err((step, error)) => {
            (1, [2 + step as i32, error.raw_os_error().unwrap_or_default()])
        }
    };
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    // When nobody reads it, nobody is there who waits.
    let _ = fs::File::from(report).write_all(&bytes);
    sys::exit_at_once(code)
}

/// Reads what [`live`] has written; `None`: it could not.
pub(super) fn read_report(reports: &OwnedFd) -> Option<Report> {
    let mut bytes = [0; 8];
    let mut pending = [PollFd::from_borrowed_fd(reports.as_fd(), PollFlags::IN)];
    let ready = poll(&mut pending, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    if ready == 0 || !pending.first()?.revents().contains(PollFlags::IN) {
        return None;
    }
    fs::File::from(reports.try_clone().ok()?).read_exact(&mut bytes).ok()?;
    let [a, b, c, d, e, f, g, h] = bytes;
    let (kind, value) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
    match kind {
        0 => Some(Report::Exited(value)),
        1 => Some(Report::Killed(value)),
        other => {
            let step = *Step::ALL.get(usize::try_from(other - 2).ok()?)?;
            Some(Report::Failed(step, io::Error::from_raw_os_error(value)))
        }
    }
}

type Failure = (Step, io::Error);

fn set_up(launcher: &OwnedFd, identity: Option<(u32, u32)>) -> Result<Pid, Failure> {
    if let Some((user, group)) = identity {
        become_root(user, group).map_err(|error| (Step::Identity, error))?;
    }
    end_with_launcher(launcher).map_err(|error| (Step::Leash, error))?;
    make_mounts_private().map_err(|error| (Step::Mounts, error))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(error) = mount("proc", Path::new("/proc"), "proc", flags, None) {
        // Some containers forbid it; programs inside then see the processes outside, no more.
        tracing::debug!(%error, "/proc shows the processes of the outside");
    }
    start_program().map_err(|error| (Step::Program, error))
}

/// One user and one group are mapped: a user namespace without privileges outside may no more
/// (`user_namespaces(7)`).
fn become_root(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The kernel kills this process when its parent ends; if that was before this call, its
/// descriptor says so.
fn end_with_launcher(launcher: &OwnedFd) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut pending = [PollFd::from_borrowed_fd(launcher.as_fd(), PollFlags::IN)];
    match poll(&mut pending, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
        0 => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
    }
}

fn start_program() -> io::Result<Pid> {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut program = Command::new("/proc/self/exe");
    program.arg0(name).args(arguments).env(INSIDE, PROGRAM);
    sys::release_signals_of(&mut program);
    let child = program.spawn()?;
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the program has no process id"))
}

/// Reaps whatever ends, hands on signals, and returns when the program has ended.
fn watch(program: Pid) -> Result<Report, Failure> {
    loop {
        while let Ok(Some((who, status))) = wait(WaitOptions::NOHANG) {
            if who == program
                && let Some(report) = ended(status)
            {
                return Ok(report);
            }
        }
        match sys::next_signal() {
            Ok(received) if received.signal != libc::SIGCHLD && !received.from_kernel => {
                hand_on(program, received.signal);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

fn ended(status: WaitStatus) -> Option<Report> {
    let exited = status.exit_status().map(Report::Exited);
    exited.or_else(|| status.terminating_signal().map(Report::Killed))
}
