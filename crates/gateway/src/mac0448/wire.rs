//! What clients of `mac0448` say, and what they are told. The order of keys is the original's.

use std::net::IpAddr;

use portolan_protocol::Timestamp;
use serde::{Deserialize, Serialize};

use super::json;

/// Bytes of a line, its end included; clients hang up on longer ones.
pub(super) const LINE_MAX: usize = 16_384;

/// A client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// First of all.
    Connect,
    /// Takes a name.
    Login(&'a str),
    /// Gives it back.
    Logout,
    /// Who is there?
    ListUsers,
    /// Asks a user for a chat.
    Chat(&'a str),
    /// Ends it.
    EndChat(&'a str),
    /// Disconnects.
    Quit,
    /// I am there.
    Heartbeat,
}

impl Request<'_> {
    /// The word that it begins with.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Login(_) => "LOGIN",
            Self::Logout => "LOGOUT",
            Self::ListUsers => "LIST_USERS",
            Self::Chat(_) => "REQUEST_CHAT",
            Self::EndChat(_) => "END_CHAT",
            Self::Quit => "QUIT",
            Self::Heartbeat => "HEARTBEAT",
        }
    }
}

/// Reads a request; `None`: an unknown word, or too few or too many behind it.
#[must_use]
pub fn read(line: &str) -> Option<Request<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (word, argument) = (words.next()?, words.next());
    let request = match (word, argument) {
        ("CONNECT", None) => Request::Connect,
        ("LOGIN", Some(name)) => Request::Login(name),
        ("LOGOUT", None) => Request::Logout,
        ("LIST_USERS", None) => Request::ListUsers,
        ("REQUEST_CHAT", Some(name)) => Request::Chat(name),
        ("END_CHAT", Some(name)) => Request::EndChat(name),
        ("QUIT", None) => Request::Quit,
        ("HEARTBEAT", None) => Request::Heartbeat,
        _ => return None,
    };
    words.next().is_none().then_some(request)
}

/// A client's reply to `CHAT_REQUESTED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The human wants to talk and listens on this port.
    Confirmed(u16),
    /// The human does not.
    Rejected,
}

#[derive(Debug, Deserialize)]
struct AnswerFields {
    #[serde(alias = "result:")]
    result: Option<String>,
    port: Option<u16>,
}

/// Reads a reply; anything but a confirmation with a port is a rejection, and what is no object
/// is no reply.
#[must_use]
pub fn read_answer(line: &str) -> Option<Answer> {
    if !is_reply(line) {
        return None;
    }
    let Ok(fields) = serde_json::from_str::<AnswerFields>(line) else {
        return Some(Answer::Rejected);
    };
    Some(match (fields.result.as_deref(), fields.port) {
        (Some("confirmed"), Some(port)) if port > 0 => Answer::Confirmed(port),
        (Some(_) | None, _) => Answer::Rejected,
    })
}

/// Whether a line is a reply and no request.
#[must_use]
pub fn is_reply(line: &str) -> bool {
    line.trim_start().starts_with('{')
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    CannotChatWithSelf,
    UserNotLoggedIn,
    UserNotAvailable,
}

impl Refusal {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CannotChatWithSelf => "CANNOT_CHAT_WITH_SELF",
            Self::UserNotLoggedIn => "USER_NOT_LOGGED_IN",
            Self::UserNotAvailable => "USER_NOT_AVAILABLE",
        }
    }
}

/// `{"state": …}`.
pub(super) fn state(state: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        state: &'a str,
    }
    json::line(&Reply { state })
}

/// The reply to a login.
pub(super) fn logged_in(name: &str, (host, port): (IpAddr, u16), at: Timestamp) -> Vec<u8> {
    #[derive(Serialize)]
    struct User<'a> {
        host: String,
        connected_at: String,
        name: &'a str,
        port: u16,
    }
    #[derive(Serialize)]
    struct Reply<'a> {
        state: &'a str,
        user: User<'a>,
    }
    let user = User { host: host.to_string(), connected_at: iso(at), name, port };
    json::line(&Reply { state: "logged_in", user })
}

/// A refusal in words.
pub(super) fn error(code: &str, message: &str, state: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        message: &'a str,
        state: &'a str,
        error: &'a str,
    }
    json::line(&Reply { message, state, error: code })
}

/// As many users as a line holds.
pub(super) fn users(all: &[(String, Timestamp)]) -> Vec<u8> {
    #[derive(Serialize)]
    struct User<'a> {
        connected_at: String,
        name: &'a str,
    }
    #[derive(Serialize)]
    struct Reply<'a> {
        #[serde(rename = "result:")]
        result: &'a str,
        state: &'a str,
        #[serde(rename = "users:")]
        users: Vec<User<'a>>,
    }
    let mut count = all.len();
    loop {
        let some = all.get(..count).unwrap_or_default();
        let users = some.iter().map(|(name, at)| User { connected_at: iso(*at), name }).collect();
        let line = json::line(&Reply { result: "ok", state: "logged_in", users });
        if line.len() <= LINE_MAX || count == 0 {
            return line;
        }
        // A share of them that fits for sure: each takes about as much room.
        count = (count * LINE_MAX / line.len()).min(count - 1);
    }
}

/// The other wants to talk, and listens there.
pub(super) fn confirmed(host: IpAddr, port: u16) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        host: String,
        #[serde(rename = "result:")]
        result: &'a str,
        port: u16,
        state: &'a str,
    }
    json::line(&Reply { host: host.to_string(), result: "confirmed", port, state: "chatting" })
}

/// The other does not want to talk.
pub(super) fn rejected() -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        state: &'a str,
        #[serde(rename = "result:")]
        result: &'a str,
    }
    json::line(&Reply { state: "logged_in", result: "rejected" })
}

/// As Python's `isoformat` writes it.
fn iso(at: Timestamp) -> String {
    let utc = at.utc();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}000",
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.milli
    )
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Timestamp;

    use super::{Answer, LINE_MAX, Request, read, read_answer, users};

    #[test]
    fn requests_have_a_word_and_as_many_arguments_as_they_need() {
        for (line, request) in [
            ("CONNECT", Some(Request::Connect)),
            ("LOGIN ana", Some(Request::Login("ana"))),
            ("REQUEST_CHAT bia", Some(Request::Chat("bia"))),
            ("HEARTBEAT", Some(Request::Heartbeat)),
            ("LOGIN", None),
            ("LOGIN a b", None),
            ("QUIT now", None),
            ("quit", None),
            ("FOO", None),
            ("", None),
        ] {
            assert_eq!(read(line), request, "{line}");
        }
    }

    #[test]
    fn replies_are_told_from_requests() {
        let confirmed = r#"{"result": "confirmed", "port": 55555, "state": "waiting_connection"}"#;
        assert_eq!(read_answer(confirmed), Some(Answer::Confirmed(55_555)));
        for rejected in [
            r#"{"result": "rejected", "state": "logged_in"}"#,
            r#"{"result": "confirmed"}"#,
            r#"{"result": "confirmed", "port": 0}"#,
            r#"{"result": "confirmed", "port": 99999}"#,
            "{",
        ] {
            assert_eq!(read_answer(rejected), Some(Answer::Rejected), "{rejected}");
        }
        assert_eq!(read_answer("LIST_USERS"), None);
    }

    #[test]
    fn a_list_is_as_long_as_a_line_may_be() {
        let user = |number: u32| (format!("user{number}"), Timestamp(1_700_000_000_000));
        let all: Vec<_> = (0..1_000).map(user).collect();
        let line = users(&all);
        assert!((15_000..=LINE_MAX).contains(&line.len()), "{}", line.len());
        assert_eq!(
            users(&[]),
            b"{\"result:\": \"ok\", \"state\": \"logged_in\", \"users:\": []}\r\n"
        );
    }
}
