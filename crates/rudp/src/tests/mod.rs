//! Two endpoints in virtual time, and what they must do for one another.

mod acknowledgements;
mod attacks;
mod deadlines;
mod endings;
mod handshake;
mod marks;
mod migration;
mod pair;
mod sizes;
mod streams;

mod watching;
mod windows;

use std::{sync::OnceLock, time::Instant};

use crate::integrity::Integrity;

/// The moment at which virtual time begins.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

pub(crate) fn integrity() -> Integrity {
    Integrity::new(&portolan_identity::provider()).expect("it has AES-256-GCM")
}
