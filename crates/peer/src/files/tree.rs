//! The hash of a file as a tree: what proves one group of it without the others.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use portolan_protocol::{GroupRange, Hash, RANGES_MAX, group_length};

use super::{Reached, content::ContentError, hashing::hashes_of};

/// Bytes of the hash of one group.
pub(super) const LEAF: usize = blake3::OUT_LEN;

/// The hashes of a file's groups, and the hash of the whole above them.
///
/// A file of at most one group has no list: the hash of the whole proves it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    group: u64,
    root: Hash,
    leaves: Vec<ChainingValue>,
}

impl Tree {
    /// Computes the tree of the first `size` bytes of `file`. Blocking; `reached` counts the bytes
    /// and can stop it.
    pub(crate) fn of(mut file: &File, size: u64, reached: &Reached) -> Result<Self, ContentError> {
        let group = group_length(size).ok_or(ContentError::TooLarge)?;
        let mut tree = Self { size, group, root: Hash([0; LEAF]), leaves: Vec::new() };
        if tree.groups() > 1 {
            tree.leaves = hashes_of(file, &tree, tree.groups(), reached)?;
            tree.root = root_of(&tree.leaves);
        } else {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0)).map_err(ContentError::Disk)?;
            tree.read_group(file, 0, &mut bytes)?;
            tree.root = Hash(*blake3::hash(&bytes).as_bytes());
            reached.advance(size)?;
        }
        Ok(tree)
    }

    /// Checks a list of hashes against the hash of the whole. An error is what they add up to.
    ///
    /// `size` must be one that has groups, and `list` as long as [`Self::list_length`] says.
    pub(crate) fn checked(size: u64, group: u64, root: Hash, list: &[u8]) -> Result<Self, Hash> {
        let (leaves, _) = list.as_chunks::<LEAF>();
        let leaves = leaves.to_vec();
        let computed = match (leaves.as_slice(), size) {
            ([], 0) => Hash(*blake3::hash(&[]).as_bytes()),
            ([], _) => root,
            (leaves, _) => root_of(leaves),
        };
        if computed == root { Ok(Self { size, group, root, leaves }) } else { Err(computed) }
    }

    /// Bytes of the list of a file of `size` bytes in groups of `group`.
    pub(crate) fn list_length(size: u64, group: u64) -> usize {
        match size.div_ceil(group) {
            0 | 1 => 0,
            groups => usize::try_from(groups).unwrap_or(usize::MAX).saturating_mul(LEAF),
        }
    }

    /// The list as it goes over.
    pub(crate) fn list(&self) -> &[u8] {
        self.leaves.as_flattened()
    }

    pub(crate) fn root(&self) -> Hash {
        self.root
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many groups the file has.
    pub(crate) fn groups(&self) -> u32 {
        u32::try_from(self.size.div_ceil(self.group)).unwrap_or(u32::MAX)
    }

    /// The group that holds a byte of the file.
    pub(crate) fn number_at(&self, byte: u64) -> u32 {
        u32::try_from(byte / self.group).unwrap_or(u32::MAX)
    }

    /// Where a group begins and how long it is.
    pub(crate) fn span(&self, number: u32) -> (u64, usize) {
        let start = u64::from(number) * self.group;
        let length = self.group.min(self.size.saturating_sub(start));
        (start, usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Whether `bytes` are the group of that number.
    pub(crate) fn proves(&self, number: u32, bytes: &[u8]) -> bool {
        let (start, length) = self.span(number);
        bytes.len() == length
            && match self.leaves.get(number as usize) {
                Some(expected) => leaf(start, bytes) == *expected,
                None => self.leaves.is_empty() && *blake3::hash(bytes).as_bytes() == self.root.0,
            }
    }

    /// The hash of a group, where there are several.
    pub(super) fn leaf(&self, number: u32) -> Option<ChainingValue> {
        self.leaves.get(number as usize).copied()
    }

    /// Which of the first groups of a file on the disk are this file's. Blocking; `reached` counts
    /// the bytes and can stop it.
    pub(crate) fn proven(
        &self,
        file: &File,
        first: u32,
        reached: &Reached,
    ) -> Result<Vec<bool>, ContentError> {
        let hashes = hashes_of(file, self, first, reached)?;
        Ok(hashes.iter().zip(&self.leaves).map(|(there, expected)| there == expected).collect())
    }

    /// Bytes of some groups.
    pub(crate) fn bytes_of(&self, groups: &[GroupRange]) -> u64 {
        let end = |first, count| (u64::from(first) + u64::from(count)) * self.group;
        let bytes = groups.iter().map(|range| {
            end(range.first, range.count).min(self.size) - u64::from(range.first) * self.group
        });
        bytes.sum()
    }

    /// Whether ranges that came from outside are groups of this file, in order.
    pub(crate) fn has(&self, groups: &[GroupRange]) -> bool {
        are_in_order(groups, self.groups())
    }

    /// Reads a group from where `file` stands.
    pub(crate) fn read_group(
        &self,
        mut file: &File,
        number: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ContentError> {
        bytes.resize(self.span(number).1, 0);
        file.read_exact(bytes).map_err(ContentError::of_read)
    }
}

/// Whether ranges that came from outside lie one behind the other among so many.
pub(super) fn are_in_order(ranges: &[GroupRange], count: u32) -> bool {
    let mut next = 0;
    ranges.len() <= RANGES_MAX
        && ranges.iter().all(|range| {
            let end = u64::from(range.first) + u64::from(range.count);
            let good = range.count > 0 && u64::from(range.first) >= next && end <= u64::from(count);
            next = end;
            good
        })
}

/// The hash of a group that begins there, of a file of several.
pub(super) fn leaf(start: u64, bytes: &[u8]) -> ChainingValue {
    Hasher::new().set_input_offset(start).update(bytes).finalize_non_root()
}

/// The root above at least two hashes.
pub(super) fn root_of(leaves: &[ChainingValue]) -> Hash {
    let (left, right) = halves(leaves);
    Hash(*merge_subtrees_root(&node(left), &node(right), Mode::Hash).as_bytes())
}

pub(super) fn node(leaves: &[ChainingValue]) -> ChainingValue {
    match leaves {
        [] => [0; LEAF],
        [leaf] => *leaf,
        leaves => {
            let (left, right) = halves(leaves);
            merge_subtrees_non_root(&node(left), &node(right), Mode::Hash)
        }
    }
}

/// The left side is the largest whole subtree that leaves something for the right.
fn halves(leaves: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use portolan_protocol::{GROUP_MIN, GroupRange, Hash, group_length};

    use super::Tree;
    use crate::files::{Reached, content::ContentError};

    fn tree_of(bytes: &[u8]) -> Tree {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Tree::of(&file, bytes.len() as u64, &Reached::default()).unwrap()
    }

    fn bytes(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect()
    }

    #[test]
    fn the_root_is_the_hash_of_the_whole_and_the_list_adds_up_to_it() {
        let around =
            |groups: u64| [groups * GROUP_MIN - 1, groups * GROUP_MIN, groups * GROUP_MIN + 1];
        let sizes = [0, 1, 1025].into_iter().chain((1..=5).flat_map(around));
        for size in sizes {
            let bytes = bytes(size);
            let tree = tree_of(&bytes);
            assert_eq!(tree.root(), Hash(*blake3::hash(&bytes).as_bytes()), "{size} bytes");
            let group = group_length(size).unwrap();
            assert_eq!(tree.list().len(), Tree::list_length(size, group));
            assert_eq!(Tree::checked(size, group, tree.root(), tree.list()).unwrap(), tree);
        }
    }

    #[test]
    fn threads_that_share_a_file_find_what_one_finds() {
        let bytes = bytes(GROUP_MIN * 70 + 5);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let reached = Reached::default();
        let tree = Tree::of(&file, bytes.len() as u64, &reached).unwrap();
        assert_eq!(tree.root(), Hash(*blake3::hash(&bytes).as_bytes()));
        assert_eq!(reached.bytes(), bytes.len() as u64);
        file.set_len(GROUP_MIN * 65).unwrap();
        let short = Tree::of(&file, bytes.len() as u64, &reached);
        assert!(matches!(short, Err(ContentError::Changed)));
        reached.abandon();
        let stopped = tree.proven(&file, 65, &reached);
        assert!(matches!(stopped, Err(ContentError::Stalled)));
        file.seek(SeekFrom::Start(GROUP_MIN * 40)).unwrap();
        file.write_all(b"other").unwrap();
        let proven = tree.proven(&file, 65, &Reached::default()).unwrap();
        let wrong: Vec<usize> = (0..65).filter(|&number| !proven[number]).collect();
        assert_eq!(wrong, [40]);
    }

    #[test]
    fn every_changed_bit_of_group_or_list_is_found() {
        let whole = bytes(GROUP_MIN * 2 + 77);
        let tree = tree_of(&whole);
        for number in 0..3 {
            let (start, length) = tree.span(number);
            let mut group = whole[usize::try_from(start).unwrap()..][..length].to_vec();
            assert!(tree.proves(number, &group));
            assert!(!tree.proves((number + 1) % 3, &group), "another place is another hash");
            group[length / 2] ^= 1;
            assert!(!tree.proves(number, &group));
        }
        for at in [0, 33, 95] {
            let mut list = tree.list().to_vec();
            list[at] ^= 0x80;
            assert!(Tree::checked(whole.len() as u64, GROUP_MIN, tree.root(), &list).is_err());
        }
        assert!(Tree::checked(0, GROUP_MIN, tree.root(), &[]).is_err());
    }

    #[test]
    fn ranges_from_outside_must_be_groups_in_order() {
        let tree = tree_of(&bytes(GROUP_MIN * 2 + 77));
        let range = |first, count| GroupRange { first, count };
        assert!(tree.has(&[]) && tree.has(&[range(0, 1), range(2, 1)]) && tree.has(&[range(0, 3)]));
        assert_eq!(tree.bytes_of(&[range(0, 1), range(2, 1)]), GROUP_MIN + 77);
        let bad: [&[GroupRange]; 5] = [
            &[range(0, 4)],
            &[range(3, 1)],
            &[range(1, 0)],
            &[range(1, 1), range(0, 1)],
            &[range(u32::MAX, u32::MAX)],
        ];
        for groups in bad {
            assert!(!tree.has(groups), "{groups:?}");
        }
    }
}
