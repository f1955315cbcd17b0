//! What a run leaves: the JSON file, and what every report is made from.

use serde::{Deserialize, Serialize};

/// The version of this form; a reader refuses others.
pub const FORMAT: u32 = 1;

/// One run of `lab bench`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: u32,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// The command line that made it.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Over what.
    pub setting: Setting,
    /// The subject that ratios are to.
    pub baseline: String,
    /// Interleaved rounds.
    pub rounds: u32,
    /// Who took part, in the order of the rows.
    pub subjects: Vec<SubjectNote>,
    /// Every figure of every round.
    pub measures: Vec<Measure>,
    /// Latency distributions over all rounds.
    pub distributions: Vec<Distribution>,
    /// Goodput over time of one long transfer a subject.
    pub curves: Vec<Curve>,
    /// Goodput by loss and round trip.
    pub matrix: Option<Matrix>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that we may use.
    pub cores: u32,
    /// The system and its version.
    pub system: String,
}

/// What carried the bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// How.
    pub driver: Driver,
    /// The link's name or terms; `loopback` without one.
    pub link: String,
    /// The link in words.
    pub description: String,
    /// Where the link's chance comes from.
    pub seed: u64,
    /// Whether client and server shared a process.
    pub processes: u32,
}

/// What stood between client and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// The kernel's loopback.
    Loopback,
    /// The model, with real packets.
    Emulated,
    /// The model, with protocol machines in virtual time: no kernel, no TCP, no CPU figures.
    VirtualTime,
}

/// Who took part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectNote {
    /// Its name.
    pub name: String,
    /// What it is.
    pub summary: String,
    /// The congestion control in force.
    pub congestion_control: String,
    /// Whether its bytes are encrypted.
    pub encrypted: bool,
}

/// All rounds of one metric of one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The subject.
    pub subject: String,
    /// The id of the [`Metric`](crate::metric::Metric).
    pub metric: String,
    /// A figure a round.
    pub samples: Vec<Sample>,
    /// Why there are none.
    pub skipped: Option<String>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its round, from 1: figures of one round are compared with each other.
    pub round: u32,
    /// In the metric's unit.
    pub value: f64,
    /// Why it should not be trusted: foreign load, a late or overrun emulator.
    pub doubt: Option<String>,
}

/// How a latency was distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The subject.
    pub subject: String,
    /// Of what: `rtt-64`, `live-once`, `loaded-rtt`, …
    pub of: String,
    /// Values that were taken.
    pub count: u64,
    /// Quantile (0 to 1) and microseconds, ascending.
    pub points: Vec<(f64, f64)>,
}

/// Goodput over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The subject.
    pub subject: String,
    /// Seconds from the start and Mbit/s since the point before.
    pub points: Vec<(f64, f64)>,
}

/// Goodput by loss and round trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// What stood between client and server: the matrix may be taken in another way than the rest.
    pub driver: Driver,
    /// The link's rate in Mbit/s: the most that a cell can show.
    pub rate_mbit: f64,
    /// Loss in each direction, percent.
    pub loss_percent: Vec<f64>,
    /// Round trips in milliseconds.
    pub rtt_ms: Vec<f64>,
    /// A table a subject.
    pub tables: Vec<MatrixTable>,
}

/// One subject's part of a [`Matrix`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatrixTable {
    /// The subject.
    pub subject: String,
    /// The congestion control in force.
    pub congestion_control: String,
    /// Mbit/s, a row for each loss, a column for each round trip; `None`: it did not get through.
    pub mbit: Vec<Vec<Option<f64>>>,
}
