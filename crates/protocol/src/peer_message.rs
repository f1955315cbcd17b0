//! What two peers say to each other, end to end encrypted, one request a stream.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Answered, Batch, Call, Clock, Compared, Edges, Ends, Entries, Find, Found, HangUp, Hashing,
    Held, Hello, Join, Joined, Meet, Muted, OfferTree, Position, Received, Ringing, Sending, Small,
    Timestamp, TreeInfo, Unsent, Walk, Want, Welcome, table::table,
};

table! {
    /// A peer's request: the first frame on a stream between two peers.
    pub enum PeerCommand {
        /// Versions and features, on the first stream. Answered by `welcome`.
        Hello(Hello) = "hello",
        /// What do you share? Answered by `files`.
        Files(Files) = "files",
        /// Send me that file. Answered by `content`, then the hashes of its groups raw; the asker
        /// says `want`, and the groups raw and `end` follow.
        Get(Get) = "get",
        /// I have a file for you. Answered by `accepted`; then the hashes of its groups go over
        /// raw, `want` comes back, the groups raw and `end` go over, and `verified` or an error
        /// comes back under the same request.
        Offer(Offer) = "offer",
        /// Do you share a file with this hash? Answered by `found`.
        Find(Find) = "find",
        /// Talk to me, or listen. `ringing` may come first; answered by `answered`, or the errors
        /// `denied`, `busy`, `timed_out`. The stream stays open for as long as the call.
        Call(Call) = "call",
        /// What is in that directory? Answered by `tree`, then `entries` until there are no more.
        Walk(Walk) = "walk",
        /// Send me these small files. Answered by `sending`, then for each of them in order
        /// `small` and its bytes raw, `compared` or `unsent`.
        Batch(Batch) = "batch",
        /// I have a directory for you. Answered by `accepted`; the receiver walks and fetches on
        /// streams of its own, and says `received` under the same request.
        OfferTree(OfferTree) = "offer_tree",
        /// Where else can we meet? Answered by `ends`.
        Meet(Meet) = "meet",
        /// This connection belongs to the session of that ticket; its first words. Answered by
        /// `joined`.
        Join(Join) = "join",
    }
}

table! {
    /// The answer to a [`PeerCommand`] that was granted.
    pub enum PeerReply {
        /// To `hello`.
        Welcome(Welcome) = "welcome",
        /// To `files`.
        Files(FileList) = "files",
        /// To `get`: the hashes follow.
        Content(Content) = "content",
        /// To `offer`: send the hashes.
        Accepted(Accepted) = "accepted",
        /// The file has arrived and its hash is right.
        Verified(Verified) = "verified",
        /// To `find`.
        Found(Found) = "found",
        /// To `call`: it was taken.
        Answered(Answered) = "answered",
        /// To `walk`: so much is there, and the entries follow.
        Tree(TreeInfo) = "tree",
        /// To `batch`: the files follow.
        Sending(Sending) = "sending",
        /// The offered directory has arrived, as far as it could.
        Received(Received) = "received",
        /// To `meet`.
        Ends(Ends) = "ends",
        /// To `join`.
        Joined(Joined) = "joined",
    }
}

table! {
    /// What is said while files go over, or on a call.
    pub enum PeerEvent {
        /// The answer or `want` takes time: a file is being read.
        Hashing(Hashing) = "hashing",
        /// The groups that are still to be sent.
        Want(Want) = "want",
        /// All bytes were sent.
        End(FileEnd) = "end",
        /// The called side rings.
        Ringing(Ringing) = "ringing",
        /// The call is over.
        HangUp(HangUp) = "hang_up",
        /// A microphone was switched off or on.
        Muted(Muted) = "muted",
        /// The call is held, or goes on.
        Held(Held) = "held",
        /// A question about the other's clock, or its answer.
        Clock(Clock) = "clock",
        /// Where the sound is that is listened to together.
        Position(Position) = "position",
        /// A part of what is in a directory.
        Entries(Entries) = "entries",
        /// The next file of a batch; its bytes follow raw.
        Small(Small) = "small",
        /// The next file of a batch is not sent, for the asker has it or another one.
        Compared(Compared) = "compared",
        /// The next file of a batch cannot be sent.
        Unsent(Unsent) = "unsent",
    }
}

/// Asks for a page of shared files in order of path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Only paths after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// A page of shared files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// At most `Limits::page`.
    pub files: Vec<FileInfo>,
    /// Whether more follow.
    pub more: bool,
}

/// A file as its owner describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Path below what is shared, with `/` between its parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// What is heard in it, where its owner has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioInfo>,
}

/// What is heard in a file, as the file says of itself; untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioInfo {
    /// In one word, such as `mp3`.
    pub codec: String,
    /// Samples a second and channel.
    pub rate: u32,
    /// How many channels.
    pub channels: u16,
    /// How long it is, where the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artist: Option<String>,
    /// Where it belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album: Option<String>,
}

/// Asks for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// As `files` listed it.
    pub path: String,
    /// Whether the asker checks groups; older versions do not and are refused.
    #[serde(default)]
    pub groups: bool,
    /// The ticket of the offered directory that it is in; without one it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<u64>,
    /// The asker wants pieces, and these at once, behind the hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<Edges>,
}

/// The hashes of the file's groups follow, 32 bytes each; none when it has at most one group. Then
/// the pieces of `edges`, if they were asked for and `pieces` says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// So many.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// BLAKE3 of the whole. Without it the owner is of a version that cannot prove groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// Who may read, write and execute it ([`MODE_MASK`](crate::MODE_MASK)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// It goes over in pieces, as was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pieces: bool,
}

/// Offers a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name, one part of a path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// BLAKE3 of the whole. Without it the sender is of a version that cannot prove groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// Who may read, write and execute it ([`MODE_MASK`](crate::MODE_MASK)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Whether the sender hears several [`Want`](crate::Want)s.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// The offered file is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Whether the receiver checks groups; older versions do not and are sent nothing.
    #[serde(default)]
    pub groups: bool,
}

/// All bytes of a file were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    /// BLAKE3 of the whole file.
    pub hash: Hash,
}

/// The file has arrived whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// BLAKE3 of what was written.
    pub hash: Hash,
}

/// A BLAKE3 hash; 64 hexadecimal digits where people read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a hash has 64 hexadecimal digits";
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(wrong);
        }
        let digit =
            |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(wrong)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_nothing_else_is() {
        let hash = Hash(std::array::from_fn(|at| u8::try_from(at * 8).unwrap_or(0)));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for text in ["", "0", "zz", &"0".repeat(63), &"0".repeat(66), &"+0".repeat(32), "é"] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }
}
