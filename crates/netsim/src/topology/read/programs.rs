//! What runs on the hosts.

use std::time::Duration;

use super::{
    draft::{Draft, Kind, attachments},
    error::{Problem, Reading},
    limits,
    table::{Table, Value},
};
use crate::{Suggestion, topology::Program};

/// Reads every `[[run]]`; one that names several hosts runs on each.
pub(super) fn read(draft: &Draft<'_>, value: Option<Value<'_>>) -> Reading<Vec<Program>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let mut programs = Vec::new();
    for value in value.list() {
        let table = value.table("a program ([[run]])")?;
        programs.extend(program(draft, table)?);
        if programs.len() > limits::PROGRAMS {
            let problem = Problem::TooMany { what: "programs", most: limits::PROGRAMS };
            return Err(problem.at(value.at()));
        }
    }
    Ok(programs)
}

fn program(draft: &Draft<'_>, mut table: Table<'_>) -> Reading<Vec<Program>> {
    let hosts = table.need("on")?.list();
    let command = table.need("command")?;
    let words = words(command)?;
    for word in &words {
        check_placeholders(draft, word, command)?;
    }
    let label = match table.take("label") {
        Some(label) => label.text()?.to_owned(),
        None => label(&words),
    };
    let at = table.take("at").map_or(Ok(Duration::ZERO), Value::time)?;
    let background = table.take("background").map_or(Ok(false), Value::flag)?;
    table.finish()?;
    let on_each = hosts.into_iter().map(|value| {
        let host = draft.find(value.text()?, Some(Kind::Host), value.at())?;
        let on = draft.name(host).to_owned();
        Ok(Program { on, label: label.clone(), command: words.clone(), at, background })
    });
    on_each.collect()
}

/// The words of a list, or of a text that is split at blanks.
fn words(value: Value<'_>) -> Reading<Vec<String>> {
    let words = if value.is_list() {
        let words = value.list().into_iter().map(|word| Ok(word.as_written()?.into_owned()));
        words.collect::<Reading<Vec<_>>>()?
    } else {
        match split(value.text()?) {
            Some(words) => words,
            None => return value.refuse("a closing quote"),
        }
    };
    if words.len() > limits::ARGUMENTS {
        let problem = Problem::TooMany { what: "words in a command", most: limits::ARGUMENTS };
        return Err(problem.at(value.at()));
    }
    match words.first() {
        Some(first) if !first.is_empty() => Ok(words),
        Some(_) | None => value.refuse("a program and its arguments"),
    }
}

/// Splits at blanks outside quotes, which may be single or double; `None`: one is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for letter in text.chars() {
        match quote {
            Some(closing) if letter == closing => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '\'' || letter == '"' => {
                word.get_or_insert_default();
                quote = Some(letter);
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The program's own name.
fn label(words: &[String]) -> String {
    let program = words.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or_default();
    name.trim_matches(['{', '}']).to_owned()
}

/// Refuses `{name}` of a host that is not there. `{lab}` is this program, and braces around
/// anything that cannot be a name stand for themselves.
fn check_placeholders(draft: &Draft<'_>, word: &str, value: Value<'_>) -> Reading<()> {
    for part in word.split('{').skip(1) {
        let Some((name, _)) = part.split_once('}') else { continue };
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name == "lab" || name.is_empty() || !name.chars().all(is_plain) {
            continue;
        }
        let (host, interface) = name.split_once('.').map_or((name, None), |(h, i)| (h, Some(i)));
        let node = draft.find(host, None, value.at())?;
        let Some(interface) = interface else { continue };
        let attached = draft.nodes.get(node).map_or_else(Vec::new, |node| attachments(&node.kind));
        let known: Vec<_> = attached.iter().map(|attachment| attachment.name.as_str()).collect();
        if !known.contains(&interface) {
            let suggestion = Suggestion::among(interface, known);
            let name = name.to_owned();
            return Err(Problem::UnknownName { what: "interface", name, suggestion }.at(value.at()));
        }
    }
    Ok(())
}
