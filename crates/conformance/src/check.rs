//! One promise.

use std::{fmt, time::Duration};

use crate::{BoxFuture, Harness};

/// One promise of the traits, and how to see whether it is kept.
#[derive(Clone, Copy)]
pub struct Check {
    /// The promise as a sentence.
    pub name: &'static str,
    /// Which wires it can be checked on.
    pub wire: Wire,
    /// Whether it runs by default.
    pub weight: Weight,
    /// Checks it; a broken promise is a panic.
    pub run: fn(Harness) -> BoxFuture<'static, ()>,
}

/// What a check needs of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Anything.
    Any,
    /// Every datagram arrives.
    Lossless,
    /// It can go dark: [`Harness::dark`] is there.
    Breakable,
}

/// What a check costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Runs by default.
    Normal,
    /// Runs when the environment has `PORTOLAN_HEAVY=1`.
    Heavy,
}

impl Check {
    /// Far above what any check takes on a busy machine.
    pub(crate) fn patience(&self) -> Duration {
        match self.weight {
            Weight::Normal => Duration::from_secs(90),
            Weight::Heavy => Duration::from_secs(900),
        }
    }

    /// Whether the promise can be checked with `harness`.
    #[must_use]
    pub fn applies(&self, harness: &Harness) -> bool {
        match self.wire {
            Wire::Any => true,
            Wire::Lossless => harness.is_lossless(),
            Wire::Breakable => harness.dark.is_some(),
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
