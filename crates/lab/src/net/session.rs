//! A world, from its first to its last moment.

use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant as StdInstant},
};

use portolan_emulator::{Emulator, Options, StartError};
use portolan_netsim::topology::{Happening, Topology};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    INTERRUPTED,
    agenda::{Agenda, Item},
    control::{self, Request},
    event::{Ended, Event},
    pipes::Said,
    programs::{Post, Programs, Role},
    signals::{Signal, Signals},
    source::{self, Source},
    summary::{ProgramSummary, Summary},
    teller::Teller,
    words::Ready,
};

/// Lines of programs that wait to be told: a program that says more than can be told waits.
const SAID_MAX: usize = 1024;

/// Lines on standard input that wait.
const LINES_MAX: usize = 16;

/// The longest line on standard input.
const LINE_MAX: u64 = 1024;

/// Sleeping for ever.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why an experiment could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the world cannot be built: {}", chain(.0))]
    Start(#[from] StartError),
    #[error("the experiment cannot run: {0}")]
    Runtime(#[from] io::Error),
    #[error("cannot start {label:?} on {host}: {source}")]
    Program { label: String, host: String, source: io::Error },
}

/// Builds the world, lives through its agenda and says how its programs ended.
pub(super) fn run(
    source: Source,
    commands: Vec<Ready>,
    shell: Option<&str>,
    teller: Teller,
) -> Result<ExitCode, SessionError> {
    // Changes are made by us, one at a time, so that each is told with the time it took effect.
    let still = Topology { timeline: Vec::new(), ..source.topology.clone() };
    let emulator = Emulator::start(&still, Options::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let session = Session::new(source, commands, emulator, teller);
        session.live(shell).await
    });
    // A read of standard input cannot be taken back.
    runtime.shutdown_background();
    outcome
}

/// Why the experiment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All programs have ended, or time is over, or somebody asked for it.
    Done,
    /// By a signal.
    Interrupted,
}

/// What the loop waits for.
enum News {
    Due,
    Said(usize, Said),
    Signal(Signal),
    Line(String),
}

struct Session {
    source: Source,
    commands: Vec<Ready>,
    emulator: Emulator,
    teller: Teller,
    agenda: Agenda,
    programs: Programs,
    said: mpsc::Receiver<(usize, Said)>,
    begun: Instant,
    ended: Vec<ProgramSummary>,
    /// Whether the person's shell has ended.
    left: bool,
}

impl Session {
    fn new(source: Source, commands: Vec<Ready>, emulator: Emulator, teller: Teller) -> Self {
        let (sender, said) = mpsc::channel(SAID_MAX);
        let agenda = Agenda::new(&source.topology);
        let programs = Programs::new(sender);
        let begun = Instant::now();
        let (ended, left) = (Vec::new(), false);
        Self { source, commands, emulator, teller, agenda, programs, said, begun, ended, left }
    }

    async fn live(mut self, shell: Option<&str>) -> Result<ExitCode, SessionError> {
        let mut signals = Signals::new()?;
        let mut readers = JoinSet::new();
        let (lines, mut typed) = mpsc::channel(LINES_MAX);
        self.tell_start();
        self.begun = Instant::now();
        match shell {
            Some(host) => self.open_shell(host)?,
            None => drop(readers.spawn(read_lines(lines))),
        }
        let outcome = self.until_end(&mut signals, &mut typed).await;
        self.wind_up(&mut signals).await;
        let summary = Summary::new(&self.emulator, std::mem::take(&mut self.ended));
        self.teller.tell(&Event::Summary(&summary));
        Ok(match outcome? {
            End::Interrupted => ExitCode::from(INTERRUPTED),
            End::Done if summary.succeeded() => ExitCode::SUCCESS,
            End::Done => ExitCode::FAILURE,
        })
    }

    fn tell_start(&self) {
        let hosts = source::hosts(&self.source.topology).filter_map(|name| {
            let addresses = self.emulator.host(name)?.addresses();
            let addresses = addresses.iter().map(ToString::to_string).collect();
            Some((name.to_owned(), addresses))
        });
        let (experiment, seed) = (&self.source.name, self.source.topology.seed);
        self.teller.tell(&Event::Start { experiment, seed, hosts: hosts.collect() });
    }

    /// Lives until there is nothing left to wait for.
    async fn until_end(
        &mut self,
        signals: &mut Signals,
        typed: &mut mpsc::Receiver<String>,
    ) -> Result<End, SessionError> {
        loop {
            while let Some(item) = self.agenda.pop(self.begun.elapsed()) {
                match item {
                    Item::Start(number) => self.start(number)?,
                    Item::Happen(happening) => self.happen(&happening),
                    Item::End => return Ok(End::Done),
                }
            }
            self.tell_ended();
            if self.over() {
                return Ok(End::Done);
            }
            match self.news(signals, typed).await {
                News::Due => {}
                News::Said(number, said) => self.on_said(number, said),
                News::Signal(Signal::Child) => self.programs.look(Instant::now()),
                News::Signal(Signal::Stop) => return Ok(End::Interrupted),
                News::Line(line) => {
                    if let Some(end) = self.on_line(&line) {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Whether the shell was left, or every program has been started and has ended. A world without
    /// programs lives until its time is over or somebody ends it.
    fn over(&self) -> bool {
        if self.left {
            return true;
        }
        let never_any = self.ended.is_empty() && !self.programs.any();
        !never_any && !self.programs.busy() && !self.agenda.starts_more()
    }

    async fn news(&mut self, signals: &mut Signals, typed: &mut mpsc::Receiver<String>) -> News {
        let due = self.agenda.next_at().map(|at| self.begun + at);
        let due = [due, self.programs.poll_timeout()].into_iter().flatten().min();
        let due = due.unwrap_or_else(|| Instant::now() + NEVER);
        tokio::select! {
            Some((number, said)) = self.said.recv() => News::Said(number, said),
            signal = signals.next() => News::Signal(signal),
            Some(line) = typed.recv() => News::Line(line),
            () = sleep_until(due) => News::Due,
        }
    }

    fn start(&mut self, number: usize) -> Result<(), SessionError> {
        let found = self.source.topology.programs.get(number).zip(self.commands.get(number));
        let Some((program, ready)) = found else { return Ok(()) };
        let role = if program.background { Role::Background } else { Role::Foreground };
        let post = Post { host: program.on.clone(), label: program.label.clone(), role };
        let ready = ready.clone();
        self.spawn(&ready, post)
    }

    fn open_shell(&mut self, host: &str) -> Result<(), SessionError> {
        let shell = std::env::var_os("SHELL").map_or_else(|| PathBuf::from("/bin/sh"), Into::into);
        let ready = Ready { program: shell, arguments: Vec::new() };
        let post = Post { host: host.to_owned(), label: "shell".to_owned(), role: Role::Shell };
        self.spawn(&ready, post)
    }

    fn spawn(&mut self, ready: &Ready, post: Post) -> Result<(), SessionError> {
        let failed = |source| SessionError::Program {
            label: post.label.clone(),
            host: post.host.clone(),
            source,
        };
        let namespace = self.emulator.host(&post.host);
        let namespace = namespace.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        self.programs.start(namespace, ready, post.clone()).map_err(failed)
    }

    /// Changes the world and tells when that took effect.
    fn happen(&self, happening: &Happening) {
        match self.emulator.apply(happening) {
            Ok(at) => {
                let what = control::describe(happening);
                self.teller.tell(&Event::Happening { at: self.since(at), what });
            }
            Err(error) => {
                let why = format!("{}: {}", control::describe(happening), chain(&error));
                self.teller.tell(&Event::Refused { at: self.begun.elapsed(), why });
            }
        }
    }

    fn since(&self, at: StdInstant) -> Duration {
        at.saturating_duration_since(self.begun.into_std())
    }

    fn on_line(&self, line: &str) -> Option<End> {
        let at = self.begun.elapsed();
        match control::parse(line, &self.source.topology) {
            Ok(Request::Happen(happening)) => self.happen(&happening),
            Ok(Request::Quit) => return Some(End::Done),
            Ok(Request::Nothing) => {}
            Ok(Request::Help) => {
                let usages: Vec<_> = control::COMMANDS.iter().map(|(_, usage)| *usage).collect();
                self.teller.tell(&Event::Happening { at, what: usages.join("; ") });
            }
            Err(error) => {
                self.teller.tell(&Event::Refused { at, why: error.to_string() });
            }
        }
        None
    }

    fn on_said(&mut self, number: usize, said: Said) {
        match said {
            Said::Closed => {
                self.programs.on_closed(number);
                self.programs.look(Instant::now());
            }
            Said::Line(stream, line) => {
                let at = self.begun.elapsed();
                if let Some(Post { host, label, .. }) = self.programs.post(number) {
                    self.teller.tell(&Event::Output { at, host, label, stream, line: &line });
                }
            }
        }
    }

    fn tell_ended(&mut self) {
        while let Some((post, ended)) = self.programs.poll_ended(Instant::now()) {
            let Post { host, label, role } = post;
            self.left |= role == Role::Shell;
            // A shell gives back the code of its last command: that is no verdict.
            let ended = if role == Role::Shell { Ended::Code(0) } else { ended };
            let at = self.begun.elapsed();
            self.teller.tell(&Event::Exit { at, host: &host, label: &label, ended });
            self.ended.push(ProgramSummary { host, label, ended });
        }
    }

    /// Ends what is left, in order: ask, wait a little, kill.
    async fn wind_up(&mut self, signals: &mut Signals) {
        let now = Instant::now();
        self.programs.look(now);
        let patience = self.programs.stop(now);
        let mut killed = false;
        loop {
            self.tell_ended();
            if !self.programs.any() {
                return;
            }
            let due = if killed { None } else { Some(patience) };
            let due = [due, self.programs.poll_timeout()].into_iter().flatten().min();
            tokio::select! {
                Some((number, said)) = self.said.recv() => self.on_said(number, said),
                signal = signals.next() => match signal {
                    Signal::Child | Signal::Stop => self.programs.look(Instant::now()),
                },
                () = sleep_until(due.unwrap_or_else(|| Instant::now() + NEVER)) => {
                    self.programs.look(Instant::now());
                    if !killed && Instant::now() >= patience {
                        self.programs.kill();
                        killed = true;
                    }
                }
            }
        }
    }
}

/// Hands on the lines of standard input. Its end is nobody's end but its own.
async fn read_lines(lines: mpsc::Sender<String>) {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut input).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if lines.send(String::from_utf8_lossy(&line).into_owned()).await.is_err() {
            return;
        }
    }
}

/// An error and what lies behind it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let behind = std::iter::successors(error.source(), |error| error.source());
    behind.fold(error.to_string(), |line, error| format!("{line}: {error}"))
}
