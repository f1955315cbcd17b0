//! The nearest known word to a wrong one.

use std::fmt;

/// A word that was perhaps meant. Displays as the end of a sentence, empty when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suggestion(Option<String>);

impl Suggestion {
    /// The nearest of the known words, if one is near.
    pub(crate) fn among<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        if wrong.len() > WORD_MAX {
            return Self(None);
        }
        let lower = wrong.to_lowercase();
        let far = 1 + lower.chars().count() / 3;
        let nearest = known
            .into_iter()
            .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word))
            .filter(|(distance, _)| *distance <= far)
            .min_by_key(|(distance, _)| *distance);
        Self(nearest.map(|(_, word)| word.to_owned()))
    }

    /// The word.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(formatter, "; did you mean \"{word}\"?"),
            None => Ok(()),
        }
    }
}

/// Longer words are not compared: it takes time in the product of the lengths.
const WORD_MAX: usize = 64;
