//! What a running server counts for those who watch it, in Prometheus' text format.
//!
//! A [`Meter`] that is off counts nothing and costs a branch; one that is on costs a few relaxed
//! additions for each message. It is fed where everything passes: the hub shows it each input and
//! each effect, the store's thread each commit, tasks their bytes. What the core knows anyway is
//! asked when somebody looks. `docs/server.md` explains each metric; a test compares.

mod exposition;
mod families;
mod histogram;
mod meter;
mod process;

pub(crate) use meter::{ChannelCounts, Gauges, Meter, is_message};
