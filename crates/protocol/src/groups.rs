//! How a file is cut into groups, each of which is proven before it is written.
//!
//! The rule is a part of the protocol: both sides compute the same groups from the size alone.

use serde::{Deserialize, Serialize};

/// Bytes of the smallest group; every group is that times a power of two, so that each is a
/// whole subtree of BLAKE3's tree (its paper, section 2.1).
pub const GROUP_MIN: u64 = 256 << 10;
/// Groups that a file may have; larger files have larger groups.
pub const GROUPS_MAX: u64 = 1 << 17;
/// Bytes of the largest group, which a receiver holds in memory until it is proven.
pub const GROUP_MAX: u64 = 32 << 20;
/// Bytes of the largest file: 4 TiB.
pub const FILE_MAX: u64 = GROUPS_MAX * GROUP_MAX;
/// Bytes of every piece but the last of a file: a subtree as well, which is proven alone for who
/// hears a file while it arrives. Groups consist of whole pieces.
pub const PIECE: u64 = 16 << 10;
/// Ranges that one `want` may name; who misses more asks for some of what is there already.
pub const RANGES_MAX: usize = 4096;

/// The bytes of every group but the last of a file of `size` bytes; `None`: it is too large.
#[must_use]
pub fn group_length(size: u64) -> Option<u64> {
    let mut length = GROUP_MIN;
    while size.div_ceil(length) > GROUPS_MAX {
        length *= 2;
        if length > GROUP_MAX {
            return None;
        }
    }
    Some(length)
}

/// Groups next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRange {
    /// The first, counted from 0.
    pub first: u32,
    /// How many, at least one.
    pub count: u32,
}

/// The receiver has checked the hashes and asks for what it does not have yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// In order, not overlapping, at most [`RANGES_MAX`]; none when everything is there.
    pub groups: Vec<GroupRange>,
    /// Whether another `want` follows on the same stream; the groups of each stand behind each
    /// other, and `end` behind the last. Only in answer to `content`, and to an
    /// [`Offer`](crate::Offer) that says `more`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Pieces instead of groups, numbered through the whole file, in order, not overlapping; only
    /// where `get` asked for them. What lies in one group stands together, behind the hashes of all
    /// pieces of the group, 32 bytes each, which are left out where it has only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<GroupRange>,
    /// Bytes that are there already, where `groups` are not all that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<u64>,
    /// The last of this stream, for a better way was found: what is still missing is asked for on
    /// another stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

/// Pieces at the edges of a file that are sent without being asked for once more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edges {
    /// So many from its beginning.
    pub first: u32,
    /// So many from its end, without those.
    pub last: u32,
}

/// The answer takes time because a file is being read; said about once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashing {
    /// Bytes read so far; each time more.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::{FILE_MAX, GROUP_MAX, GROUP_MIN, GROUPS_MAX, group_length};

    #[test]
    fn groups_grow_with_the_file_and_their_number_is_bounded() {
        assert_eq!(group_length(0), Some(GROUP_MIN));
        assert_eq!(group_length(GROUP_MIN * GROUPS_MAX), Some(GROUP_MIN));
        assert_eq!(group_length(GROUP_MIN * GROUPS_MAX + 1), Some(GROUP_MIN * 2));
        assert_eq!(group_length(FILE_MAX), Some(GROUP_MAX));
        assert_eq!(group_length(FILE_MAX + 1), None);
        assert_eq!(group_length(u64::MAX), None);
    }
}
