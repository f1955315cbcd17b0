//! The shipped programs on hosts of an emulated world, driven as a script drives them: lines in,
//! JSON events out.
//!
//! ```text
//!   Programs ── server, peer: where they are ── Actor::start ──▶ a process on a host
//!                                                 say("/files bob") ──▶ its standard input
//!            until("an answer", patience, pick) ◄── its events, each with the time it came
//! ```
//!
//! Nothing of a person's own settings reaches them: they have an empty environment, and their home
//! is a directory that goes with the run.

mod actor;
mod crew;
mod programs;
mod transport;
mod worlds;

pub(crate) use self::{
    actor::{Actor, Heard, Signal},
    crew::{CastError, Crew, Roles},
    programs::{Keeps, NoPrograms, PORT, Programs},
    transport::{TRANSPORTS, Transport},
    worlds::{NoWorlds, in_worlds, side_by_side},
};
