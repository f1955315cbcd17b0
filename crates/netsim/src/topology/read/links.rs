//! Links and profiles in a topology file.

use std::collections::BTreeMap;

use super::{
    error::{Problem, Reading},
    limits,
    table::{Named, Table, Value},
};
use crate::{
    PROFILES, Profile, SpecProblem, UnknownProfile,
    draft::{Direction, DuplexDraft, PARAMETERS},
    spec,
    topology::Duplex,
};

/// The profiles that a file may name: everyone's and its own.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    own: BTreeMap<String, Duplex>,
}

impl Profiles {
    /// Reads the `[profile]` table.
    pub(super) fn read(table: Option<Value<'_>>) -> Reading<Self> {
        let mut profiles = Self::default();
        let Some(table) = table else { return Ok(profiles) };
        let named = table.table("[profile]")?.named();
        if let Some(entry) = named.get(limits::PROFILES) {
            return Err(Problem::TooMany { what: "profiles", most: limits::PROFILES }.at(entry.at));
        }
        for entry in &named {
            if PROFILES.iter().any(|profile| profile.name == entry.name) {
                let name = entry.name.to_owned();
                return Err(Problem::Reserved { name, by: "a ready profile" }.at(entry.at));
            }
        }
        for entry in &named {
            profiles.resolve(*entry, &named, &mut Vec::new())?;
        }
        Ok(profiles)
    }

    /// Reads a link: a text or a table.
    pub(super) fn link(&self, value: Value<'_>) -> Reading<Duplex> {
        if value.is_table() {
            return self.link_table(value.table("a link")?);
        }
        let text = value.text()?;
        spec::read(text, |name| self.find(name)).map_err(|error| {
            // The column counts from behind the opening quote.
            let at = value.at() + text.char_indices().nth(error.column).map_or(1, |(at, _)| at);
            Problem::Link(error.problem).at(at)
        })
    }

    fn link_table(&self, mut table: Table<'_>) -> Reading<Duplex> {
        let base = match table.take("like") {
            None => None,
            Some(like) => {
                let unknown = |unknown| Problem::UnknownProfile(unknown).at(like.at());
                Some(self.find(like.text()?).map_err(unknown)?)
            }
        };
        changed(base, table)
    }

    fn find(&self, name: &str) -> Result<Duplex, UnknownProfile> {
        if let Some(own) = self.own.get(name) {
            return Ok(*own);
        }
        Profile::find(name).map(|profile| profile.duplex).map_err(|_| self.unknown(name, &[]))
    }

    fn unknown(&self, name: &str, named: &[Named<'_>]) -> UnknownProfile {
        let ready = PROFILES.iter().map(|profile| profile.name.to_owned());
        let mut known: Vec<String> = ready.chain(self.own.keys().cloned()).collect();
        let unread = named.iter().filter(|entry| !self.own.contains_key(entry.name));
        known.extend(unread.map(|entry| entry.name.to_owned()));
        UnknownProfile::new(name, known)
    }

    /// Reads a profile of the file after the one that it is like.
    fn resolve<'a>(
        &mut self,
        entry: Named<'a>,
        all: &[Named<'a>],
        path: &mut Vec<&'a str>,
    ) -> Reading<Duplex> {
        if let Some(known) = self.own.get(entry.name) {
            return Ok(*known);
        }
        let is_circle = path.contains(&entry.name);
        path.push(entry.name);
        if is_circle {
            let start = path.iter().position(|name| *name == entry.name).unwrap_or_default();
            let path = path.iter().skip(start).map(|name| (*name).to_owned()).collect();
            return Err(Problem::ProfileCycle { path }.at(entry.at));
        }
        let mut table = entry.value.table("a profile")?;
        let base = match table.take("like") {
            None => None,
            Some(like) => {
                let name = like.text()?;
                let own = all.iter().find(|other| other.name == name);
                Some(match (own, Profile::find(name)) {
                    (Some(own), _) => self.resolve(*own, all, path)?,
                    (None, Ok(ready)) => ready.duplex,
                    (None, Err(_)) => {
                        let unknown = self.unknown(name, all);
                        return Err(Problem::UnknownProfile(unknown).at(like.at()));
                    }
                })
            }
        };
        let duplex = changed(base, table)?;
        self.own.insert(entry.name.to_owned(), duplex);
        Ok(duplex)
    }
}

/// A link with the changes that the table holds.
fn changed(base: Option<Duplex>, mut table: Table<'_>) -> Reading<Duplex> {
    let mut draft = base.map_or_else(DuplexDraft::new, DuplexDraft::over);
    let at = table.at;
    let directions = [(Direction::Up, table.take("up")), (Direction::Down, table.take("down"))];
    apply(&mut draft, Direction::Both, table)?;
    for (direction, value) in directions {
        if let Some(value) = value {
            apply(&mut draft, direction, value.table("one direction of a link")?)?;
        }
    }
    draft.finish().map_err(|misfit| Problem::Misfit(misfit).at(at))
}

fn apply(draft: &mut DuplexDraft, direction: Direction, mut table: Table<'_>) -> Reading<()> {
    for parameter in PARAMETERS {
        let Some(value) = table.take(parameter.name) else { continue };
        let text = value.as_written()?;
        draft.set(direction, parameter.name, &text).map_err(|fault| {
            Problem::Link(SpecProblem::of(fault, parameter.name, &text)).at(value.at())
        })?;
    }
    table.finish()
}
