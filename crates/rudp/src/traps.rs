//! Packet numbers that are left out now and then: who acknowledges one has not looked
//! (RFC 9000 §21.4).
//!
//! A remote that acknowledges what it has not received could make us send faster than any path
//! carries. It must guess which numbers are in use, and sooner or later it names one that is not.

use std::ops::RangeInclusive;

/// Numbers between two traps: no more than this, so that a transfer of some megabytes meets one.
const GAP_MAX: u64 = 4096;

/// Numbers between two traps, at least: each costs an acknowledgement.
const GAP_MIN: u64 = 32;

/// Where the traps of one connection are.
#[derive(Debug)]
pub(crate) struct Traps {
    /// The last number that was left out.
    newest: Option<u64>,
    /// The next that will be.
    next: u64,
}

impl Traps {
    /// The first trap stands early, since a connection may be short.
    pub(crate) fn new(chance: [u8; 8]) -> Self {
        Self { newest: None, next: GAP_MIN / 4 + u64::from_be_bytes(chance) % GAP_MIN }
    }

    /// The number that follows `number`: mostly the next one.
    pub(crate) fn after(&mut self, number: u64, chance: impl FnOnce() -> [u8; 8]) -> u64 {
        if number + 1 != self.next {
            return number + 1;
        }
        self.newest = Some(self.next);
        // Seldom in long transfers, often enough in short ones.
        let most = (self.next * 2).clamp(2 * GAP_MIN, GAP_MAX);
        self.next += GAP_MIN + u64::from_be_bytes(chance()) % (most - GAP_MIN);
        number + 2
    }

    /// Whether a range of acknowledged numbers holds one that was never used.
    pub(crate) fn is_in(&self, range: &RangeInclusive<u64>) -> bool {
        self.newest.is_some_and(|trap| range.contains(&trap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traps_stand_where_nobody_knows_and_never_far_apart() {
        let mut chance = 1_u64;
        let mut draw = || {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chance.to_be_bytes()
        };
        let mut traps = Traps::new(draw());
        let (mut number, mut last, mut gaps) = (0, 0, Vec::new());
        while number < 200_000 {
            let next = traps.after(number, &mut draw);
            if next == number + 2 {
                assert!(traps.is_in(&(number..=next)) && !traps.is_in(&(next..=next + 9)));
                gaps.push(number + 1 - last);
                last = number + 1;
            }
            number = next;
        }
        assert!(gaps.iter().all(|gap| *gap <= GAP_MIN + GAP_MAX), "{gaps:?}");
        assert!(gaps[0] <= 2 * GAP_MIN && gaps.len() > 50, "{gaps:?}");
        let first = gaps[1];
        assert!(gaps.iter().skip(1).any(|gap| *gap != first));
    }
}
