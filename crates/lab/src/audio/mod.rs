//! `lab audio`: live audio over each transport through emulated links, and how it sounds.
//!
//! ```text
//!   source ── talk: Speaker ──► a transport, a link ──► talk: Ear ── judge ── table
//!                                 │            │
//!                     real (two hosts behind the emulator, kernel TCP included)
//!                     virtual_time (our UDP and QUIC as machines, any system, no root)
//! ```
//!
//! What the sink writes is kept and compared with what was spoken.

mod judge;
mod real;
mod record;
mod source;
mod start;
mod table;
mod talk;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use portolan::Lifetime;
use portolan_emulator::Launch;

use self::{judge::Verdict, real::Talking};
pub(crate) use self::{
    source::Source,
    talk::{BESIDE_AFTER, Beside, Ear, Heard, Plan, Speaker},
};
use crate::{
    bench::{link::LinkChoice, options::Driver},
    probe::units,
    virtual_time,
};

/// What is measured when nobody says over what.
const LINKS: [&str; 6] = ["lan", "good-wifi", "congested-wifi", "3g", "lossy-1", "lossy-5"];

/// `lab audio`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  sudo lab audio                              every transport over six links, some five minutes
  lab audio --driver virtual                  UDP and QUIC in virtual time, any system
  sudo lab audio --link lossy-5 --beside      with a file transfer on the same connection
  sudo lab audio --link 3g,loss=2% --source voice --until 300ms
  sudo lab audio start song.mp3               how soon a shared file is heard"
)]
pub struct Options {
    #[command(subcommand)]
    task: Option<Task>,
    /// A network between the two: a profile (`lossy-5`, `3g`, …) or terms (`delay=25ms,loss=1%`);
    /// several times for several [default: lan, good-wifi, congested-wifi, 3g, lossy-1, lossy-5]
    #[arg(long = "link", value_name = "LINK")]
    links: Vec<String>,
    /// Over what: tcp, udp, quic, and udp-once, where each frame is sent once [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", value_parser = Way::known)]
    over: Vec<&'static Way>,
    /// What is spoken
    #[arg(long, value_enum, default_value_t = Source::Tone)]
    source: Source,
    /// How long each listener listens
    #[arg(long, default_value = "30s", value_parser = units::duration)]
    time: Duration,
    /// How long a frame is of use
    #[arg(long, default_value = "150ms", value_parser = units::duration)]
    until: Duration,
    /// Send bytes without end on the same connection, with the priority of files
    #[arg(long)]
    beside: bool,
    /// How the network is made
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Where the links' chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Something else about sound.
#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Measure how soon a shared file is heard over each transport, from the order to the first
    /// sample
    Start(start::Options),
    /// Write down how long each frame takes over a link, for a jitter buffer to be tried on
    Record(record::Options),
}

/// A transport, and how frames travel on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    name: &'static str,
    transport: &'static str,
    repair: Repair,
}

/// What becomes of a frame that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    /// What the transport does until the deadline.
    Deadline,
    /// Nothing.
    Once,
}

/// All of them, in the order of tables.
static WAYS: &[Way] = &[
    Way { name: "udp", transport: "udp", repair: Repair::Deadline },
    Way { name: "udp-once", transport: "udp", repair: Repair::Once },
    Way { name: "quic", transport: "quic", repair: Repair::Deadline },
    Way { name: "tcp", transport: "tcp", repair: Repair::Deadline },
];

impl Way {
    fn known(name: &str) -> Result<&'static Self, String> {
        let names: Vec<_> = WAYS.iter().map(|way| way.name).collect();
        let found = WAYS.iter().find(|way| way.name == name);
        found.ok_or_else(|| format!("nothing is called {name:?}; there are {}", names.join(", ")))
    }

    const fn lifetime(&self, until: Duration) -> Lifetime {
        match self.repair {
            Repair::Deadline => Lifetime::Until(until),
            Repair::Once => Lifetime::Once,
        }
    }

    /// The same for machines in virtual time.
    fn until(&self, until: Duration) -> Option<Duration> {
        (self.repair == Repair::Deadline).then_some(until)
    }
}

/// A talk that is over.
#[derive(Debug)]
pub(crate) struct Talked {
    pub(crate) heard: Heard,
    /// When the speaker began.
    pub(crate) begun: Instant,
    /// What the speaker's side has sent.
    pub(crate) bytes: u64,
    /// Why it should not be trusted.
    pub(crate) doubt: Option<String>,
}

/// One row of a table.
struct Row {
    way: &'static Way,
    verdict: Result<Verdict, String>,
    doubt: Option<String>,
}

/// Measures what was asked for and prints a table for each link.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let done = match &options.task {
        None => begin(options),
        Some(Task::Start(options)) => start::run(options),
        Some(Task::Record(options)) => record::run(options),
    };
    match done {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn begin(options: &Options) -> Result<ExitCode, String> {
    let named: Vec<_> = options.links.iter().map(String::as_str).collect();
    let links = if named.is_empty() { LINKS.to_vec() } else { named };
    let links: Result<Vec<_>, _> = links.into_iter().map(LinkChoice::parse).collect();
    let links = links.map_err(|error| error.to_string())?;
    let driver = match options.driver {
        Driver::Virtual => Driver::Virtual,
        Driver::Auto | Driver::Real => match portolan_emulator::launch() {
            Ok(Launch::Finished(code)) => return Ok(code),
            Ok(Launch::Inside) => Driver::Real,
            Err(missing) if options.driver == Driver::Real => return Err(missing.to_string()),
            Err(missing) => {
                eprintln!("in virtual time, without TCP: {missing}");
                Driver::Virtual
            }
        },
    };
    let failed = links.iter().filter(|link| !measure(options, driver, link)).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether all talks of a link came to their end.
fn measure(options: &Options, driver: Driver, link: &LinkChoice) -> bool {
    let rows = match driver {
        Driver::Virtual => in_virtual_time(options, link),
        Driver::Auto | Driver::Real => with_real_packets(options, link),
    };
    table::print(options, driver, link, &rows);
    rows.iter().all(|row| row.verdict.is_ok())
}

impl Options {
    fn plan(&self) -> Plan {
        let beside = if self.beside { Beside::Bulk } else { Beside::Nothing };
        Plan { source: self.source, time: self.time, until: self.until, beside }
    }

    fn ways(&self) -> Vec<&'static Way> {
        if self.over.is_empty() { WAYS.iter().collect() } else { self.over.clone() }
    }

    fn row(&self, way: &'static Way, talked: Result<Talked, String>) -> Row {
        match talked {
            Ok(Talked { heard, begun, bytes, doubt }) => {
                let verdict = Ok(judge::judge(self.source, &heard, begun, bytes));
                Row { way, verdict, doubt }
            }
            Err(why) => Row { way, verdict: Err(why), doubt: None },
        }
    }
}

/// All ways at the same time, each on a link of its own.
fn with_real_packets(options: &Options, link: &LinkChoice) -> Vec<Row> {
    let plan = options.plan();
    let begin = |way: &'static Way| (way, Talking::begin(way, &link.duplex, options.seed, plan));
    let talks: Vec<_> = options.ways().into_iter().map(begin).collect();
    let end = |(way, talking): (_, Result<Talking, String>)| {
        options.row(way, talking.and_then(Talking::end))
    };
    talks.into_iter().map(end).collect()
}

fn in_virtual_time(options: &Options, link: &LinkChoice) -> Vec<Row> {
    let plan = options.plan();
    let ways = options.ways().into_iter().filter_map(|way| {
        let subject = virtual_time::Subject::find(way.transport)?;
        let until = way.until(options.until);
        let talked = virtual_time::talk(subject, link.duplex, options.seed, &plan, until);
        Some(options.row(way, talked))
    });
    ways.collect()
}
