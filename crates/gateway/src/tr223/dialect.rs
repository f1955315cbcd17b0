//! The two dialects: how the same answer is written in each.

use std::net::SocketAddr;

use super::wire::{BAR, MESSAGE_MAX, Message, Operation};
use crate::text::pieces;

/// The text on which every client of the first dialect ends.
const CLOSED: &str = "server closed";

/// How a client speaks, as far as it has been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Dialect {
    /// The first, and nothing that tells its age.
    #[default]
    First,
    /// The first with private messages, which came later.
    FirstPrivate,
    /// The first with lists of files.
    FirstFiles,
    /// The second: words with spaces.
    Second,
}

impl Dialect {
    /// What a message tells of its sender.
    pub(super) fn hear(&mut self, message: &Message<'_>) {
        let Some(operation) = message.operation() else { return };
        let (v1, v2) = operation.words();
        if v1 == v2 {
            if matches!(operation, Operation::Video(_)) {
                *self = Self::Second;
            }
            return;
        }
        *self = match operation {
            _ if message.word == v2 => Self::Second,
            Operation::PrivateMessage => Self::FirstPrivate,
            Operation::ListFiles => Self::FirstFiles,
            _ if *self == Self::Second => Self::First,
            _ => *self,
        };
    }

    pub(super) fn is_second(self) -> bool {
        self == Self::Second
    }

    /// Who the server is.
    pub(super) fn server(self) -> &'static str {
        if self.is_second() { "Server" } else { "server" }
    }

    /// The word of an operation.
    pub(super) fn word(self, operation: Operation) -> &'static str {
        let (v1, v2) = operation.words();
        if self.is_second() { v2 } else { v1 }
    }

    /// The destination of what goes to everyone.
    pub(super) fn everyone(self) -> &'static str {
        if self.is_second() { "broadcast" } else { "all clients" }
    }

    /// The operation under which a message to one is shown: clients of the first dialect that may
    /// not know private messages know this.
    pub(super) fn private(self) -> Operation {
        match self {
            Self::Second | Self::FirstPrivate => Operation::PrivateMessage,
            Self::First | Self::FirstFiles => Operation::BroadcastNotMe,
        }
    }

    /// The answer to what a client says it does not know.
    pub(super) fn unknown(self, typed: &str) -> String {
        match self {
            Self::FirstPrivate => "Operation not supported!".to_owned(),
            Self::First | Self::FirstFiles | Self::Second => {
                format!("Operation ({typed}) is not supported")
            }
        }
    }

    /// The word under which that answer goes.
    pub(super) fn unknown_word(self) -> &'static str {
        if self.is_second() { "unknown operation" } else { "Unknown_operation" }
    }

    pub(super) fn confirmation(self, name: &str, address: SocketAddr) -> String {
        let word =
            if self.is_second() { "connection confirmation" } else { "connection_confirmation" };
        let text = format!("You are now connected to the server in {}", tuple(address));
        message(self.server(), name, word, &text)
    }

    pub(super) fn taken(self, name: &str) -> String {
        match self.is_second() {
            true => {
                let text = format!(
                    "This username ({name}) is already taken.\nYou need to connect again and use \
                     another one"
                );
                message("server", name, "connection error", &text)
            }
            false => {
                let text =
                    "This username is already taken. You need to connect again and use another one";
                message("server", &format!("new_client: {name}"), "connection_error", text)
            }
        }
    }

    pub(super) fn refused(self, name: &str, reason: &str) -> String {
        let text = format!("{reason}. You need to connect again");
        match self.is_second() {
            true => message("server", name, "connection error", &text),
            false => message("server", &format!("new_client: {name}"), "connection_error", &text),
        }
    }

    pub(super) fn good_bye(self, name: &str) -> String {
        match self.is_second() {
            // As it was written.
            true => message("Server", name, "exit client", "You are existing the server"),
            false => message("server", name, "exit", "client disconnected"),
        }
    }

    /// On which clients end.
    pub(super) fn closed(self) -> String {
        message(self.server(), self.everyone(), "broadcast", CLOSED)
    }
}

/// One message.
pub(super) fn message(sender: &str, destination: &str, word: &str, data: &str) -> String {
    [sender, destination, word, data].join(BAR)
}

/// The messages that one text is for a client: each fits its buffer, and none is the order to end.
pub(super) fn messages(sender: &str, destination: &str, word: &str, text: &str) -> Vec<String> {
    let head = message(sender, destination, word, "");
    let room = MESSAGE_MAX.saturating_sub(head.len()).max(4);
    let write = |piece: &str| match piece == CLOSED {
        true => format!("{head}{piece}."),
        false => format!("{head}{piece}"),
    };
    pieces(text, usize::MAX, room).into_iter().map(write).collect()
}

/// The messages of a list, each as full as it may be; `before` stands before every one's entries.
pub(super) fn list(head: &str, before: &str, between: &str, entries: &[String]) -> Vec<String> {
    let start = || format!("{head}{before}");
    let mut messages = vec![start()];
    let mut is_first = true;
    for entry in entries {
        let room = messages.last().map_or(0, |last| MESSAGE_MAX.saturating_sub(last.len()));
        if !is_first && between.len() + entry.len() > room {
            messages.push(start());
            is_first = true;
        }
        if let Some(last) = messages.last_mut() {
            if !is_first {
                last.push_str(between);
            }
            last.push_str(entry);
        }
        is_first = false;
    }
    messages
}

/// What others wrote, so that no bar of theirs cuts it.
pub(super) fn without_bars(text: &str) -> String {
    text.replace(BAR, " ¦ ")
}

/// An address as the old programs print it.
pub(super) fn tuple(address: SocketAddr) -> String {
    format!("('{}', {})", address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::{Dialect, list, messages};
    use crate::tr223::wire::{MESSAGE_MAX, Message};

    fn hear(text: &str) -> Dialect {
        let mut dialect = Dialect::default();
        dialect.hear(&Message::parse(text).unwrap());
        dialect
    }

    #[test]
    fn dialects_are_told_by_their_words() {
        assert_eq!(hear("ana | server | list clients | "), Dialect::Second);
        assert_eq!(hear("ana | server | list_clients | no data"), Dialect::First);
        assert_eq!(hear("ana | server | Unknown operation | x"), Dialect::First);
        assert_eq!(hear("ana | server | unknown operation | x"), Dialect::Second);
        assert_eq!(hear("ana | bia | private_message | x"), Dialect::FirstPrivate);
        assert_eq!(hear("ana | bia | list_files | no data"), Dialect::FirstFiles);
        assert_eq!(hear("ana | ana | echo | x"), Dialect::First);
    }

    #[test]
    fn long_texts_are_parted_and_nobody_can_order_the_end() {
        let parts = messages("ana", "all clients", "broadcast", &"é".repeat(1_000));
        assert!(parts.iter().all(|part| part.len() <= MESSAGE_MAX));
        assert_eq!(parts.len(), 3);
        let parts = messages("ana", "all clients", "broadcast", "server closed");
        assert_eq!(parts, ["ana | all clients | broadcast | server closed."]);
    }

    #[test]
    fn long_lists_are_several_messages() {
        let names: Vec<String> = (0..300).map(|number| format!("client{number}")).collect();
        let parts = list("server | ana | list_clients | ", "clients connected: ", " ,", &names);
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= MESSAGE_MAX));
        let all: Vec<&str> =
            parts.iter().flat_map(|part| part.split_once(": ").unwrap().1.split(" ,")).collect();
        assert_eq!(all, names);
    }
}
