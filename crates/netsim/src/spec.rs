//! A link as one line of text.

use std::str::FromStr;

use crate::{
    Profile, UnknownProfile,
    draft::{Direction, DuplexDraft, Fault, Misfit},
    suggest::Suggestion,
    topology::Duplex,
};

/// A link as one line of text: a [`Profile`]'s name, changes to one, or a link of its own.
///
/// `lossy-1`, `4g,loss=2%` or `delay=25ms,rate=100 Mbit/s,queue=100ms,loss=1%`. Whatever is not
/// said is as in the profile, or perfect: no delay, no limit, no loss, and packets of up to 1,500
/// bytes. `up.` and `down.` before a name mean one direction alone: `4g,up.rate=2Mbit`.
///
/// | name | meaning |
/// |---|---|
/// | `delay` | time of one way |
/// | `jitter`, `order` | up to so much more; whether packets stay in order (`kept`) or not (`free`) |
/// | `rate` | bits a second, or `unlimited` |
/// | `queue` | what waits for the rate: a time or bytes; 100 ms unless said; keeps its time under another rate |
/// | `discipline`, `target`, `interval` | `drop-tail` or `codel`, and CoDel's times |
/// | `ecn` | marks packets while more than this waits: a time, bytes, or `off` |
/// | `loss`, `burst` | share lost; mean length in packets, when it comes in bursts |
/// | `reorder`, `hold` | share held back, and for how long |
/// | `duplicate`, `corrupt` | shares |
/// | `mtu` | longest packet in bytes |
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSpec {
    /// The profile that it names.
    pub profile: Option<&'static Profile>,
    /// What it comes to.
    pub duplex: Duplex,
}

/// The longest text that is read.
const TEXT_MAX: usize = 1_024;

/// Why a text does not describe a link.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct SpecError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: SpecProblem,
}

/// What is wrong with a text that should describe a link.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpecProblem {
    /// There is no text.
    #[error(
        "the link is empty: name a profile such as \"4g\", or say what it does, such as \"delay=25ms,loss=1%\""
    )]
    Empty,
    /// There is too much text.
    #[error(
        "the link is {length} bytes long, more than {TEXT_MAX}: nothing that describes a link is"
    )]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The first word is not the name of a profile.
    #[error(transparent)]
    UnknownProfile(#[from] UnknownProfile),
    /// A word without a value.
    #[error(
        "\"{word}\" has no value: expected name=value, such as \"loss=1%\"; only the first word may be a profile"
    )]
    NoValue {
        /// Which.
        word: String,
    },
    /// Links have nothing of this name.
    #[error("links have no \"{key}\"{suggestion}")]
    UnknownKey {
        /// Which.
        key: String,
        /// What was perhaps meant.
        suggestion: Suggestion,
    },
    /// Not a value of this kind.
    #[error("\"{value}\" cannot be the {key} of a link: expected {expected}")]
    Value {
        /// Of what.
        key: String,
        /// Which.
        value: String,
        /// What can be there.
        expected: &'static str,
    },
    /// Something is said twice.
    #[error("\"{key}\" is said twice: leave out one")]
    Twice {
        /// What.
        key: String,
    },
    /// Things that do not fit together.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

impl SpecProblem {
    fn at(self, column: usize) -> SpecError {
        SpecError { column, problem: self }
    }

    /// What is wrong with something said about one parameter.
    pub(crate) fn of(fault: Fault, key: &str, value: &str) -> Self {
        let key = key.to_owned();
        match fault {
            Fault::UnknownKey(suggestion) => Self::UnknownKey { key, suggestion },
            Fault::Value(expected) => Self::Value { key, value: value.to_owned(), expected },
        }
    }
}

impl FromStr for LinkSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut profile = None;
        let duplex = read(text, |name| {
            profile = Some(Profile::find(name)?);
            Ok(profile.map(|profile| profile.duplex).unwrap_or_default())
        })?;
        Ok(Self { profile, duplex })
    }
}

/// Reads a link; `find` knows the profiles.
pub(crate) fn read(
    text: &str,
    find: impl FnOnce(&str) -> Result<Duplex, UnknownProfile>,
) -> Result<Duplex, SpecError> {
    if text.len() > TEXT_MAX {
        return Err(SpecProblem::TooLong { length: text.len() }.at(1));
    }
    if text.trim().is_empty() {
        return Err(SpecProblem::Empty.at(1));
    }
    let mut words = words(text).peekable();
    let named = words.next_if(|(_, word)| !word.contains('='));
    let mut draft = match named {
        Some((column, name)) => {
            let unknown = |unknown| SpecProblem::UnknownProfile(unknown).at(column);
            DuplexDraft::over(find(name).map_err(unknown)?)
        }
        None => DuplexDraft::new(),
    };
    let mut said: Vec<&str> = Vec::new();
    for (column, word) in words {
        let key = set(&mut draft, word).map_err(|problem| problem.at(column))?;
        if said.contains(&key) {
            return Err(SpecProblem::Twice { key: key.to_owned() }.at(column));
        }
        said.push(key);
    }
    draft.finish().map_err(|misfit| SpecProblem::Misfit(misfit).at(1))
}

/// Takes one `name=value`; gives the name.
fn set<'a>(draft: &mut DuplexDraft, word: &'a str) -> Result<&'a str, SpecProblem> {
    let Some((name, value)) = word.split_once('=') else {
        return Err(SpecProblem::NoValue { word: word.to_owned() });
    };
    let (name, value) = (name.trim_end(), value.trim());
    let (direction, key) = direction(name);
    draft.set(direction, key, value).map_err(|fault| SpecProblem::of(fault, key, value))?;
    Ok(name)
}

fn direction(name: &str) -> (Direction, &str) {
    match name.split_once('.') {
        Some(("up", key)) => (Direction::Up, key),
        Some(("down", key)) => (Direction::Down, key),
        Some(_) | None => (Direction::Both, name),
    }
}

/// The words between commas, each with its column.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut column = 1;
    text.split(',').map(move |word| {
        let blanks = word.chars().take_while(|letter| letter.is_whitespace()).count();
        let at = column + blanks;
        column += word.chars().count() + 1;
        (at, word.trim())
    })
}
