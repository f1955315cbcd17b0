//! What is told while a world lives.

use std::time::Duration;

use serde::Serialize;

use super::summary::Summary;

/// Something to tell; with `--json` one object a line, `event` first.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    /// The world is up.
    Start {
        /// The file or the ready experiment.
        experiment: &'a str,
        /// Where all chance comes from.
        seed: u64,
        /// Every host and its addresses.
        hosts: Vec<(String, Vec<String>)>,
    },
    /// The world changed.
    Happening {
        /// When it took effect, in seconds from the start.
        #[serde(serialize_with = "seconds")]
        at: Duration,
        /// What, in words.
        what: String,
    },
    /// A change was asked for and could not be made.
    Refused {
        /// When, in seconds from the start.
        #[serde(serialize_with = "seconds")]
        at: Duration,
        /// Why.
        why: String,
    },
    /// A program wrote a line.
    Output {
        /// When it was read, in seconds from the start.
        #[serde(serialize_with = "seconds")]
        at: Duration,
        /// The host.
        host: &'a str,
        /// What the program is called.
        label: &'a str,
        /// On which of its two outputs.
        stream: Stream,
        /// The line.
        line: &'a str,
    },
    /// A program ended.
    Exit {
        /// When, in seconds from the start.
        #[serde(serialize_with = "seconds")]
        at: Duration,
        /// The host.
        host: &'a str,
        /// What the program is called.
        label: &'a str,
        /// How.
        ended: Ended,
    },
    /// The world is about to go.
    Summary(&'a Summary),
}

/// One of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    /// Results.
    Stdout,
    /// Messages.
    Stderr,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ended {
    /// With this exit code.
    Code(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// We ended it: the experiment was over.
    Stopped,
}

impl Ended {
    /// Whether that is a success.
    pub(super) const fn succeeded(self) -> bool {
        matches!(self, Self::Code(0) | Self::Stopped)
    }

    /// In words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Code(0) => "ended".to_owned(),
            Self::Code(code) => format!("failed with exit code {code}"),
            Self::Signal(signal) => format!("was killed by signal {signal}"),
            Self::Stopped => "was stopped at the end".to_owned(),
        }
    }
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microseconds are more than anyone can promise here.
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e6)
}
