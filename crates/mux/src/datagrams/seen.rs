//! Which numbers have come, in bounded memory.

use crate::frame::SEQUENCE_SPACE;

pub(super) const WORDS: usize = 65;

/// The numbers that came: one bit each for the highest and at least
/// [`REMEMBERED`](super::REMEMBERED) below it.
#[derive(Debug)]
pub(super) struct Seen {
    /// The highest number.
    highest: u64,
    words: [u64; WORDS],
}

impl Default for Seen {
    fn default() -> Self {
        Self { highest: 0, words: [0; WORDS] }
    }
}

impl Seen {
    /// The number that is meant by its lower bits, as they are on the wire: the one next to the
    /// highest that came (RFC 9000 §A.3).
    pub(super) fn expand(&self, short: u64) -> u64 {
        let expected = self.highest + 1;
        let half = SEQUENCE_SPACE / 2;
        let candidate = expected - expected % SEQUENCE_SPACE + short;
        if candidate + half <= expected {
            candidate + SEQUENCE_SPACE
        } else if candidate > expected + half && candidate >= SEQUENCE_SPACE {
            candidate - SEQUENCE_SPACE
        } else {
            candidate
        }
    }

    /// Answers whether `sequence` is new; what is too old to know counts as seen.
    pub(super) fn insert(&mut self, sequence: u64) -> bool {
        let (word, last) = (sequence / 64, self.highest / 64);
        if word + WORDS as u64 <= last {
            return false;
        }
        if word >= last + WORDS as u64 {
            self.words.fill(0);
        } else {
            for passed in last + 1..=word {
                self.words[Self::slot(passed)] = 0;
            }
        }
        self.highest = self.highest.max(sequence);
        let bit = 1 << (sequence % 64);
        let known = self.words[Self::slot(word)] & bit != 0;
        self.words[Self::slot(word)] |= bit;
        !known
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the number of words")]
    const fn slot(word: u64) -> usize {
        (word % WORDS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::datagrams::REMEMBERED;

    proptest! {
        #[test]
        fn a_number_is_new_exactly_once(steps in prop::collection::vec(0..10_000_u64, 0..400)) {
            let (mut seen, mut model, mut highest) = (Seen::default(), HashSet::new(), 0);
            for sequence in steps {
                let new = seen.insert(sequence);
                if sequence + REMEMBERED >= highest {
                    prop_assert_eq!(new, model.insert(sequence));
                } else {
                    prop_assert!(!new || model.insert(sequence));
                }
                highest = highest.max(sequence);
            }
        }

        #[test]
        fn a_shortened_number_near_the_highest_is_understood(
            highest in 0..1_000_000_u64,
            ahead in 0..8_000_u64,
            behind in 0..8_000_u64,
        ) {
            let mut seen = Seen::default();
            seen.insert(highest);
            for sequence in [highest + ahead, highest.saturating_sub(behind)] {
                prop_assert_eq!(seen.expand(sequence % SEQUENCE_SPACE), sequence);
            }
        }
    }

    #[test]
    fn the_largest_number_is_taken() {
        let mut seen = Seen::default();
        assert!(seen.insert(crate::VARINT_MAX));
        assert!(!seen.insert(crate::VARINT_MAX));
        assert!(!seen.insert(0));
    }
}
