//! What clients of `upc` say. One message is one read, or one line where the client ends them.

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<'a> {
    /// `username: NAME`: who I am.
    Username(&'a str),
    /// `password: WORD`: for a name that has one.
    Password(&'a str),
    /// `connect: USER`: whom I want to talk with.
    Connect(&'a str),
    /// `::command`, with what stands behind it.
    Service(Service, &'a str),
    /// A `::command` that there is not.
    Unknown(&'a str),
    /// Words for the partner.
    Text(&'a str),
}

/// What the server does for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Who is there?
    Menu,
    /// Ends the conversation.
    End,
    /// Disconnects.
    Exit,
    /// Gives the name a password, or none.
    Password,
    /// Words for everyone.
    All,
    /// Which commands are there?
    Help,
}

/// The words of services; the first of each is the one that help tells.
const SERVICES: &[(&str, Service)] = &[
    ("menu", Service::Menu),
    ("end", Service::End),
    ("exit", Service::Exit),
    ("password", Service::Password),
    ("all", Service::All),
    ("help", Service::Help),
    ("list", Service::Menu),
    ("users", Service::Menu),
    ("quit", Service::Exit),
    ("disconnect", Service::Exit),
];

/// What help tells.
pub(super) const HELP: &str = "::menu, ::end, ::exit, ::password WORD, ::all TEXT, ::help; \
                               connect: USER, connect: #GROUP";

/// The messages in what one read gave: two that a client sends at once may come as one.
///
/// Only behind a name or a service, where nothing else can be meant; words are never cut.
#[must_use]
pub fn split(read: &str) -> Vec<&str> {
    let mut messages = Vec::new();
    let mut rest = read;
    while let Some(at) = next_message(rest) {
        let (message, after) = rest.split_at(at);
        messages.push(message);
        rest = after;
    }
    messages.push(rest);
    messages
}

/// Where the next message begins, behind one that cannot have such a thing in it.
fn next_message(text: &str) -> Option<usize> {
    let is_closed = match read(text) {
        Said::Username(_) | Said::Connect(_) | Said::Unknown(_) => true,
        Said::Service(Service::All | Service::Password, _) => false,
        Said::Service(..) => true,
        Said::Password(_) | Said::Text(_) => false,
    };
    let starts = ["username:", "password:", "connect:", "::"];
    let found = |start: &&str| text.get(2..).and_then(|rest| rest.find(start)).map(|at| at + 2);
    if is_closed { starts.iter().filter_map(found).min() } else { None }
}

/// Reads a message; any text is one.
#[must_use]
pub fn read(message: &str) -> Said<'_> {
    let after = |mark| message.strip_prefix(mark).map(str::trim);
    if let Some(name) = after("username:") {
        return Said::Username(name);
    }
    if let Some(word) = after("password:") {
        return Said::Password(word);
    }
    if let Some(name) = after("connect:") {
        return Said::Connect(name);
    }
    let Some(service) = after("::") else { return Said::Text(message) };
    let (word, rest) = service.split_once(char::is_whitespace).unwrap_or((service, ""));
    let word = word.to_ascii_lowercase();
    match SERVICES.iter().find(|(known, _)| *known == word) {
        Some((_, service)) => Said::Service(*service, rest.trim()),
        None => Said::Unknown(message),
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, Service, read};

    #[test]
    fn messages_that_come_as_one_are_told_apart_where_they_can_be() {
        for (read, messages) in [
            ("username: ana::menu", &["username: ana", "::menu"][..]),
            ("username:anaconnect: bia", &["username:ana", "connect: bia"]),
            ("::menu::end::exit", &["::menu", "::end", "::exit"]),
            ("username: ana", &["username: ana"]),
            ("::all std::end", &["::all std::end"]),
            ("std::end connect: me", &["std::end connect: me"]),
            ("password: a::b", &["password: a::b"]),
            ("::", &["::"]),
            ("", &[""]),
            ("::é::menu", &["::é", "::menu"]),
        ] {
            assert_eq!(super::split(read), messages, "{read}");
        }
    }

    #[test]
    fn messages_are_read_with_and_without_the_space() {
        for (message, said) in [
            ("username: ana", Said::Username("ana")),
            ("username:ana", Said::Username("ana")),
            ("username:", Said::Username("")),
            ("password: s3cret", Said::Password("s3cret")),
            ("connect: bia", Said::Connect("bia")),
            ("::menu", Said::Service(Service::Menu, "")),
            ("::EXIT ", Said::Service(Service::Exit, "")),
            ("::all  good morning", Said::Service(Service::All, "good morning")),
            ("::dance", Said::Unknown("::dance")),
            ("::", Said::Unknown("::")),
            ("hello: you", Said::Text("hello: you")),
            (" username: ana", Said::Text(" username: ana")),
        ] {
            assert_eq!(read(message), said, "{message}");
        }
    }
}
