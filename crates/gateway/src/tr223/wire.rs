//! Messages of four fields, which nothing ends: one read is one message, or several that grew
//! together on the way.

/// What stands between fields.
pub(crate) const BAR: &str = " | ";

/// What the clients read at once: one message must fit.
pub(crate) const MESSAGE_MAX: usize = 1_024;

/// Characters of a destination, at most, where messages are parted.
const DESTINATION_MAX: usize = 64;

/// A message as its sender wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who says that it sends it.
    pub sender: &'a str,
    /// To whom.
    pub destination: &'a str,
    /// The word of what is to be done.
    pub word: &'a str,
    /// The rest, with whatever bars there are in it.
    pub data: &'a str,
}

impl<'a> Message<'a> {
    /// Reads the fields; `None`: there are fewer than three.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.splitn(4, BAR);
        let (sender, destination, word) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { sender, destination, word, data: fields.next().unwrap_or_default() })
    }

    /// The fourth field alone, as the old server read it.
    #[must_use]
    pub fn field(&self) -> &'a str {
        self.data.split(BAR).next().unwrap_or_default()
    }

    /// What is asked for.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        Operation::ALL.iter().copied().find(|operation| {
            let (v1, v2) = operation.words();
            self.word == v1 || self.word == v2
        })
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Here is my name.
    Name,
    /// Say it back.
    Echo,
    /// Who is there?
    ListClients,
    /// What files has that one? (first dialect)
    ListFiles,
    /// To one.
    PrivateMessage,
    /// To everyone.
    Broadcast,
    /// To everyone else.
    BroadcastNotMe,
    /// The user typed something that the client does not know.
    Unknown,
    /// Good bye.
    Exit,
    /// Close the server.
    CloseServer,
    /// Negotiation of a video call, which goes from client to client. (second dialect)
    Video(VideoStep),
}

/// Steps of the negotiation of a video call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoStep {
    /// Asked for, or accepted.
    Conference,
    /// Where are you?
    RequestAddress,
    /// There.
    SendAddress,
    /// Ready.
    Available,
}

impl Operation {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Name,
        Self::Echo,
        Self::ListClients,
        Self::ListFiles,
        Self::PrivateMessage,
        Self::Broadcast,
        Self::BroadcastNotMe,
        Self::Unknown,
        Self::Exit,
        Self::CloseServer,
        Self::Video(VideoStep::Conference),
        Self::Video(VideoStep::RequestAddress),
        Self::Video(VideoStep::SendAddress),
        Self::Video(VideoStep::Available),
    ];

    /// Its word in the first and in the second dialect.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("name", "name"),
            Self::Echo => ("echo", "echo"),
            Self::ListClients => ("list_clients", "list clients"),
            Self::ListFiles => ("list_files", "list files"),
            Self::PrivateMessage => ("private_message", "private message"),
            Self::Broadcast => ("broadcast", "broadcast"),
            Self::BroadcastNotMe => ("broadcast_not_me", "broadcast not me"),
            Self::Unknown => ("Unknown operation", "unknown operation"),
            Self::Exit => ("exit", "exit client"),
            Self::CloseServer => ("close_server", "close server"),
            Self::Video(VideoStep::Conference) => ("video conference", "video conference"),
            Self::Video(VideoStep::RequestAddress) => ("request address", "request address"),
            Self::Video(VideoStep::SendAddress) => ("send address", "send address"),
            Self::Video(VideoStep::Available) => ("client available", "client available"),
        }
    }

    /// Whether its fourth field says something, so that it may not be empty.
    const fn has_data(self) -> bool {
        match self {
            Self::Name
            | Self::Echo
            | Self::PrivateMessage
            | Self::Broadcast
            | Self::BroadcastNotMe
            | Self::Video(_) => true,
            Self::ListClients
            | Self::ListFiles
            | Self::Unknown
            | Self::Exit
            | Self::CloseServer => false,
        }
    }
}

/// Parts what came in one read into messages. A new one begins where the sender's own name stands
/// again before a destination and a known word, behind a message that is whole.
#[must_use]
pub fn part(text: &str) -> Vec<&str> {
    let Some((sender, _)) = text.split_once(BAR).filter(|(sender, _)| !sender.is_empty()) else {
        return vec![text];
    };
    let head = format!("{sender}{BAR}");
    let mut parts = Vec::new();
    let mut start = 0;
    let mut from = head.len();
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(&head)).map(|at| from + at) {
        let (before, after) = (text.get(start..at), text.get(at..));
        if before.is_some_and(is_whole) && after.is_some_and(is_head) {
            parts.extend(before);
            start = at;
        }
        from = at + head.len();
    }
    parts.extend(text.get(start..));
    parts
}

fn is_whole(text: &str) -> bool {
    let bars = text.matches(BAR).count();
    let message = Message::parse(text);
    bars >= 3
        && message.is_some_and(|message| {
            let has_data = message.operation().is_some_and(Operation::has_data);
            !message.data.is_empty() && !message.data.ends_with(BAR) || !has_data
        })
}

fn is_head(text: &str) -> bool {
    Message::parse(text).is_some_and(|message| {
        message.operation().is_some()
            && text.matches(BAR).take(3).count() == 3
            && message.destination.chars().count() <= DESTINATION_MAX
    })
}

#[cfg(test)]
mod tests {
    use super::{Message, Operation, part};

    #[test]
    fn fields_are_read_and_the_fourth_keeps_its_bars() {
        let message = Message::parse("ana | ana | echo | x | y").unwrap();
        assert_eq!((message.sender, message.destination), ("ana", "ana"));
        assert_eq!(message.operation(), Some(Operation::Echo));
        assert_eq!((message.data, message.field()), ("x | y", "x"));
        assert_eq!(Message::parse("ana |  | list_files | no data").unwrap().destination, "");
        assert_eq!(Message::parse("ana | server"), None);
        assert_eq!(Message::parse("ana | b | 4 | x").unwrap().operation(), None);
    }

    #[test]
    fn messages_that_grew_together_are_parted() {
        let rows: [(&str, &[&str]); 7] = [
            ("ana | server | name | ana", &["ana | server | name | ana"]),
            (
                "ana | server | name | anaana | server | name | ana",
                &["ana | server | name | ana", "ana | server | name | ana"],
            ),
            (
                "ana | server | list clients | ana | server | exit client | ",
                &["ana | server | list clients | ", "ana | server | exit client | "],
            ),
            (
                "ana | server | list_clients | no dataana | ana | echo | oiana | server | exit | x",
                &[
                    "ana | server | list_clients | no data",
                    "ana | ana | echo | oi",
                    "ana | server | exit | x",
                ],
            ),
            // What somebody writes about a message is no message.
            (
                "ana | ana | echo | ana | bia | echo | z",
                &["ana | ana | echo | ana | bia | echo | z"],
            ),
            ("ana | ana | echo | broadcast | x", &["ana | ana | echo | broadcast | x"]),
            ("nothing", &["nothing"]),
        ];
        for (text, expected) in rows {
            assert_eq!(part(text), expected);
        }
    }
}
