//! What a line asks for.

use portolan_protocol::{Limits, Name, Recipient, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A line that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Comes back with the answer.
    pub id: Option<Value>,
    /// The word of the request, or what stood there.
    pub word: String,
    /// What is asked, or what is wrong with it.
    pub request: Result<Request, String>,
}

/// What can be asked; `docs/gateways.md` has the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of the messages")]
pub enum Request {
    /// Takes a name.
    Login { name: Name },
    /// Gives it back, and stays connected.
    Logout {},
    /// Who is there; with `all`, also known ones who are not.
    List {
        #[serde(default)]
        all: bool,
    },
    /// One user.
    Who { name: Name },
    /// A text to a name, a `#group`, `@all` or `@others`.
    Send { to: Target, text: String },
    /// The text comes back.
    Echo { text: String },
    /// Tells the senders that these were seen.
    Seen { ids: Vec<u64> },
    /// What was said with a user or in a group.
    History {
        with: Target,
        #[serde(default)]
        before: Option<u64>,
        #[serde(default)]
        limit: Option<u16>,
    },
    /// Asks a user for a conversation.
    Ask { name: Name },
    /// Accepts one.
    Accept { name: Name },
    /// Denies one.
    Deny {
        name: Name,
        #[serde(default)]
        reason: Option<String>,
    },
    /// Ends one.
    End { name: Name },
    /// Not at the keyboard.
    Away {
        #[serde(default)]
        text: String,
    },
    /// Here again.
    Back {},
    /// Our groups.
    Groups {},
    /// Who is in a group.
    Members { group: String },
    /// Makes a group.
    Create { group: String },
    /// Asks a user to join it.
    Invite { group: String, name: Name },
    /// Takes an invitation.
    Join { group: String },
    /// Leaves, or turns an invitation down.
    Leave { group: String },
    /// Puts a member out.
    Remove { group: String, name: Name },
    /// What there is.
    Help {},
    /// The end.
    Quit {},
}

/// To whom a text goes, as a word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Target(pub Recipient);

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let recipient = match text.as_str() {
            "@all" => Recipient::All,
            "@others" => Recipient::Others,
            word => match word.strip_prefix('#') {
                Some(group) => Recipient::Group(group.to_owned()),
                None => Recipient::User(Name::new(word).map_err(|error| error.to_string())?),
            },
        };
        Ok(Self(recipient))
    }
}

/// How a recipient is written.
#[must_use]
pub fn target_word(recipient: &Recipient) -> String {
    match recipient {
        Recipient::User(name) => name.to_string(),
        Recipient::Group(group) => format!("#{group}"),
        Recipient::All => "@all".to_owned(),
        Recipient::Others => "@others".to_owned(),
    }
}

/// Reads a line; an empty one asks for nothing.
#[must_use]
pub fn parse(text: &str) -> Option<Line> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let mut object: Map<String, Value> = match serde_json::from_str(text) {
        Ok(object) => object,
        Err(error) => {
            let why = format!(
                "expected a JSON object a line, like {{\"do\":\"login\",\"name\":\"ana\"}}: {error}"
            );
            return Some(Line { id: None, word: String::new(), request: Err(why) });
        }
    };
    let id = object.remove("id").filter(|id| id.is_number() || id.is_string());
    let word = object.get("do").and_then(Value::as_str).unwrap_or_default();
    let word: String = word.chars().take(Limits::V1.name as usize).collect();
    let request = serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string());
    Some(Line { id, word, request })
}

/// Milliseconds, as they stand in an answer; nothing where they are not known.
pub(super) fn millis(at: Timestamp) -> Option<u64> {
    (at.0 > 0).then_some(at.0)
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Name, Recipient};
    use serde_json::json;

    use super::{Request, Target, parse, target_word};

    #[test]
    fn requests_are_read_and_ids_kept() {
        let line = parse(r#" {"do":"send","to":"bob","text":"hi","id":7} "#).unwrap();
        let to = Target(Recipient::User(Name::new("bob").unwrap()));
        assert_eq!(line.id, Some(json!(7)));
        assert_eq!(line.word, "send");
        assert_eq!(line.request, Ok(Request::Send { to, text: "hi".into() }));
        assert_eq!(parse("  "), None);
        assert_eq!(parse(r#"{"do":"quit"}"#).unwrap().request, Ok(Request::Quit {}));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("hello", "expected a JSON object a line"),
            ("[]", "expected a JSON object a line"),
            ("{}", "missing field `do`"),
            (r#"{"do":"fly"}"#, "unknown variant `fly`, expected one of `login`"),
            (r#"{"do":"login"}"#, "missing field `name`"),
            (r#"{"do":"login","name":"a b"}"#, "a name cannot have ' '"),
            (r#"{"do":"send","to":"-","text":""}"#, "starts with a letter"),
            (r#"{"do":"echo","text":"x","colour":1}"#, "unknown field `colour`"),
        ] {
            let why = parse(text).unwrap().request.unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn recipients_are_words_both_ways() {
        for word in ["bob", "#team", "@all", "@others"] {
            let target = Target::try_from(word.to_owned()).unwrap();
            assert_eq!(target_word(&target.0), word);
        }
    }
}
