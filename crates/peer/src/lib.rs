//! The chat client: an asynchronous API, and the command line on top of it.
//!
//! ```text
//!   your program          cli (the `peer` binary)
//!          \                 /
//!           Peer, Events            requests in, news out
//!          /      |       \
//!     session   remote    files     the server; other peers; disks
//!          \      |       /
//!     protocol-io, transport, identity
//! ```
//!
//! [`Peer::connect`] logs in and gives a handle for requests and a stream of [`Event`]s. One task
//! owns the control stream and pairs requests with answers; another one above it makes a new
//! connection when that is lost, so that the handle and the events outlive it. What other peers ask
//! is served in the background. Files go from peer to peer, encrypted end to end, in a connection inside a stream
//! that the server relays; BLAKE3 is computed on both sides while the bytes flow, and compared.
//!
//! ```no_run
//! # use portolan_identity::{Expect, Identity};
//! # use portolan_peer::{Config, Event, Peer, Stack};
//! # use portolan_protocol::{Name, Recipient};
//! # async fn example(stack: Stack, server_key: portolan_protocol::PeerId)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let name = Name::new("alice")?;
//! let transport = stack.transport("udp").ok_or("no such transport")?;
//! let server = "127.0.0.1:7275".parse()?;
//! let config = Config::new(
//!     name, Identity::generate(), server, Expect::Id(server_key), transport, stack.tunnel,
//! );
//! let (alice, mut events) = Peer::connect(config).await?;
//! alice.send(Recipient::User(Name::new("bob")?), "hello").await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Message(message) = event {
//!         println!("{}: {}", message.from, message.text);
//!         break;
//!     }
//! }
//! alice.logout().await;
//! # Ok(())
//! # }
//! ```
//!
//! What this crate does not do: it names no concrete transport (the facade gives it a [`Stack`]),
//! it opens no direct path yet, and it never trusts a word of another peer:
//! names, paths and sizes are checked, and the key is pinned to what the directory, and memory,
//! say.
//!
//! | invariant | shown by |
//! |---|---|
//! | a message reaches the application once, and is confirmed only then | `session::inbox`, `tests/session.rs` |
//! | a message is sent once, and no change fails falsely, though connections break | `session::repeat`, `tests/session.rs` |
//! | who gets another address goes on from there, or comes back at once | `network`, `tests/roaming.rs` |
//! | who is lost comes back, in time that is random and bounded; who is sent away does not | `session::backoff`, `session::ending` |
//! | a file that is there has the right hash; of others only proven groups are kept | `tests/files.rs` |
//! | a transfer that breaks off goes on, and sends no group twice | `tests/resume.rs`, `tests/transports.rs` |
//! | what is there already is neither sent again nor refused | `tests/again.rs` |
//! | of several owners each sends a part; who lies is named and left out | `remote::pool`, `tests/owners.rs` |
//! | people hold, let go on and give up any transfer, and the other side is told | `files::transfers`, `tests/control.rs` |
//! | nobody sends more than the receiver's rules allow | `file_rules`, `files::quota`, `tests/rules.rs` |
//! | what is heard while it arrives is what the file holds, through breaks and seeks | `playback`, `tests/playing.rs` |
//! | both sides of a call agree on how it stands, whatever breaks | `calls::machine` |
//! | a call goes on over another connection | `tests/calls.rs` |
//! | who listens together hears the same within 50 ms | `calls::sound::together` |
//! | nothing outside the shared directory is named or opened | `files::share` |
//! | a user's key that changed is refused | `remote::known_peers`, `tests/files.rs` |
//! | a session goes on at another server, where servers come and go | `tests/hosts.rs` |
//! | people of a network without a server end up at one host, whatever happens | `lan::gathering` |
//! | every queue, task and session is bounded and ends with the handle | [`Limits`], `tests/session.rs` |
//!
//! Start with [`Peer`].

mod calls;
pub mod cli;
mod config;
mod dial;
mod error;
mod event;
mod file_rules;
mod files;
mod groups;
mod lan;
mod network;
mod path_rule;
mod peer;
mod playback;
mod remote;
mod session;
mod tree;

pub use calls::{
    AudioUpdate, CallDirection, CallError, CallId, CallMedia, CallPhase, CallQuality, CallRule,
    CallUpdate, CallWatch, Listening, ReceivedAudio, SentAudio, Stage, Switch,
};
pub use config::{
    Attempts, Backoff, Config, Existing, FileRule, Keep, Limits, NameScope, Place, ReceiptRule,
    Reconnect, RouterRule, Stack, Timing, Wanted, Way,
};
pub use error::{ConnectError, FileError, ReachError, RequestError, SessionEnd};
pub use event::{
    Direction, Event, Events, FilePhase, FileUpdate, PathInfo, Reconnected, Reconnecting, Stop,
    TransferId, Via, Warning,
};
pub use file_rules::{FileRules, RuleChanges};
pub use files::ShareError;
pub use lan::{FoundServer, Hosting, RunningHost, ServerSource};
pub use network::{Addresses, SystemAddresses};
pub use path_rule::PathRule;
pub use peer::{Dialed, Peer, ReceivedFile, SentFile};
pub use playback::RemoteAudio;
pub use remote::Familiarity;
pub use tree::{TreePhase, TreeSummary, TreeUpdate};

/// Program and version, for the other side's logs.
pub(crate) fn software() -> String {
    concat!("portolan-peer ", env!("CARGO_PKG_VERSION")).to_owned()
}
