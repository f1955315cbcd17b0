//! What a gateway is: a row of the table, what its connections share, and one bridge a connection.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_peer_id::PeerId;
use portolan_protocol::{Command, ErrorBody, Event, LoggedIn, Name, Password, Reply, Timestamp};

use crate::options::{OptionInfo, Options, OptionsError};

/// The time of an input, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For people.
    pub wall: Timestamp,
}

/// A row of the table of gateways.
pub trait Gateway: Send + Sync + fmt::Debug {
    /// Its name: on the command line, in `list` and in metrics.
    fn name(&self) -> &'static str;

    /// Whose clients it serves, in a few words.
    fn about(&self) -> &'static str;

    /// The port that its clients know.
    fn port(&self) -> u16;

    /// What it listens with.
    fn lanes(&self) -> &'static [Lane];

    /// What can be set.
    fn options(&self) -> &'static [OptionInfo] {
        &[]
    }

    /// Makes what its connections share.
    ///
    /// # Errors
    /// [`OptionsError`] when an option has a value that it cannot have.
    fn open(&self, options: &Options) -> Result<Arc<dyn Service>, OptionsError>;
}

/// One way on which clients come, with a registry of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// What carries it.
    pub carrier: Carrier,
    /// The registry of its users: their badge.
    pub registry: &'static str,
}

/// What carries a gateway's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A connection a client.
    Tcp,
    /// An address a client; each datagram is given to the bridge as one piece.
    Udp,
}

/// A gateway that runs: what its connections share.
pub trait Service: Send + Sync {
    /// The least time between two writes; nothing: they may follow at once.
    ///
    /// For clients without framing, which take one read for one message.
    fn pacing(&self) -> Duration {
        Duration::ZERO
    }

    /// How long a client may be silent before it has entered.
    fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }

    /// A client has come.
    fn accept(&self, visitor: Visitor) -> Box<dyn Bridge>;
}

/// Who has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor {
    /// From where.
    pub address: SocketAddr,
    /// By which of the gateway's lanes: its index.
    pub lane: usize,
    /// Chance, for ids.
    pub seed: u64,
    /// The server's key: the ids of old programs' users follow from it.
    pub server: PeerId,
}

/// One client's side of a gateway.
///
/// One input, then [`Self::poll_action`] to `None`, then [`Self::poll_timeout`].
pub trait Bridge: Send {
    /// The connection stands.
    fn handle_connected(&mut self, now: Now);

    /// The client has said something: one read, or one datagram.
    fn handle_bytes(&mut self, now: Now, bytes: &[u8]);

    /// The server has answered an [`Action::Enter`].
    fn handle_entered(&mut self, now: Now, outcome: Result<LoggedIn, Refused>);

    /// The server has answered an [`Action::Ask`].
    fn handle_answer(&mut self, now: Now, ticket: Ticket, answer: Result<Reply, ErrorBody>);

    /// The server has news.
    fn handle_event(&mut self, now: Now, event: Event);

    /// Another client of this gateway has left a note.
    fn handle_note(&mut self, now: Now, from: &Name, bytes: &[u8]) {
        let _ = (now, from, bytes);
    }

    /// The one for whom a note was is not a client of this gateway now.
    fn handle_note_missed(&mut self, now: Now, to: &Name, bytes: &[u8]) {
        let _ = (now, to, bytes);
    }

    /// A port that was asked for is open, and there the client reaches it; or it cannot be.
    fn handle_door(&mut self, now: Now, door: Door, opened: Result<SocketAddr, String>) {
        let _ = (now, door, opened);
    }

    /// There is news of a connection beside the client's own.
    fn handle_call(&mut self, now: Now, call: Call, news: CallNews<'_>) {
        let _ = (now, call, news);
    }

    /// A deadline has passed.
    fn handle_timeout(&mut self, now: Now);

    /// It is over: a farewell may still be written.
    fn handle_end(&mut self, now: Now, end: &End);

    /// Whether more may be read: not while much that was read is still to be done.
    fn wants_input(&self) -> bool {
        true
    }

    /// Whether everything that was read is done.
    fn is_idle(&self) -> bool;

    /// What is to be done next.
    fn poll_action(&mut self) -> Option<Action>;

    /// When [`Self::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Pairs an answer with what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A port of ours for the client of one bridge alone; it chooses the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door(pub u32);

/// A connection beside the client's own, to or from the client's machine. The bridge chooses the
/// number of those that it makes, below [`Self::CAME`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(pub u32);

impl Call {
    /// The first number of those that have come to a door.
    pub const CAME: u32 = 1 << 31;
}

/// What becomes of a [`Call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallNews<'a> {
    /// The client has come to this door.
    Came(Door),
    /// It stands, as was asked for.
    Connected,
    /// This was read.
    Said(&'a [u8]),
    /// It is over, or could not be made.
    Ended,
}

/// What a bridge wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write to the client, as one piece.
    Write(Vec<u8>),
    /// Begin a session with the server; one that there is ends.
    Enter(Entry),
    /// Ask the server; refused without a session.
    Ask(Ticket, Command),
    /// End the session, and not the connection.
    Leave,
    /// Give these bytes to a client of this gateway.
    Note {
        /// To whom.
        to: Name,
        /// What.
        bytes: Vec<u8>,
    },
    /// Open a port to which the client's machine alone may connect.
    OpenDoor(Door),
    /// Close it.
    CloseDoor(Door),
    /// Connect to the client's machine.
    Dial {
        /// Under this number.
        call: Call,
        /// There.
        to: SocketAddr,
    },
    /// Write on a call, as one piece.
    Say {
        /// Which.
        call: Call,
        /// What.
        bytes: Vec<u8>,
    },
    /// End a call, after what is to be written on it.
    HangUp(Call),
    /// Nothing more is to be done: close when the client has, or after this time.
    Finish(Duration),
    /// Say farewell to every client of this gateway, and take no more.
    CloseGateway,
}

/// Under which name a client enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Name,
    /// What if a client has it already.
    pub duplicates: Duplicates,
    /// A password, where the old program has one.
    pub password: Option<Password>,
}

/// What if the name is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// The new client is refused.
    Refuse,
    /// The older connection is ended.
    Replace,
}

/// Why a client may not enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Another client of a gateway has the name now.
    InUse,
    /// The server has refused the login.
    Server(ErrorBody),
}

impl Refused {
    /// Whether somebody else has the name.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        use portolan_protocol::ErrorCode;
        match self {
            Self::InUse => true,
            Self::Server(error) => {
                matches!(error.code, ErrorCode::NameTaken | ErrorCode::WrongPassword)
            }
        }
    }

    /// Words for people.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::InUse => "somebody has this name now",
            Self::Server(error) => &error.message,
        }
    }
}

/// Why it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server, or this gateway, closes.
    Closing,
    /// The session has ended: replaced, kicked, too slow.
    SessionOver(String),
    /// The client was silent for too long before it entered.
    Silent,
}
