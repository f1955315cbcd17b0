//! TOML values that know where they stand and what was expected of them.

use std::{borrow::Cow, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{Problem, Reading};
use crate::{Suggestion, units};

/// A table, from which keys are taken one by one; what is left in the end is a mistake.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// What it is, for messages: "a host".
    place: &'static str,
    entries: &'a DeTable<'a>,
    pub(super) at: usize,
    asked: Vec<&'static str>,
}

/// A value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a>(&'a Spanned<DeValue<'a>>);

/// An entry whose key is a name that the file chose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    /// Where the name stands.
    pub(super) at: usize,
    pub(super) value: Value<'a>,
}

impl<'a> Table<'a> {
    pub(super) const fn new(place: &'static str, entries: &'a DeTable<'a>, at: usize) -> Self {
        Self { place, entries, at, asked: Vec::new() }
    }

    /// The value of this key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|(name, _)| name.get_ref() == key);
        entry.map(|(_, value)| Value(value))
    }

    /// The value of this key, which must be there.
    pub(super) fn need(&mut self, key: &'static str) -> Reading<Value<'a>> {
        let missing = Problem::Missing { key, place: self.place }.at(self.at);
        self.take(key).ok_or(missing)
    }

    /// Every entry, in the order of the file.
    pub(super) fn named(&self) -> Vec<Named<'a>> {
        let entries = self.entries.iter();
        let mut named: Vec<_> = entries
            .map(|(name, value)| Named {
                name: name.get_ref(),
                at: name.span().start,
                value: Value(value),
            })
            .collect();
        named.sort_by_key(|entry| entry.at);
        named
    }

    /// Refuses what nobody has asked for.
    pub(super) fn finish(self) -> Reading<()> {
        let is_asked = |entry: &Named<'_>| self.asked.contains(&entry.name);
        match self.named().into_iter().find(|entry| !is_asked(entry)) {
            None => Ok(()),
            Some(entry) => Err(Problem::UnknownKey {
                key: entry.name.to_owned(),
                place: self.place,
                suggestion: Suggestion::among(entry.name, self.asked.iter().copied()),
                known: self.asked,
            }
            .at(entry.at)),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn at(self) -> usize {
        self.0.span().start
    }

    pub(super) fn table(self, place: &'static str) -> Reading<Table<'a>> {
        match self.0.get_ref() {
            DeValue::Table(entries) => Ok(Table::new(place, entries, self.at())),
            _ => self.refuse("a table"),
        }
    }

    /// Whether it is a table, as opposed to a shorthand for one.
    pub(super) fn is_table(self) -> bool {
        self.0.get_ref().is_table()
    }

    pub(super) fn text(self) -> Reading<&'a str> {
        match self.0.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => self.refuse("a text in quotes"),
        }
    }

    /// The text of a text or a number.
    pub(super) fn as_written(self) -> Reading<Cow<'a, str>> {
        match self.0.get_ref() {
            DeValue::String(text) => Ok(Cow::Borrowed(text)),
            DeValue::Integer(number) => Ok(Cow::Owned(number.to_string())),
            DeValue::Float(number) => Ok(Cow::Owned(number.to_string())),
            _ => self.refuse("a text in quotes or a number"),
        }
    }

    /// The values of an array, or the one that stands alone.
    pub(super) fn list(self) -> Vec<Self> {
        match self.0.get_ref() {
            DeValue::Array(values) => values.iter().map(Value).collect(),
            _ => vec![self],
        }
    }

    pub(super) fn is_list(self) -> bool {
        self.0.get_ref().is_array()
    }

    pub(super) fn flag(self) -> Reading<bool> {
        match self.0.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => self.refuse("true or false"),
        }
    }

    /// A whole number that fits the type.
    pub(super) fn number<T: TryFrom<u64>>(self, expected: &str) -> Reading<T> {
        let number = match self.0.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Ok(number),
            None => self.refuse(expected),
        }
    }

    pub(super) fn time(self) -> Reading<Duration> {
        match self.0.get_ref() {
            DeValue::String(text) => match units::time(text) {
                Some(time) => Ok(time),
                None => self.refuse(TIME),
            },
            _ => self.refuse(TIME),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(self, choices: &[(&str, T)]) -> Reading<T> {
        let text = self.text()?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*choice);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        Err(Problem::Value {
            expected: format!("one of {}", words.join(", ")),
            found: self.found(),
            suggestion: Suggestion::among(text, words),
        }
        .at(self.at()))
    }

    /// Fails with what was expected instead.
    pub(super) fn refuse<T>(self, expected: &str) -> Reading<T> {
        let expected = expected.to_owned();
        let suggestion = Suggestion::default();
        Err(Problem::Value { expected, found: self.found(), suggestion }.at(self.at()))
    }

    fn found(self) -> String {
        match self.0.get_ref() {
            DeValue::String(text) => format!("\"{}\"", shortened(text)),
            DeValue::Integer(number) => shortened(&number.to_string()).into_owned(),
            DeValue::Float(number) => shortened(&number.to_string()).into_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

const TIME: &str = "a time of at most a day, such as \"25ms\" or \"1.5s\"";
/// Characters of a wrong value that a message repeats.
const FOUND_MAX: usize = 60;

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(FOUND_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
