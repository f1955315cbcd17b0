//! The shell: it moves bytes, time and store operations in and out of the core.

mod bind;
mod channels;
mod clients;
pub(crate) mod clock;
mod elsewhere;
mod gateways;
mod hasher;
mod hub;
mod lobby;
mod monitor;
mod outbox;
mod relay;
mod server;
mod session;
mod sightings;

pub use bind::BindAllError;
pub(crate) use server::make_directory;
pub use server::{Server, StartError};
