//! Names of users.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use crate::Limits;

/// Names that would be mistaken for an order or for the server itself.
const RESERVED: &[&str] = &["all", "others", "server", "admin", "everyone", "nobody"];

/// A user's name that keeps the rules: 1 to 32 letters, digits, `-`, `_` and `.`, a letter or
/// digit first, none of the reserved words.
///
/// Kept as typed, in composed form (NFC); [`Name::key`] is what two names are compared by.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks the rules.
    ///
    /// # Errors
    /// [`NameError`] says which rule is broken and how to mend it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        // Counted up to the bound only: a name may be as long as a frame.
        let limit = Limits::V1.name as usize;
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.chars().take(4 * limit + 1).count() > 4 * limit {
            return Err(NameError::TooLong);
        }
        // Most names are ASCII, and composed as they are.
        let composed = match text.is_ascii() {
            true => text.to_owned(),
            false => text.nfc().collect(),
        };
        let text = composed.as_str();
        if text.chars().count() > limit {
            return Err(NameError::TooLong);
        }
        if let Some(wrong) = text.chars().find(|c| !c.is_alphanumeric() && !"-_.".contains(*c)) {
            return Err(NameError::Character(wrong));
        }
        if !text.starts_with(char::is_alphanumeric) {
            return Err(NameError::First);
        }
        let name = Self(composed);
        if name.with_key(|key| RESERVED.contains(&key)) {
            return Err(NameError::Reserved(name.0));
        }
        Ok(name)
    }

    /// The name as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What names are compared by: neither case nor the way in which a letter is encoded
    /// distinguishes two people (compatibility forms and lower case, UAX #15 and UTR #36 §3.1).
    #[must_use]
    pub fn key(&self) -> String {
        if self.0.is_ascii() {
            return self.0.to_ascii_lowercase();
        }
        self.0.nfkc().collect::<String>().to_lowercase().nfkc().collect()
    }

    /// Shows the key to `look`, without allocating where the name is ASCII.
    fn with_key<T>(&self, look: impl FnOnce(&str) -> T) -> T {
        let mut lower = [0; Limits::V1.name as usize];
        let bytes = self.0.as_bytes();
        if let Some(lower) = lower.get_mut(..bytes.len()).filter(|_| bytes.is_ascii()) {
            lower.copy_from_slice(bytes);
            lower.make_ascii_lowercase();
            if let Ok(key) = std::str::from_utf8(lower) {
                return look(key);
            }
        }
        look(&self.key())
    }
}

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name cannot be empty; use 1 to 32 letters, digits, '-', '_' or '.'")]
    Empty,
    /// More than 32 characters.
    #[error("a name has at most 32 characters; choose a shorter one")]
    TooLong,
    /// A character that names cannot have.
    #[error("a name cannot have {0:?}; use letters, digits, '-', '_' or '.'")]
    Character(char),
    /// It starts with punctuation.
    #[error("a name starts with a letter or a digit")]
    First,
    /// A word with a meaning of its own.
    #[error("{0:?} is reserved; choose another name")]
    Reserved(String),
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.with_key(|key| other.with_key(|other| key == other))
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.with_key(|key| key.hash(state));
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.with_key(|key| other.with_key(|other| key.cmp(other)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, NameError};

    #[test]
    fn ordinary_names_are_taken_in_any_script() {
        for text in ["alice", "Bob-2", "a", "Łucja", "李雷", "x_y.z", &"n".repeat(32)] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn case_does_not_make_another_person() {
        assert_eq!(Name::new("Alice").unwrap(), Name::new("aLICE").unwrap());
    }

    #[test]
    fn the_way_a_letter_is_encoded_does_not_make_another_person() {
        for (one, other) in
            [("ﬁona", "Fiona"), ("ａｌｉｃｅ", "alice"), ("Ⅷ", "viii"), ("ſam", "SAM")]
        {
            assert_eq!(Name::new(one).unwrap(), Name::new(other).unwrap());
        }
        let composed = Name::new("Zo\u{eb}").unwrap();
        assert_eq!(composed.as_str(), "Zo\u{eb}");
        // A letter and a mark of its own: the mark alone is no letter.
        assert!(matches!(Name::new("Zoe\u{308}"), Ok(name) if name == composed));
    }

    #[test]
    fn every_broken_rule_is_named() {
        let rows: [(&str, NameError); 7] = [
            ("", NameError::Empty),
            (&"n".repeat(33), NameError::TooLong),
            (&"n".repeat(10_000), NameError::TooLong),
            ("a b", NameError::Character(' ')),
            ("a\u{7}", NameError::Character('\u{7}')),
            ("-a", NameError::First),
            ("ALL", NameError::Reserved("ALL".into())),
        ];
        for (text, error) in rows {
            assert_eq!(Name::new(text).unwrap_err(), error);
        }
    }
}
