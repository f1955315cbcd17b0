//! The configuration file, the environment's additions to it and those of `--set`, made one.

use std::{
    collections::BTreeMap,
    env,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::exit::{Failure, USAGE};

/// Larger files are no configuration.
const FILE_MAX: u64 = 1 << 20;

/// Tables of the file that can be set by the environment: `PORTOLAN_LIMITS_USERS`.
const TABLES: [&str; 3] = ["limits", "times", "passwords"];

/// What was read, the strongest last.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    layers: Vec<Layer>,
}

/// Settings from one place.
#[derive(Debug)]
struct Layer {
    origin: String,
    table: Table,
}

impl Layers {
    /// Reads the file (if it is there or was named), `environment` and `sets`, each checked
    /// against `File`.
    pub(super) fn read<File: DeserializeOwned>(
        file: Option<PathBuf>,
        environment: impl Iterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, Failure> {
        let mut layers = Self { file, layers: Vec::new() };
        if let Some(path) = &layers.file {
            let origin = path.display().to_string();
            let text = read_text(path)
                .map_err(|failure| failure.during(&format!("configuration file {origin}")))?;
            layers.layers.push(Layer::parse::<File>(origin, &text)?);
        }
        for (name, value) in environment {
            if let Some(key) = key_of_variable(&name) {
                layers.layers.push(Layer::single::<File>(name, &key, &value)?);
            }
        }
        for set in sets {
            let Some((key, value)) = set.split_once('=') else {
                return Err(Failure::usage(format!(
                    "--set {set}: expected KEY=VALUE, like limits.mailbox_messages=500"
                )));
            };
            if !key.contains('.') && key.trim() != "reserved" {
                let message = format!("--set {set}: that has a flag of its own; see --help");
                return Err(Failure::usage(message));
            }
            let origin = format!("--set {}", key.trim());
            layers.layers.push(Layer::single::<File>(origin, key.trim(), value.trim())?);
        }
        Ok(layers)
    }

    /// All of them as one.
    pub(super) fn merged<File: DeserializeOwned>(&self) -> Result<File, Failure> {
        let mut merged = Table::new();
        for layer in &self.layers {
            merge(&mut merged, &layer.table);
        }
        merged.try_into().map_err(|error| Failure::error(&error).with_code(USAGE))
    }

    /// Each key with the place that it comes from.
    pub(super) fn origins(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for layer in &self.layers {
            flatten("", &layer.table, &mut |key| {
                all.insert(key, layer.origin.clone());
            });
        }
        all
    }
}

impl Layer {
    fn parse<File: DeserializeOwned>(origin: String, text: &str) -> Result<Self, Failure> {
        let checked = toml::from_str::<File>(text).and_then(|_| toml::from_str::<Table>(text));
        match checked {
            Ok(table) => Ok(Self { origin, table }),
            Err(error) => Err(Failure::usage(explain(&origin, text, &error))),
        }
    }

    /// One key; its value is TOML, or a string without quotes.
    fn single<File: DeserializeOwned>(
        origin: String,
        key: &str,
        value: &str,
    ) -> Result<Self, Failure> {
        let mut text = format!("{key} = {value}");
        if toml::from_str::<Table>(&text).is_err() {
            text = format!("{key} = {}", Value::String(value.to_owned()));
        }
        Self::parse::<File>(origin, &text)
    }
}

/// `PORTOLAN_LIMITS_USERS` is `limits.users`.
fn key_of_variable(name: &str) -> Option<String> {
    let name = name.strip_prefix("PORTOLAN_")?;
    if name == "RESERVED" {
        return Some("reserved".to_owned());
    }
    let (table, key) = name.split_once('_')?;
    let table = table.to_ascii_lowercase();
    TABLES.contains(&&*table).then(|| format!("{table}.{}", key.to_ascii_lowercase()))
}

/// The environment as far as it is text.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let usage = |error: &dyn std::error::Error| Failure::error(error).with_code(USAGE);
    let size = std::fs::metadata(path).map_err(|error| usage(&error))?.len();
    if size > FILE_MAX {
        return Err(Failure::usage(format!("{size} bytes are too many")));
    }
    std::fs::read_to_string(path).map_err(|error| usage(&error))
}

/// The place, the words, the line itself and what may have been meant.
fn explain(origin: &str, text: &str, error: &toml::de::Error) -> String {
    let mut words = error.message().to_owned();
    if let Some((unknown, near)) = misspelt(&words) {
        words = match near {
            Some(near) => format!("unknown field `{unknown}`; did you mean `{near}`?"),
            None => format!("unknown field `{unknown}`; docs/server.md lists them"),
        };
    }
    match error.span().map(|span| line(text, &span)) {
        Some((number, line)) if text.lines().count() > 1 || number > 1 => {
            format!("{origin}, line {number}: {words}\n  {line}")
        }
        Some(_) | None => format!("{origin}: {words}\n  {}", text.trim()),
    }
}

/// The number and the words of a line.
fn line<'a>(text: &'a str, span: &Range<usize>) -> (usize, &'a str) {
    let before = text.get(..span.start).unwrap_or(text);
    let number = before.matches('\n').count();
    (number + 1, text.lines().nth(number).unwrap_or_default().trim())
}

/// What serde says of a field that it does not know, with the nearest that it does.
fn misspelt(message: &str) -> Option<(&str, Option<&str>)> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut words = rest.split('`').skip(1).step_by(2);
    let unknown = words.next()?;
    let near = words
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .min();
    Some((unknown, near.map(|(_, known)| known)))
}

fn merge(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Calls with the dotted key of each value. A rate is one value.
fn flatten(before: &str, table: &Table, found: &mut impl FnMut(String)) {
    for (key, value) in table {
        let key = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
        match value {
            Value::Table(inner) if !inner.contains_key("per_second") => flatten(&key, inner, found),
            _ => found(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::Layers;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct File {
        listen: Option<String>,
        reserved: Vec<String>,
        limits: Limits,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        users: Option<u64>,
        bans: Option<u64>,
    }

    fn read(file: &str, environment: &[(&str, &str)], sets: &[&str]) -> Result<Layers, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Layers::read::<File>(Some(path), environment, &sets).map_err(|failure| failure.message)
    }

    #[test]
    fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
        let file = "listen = 'here'\n[limits]\nusers = 1\nbans = 1";
        let environment =
            [("PORTOLAN_LIMITS_USERS", "2"), ("PORTOLAN_LOG", "debug"), ("HOME", "/")];
        let layers = read(file, &environment, &["limits.users=3", "reserved=['root']"]).unwrap();
        let merged: File = layers.merged().unwrap();
        assert_eq!((merged.limits.users, merged.limits.bans), (Some(3), Some(1)));
        assert_eq!(merged.reserved, ["root"]);
        let origins = layers.origins();
        assert_eq!(origins["limits.users"], "--set limits.users");
        assert!(origins["limits.bans"].ends_with("server.toml"));
        let layers = read(file, &environment, &[]).unwrap();
        assert_eq!(layers.origins()["limits.users"], "PORTOLAN_LIMITS_USERS");
    }

    #[test]
    fn what_is_misspelt_is_told_with_its_line_and_what_was_meant() {
        let rows = [
            (("listen = 'x'\n[limits]\nusrs = 1\n", &[][..], &[][..]), "line 3"),
            (("listen = 'x'\n[limits]\nusrs = 1\n", &[], &[]), "did you mean `users`?"),
            (("listen = 'x'\n[limits]\nusers = 'many'\n", &[], &[]), "users = 'many'"),
            (("color = 'x'", &[], &[]), "unknown field `color`; docs/server.md"),
            (("", &[("PORTOLAN_LIMITS_USER", "1")], &[]), "PORTOLAN_LIMITS_USER: unknown"),
            (("", &[], &["limits.bans"]), "expected KEY=VALUE"),
            (("", &[], &["limits.bans=many"]), "--set limits.bans"),
        ];
        for ((file, environment, sets), expected) in rows {
            let message = read(file, environment, sets).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
