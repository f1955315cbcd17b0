//! What a store keeps of groups.

use portolan_protocol::{MessageId, Name, Role, Timestamp};

use super::UserId;

/// A group's number: given once, never again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// A group without its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGroup {
    /// The number.
    pub id: GroupId,
    /// The name as it was typed.
    pub name: Name,
    /// Whether those who join may read what was said before.
    pub has_history: bool,
    /// When it was made.
    pub since: Timestamp,
}

/// A user in a group, or invited to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMember {
    /// Which group.
    pub group: GroupId,
    /// Who.
    pub user: UserId,
    /// What they may do; `None`: they are invited.
    pub role: Option<Role>,
    /// Member or invited since.
    pub since: Timestamp,
    /// Only messages with greater ids may be read by them.
    pub after: MessageId,
    /// Who invited them, or made the group.
    pub by: UserId,
}

/// A request to change a group that was carried out, by the asker's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredReference {
    /// Who asked.
    pub user: UserId,
    /// Under what number.
    pub reference: u64,
    /// When.
    pub at: Timestamp,
}

/// One step of a change of a group; a change is made whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupWrite {
    /// Keeps a new group, or the new name of one.
    Save(StoredGroup),
    /// Keeps a member, an invited user, or a new role.
    Member(StoredMember),
    /// Forgets a member or an invitation.
    Drop {
        /// Of which group.
        group: GroupId,
        /// Who.
        user: UserId,
    },
    /// Remembers that a request was carried out.
    Note(StoredReference),
    /// Forgets that.
    Unnote(StoredReference),
    /// Forgets the group. Its messages stay with those for whom they wait.
    End(GroupId),
}
