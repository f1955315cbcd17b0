//! A set of numbers, kept as ranges: byte offsets here, packet numbers in `rudp`.

use std::{collections::VecDeque, mem::size_of, ops::Range};

/// Disjoint, non-adjacent, ascending ranges.
#[derive(Debug, Default)]
pub struct RangeSet {
    ranges: VecDeque<Range<u64>>,
}

impl RangeSet {
    /// How many ranges there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether no number is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest range.
    #[must_use]
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.front().cloned()
    }

    /// The highest range.
    #[must_use]
    #[inline]
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.back().cloned()
    }

    /// Takes the lowest range out.
    pub fn pop_first(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front()
    }

    /// From the smallest to the largest.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().cloned()
    }

    /// Forgets everything, and the memory for it.
    pub fn clear(&mut self) {
        self.ranges = VecDeque::new();
    }

    /// From the largest to the smallest.
    pub fn descending(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().rev().cloned()
    }

    /// Bytes held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.ranges.capacity() * size_of::<Range<u64>>()
    }

    /// Whether `number` is in it.
    #[must_use]
    #[inline]
    pub fn contains(&self, number: u64) -> bool {
        // Mostly asked about what comes after everything.
        if self.ranges.back().is_none_or(|last| last.end <= number) {
            return false;
        }
        let index = self.ranges.partition_point(|range| range.end <= number);
        self.ranges.get(index).is_some_and(|range| range.start <= number)
    }

    /// Adds `new`, joining it with what it touches.
    #[inline]
    pub fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        if let Some(last) = self.ranges.back_mut()
            && last.start <= new.start
            && new.start <= last.end
        {
            last.end = last.end.max(new.end);
            return;
        }
        let from = self.ranges.partition_point(|range| range.end < new.start);
        let to = self.ranges.partition_point(|range| range.start <= new.end);
        if from == to {
            self.ranges.insert(from, new);
            return;
        }
        let (start, end) = (self.ranges[from].start, self.ranges[to - 1].end);
        self.ranges[from] = new.start.min(start)..new.end.max(end);
        self.ranges.drain(from + 1..to);
    }

    /// Takes out everything before `offset`, and the range that reaches to it or beyond: answers
    /// where that range ends, or `offset`.
    pub fn pop_reached(&mut self, mut offset: u64) -> u64 {
        while let Some(range) = self.ranges.front()
            && range.start <= offset
        {
            offset = offset.max(range.end);
            self.ranges.pop_front();
        }
        if self.ranges.is_empty() && self.ranges.capacity() > 0 {
            self.ranges = VecDeque::new();
        }
        offset
    }

    /// Takes `gone` out, splitting what it cuts.
    pub fn remove(&mut self, gone: Range<u64>) {
        let from = self.ranges.partition_point(|range| range.end <= gone.start);
        let to = self.ranges.partition_point(|range| range.start < gone.end);
        if gone.is_empty() || from == to {
            return;
        }
        let before = self.ranges[from].start..gone.start;
        let after = gone.end..self.ranges[to - 1].end;
        self.ranges.drain(from..to);
        for rest in [after, before] {
            if !rest.is_empty() {
                self.ranges.insert(from, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_set_of_numbers(
            steps in prop::collection::vec((any::<bool>(), 0..60_u64, 0..12_u64), 0..60),
            reached in 0..60_u64,
        ) {
            let mut set = RangeSet::default();
            let mut model = BTreeSet::new();
            for (add, start, len) in steps {
                if add {
                    set.insert(start..start + len);
                    model.extend(start..start + len);
                } else {
                    set.remove(start..start + len);
                    model.retain(|number| !(start..start + len).contains(number));
                }
                prop_assert_eq!(set.iter().flatten().collect::<BTreeSet<_>>(), model.clone());
                let ranges: Vec<_> = set.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            let mut expected = reached;
            while model.contains(&expected) {
                expected += 1;
            }
            prop_assert_eq!(set.pop_reached(reached), expected);
            prop_assert!(set.first().is_none_or(|range| range.start > expected));
        }
    }
}
