//! The chat server: registries, conversations, mailboxes and relay.

pub mod cli;
pub mod close_code;
mod config;
pub mod core;
mod event_log;
mod shell;
pub mod store;

pub use config::{Config, EventLog, Limits, Rate, Storage, Timing};
pub use event_log::LogEntry;
pub use shell::{BindAllError, Server, StartError};
