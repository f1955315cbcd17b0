//! Pieces: what proves a small part of a group before the rest of it has come.

use std::ops::Range;

use blake3::hazmat::ChainingValue;
use portolan_protocol::{Edges, GroupRange, PIECE};

use super::tree::{LEAF, Tree, are_in_order, leaf, node, root_of};
use crate::files::content::ContentError;

/// Pieces of one group, next to each other, by their numbers in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) group: u32,
    pub(crate) pieces: Range<u32>,
}

/// A group of which the hashes of all pieces are known and proven; none where it is one piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    group: u32,
    first: u32,
    hashes: Vec<ChainingValue>,
}

impl Tree {
    /// How many pieces the file has.
    pub(crate) fn pieces(&self) -> u32 {
        u32::try_from(self.size().div_ceil(PIECE)).unwrap_or(u32::MAX)
    }

    /// The piece that holds a byte of the file.
    pub(crate) fn piece_at(&self, byte: u64) -> u32 {
        u32::try_from(byte / PIECE).unwrap_or(u32::MAX)
    }

    /// Where a piece begins and how long it is.
    pub(crate) fn piece_span(&self, piece: u32) -> (u64, usize) {
        let start = u64::from(piece) * PIECE;
        let length = PIECE.min(self.size().saturating_sub(start));
        (start, usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The group that a piece lies in.
    pub(crate) fn group_of(&self, piece: u32) -> u32 {
        self.number_at(u64::from(piece) * PIECE)
    }

    /// The pieces of a group.
    pub(crate) fn pieces_of(&self, group: u32) -> Range<u32> {
        let (start, length) = self.span(group);
        self.piece_at(start)..self.piece_at((start + length as u64).div_ceil(PIECE) * PIECE)
    }

    /// Bytes of the hashes that stand before pieces of a group.
    pub(crate) fn pieces_list_length(&self, group: u32) -> usize {
        match self.pieces_of(group).len() {
            0 | 1 => 0,
            pieces => pieces * LEAF,
        }
    }

    /// The hashes of a group's pieces, as they go over.
    pub(crate) fn pieces_list(&self, group: u32, bytes: &[u8]) -> Vec<u8> {
        let start = self.span(group).0;
        let pieces = bytes.chunks(usize::try_from(PIECE).unwrap_or(usize::MAX));
        let hash = |(number, piece)| leaf(start + number as u64 * PIECE, piece);
        match self.pieces_list_length(group) {
            0 => Vec::new(),
            _ => pieces.enumerate().flat_map(hash).collect(),
        }
    }

    /// Checks the hashes of a group's pieces against that of the group.
    pub(crate) fn checked_pieces(&self, group: u32, list: &[u8]) -> Result<Pieces, ContentError> {
        let (hashes, rest) = list.as_chunks::<LEAF>();
        let is_proven = list.len() == self.pieces_list_length(group)
            && rest.is_empty()
            && match (hashes, self.leaf(group)) {
                ([], _) => true,
                (hashes, Some(expected)) => node(hashes) == expected,
                (hashes, None) => root_of(hashes) == self.root(),
            };
        let first = self.pieces_of(group).start;
        match is_proven {
            true => Ok(Pieces { group, first, hashes: hashes.to_vec() }),
            false => {
                let (start, length) = self.span(group);
                Err(ContentError::Corrupt { start, length })
            }
        }
    }

    /// Whether `bytes` are that piece; `pieces` are those of its group.
    pub(crate) fn proves_piece(&self, pieces: &Pieces, piece: u32, bytes: &[u8]) -> bool {
        let (start, length) = self.piece_span(piece);
        let number = piece.checked_sub(pieces.first).unwrap_or(u32::MAX);
        bytes.len() == length
            && match pieces.hashes.get(number as usize) {
                Some(expected) => leaf(start, bytes) == *expected,
                None => pieces.hashes.is_empty() && self.proves(pieces.group, bytes),
            }
    }

    /// Whether ranges that came from outside are pieces of this file, in order.
    pub(crate) fn has_pieces(&self, pieces: &[GroupRange]) -> bool {
        are_in_order(pieces, self.pieces())
    }

    /// The pieces at the edges of the file that somebody wants at once.
    pub(crate) fn edges(&self, edges: Edges) -> Vec<GroupRange> {
        let first = edges.first.min(self.pieces());
        let last = edges.last.min(self.pieces() - first);
        let ranges = [(0, first), (self.pieces() - last, last)];
        let ranges = ranges.into_iter().filter(|(_, count)| *count > 0);
        ranges.map(|(first, count)| GroupRange { first, count }).collect()
    }

    /// Ranges of pieces as they go over, cut where another group begins.
    pub(crate) fn runs(&self, ranges: &[GroupRange]) -> Vec<Run> {
        let mut runs = Vec::new();
        for range in ranges {
            let (mut next, end) = (range.first, range.first.saturating_add(range.count));
            while next < end {
                let group = self.group_of(next);
                let last = self.pieces_of(group).end.clamp(next + 1, end);
                runs.push(Run { group, pieces: next..last });
                next = last;
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use portolan_protocol::{Edges, GROUP_MIN, GroupRange, PIECE};

    use super::{Run, Tree};
    use crate::files::Reached;

    fn tree_of(bytes: &[u8]) -> Tree {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Tree::of(&file, bytes.len() as u64, &Reached::default()).unwrap()
    }

    fn bytes(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at ^ (at >> 7) ^ (at >> 15)).to_le_bytes()[0]).collect()
    }

    fn cut(whole: &[u8], (start, length): (u64, usize)) -> &[u8] {
        &whole[usize::try_from(start).unwrap()..][..length]
    }

    #[test]
    fn every_piece_of_every_size_of_file_is_proven_and_a_changed_one_is_not() {
        let sizes = [1, 1025, PIECE, PIECE + 1, GROUP_MIN, GROUP_MIN + 1, GROUP_MIN * 2 + 40_000];
        for size in sizes {
            let whole = bytes(size);
            let tree = tree_of(&whole);
            for piece in 0..tree.pieces() {
                let group = tree.group_of(piece);
                let list = tree.pieces_list(group, cut(&whole, tree.span(group)));
                let pieces = tree.checked_pieces(group, &list).unwrap();
                let mut piece_bytes = cut(&whole, tree.piece_span(piece)).to_vec();
                assert!(tree.proves_piece(&pieces, piece, &piece_bytes), "{piece} of {size}");
                let last = piece_bytes.len() - 1;
                piece_bytes[last] ^= 1;
                assert!(!tree.proves_piece(&pieces, piece, &piece_bytes), "{piece} of {size}");
            }
        }
    }

    #[test]
    fn hashes_of_pieces_that_do_not_add_up_to_their_group_are_refused() {
        for size in [GROUP_MIN, GROUP_MIN * 2 + 40_000] {
            let whole = bytes(size);
            let tree = tree_of(&whole);
            let mut list = tree.pieces_list(0, cut(&whole, tree.span(0)));
            assert!(tree.checked_pieces(0, &list[32..]).is_err());
            list[40] ^= 1;
            assert!(tree.checked_pieces(0, &list).is_err());
        }
    }

    #[test]
    fn a_range_is_cut_where_another_group_begins() {
        let tree = tree_of(&bytes(GROUP_MIN * 2 + 40_000));
        assert_eq!(tree.pieces(), 35);
        let runs = tree.runs(&[GroupRange { first: 14, count: 3 }]);
        assert_eq!(runs, [Run { group: 0, pieces: 14..16 }, Run { group: 1, pieces: 16..17 }]);
        let edges = tree.edges(Edges { first: 2, last: 5 });
        let range = |first, count| GroupRange { first, count };
        assert_eq!(edges, [range(0, 2), range(30, 5)]);
        assert_eq!(tree_of(&bytes(20_000)).edges(Edges { first: 8, last: 5 }), [range(0, 2)]);
        assert_eq!(tree_of(&[]).edges(Edges { first: 8, last: 5 }), []);
        assert!(tree.has_pieces(&[range(0, 2), range(30, 5)]));
        for bad in [range(0, 0), range(34, 2), range(u32::MAX, u32::MAX)] {
            assert!(!tree.has_pieces(&[bad]), "{bad:?}");
        }
        assert!(!tree.has_pieces(&[range(1, 1), range(0, 1)]));
    }
}
