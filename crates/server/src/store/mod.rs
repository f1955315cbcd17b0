//! What must outlive a session: names, keys, mailboxes, groups and message ids.
//!
//! The core asks by [`Operation`]s and is told [`Outcome`]s once they are durable; a [`Store`]
//! carries them out. Two stores exist, and one suite of tests runs over both.

mod groups;
mod memory;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::{path::PathBuf, sync::Arc};

use portolan_identity::PeerId;
use portolan_protocol::{
    Delivery, DeviceId, MessageId, Name, ReceiptState, Recipient, Settings, Timestamp,
};
use thiserror::Error;

pub use groups::{GroupId, GroupWrite, StoredGroup, StoredMember, StoredReference};
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub(crate) use writer::{Completed, QueueBounds, QueueLength, StoreHealth, StoreWriter};

/// A user's number: given once, never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u64);

/// A name and the key that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUser {
    /// The number.
    pub id: UserId,
    /// The name as the owner typed it.
    pub name: Name,
    /// The owner.
    pub key: PeerId,
    /// When the name was taken.
    pub since: Timestamp,
    /// What moves it to another key.
    pub password: Option<PasswordHash>,
}

/// A key that is kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBan {
    /// Which.
    pub key: PeerId,
    /// Told to its holder.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; for ever otherwise.
    pub until: Option<Timestamp>,
    /// The admin who did it.
    pub by: PeerId,
}

/// A password's hash in PHC form. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Arc<str>);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A message on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Greater than that of every message before.
    pub id: MessageId,
    /// Who wrote it.
    pub from: UserId,
    /// To whom it was written.
    pub to: Recipient,
    /// For whom a copy waits.
    pub owners: Vec<UserId>,
    /// Devices that have copies of their own.
    pub copies: Vec<(UserId, DeviceId)>,
    /// The text.
    pub text: Arc<str>,
    /// When the server took it.
    pub at: Timestamp,
    /// The sender's own number, by which a repeated send is known.
    pub reference: Option<u64>,
    /// In which conversation it is found again later; none for messages to everyone.
    pub talk: Option<Talk>,
}

/// What a message belongs to and is found by in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// What two users write to each other: the sender or reader is one, this is the other.
    With(UserId),
    /// What is said in a group.
    In(GroupId),
}

/// A request to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Keeps a new name.
    AddUser(StoredUser),
    /// Keeps a name's password, or forgets it.
    SetPassword {
        /// Whose.
        user: UserId,
        /// The new one.
        hash: Option<PasswordHash>,
    },
    /// Gives a name to another key.
    MoveName {
        /// Which.
        user: UserId,
        /// To whom.
        key: PeerId,
    },
    /// Keeps how the server treats a name.
    SetSettings {
        /// Which.
        user: UserId,
        /// How.
        settings: Settings,
    },
    /// Keeps devices of a name; what waits for the name waits for each of them from now on.
    AddDevices {
        /// Whose.
        owner: UserId,
        /// Which.
        devices: Vec<DeviceId>,
        /// Seen when.
        at: Timestamp,
    },
    /// Notes that a device was there.
    SeeDevice {
        /// Whose.
        owner: UserId,
        /// Which.
        device: DeviceId,
        /// When.
        at: Timestamp,
    },
    /// Forgets a device with its copies.
    ForgetDevice {
        /// Whose.
        owner: UserId,
        /// Which.
        device: DeviceId,
    },
    /// Throws a device's oldest copies away until so much is left.
    Trim {
        /// Whose.
        owner: UserId,
        /// Which.
        device: DeviceId,
        /// How much may stay.
        keep: Waiting,
    },
    /// Keeps a message for its owners, unless the sender's reference is known.
    Put(NewMessage),
    /// Reads a page of what waits for `owner`, or for one device.
    Load {
        /// Whose.
        owner: UserId,
        /// Which device's copies; none: the name's.
        device: Option<DeviceId>,
        /// Only ids after this one.
        after: MessageId,
        /// At most so many messages.
        messages: usize,
        /// At most so many bytes of text, but one message always.
        bytes: u64,
    },
    /// Notes what became of messages that `owner` has got. Delivered ones wait no longer.
    Receipts {
        /// Who says so.
        owner: UserId,
        /// By which device, whose own copies go.
        device: Option<DeviceId>,
        /// Which messages.
        ids: Vec<MessageId>,
        /// What became of them.
        state: ReceiptState,
    },
    /// Throws away what waits for `owner`, on every device.
    Clear {
        /// Whose.
        owner: UserId,
    },
    /// Forgets delivered messages, and the marks of them, older than this.
    Purge {
        /// Before when.
        before: Timestamp,
    },
    /// Reads a page of what was said, the newest of what is asked for.
    History {
        /// Who asks.
        reader: UserId,
        /// What they ask for.
        talk: Talk,
        /// Only ids after this one.
        after: MessageId,
        /// Only ids before this one.
        before: MessageId,
        /// At most so many messages.
        messages: usize,
        /// At most so many bytes of text, but one message always.
        bytes: u64,
    },
    /// Changes a group.
    WriteGroup(Vec<GroupWrite>),
    /// Keeps a key out.
    Ban(StoredBan),
    /// Lets a key in again.
    Unban(PeerId),
    /// Copies everything to a new file.
    Backup,
}

/// What came of an [`Operation`], told after it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The message is kept.
    Kept,
    /// The sender's reference is known: this is the message it was given to.
    Repeated {
        /// Its id.
        id: MessageId,
        /// When it was taken.
        at: Timestamp,
    },
    /// A page of what waits, in order of id.
    Page {
        /// The messages.
        messages: Vec<Delivery>,
        /// Whether more wait.
        more: bool,
    },
    /// The receipts that were news.
    Noted {
        /// Each message that came further.
        receipts: Vec<Noted>,
        /// How much less waits now.
        freed: Waiting,
        /// How much less of it for the device.
        copies: Waiting,
    },
    /// What is left of a device's copies.
    Trimmed {
        /// How much.
        left: Waiting,
    },
    /// There is a copy.
    BackedUp {
        /// Where.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
    /// The store failed; nothing of the operation remains. The words are for the log.
    Failed(Arc<str>),
}

/// A message that came further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Which.
    pub id: MessageId,
    /// Who wrote it.
    pub writer: UserId,
    /// How far it had come before.
    pub before: ReceiptState,
}

/// A device of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDevice {
    /// Whose.
    pub owner: UserId,
    /// Which.
    pub device: DeviceId,
    /// When it was there last.
    pub seen: Timestamp,
    /// What waits for it.
    pub waiting: Waiting,
}

/// How much waits for a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages.
    pub messages: u64,
    /// Bytes of their texts.
    pub bytes: u64,
}

/// What a server starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every name, with what waits for it.
    pub users: Vec<(StoredUser, Waiting)>,
    /// Every group.
    pub groups: Vec<StoredGroup>,
    /// Every member and invitation.
    pub members: Vec<StoredMember>,
    /// Who has written to whom, as far as messages are kept.
    pub wrote: Vec<(UserId, UserId)>,
    /// Every device.
    pub devices: Vec<StoredDevice>,
    /// Settings that were changed.
    pub settings: Vec<(UserId, Settings)>,
    /// Requests to change groups that were carried out, of each user in order of time.
    pub references: Vec<StoredReference>,
    /// Every key that is kept out.
    pub bans: Vec<StoredBan>,
    /// The greatest number given to a group of which anything is left.
    pub last_group: GroupId,
    /// The greatest message id given.
    pub last_message: MessageId,
}

/// Keeps names, keys, mailboxes, groups and message ids. The seam behind which storage can be changed.
pub trait Store: Send {
    /// Reads what a server starts from.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// Carries out `operations` in order, all or none; one outcome each. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them has happened.
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError>;
}

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "{} is in use by another server; stop that one or choose another --data directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// It was written by a newer version.
    #[error(
        "{} was written by a newer version (schema {found}, this version knows {known}); run that \
         version, or start with another --data directory",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It cannot be what we wrote.
    #[error(
        "{} is damaged or not a database of this server ({detail}); restore it from a backup, or \
         move it away to begin afresh (names and waiting messages are then lost)",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The system or the database engine said no.
    #[error("cannot {during}")]
    Database {
        /// What was attempted.
        during: &'static str,
        /// The engine's word.
        source: rusqlite::Error,
    },
    /// The directory or the file cannot be made or opened.
    #[error("cannot use {}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}
