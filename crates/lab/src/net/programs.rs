//! Programs on hosts.

use std::{
    env, io,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use portolan_emulator::HostNamespace;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::{
    event::Ended,
    pipes::{self, Said},
    words::Ready,
};

/// After a program has ended, its outputs may stay open in a child of its own; nobody waits longer.
const DRAIN: Duration = Duration::from_millis(500);

/// How long a program that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What a program is in the experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The experiment lasts until it has ended.
    Foreground,
    /// It is stopped when those have ended.
    Background,
    /// The person's shell: it has the terminal.
    Shell,
}

/// Where and as what a program runs.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// The host.
    pub(super) host: String,
    /// What its output is marked with.
    pub(super) label: String,
    /// What it is.
    pub(super) role: Role,
}

/// A program that was started.
#[derive(Debug)]
struct Running {
    post: Post,
    child: Child,
    /// The system's word, once it has ended.
    ended: Option<(Ended, Instant)>,
    closed: bool,
    /// Whether everybody knows that it has ended.
    told: bool,
    /// Whether we asked it to end.
    asked: bool,
}

/// All programs that were started.
#[derive(Debug)]
pub(super) struct Programs {
    running: Vec<Running>,
    said: mpsc::Sender<(usize, Said)>,
    pumps: JoinSet<()>,
}

impl Programs {
    /// None yet; what they say goes to `said`.
    pub(super) fn new(said: mpsc::Sender<(usize, Said)>) -> Self {
        Self { running: Vec::new(), said, pumps: JoinSet::new() }
    }

    /// Starts one.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(
        &mut self,
        namespace: &HostNamespace,
        ready: &Ready,
        post: Post,
    ) -> io::Result<()> {
        let mut command = Command::new(&ready.program);
        command.args(&ready.arguments).env("PORTOLAN_LAB_HOST", &post.host);
        if let Some(path) = path_with_us() {
            command.env("PATH", path);
        }
        if post.role != Role::Shell {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            apart(&mut command);
        }
        let mut child = namespace.spawn(&mut command)?;
        let outputs = (child.stdout.take(), child.stderr.take());
        self.pumps.spawn(pipes::listen(self.running.len(), outputs, self.said.clone()));
        let (ended, closed, told, asked) = (None, false, false, false);
        self.running.push(Running { post, child, ended, closed, told, asked });
        Ok(())
    }

    /// Where the program of that number runs.
    pub(super) fn post(&self, number: usize) -> Option<&Post> {
        self.running.get(number).map(|running| &running.post)
    }

    /// Its outputs have ended.
    pub(super) fn on_closed(&mut self, number: usize) {
        if let Some(running) = self.running.get_mut(number) {
            running.closed = true;
        }
    }

    /// Asks the system which have ended.
    pub(super) fn look(&mut self, now: Instant) {
        for running in self.running.iter_mut().filter(|running| running.ended.is_none()) {
            // An error means that somebody else has waited for it: it is gone, and nobody knows how.
            match running.child.try_wait() {
                Ok(Some(status)) => running.ended = Some((ended(status, running.asked), now)),
                Ok(None) => {}
                Err(_) => running.ended = Some((Ended::Code(1), now)),
            }
        }
    }

    /// The next that has ended and said all, and how; each is handed out once.
    pub(super) fn poll_ended(&mut self, now: Instant) -> Option<(Post, Ended)> {
        let ready = |running: &&mut Running| {
            let patient = running.ended.is_some_and(|(_, at)| running.closed || now >= at + DRAIN);
            patient && !running.told
        };
        let running = self.running.iter_mut().find(ready)?;
        running.told = true;
        running.ended.map(|(ended, _)| (running.post.clone(), ended))
    }

    /// When [`Self::poll_ended`] has more to say without any news.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.running.iter().filter(|running| !running.told);
        waiting.filter_map(|running| running.ended).map(|(_, at)| at + DRAIN).min()
    }

    /// Whether any is under way that the experiment waits for.
    pub(super) fn busy(&self) -> bool {
        let mut waited = self.running.iter().filter(|running| !running.told);
        waited.any(|running| running.post.role != Role::Background)
    }

    /// Whether any is under way.
    pub(super) fn any(&self) -> bool {
        self.running.iter().any(|running| !running.told)
    }

    /// Asks all that are left to end, and says until when they may take.
    pub(super) fn stop(&mut self, now: Instant) -> Instant {
        self.signal(Kill::Ask);
        now + GRACE
    }

    /// Kills all that are left.
    pub(super) fn kill(&mut self) {
        self.signal(Kill::Force);
    }

    fn signal(&mut self, kill: Kill) {
        for running in self.running.iter_mut().filter(|running| running.ended.is_none()) {
            running.asked = true;
            let shell = running.post.role == Role::Shell;
            signal_group(&mut running.child, kill, shell);
        }
    }
}

/// How a program is told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Ask,
    Force,
}

fn ended(status: ExitStatus, asked: bool) -> Ended {
    match status.code() {
        _ if asked => Ended::Stopped,
        Some(code) => Ended::Code(code),
        None => Ended::Signal(signal_of(status)),
    }
}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;

    status.signal().unwrap_or_default()
}

#[cfg(not(unix))]
fn signal_of(_: ExitStatus) -> i32 {
    0
}

/// A group of its own: Ctrl-C is ours to pass on, and a whole group can be ended.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

#[cfg(unix)]
fn signal_group(child: &mut Child, kill: Kill, only_itself: bool) {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};

    let signal = match (kill, only_itself) {
        // An interactive shell does not end by SIGTERM, but as if its terminal were gone.
        (Kill::Ask, true) => Signal::HUP,
        (Kill::Ask, false) => Signal::TERM,
        (Kill::Force, _) => Signal::KILL,
    };
    let pid = Pid::from_child(child);
    // It may be gone already.
    let _ = if only_itself { kill_process(pid, signal) } else { kill_process_group(pid, signal) };
}

#[cfg(not(unix))]
fn signal_group(child: &mut Child, _: Kill, _: bool) {
    let _ = child.kill();
}

/// `PATH` with the folder of this program in front: `lab` means this one.
fn path_with_us() -> Option<std::ffi::OsString> {
    let own = env::current_exe().ok()?;
    let folder = own.parent()?.to_owned();
    let old = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(folder).chain(env::split_paths(&old))).ok()
}
