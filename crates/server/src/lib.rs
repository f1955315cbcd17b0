//! The chat server: registries, conversations, mailboxes and relay.
//!
//! ```text
//!   server (program) ── cli        arguments, configuration, questions to a running server
//!                         │
//!                       shell      binds, accepts, moves bytes, runs timers; one task a client
//!                      /     \
//!                  core       store     pure decisions            what outlives a session:
//!          handle(now, input) -> effects                          SQLite, or memory
//! ```
//!
//! A program starts a [`Server`] with a table of transports; the server binds all of them to one
//! port and names none. [`core::Core`] decides everything: it takes one input at a time and
//! returns the effects, in order, for the shell to carry out. Whatever must outlive a crash goes
//! to a [`store::Store`] as an operation, and is answered only when its outcome has come back,
//! which is after the commit.
//!
//! **Places for more.** What must be kept is behind [`store::Store`], where everybody is and was
//! last seen behind [`presence::Presence`], and everything that goes to a session behind
//! [`bus::Bus`]. A server on several machines replaces these three and nothing else
//! (`docs/adr/0020`). Who is online here is known to `core::directory` alone.
//!
//! What this crate does not do: it knows no concrete transport, does not understand what a relay
//! carries, and never looks into a message's text. Candidates it passes on as they are, between two
//! whom it has introduced, with its own word as from where it sees who sends them.
//!
//! | invariant | shown by |
//! |---|---|
//! | what was answered `stored` is delivered, in order, once to the application | `tests/simulation`, `core::tests::model`, `store::tests` |
//! | receipts are true, and busy is who talks | `tests/simulation`, `core::tests::model` |
//! | each request gets exactly one answer | `core::tests::world` asserts it throughout |
//! | both stores, both kinds of presence and both buses behave alike | `over_both` in `store::tests`, `presence::tests`, `bus::tests`; `tests/server/bus.rs` |
//! | a slow receiver stops its sender within a stated bound | `tests/server/relay.rs` |
//! | a client that does not read costs others nothing | `tests/server/messages.rs`, `hostile.rs` |
//! | bad input costs its sender at most the connection | `tests/server/hostile.rs` |
//! | one key or one address can do only so much to others | `core::tests::abuse` |
//!
//! Start with [`core::Core`], then `shell::session`. `docs/server.md` is for those who run it.

pub mod bus;
pub mod cli;
pub mod close_code;
mod config;
pub mod core;
mod event_log;
mod metrics;
pub mod presence;
mod shell;
pub mod store;

pub use config::{
    BusKind, Config, EventLog, GatewayConfig, Limits, PasswordCost, Rate, RegistryConfig,
    RegistryConfigs, RelayServer, Relaying, Right, Rights, Storage, Timing,
};
pub use event_log::LogEntry;
pub use shell::{BindAllError, Server, StartError};
