//! What a load measures, and what it found.

use serde::{Deserialize, Serialize};

use crate::{
    metric::Better,
    report::stats::{Estimate, estimate},
};

/// How a doubt begins that is more than one: what was stored has not come once and in order.
pub(crate) const BROKEN: &str = "NOT EXACTLY ONCE IN ORDER";

/// One kind of figure.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name in JSON, never changed.
    pub(crate) id: &'static str,
    /// Its name for people.
    pub(crate) title: &'static str,
    /// Of one figure.
    pub(crate) unit: &'static str,
    /// Which way is good.
    pub(crate) better: Better,
}

macro_rules! kinds {
    ($( $constant:ident = $id:literal, $title:literal, $unit:literal, $better:ident; )+) => {
        $( pub(crate) static $constant: Kind =
            Kind { id: $id, title: $title, unit: $unit, better: Better::$better }; )+

        /// Every kind.
        pub(crate) static KINDS: &[&Kind] = &[$( &$constant ),+];
    };
}

kinds! {
    STORED = "stored", "stored", "/s", Higher;
    DELIVERED = "delivered", "delivered", "/s", Higher;
    STORED_P50 = "stored-p50", "stored p50", "µs", Lower;
    STORED_P99 = "stored-p99", "stored p99", "µs", Lower;
    STORED_P999 = "stored-p999", "stored p99.9", "µs", Lower;
    DELIVERED_P50 = "delivered-p50", "delivered p50", "µs", Lower;
    DELIVERED_P99 = "delivered-p99", "delivered p99", "µs", Lower;
    DELIVERED_P999 = "delivered-p999", "delivered p99.9", "µs", Lower;
    SERVER_CPU = "server-cpu", "server's CPU a delivery", "µs", Lower;
    CLIENT_CPU = "client-cpu", "load's CPU a delivery", "µs", Lower;
    SERVER_SHARE = "server-share", "server's CPU", "cores", Lower;
    LOGINS = "logins", "logins", "/s", Higher;
    MEMORY = "memory", "memory a client", "KiB", Lower;
    IDLE_CPU = "idle-cpu", "server's CPU for all of them", "ms/s", Lower;
    FIRST = "first", "first has it", "ms", Lower;
    HALF = "half", "half have it", "ms", Lower;
    LAST = "last", "last has it", "ms", Lower;
}

/// One kind in one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Of [`KINDS`].
    pub(crate) kind: String,
    /// One a round.
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    pub(crate) fn estimate(&self) -> Option<Estimate> {
        estimate(&self.rounds)
    }
}

/// What one subject did in one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Who.
    pub(crate) subject: String,
    /// Under what.
    pub(crate) phase: String,
    /// The row to which ratios are, if any.
    pub(crate) beside: Option<usize>,
    /// Texts that arrived in all rounds, before, in and after what was measured.
    pub(crate) arrived: u64,
    /// What was measured.
    pub(crate) figures: Vec<Figure>,
    /// Why some rounds should not be trusted, or have no figure.
    pub(crate) doubts: Vec<String>,
}

impl Row {
    pub(crate) fn new(subject: &str, phase: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            phase: phase.to_owned(),
            beside: None,
            arrived: 0,
            figures: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// Adds what one round gave.
    pub(crate) fn add(&mut self, sample: Sample) {
        self.arrived += sample.arrived;
        for (kind, value) in sample.figures {
            match self.figures.iter_mut().find(|figure| figure.kind == kind.id) {
                Some(figure) => figure.rounds.push(value),
                None => {
                    self.figures.push(Figure { kind: kind.id.to_owned(), rounds: vec![value] });
                }
            }
        }
        for doubt in sample.doubts {
            if !self.doubts.contains(&doubt) {
                self.doubts.push(doubt);
            }
        }
    }

    pub(crate) fn figure(&self, kind: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.kind == kind)
    }
}

/// What one round of one row gave.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) arrived: u64,
    pub(crate) figures: Vec<(&'static Kind, f64)>,
    pub(crate) doubts: Vec<String>,
}

/// One scenario's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sheet {
    /// The scenario.
    pub(crate) scenario: String,
    /// What was done, in a sentence.
    pub(crate) about: String,
    /// Its rows.
    pub(crate) rows: Vec<Row>,
}

impl Sheet {
    /// Whether a server broke a promise while it was measured.
    pub(crate) fn is_broken(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.doubts).any(|doubt| doubt.starts_with(BROKEN))
    }
}

/// A whole result, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Result {
    /// Where it was taken.
    pub(crate) cpu: String,
    /// Cores that server and load shared.
    pub(crate) cores: u32,
    /// The system.
    pub(crate) system: String,
    /// What was measured.
    pub(crate) sheets: Vec<Sheet>,
}
