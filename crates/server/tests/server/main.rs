//! The server over a transport in memory: what clients see on the wire.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod admin;
mod bus;
mod client;
mod conversations;
mod hostile;
mod login;
mod messages;
mod metrics;
mod relay;
mod stored;
