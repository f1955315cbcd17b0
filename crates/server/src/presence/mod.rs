//! Who is where, and when everybody was last seen.
//!
//! The core knows who is logged in here and reports it as [`Sighting`]s; a [`Presence`] remembers
//! them beyond the process, and is where several servers would meet. Unlike a
//! [`Store`](crate::store::Store) it promises nothing: what it is told may be late, and a crash may
//! lose the last minute. Two exist, and one suite of tests runs over both.

mod memory;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use portolan_identity::PeerId;
use portolan_protocol::{Name, Timestamp};
use thiserror::Error;

pub use memory::MemoryPresence;
pub use sqlite::SqlitePresence;

/// Where a user is, or that the user has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Who. Names, unlike numbers, mean the same to every server and after every restoration.
    pub name: Name,
    /// Where; nothing: no longer there.
    pub place: Option<Place>,
    /// When that was seen.
    pub at: Timestamp,
}

/// Where a user is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// With which server, by its key.
    pub server: PeerId,
    /// Over which transport.
    pub transport: String,
    /// Since when.
    pub since: Timestamp,
}

/// Remembers who is where. The seam behind which presence can be shared between servers.
pub trait Presence: Send {
    /// The last sighting of everybody, in order of name, as a server that starts at `server` finds
    /// them. Whoever was with it when it died is no longer there, and was last seen when it was last
    /// known to be alive.
    ///
    /// # Errors
    /// [`PresenceError`] when it cannot be read.
    fn recall(&mut self, server: PeerId) -> Result<Vec<Sighting>, PresenceError>;

    /// Notes sightings, at most one of each user, and that `server` is alive at `now`.
    ///
    /// # Errors
    /// [`PresenceError`]; then none of them is noted.
    fn note(
        &mut self,
        server: PeerId,
        now: Timestamp,
        sightings: &[Sighting],
    ) -> Result<(), PresenceError>;
}

/// Why presence cannot be kept.
#[derive(Debug, Error)]
#[error(
    "cannot {during} {}; it only remembers when users were last seen: if it is damaged, move it \
     away and start again",
    .path.display()
)]
pub struct PresenceError {
    /// What was attempted.
    pub during: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The engine's word.
    pub source: rusqlite::Error,
}
