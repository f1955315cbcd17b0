//! The id that answers: clients that know nothing but texts can ask it who is there.

/// The directory's id; no user gets it.
pub(super) const DIRECTORY: &str = "0999999999999";

/// What it can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// Who is there, with their ids?
    List,
    /// What id has this name?
    Id(String),
    /// Whose id is this?
    Who(String),
    /// Tell everyone else.
    All(String),
    /// What can you be asked?
    Help,
}

impl Question {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim().to_owned();
        match word.to_lowercase().as_str() {
            "list" => Self::List,
            "id" if !rest.is_empty() => Self::Id(rest),
            "who" if !rest.is_empty() => Self::Who(rest),
            "all" if !rest.is_empty() => Self::All(rest),
            _ => Self::Help,
        }
    }
}

/// What it can be asked, in words.
pub(super) const HELP: &str = "list: who is there; id NAME: the id of a name; who ID: the name of an id; all TEXT: to everyone";

#[cfg(test)]
mod tests {
    use super::Question;

    #[test]
    fn questions_are_words() {
        assert_eq!(Question::parse(" LIST "), Question::List);
        assert_eq!(Question::parse("id alice"), Question::Id("alice".into()));
        assert_eq!(Question::parse("who  0123"), Question::Who("0123".into()));
        assert_eq!(Question::parse("all good morning"), Question::All("good morning".into()));
        for unknown in ["", "id", "hello there"] {
            assert_eq!(Question::parse(unknown), Question::Help);
        }
    }
}
