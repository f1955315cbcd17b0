//! Whether what arrives is what was said: each once, in order.

use std::collections::HashMap;

use super::stamp::Stamp;

/// What one receiver has got so far.
///
/// Texts of one sender carry growing numbers, of which a receiver may be meant to get only some.
/// So a number that does not grow is a fault here, and one that never came is found by counting:
/// the server says how many copies there are of what it has stored.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    last: HashMap<u32, u32>,
}

/// A promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The same text again.
    #[error("text {number} of client {sender} came twice")]
    Twice {
        /// Whose.
        sender: u32,
        /// Which.
        number: u32,
    },
    /// An older text behind a newer one.
    #[error("text {number} of client {sender} came behind {last}")]
    OutOfOrder {
        /// Whose.
        sender: u32,
        /// Which.
        number: u32,
        /// What had come before.
        last: u32,
    },
    /// A text that nobody here has said.
    #[error("a text came that is not of this load")]
    Foreign,
}

impl Ledger {
    /// Enters a text that has come.
    pub(crate) fn enter(&mut self, stamp: &Stamp) -> Result<(), Fault> {
        let &Stamp { sender, number, .. } = stamp;
        let last = self.last.entry(sender).or_default();
        match number.cmp(last) {
            std::cmp::Ordering::Greater => {
                *last = number;
                Ok(())
            }
            std::cmp::Ordering::Equal => Err(Fault::Twice { sender, number }),
            std::cmp::Ordering::Less => Err(Fault::OutOfOrder { sender, number, last: *last }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Ledger};
    use crate::load::stamp::Stamp;

    #[test]
    fn each_sender_has_an_order_of_its_own() {
        let mut ledger = Ledger::default();
        let mut enter = |sender, number| ledger.enter(&Stamp { sender, number, nanos: 0 });
        assert_eq!(enter(1, 1), Ok(()));
        assert_eq!(enter(2, 9), Ok(()));
        assert_eq!(enter(1, 3), Ok(()), "the one between went to somebody else");
        assert_eq!(enter(1, 3), Err(Fault::Twice { sender: 1, number: 3 }));
        assert_eq!(enter(2, 8), Err(Fault::OutOfOrder { sender: 2, number: 8, last: 9 }));
        assert_eq!(enter(1, 4), Ok(()));
    }
}
