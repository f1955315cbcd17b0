//! What can be wrong with a topology file.

use std::net::IpAddr;

use super::limits;
use crate::{Misfit, SpecProblem, Suggestion, UnknownProfile};

/// Why a file does not describe a world.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TopologyError {
    /// Where, from 1.
    pub line: usize,
    /// Where in the line, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a topology file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is too much of it.
    #[error("the file is {length} bytes long, more than {}: split the experiment", limits::BYTES)]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// There is too much of something.
    #[error("there are more than {most} {what}: the laboratory is made for small worlds")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A key that means nothing here.
    #[error("{place} has no \"{key}\"{suggestion} (it may have {})", known.join(", "))]
    UnknownKey {
        /// The key.
        key: String,
        /// Of what.
        place: &'static str,
        /// What was perhaps meant.
        suggestion: Suggestion,
        /// The keys that there are.
        known: Vec<&'static str>,
    },
    /// A key that must be there is not.
    #[error("{place} needs a \"{key}\"")]
    Missing {
        /// The key.
        key: &'static str,
        /// Of what.
        place: &'static str,
    },
    /// Two keys of which there may be one.
    #[error("\"{one}\" and \"{other}\" say the same: leave out one")]
    Either {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A value of another kind, or out of its range.
    #[error("expected {expected}, found {found}{suggestion}")]
    Value {
        /// What can be there.
        expected: String,
        /// What is there.
        found: String,
        /// What was perhaps meant.
        suggestion: Suggestion,
    },
    /// A link's text that cannot be read.
    #[error(transparent)]
    Link(#[from] SpecProblem),
    /// What is said about a link does not fit together.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// There is no profile of this name.
    #[error(transparent)]
    UnknownProfile(#[from] UnknownProfile),
    /// A name that stands for nothing, or for something of another kind.
    #[error("there is no {what} named \"{name}\"{suggestion}")]
    UnknownName {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
        /// What was perhaps meant.
        suggestion: Suggestion,
    },
    /// A name that stands for two things.
    #[error("the name \"{name}\" is taken since line {line}: every node needs its own")]
    Twice {
        /// The name.
        name: String,
        /// Where it was first.
        line: usize,
    },
    /// A name that stands for something already.
    #[error("\"{name}\" is the name of {by}: take another")]
    Reserved {
        /// The name.
        name: String,
        /// What has it.
        by: &'static str,
    },
    /// Profiles that are like each other in a circle.
    #[error("profiles are like each other in a circle: {}", path.join(" → "))]
    ProfileCycle {
        /// The way round.
        path: Vec<String>,
    },
    /// Translators or firewalls behind each other in a circle, so that nothing is outside.
    #[error("the way out never ends: {} (inside → outside): one of them must look elsewhere", path.join(" → "))]
    OutsideCycle {
        /// The way round, networks and boxes by turns.
        path: Vec<String>,
    },
    /// An address that its network does not have.
    #[error("{address} is not an address for hosts of network \"{network}\" ({prefixes})")]
    Elsewhere {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// What it has.
        prefixes: String,
    },
    /// An address that somebody has.
    #[error(
        "{address} is the address of {owner} already: give another, or none to get the next that is free"
    )]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: String,
    },
    /// A network without a free address.
    #[error("network \"{network}\" has no free address left: give it a shorter prefix")]
    Full {
        /// The network.
        network: String,
    },
    /// A network on which there is nobody.
    #[error("nobody is on network \"{network}\": put a host on it, or leave it out")]
    Deserted {
        /// The network.
        network: String,
    },
    /// A node without a network.
    #[error("{node} is on no network: say \"on = …\"")]
    Unplugged {
        /// The node.
        node: String,
    },
    /// A router with nothing to route.
    #[error("router {node} is on one network only: a router joins at least two")]
    Alone {
        /// The router.
        node: String,
    },
    /// A translator without the addresses that it translates.
    #[error(
        "NAT {node} translates IPv4, but network \"{network}\" has no IPv4 prefix (or the address given is of IPv6): add one, or use a firewall"
    )]
    NoIpv4 {
        /// The translator.
        node: String,
        /// The network.
        network: String,
    },
    /// An interface must be named.
    #[error("{node} has several interfaces: name one, such as \"{node}.{first}\"")]
    WhichInterface {
        /// The node.
        node: String,
        /// Its first interface.
        first: String,
    },
    /// A moment in which not exactly one thing happens.
    #[error("one thing happens at a time: give exactly one of {}", verbs.join(", "))]
    Verb {
        /// What can happen.
        verbs: Vec<&'static str>,
    },
}

/// A problem and where it is, as an offset into the text.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) at: usize,
    pub(super) problem: Problem,
}

pub(super) type Reading<T> = Result<T, Failure>;

impl Problem {
    pub(super) const fn at(self, at: usize) -> Failure {
        Failure { at, problem: self }
    }
}

impl Failure {
    pub(super) fn in_text(self, text: &str) -> TopologyError {
        let (line, column) = position(text, self.at);
        TopologyError { line, column, problem: self.problem }
    }
}

/// Line and column of an offset, from 1.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before.get(start..).map_or(0, |line| line.chars().count()) + 1)
}
