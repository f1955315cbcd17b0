//! Where a topology comes from, and what is said about it.

use std::{fs::File, io, io::Read, path::Path};

use portolan_netsim::topology::{self, NodeKind, Topology, TopologyError};

use super::catalogue::{self, UnknownExperiment, nearest, suggest};

/// The longest file that is read.
const FILE_MAX: u64 = 1 << 20;

/// A topology and its name.
#[derive(Debug)]
pub(super) struct Source {
    /// The file, or the ready experiment.
    pub(super) name: String,
    /// What it says.
    pub(super) topology: Topology,
}

/// Why a topology could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Unknown(#[from] UnknownExperiment),
    #[error("there is neither a file nor a ready experiment {name:?}{}", suggest(.nearest))]
    Neither { name: String, nearest: Option<&'static str> },
    #[error("cannot read {name}: {source}")]
    Io { name: String, source: io::Error },
    #[error("{name} is longer than {FILE_MAX} bytes: a topology file is not")]
    TooLong { name: String },
    #[error("{name}: {source}")]
    Topology { name: String, source: Box<TopologyError> },
    #[error("there is no host {name:?}{}", suggest(.nearest))]
    NoHost { name: String, nearest: Option<String> },
}

impl Source {
    /// Reads the file of that name, or the ready experiment.
    pub(super) fn load(name: &str) -> Result<Self, LoadError> {
        if let Ok(ready) = catalogue::find(name) {
            return Self::parse(name, ready.text);
        }
        Self::parse(name, &read(name)?)
    }

    fn parse(name: &str, text: &str) -> Result<Self, LoadError> {
        let parsed = topology::parse(text);
        let topology = parsed.map_err(|source| LoadError::Topology {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { name: name.to_owned(), topology })
    }

    /// Complains unless there is such a host.
    pub(super) fn check_host(&self, name: &str) -> Result<(), LoadError> {
        if hosts(&self.topology).any(|host| host == name) {
            return Ok(());
        }
        let nearest = nearest(name, hosts(&self.topology)).map(ToOwned::to_owned);
        Err(LoadError::NoHost { name: name.to_owned(), nearest })
    }

    /// What is in it, in a line.
    pub(super) fn describe(&self) -> String {
        let Topology { seed, nodes, timeline, programs, .. } = &self.topology;
        let count = |what: fn(&NodeKind) -> bool| nodes.iter().filter(|n| what(&n.kind)).count();
        format!(
            "{}: {} hosts, {} networks, {} routers, {} translators, {} firewalls, \
             {} happenings, {} programs, seed {seed}",
            self.name,
            count(|kind| matches!(kind, NodeKind::Host(_))),
            count(|kind| matches!(kind, NodeKind::Subnet(_))),
            count(|kind| matches!(kind, NodeKind::Router(_))),
            count(|kind| matches!(kind, NodeKind::Nat(_))),
            count(|kind| matches!(kind, NodeKind::Firewall(_))),
            timeline.len(),
            programs.len(),
        )
    }
}

/// The names of all hosts.
pub(super) fn hosts(topology: &Topology) -> impl Iterator<Item = &str> {
    let hosts = topology.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Host(_)));
    hosts.map(|node| node.name.as_str())
}

fn read(name: &str) -> Result<String, LoadError> {
    let file = match File::open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_plain(name) => {
            let names = catalogue::EXPERIMENTS.iter().map(|experiment| experiment.name);
            return Err(LoadError::Neither {
                name: name.to_owned(),
                nearest: nearest(name, names),
            });
        }
        Err(source) => return Err(LoadError::Io { name: name.to_owned(), source }),
    };
    let mut text = String::new();
    let count = file.take(FILE_MAX + 1).read_to_string(&mut text);
    match count {
        Ok(count) if count as u64 > FILE_MAX => Err(LoadError::TooLong { name: name.to_owned() }),
        Ok(_) => Ok(text),
        Err(source) => Err(LoadError::Io { name: name.to_owned(), source }),
    }
}

/// Whether it looks like a name and not like a path.
fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_none() && path.components().count() == 1
}
