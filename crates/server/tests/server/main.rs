//! The server over a transport in memory: what clients see on the wire.

mod admin;
mod client;
mod conversations;
mod hostile;
mod login;
mod messages;
mod relay;
mod stored;
