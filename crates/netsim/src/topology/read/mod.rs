//! Reads a topology file.
//!
//! ```text
//!   text ─ toml ─▶ tables that know their places ─▶ profiles ─▶ nodes ─▶ addresses ─▶ timeline, programs
//! ```
//!
//! Names are checked before anything refers to them, explicit addresses are reserved before any is
//! given out, so the order of the file never matters but for the order of what it lists.

mod addresses;
mod circles;
mod draft;
mod error;
mod limits;
mod links;
mod nodes;
mod programs;
mod table;
mod timeline;

pub use error::{Problem, TopologyError};

use toml::de::DeTable;

use self::{
    draft::Draft,
    error::Reading,
    links::Profiles,
    table::{Table, Value},
};
use super::Topology;

/// Reads a topology.
///
/// # Errors
/// The first thing that is wrong, with its line and column, what was expected and, where a name is
/// wrong, the nearest one.
pub fn parse(text: &str) -> Result<Topology, TopologyError> {
    read(text).map_err(|failure| failure.in_text(text))
}

fn read(text: &str) -> Reading<Topology> {
    if text.len() > limits::BYTES {
        return Err(Problem::TooLong { length: text.len() }.at(0));
    }
    let entries = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Problem::Syntax(error.message().to_owned()).at(at)
    })?;
    let mut file = Table::new("a topology", entries.get_ref(), 0);
    let seed = file.take("seed").map_or(Ok(0), |value| value.number("a whole number"))?;
    let duration = file.take("duration").map(Value::time).transpose()?;
    let profiles = Profiles::read(file.take("profile"))?;
    let mut draft = Draft::declare(text, &mut file, &profiles)?;
    let (moments, runs) = (file.take("at"), file.take("run"));
    file.finish()?;

    nodes::read(&mut draft)?;
    addresses::assign(&mut draft)?;
    nodes::read_forwards(&mut draft)?;
    let programs = programs::read(&draft, runs)?;
    let nodes = draft.nodes.clone();
    let timeline = timeline::read(&mut draft, moments)?;
    draft.refuse_deserted(&timeline)?;
    Ok(Topology { seed, duration, nodes, timeline, programs })
}
