//! One program on a host, and everything that it has said.

use std::{
    fmt, io,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_emulator::HostNamespace;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// A longer line of output is not for us.
const LINE_MAX: u64 = 1 << 20;
/// Events of one program that are kept; a run that needs more is no run of ours.
const EVENTS_MAX: usize = 100_000;
/// What is kept of the last words on standard error.
const COMPLAINTS_MAX: usize = 2048;
/// How long a program that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(8);
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Events that an error shows.
const SHOWN_MAX: usize = 3;

/// An event, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// When its line was read.
    pub(crate) at: Instant,
    /// The line.
    pub(crate) event: Value,
}

impl Heard {
    /// Whether the event is of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.text("event") == Some(name)
    }

    /// A field that is text.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.event.get(field)?.as_str()
    }

    /// A field that is a number.
    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        self.event.get(field)?.as_u64()
    }
}

/// Why a program did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActorError {
    #[error("{who} cannot be started: {source}")]
    Start { who: String, source: io::Error },
    #[error("{who} takes no more commands: {source}")]
    Deaf { who: String, source: io::Error },
    #[error("{who} has ended, where {what} was awaited{said}")]
    Ended { who: String, what: String, said: LastWords },
    #[error("{who} has not said within {} s what was awaited: {what}{said}", patience.as_secs())]
    Silent { who: String, what: String, patience: Duration, said: LastWords },
}

/// What a program said last.
#[derive(Debug, Default)]
pub(crate) struct LastWords(Vec<String>);

impl fmt::Display for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// What is heard of a program.
#[derive(Debug, Default)]
struct Ear {
    events: Mutex<Vec<Heard>>,
    complaints: Mutex<String>,
}

/// A program on a host. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Actor {
    who: String,
    child: Child,
    input: Option<ChildStdin>,
    ear: Arc<Ear>,
    /// Tells of every event, and ends with the output.
    news: watch::Receiver<()>,
    /// Events that were looked at.
    looked_at: usize,
    _listeners: JoinSet<()>,
}

impl Actor {
    /// Starts a program that takes lines and answers events.
    ///
    /// # Errors
    /// When the system does not let it.
    pub(crate) fn start(
        host: &HostNamespace,
        who: &str,
        mut command: Command,
    ) -> Result<Self, ActorError> {
        let failed = |source| ActorError::Start { who: who.to_owned(), source };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        apart(&mut command);
        let mut child = host.spawn(&mut command).map_err(failed)?;
        let input = child.stdin.take().map(ChildStdin::from_std).transpose().map_err(failed)?;
        let output = child.stdout.take().map(ChildStdout::from_std).transpose().map_err(failed)?;
        let errors = child.stderr.take().map(ChildStderr::from_std).transpose().map_err(failed)?;
        let (teller, news) = watch::channel(());
        let ear = Arc::<Ear>::default();
        let mut listeners = JoinSet::new();
        if let (Some(output), Some(errors)) = (output, errors) {
            let (listening, complaining) = (Arc::clone(&ear), Arc::clone(&ear));
            listeners.spawn(async move { listening.hear(output, teller).await });
            listeners.spawn(async move { complaining.hear_complaints(errors).await });
        }
        let who = who.to_owned();
        Ok(Self { who, child, input, ear, news, looked_at: 0, _listeners: listeners })
    }

    /// Gives it a command.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) async fn say(&mut self, line: &str) -> Result<(), ActorError> {
        let failed = |source| ActorError::Deaf { who: self.who.clone(), source };
        let input = self.input.as_mut().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        input.write_all(format!("{line}\n").as_bytes()).await.map_err(failed)
    }

    /// The first event from the last look on in which `pick` finds something; what comes behind it
    /// is looked at the next time.
    ///
    /// # Errors
    /// When the program ends, or says nothing of the kind within `patience`.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut pick: impl FnMut(&Heard) -> Option<T>,
    ) -> Result<T, ActorError> {
        let searching = async {
            loop {
                self.news.mark_unchanged();
                if let Some(found) = self.ear.look(&mut self.looked_at, &mut pick) {
                    return Some(found);
                }
                if self.news.changed().await.is_err() {
                    // What came with the end.
                    return self.ear.look(&mut self.looked_at, &mut pick);
                }
            }
        };
        let found = timeout(patience, searching).await;
        let (who, what) = (self.who.clone(), what.to_owned());
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(ActorError::Ended { who, what, said: self.last_words() }),
            Err(_) => Err(ActorError::Silent { who, what, patience, said: self.last_words() }),
        }
    }

    /// The same, where that it says nothing of the kind is an answer, too: `None`.
    ///
    /// # Errors
    /// When the program ends.
    pub(crate) async fn within<T>(
        &mut self,
        patience: Duration,
        pick: impl FnMut(&Heard) -> Option<T>,
    ) -> Result<Option<T>, ActorError> {
        match self.until("anything more", patience, pick).await {
            Ok(found) => Ok(Some(found)),
            Err(ActorError::Silent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Everything that it has said so far.
    pub(crate) fn said(&self) -> Vec<Heard> {
        self.ear.events().clone()
    }

    /// Asks it to end, and waits until it has; who does not obey is killed.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::Ask);
        let gone = async {
            while matches!(self.child.try_wait(), Ok(None)) {
                sleep(LOOK).await;
            }
        };
        let _in_time = timeout(GRACE, gone).await;
    }

    /// Takes the processor from it, or gives it back.
    pub(crate) fn signal(&mut self, signal: Signal) {
        send(&mut self.child, signal);
    }

    fn last_words(&self) -> LastWords {
        let events = self.ear.events();
        let shown = events.iter().rev().take(SHOWN_MAX).rev();
        let mut lines: Vec<String> = shown.map(|heard| heard.event.to_string()).collect();
        let complaints = self.ear.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend(complaints.lines().map(ToOwned::to_owned));
        LastWords(lines)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ear {
    fn events(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(
        &self,
        looked_at: &mut usize,
        pick: &mut impl FnMut(&Heard) -> Option<T>,
    ) -> Option<T> {
        let events = self.events();
        while let Some(heard) = events.get(*looked_at) {
            *looked_at += 1;
            if let Some(found) = pick(heard) {
                return Some(found);
            }
        }
        None
    }

    /// Keeps every event until there are no more; then `news` ends.
    async fn hear(&self, output: impl AsyncRead + Unpin, news: watch::Sender<()>) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut output).take(LINE_MAX).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let Ok(event) = serde_json::from_slice(&line) else { continue };
            let mut events = self.events();
            if events.len() < EVENTS_MAX {
                events.push(Heard { at: Instant::now(), event });
            }
            drop(events);
            news.send_replace(());
        }
    }

    async fn hear_complaints(&self, mut errors: impl AsyncRead + Unpin) {
        let mut buffer = [0; 512];
        while let Ok(length @ 1..) = errors.read(&mut buffer).await {
            let words = buffer.get(..length).map(String::from_utf8_lossy).unwrap_or_default();
            let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
            complaints.push_str(&words);
            let excess = complaints.len().saturating_sub(COMPLAINTS_MAX);
            let cut = complaints.ceil_char_boundary(excess);
            complaints.drain(..cut);
        }
    }
}

/// What a program is told without words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To end in good order.
    Ask,
    /// To stand still, as on a machine that sleeps.
    Suspend,
    /// To go on.
    Resume,
}

/// A group of its own: Ctrl-C is ours to pass on.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

#[cfg(unix)]
fn send(child: &mut Child, signal: Signal) {
    use rustix::process::{Pid, Signal as Posix, kill_process};

    let posix = match signal {
        Signal::Ask => Posix::TERM,
        Signal::Suspend => Posix::STOP,
        Signal::Resume => Posix::CONT,
    };
    // It may be gone already.
    let _ = kill_process(Pid::from_child(child), posix);
}

#[cfg(not(unix))]
fn send(child: &mut Child, signal: Signal) {
    match signal {
        Signal::Ask => drop(child.kill()),
        Signal::Suspend | Signal::Resume => {}
    }
}
