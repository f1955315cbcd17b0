//! The codes with which the server closes connections and resets streams; `docs/server.md` lists
//! them.

use portolan_transport::{CloseCode, StreamCode};

/// Nobody logged in, or nothing was asked, in time.
pub const LOGIN_OVERDUE: CloseCode = CloseCode(16);
/// What came could not be followed any further.
pub const PROTOCOL: CloseCode = CloseCode(17);
/// Rules were broken too often.
pub const ABUSE: CloseCode = CloseCode(18);
/// The client did not read what was sent to it.
pub const TOO_SLOW: CloseCode = CloseCode(19);
/// The same key logged in elsewhere.
pub const REPLACED: CloseCode = CloseCode(20);
/// An admin ended the session.
pub const KICKED: CloseCode = CloseCode(21);
/// The server goes down.
pub const SHUTDOWN: CloseCode = CloseCode(22);
/// Nothing was heard in time of a client in a conversation.
pub const SILENT: CloseCode = CloseCode(23);

/// A relay was idle for too long.
pub const RELAY_IDLE: StreamCode = StreamCode(16);
/// The other end of a relay is gone.
pub const RELAY_GONE: StreamCode = StreamCode(17);
/// What a pass has granted to a relay is used up.
pub const RELAY_SPENT: StreamCode = StreamCode(20);
/// The first frame of a stream was not an opening that is served.
pub const NO_OPENING: StreamCode = StreamCode(18);
