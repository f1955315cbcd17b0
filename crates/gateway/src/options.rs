//! What a gateway can be told, as words.

use std::collections::BTreeMap;

use thiserror::Error;

/// One thing that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionInfo {
    /// Its key.
    pub key: &'static str,
    /// What it does, and its values.
    pub about: &'static str,
}

/// What is set, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(pub BTreeMap<String, String>);

/// A wrong option.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// There is none of that name.
    #[error("no option {key:?}; there are {known}")]
    Unknown {
        /// Which was asked for.
        key: String,
        /// What there is.
        known: String,
    },
    /// It cannot have that value.
    #[error("{key}: expected {expected}, not {value:?}")]
    Value {
        /// Which.
        key: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Options {
    /// Whether every key is one of these.
    ///
    /// # Errors
    /// [`OptionsError::Unknown`] names the first that is not.
    pub fn check(&self, known: &[OptionInfo]) -> Result<(), OptionsError> {
        match self.0.keys().find(|key| known.iter().all(|info| info.key != key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let known: Vec<&str> = known.iter().map(|info| info.key).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(OptionsError::Unknown { key: key.clone(), known })
            }
        }
    }

    /// The words of a list with `+` between them.
    pub(crate) fn words(&self, key: &str) -> Vec<String> {
        let text = self.0.get(key).map(String::as_str).unwrap_or_default();
        let words = text.split('+').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{OptionInfo, Options};

    #[test]
    fn an_unknown_key_is_answered_with_those_that_there_are() {
        let known = [OptionInfo { key: "admin", about: "" }];
        let options = |key: &str| Options([(key.to_owned(), "x+y".to_owned())].into());
        assert_eq!(options("admin").check(&known), Ok(()));
        assert_eq!(options("admin").words("admin"), ["x", "y"]);
        let error = options("colour").check(&known).unwrap_err().to_string();
        assert_eq!(error, "no option \"colour\"; there are admin");
        assert!(options("colour").check(&[]).unwrap_err().to_string().ends_with("are none"));
    }
}
