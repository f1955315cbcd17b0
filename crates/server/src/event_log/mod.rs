//! The event log: who did what and when, one JSON object a line; never what was said.

mod entry;
mod output;
mod rfc3339;
mod sink;
#[cfg(test)]
mod tests;

pub use entry::LogEntry;
pub(crate) use output::Rotation;
pub(crate) use rfc3339::Rfc3339;
pub(crate) use sink::{EventSink, LogHealth};
