//! What a client of a load says and hears, whatever the server understands.

mod mqtt;
mod portolan;

use bytes::BytesMut;

pub(crate) use mqtt::{Mqtt, Packet};
pub(crate) use portolan::{Portolan, request};

/// To whom a text is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One user; of MQTT: whoever listens to the topic.
    User(String),
    /// A group.
    Group(String),
    /// Everyone, the sender included.
    All,
    /// The server, which sends it back.
    Echo,
}

/// What a client has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The server answers for a text.
    Stored {
        /// Which.
        request: u64,
        /// To how many it goes; `None` where the server does not say.
        copies: Option<u64>,
    },
    /// The server does not take a text.
    Refused {
        /// Which.
        request: u64,
        /// Why.
        why: String,
    },
    /// A text has come.
    Text {
        /// By which it is confirmed.
        id: u64,
        /// Its head, as [`Stamp`](super::stamp::Stamp) reads it.
        text: Vec<u8>,
    },
    /// The server ends the connection.
    Closing(String),
    /// What does not matter here.
    Other,
}

/// What came cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("the server says what cannot be understood: {0}")]
pub(crate) struct Gibberish(pub(crate) String);

/// One protocol, as a machine without a socket.
pub(crate) trait Dialect: Send {
    /// Says a text; the answer will carry `request`, which is 1 to 65,535.
    fn say(&mut self, request: u16, to: &Target, text: &str, out: &mut BytesMut);

    /// Confirms texts that have come.
    fn confirm(&mut self, ids: &[u64], out: &mut BytesMut);

    /// Where bytes from the server are appended.
    fn input(&mut self) -> &mut BytesMut;

    /// Takes the next thing that was heard; `None`: more bytes are needed.
    fn hear(&mut self) -> Result<Option<Heard>, Gibberish>;
}
