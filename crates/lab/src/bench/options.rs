//! What `lab bench` can be told.

use std::path::PathBuf;

/// `lab bench`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Who takes part: names, `ours` or `all` [default: those of whom the network shows something]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) subjects: Option<Vec<String>>,
    /// Whom ratios are to
    #[arg(long, default_value = "quinn", value_name = "NAME")]
    pub(crate) baseline: String,
    /// What is measured, by the metrics' names in the JSON file; all of it without this
    #[arg(long, value_delimiter = ',', value_name = "METRIC,…")]
    pub(crate) only: Vec<String>,
    /// Rounds; more make narrower intervals [default: 7; quick or over a link 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
    /// Seconds for all rounds together: the time of each sample is cut or stretched to fit
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<f64>,
    /// The whole table within a minute, with wider intervals
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where the order of subjects and the link's chance come from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Client and server in one process, on a thread each, or in two
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub(crate) processes: u32,
    /// Keep each side on a core of its own
    #[arg(long)]
    pub(crate) pin: bool,
    /// A network between the two: a profile (`lossy-1`, `4g`, …) or terms (`delay=25ms,loss=1%`)
    #[arg(long, value_name = "LINK")]
    pub(crate) link: Option<String>,
    /// How the network is made
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Also measure goodput by loss and round trip
    #[arg(long)]
    pub(crate) matrix: bool,
    /// Print the result as JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Where `result.json` and `report.html` go
    #[arg(long, default_value = "lab-report", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Add a slowed copy of a subject, to see that the report notices
    #[arg(long, value_name = "NAME=20%")]
    pub(crate) plant: Vec<String>,
}

/// How the network between client and server is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Driver {
    /// Real packets where this machine can, virtual time where it cannot
    Auto,
    /// Real packets, or an error
    Real,
    /// Protocol machines in virtual time: UDP and QUIC only, any system, no root
    Virtual,
}

const EXAMPLES: &str = "Examples:
  lab bench --quick                              everybody over loopback in a minute
  lab bench --subjects ours,tls,quinn --rounds 9 fewer subjects, narrower intervals
  sudo lab bench --link lossy-1                  through the emulator, kernel TCP included
  lab bench --link delay=40ms,rate=20Mbit,loss=2% --driver virtual
  lab bench --quick --plant udp=20%              does the report see a slower copy?";

fn seconds(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if (1.0..=86_400.0).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err("write seconds, from 1 to 86400".into()),
    }
}
