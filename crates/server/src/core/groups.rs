//! Which groups there are, who is in them, and what is about to change.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use portolan_protocol::{Name, RequestId, Role, Timestamp};

use super::SessionId;
use crate::store::{GroupId, GroupWrite, Snapshot, StoredGroup, StoredMember, UserId};

/// A group with its members and those who are invited.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) stored: StoredGroup,
    pub(super) members: BTreeMap<UserId, StoredMember>,
    /// A change is on its way into the store.
    pub(super) is_changing: bool,
    /// Changes that wait for it.
    pub(super) waiting: VecDeque<WaitingChange>,
}

/// A change that somebody asked for while another was being stored.
#[derive(Debug)]
pub(super) struct WaitingChange {
    pub(super) session: SessionId,
    pub(super) id: RequestId,
    pub(super) reference: Option<u64>,
    pub(super) change: Change,
}

/// What can be asked of a group that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Invite(Name),
    Join,
    Leave,
    Remove(Name),
    SetRole(Name, Role),
    Rename(String),
}

impl Group {
    /// The role of a user; `None`: not in it, or only invited.
    pub(super) fn role(&self, user: UserId) -> Option<Role> {
        self.members.get(&user)?.role
    }

    pub(super) fn is_invited(&self, user: UserId) -> bool {
        self.members.get(&user).is_some_and(|member| member.role.is_none())
    }

    /// Those who are in it, without the invited.
    pub(super) fn joined(&self) -> impl Iterator<Item = UserId> {
        self.members.values().filter(|member| member.role.is_some()).map(|member| member.user)
    }

    /// Who owns it once `leaver` has left: of the highest role, who has been there longest.
    pub(super) fn heir(&self, leaver: UserId) -> Option<StoredMember> {
        let others = self.members.values().filter(|member| member.user != leaver);
        let joined = others.filter(|member| member.role.is_some());
        joined
            .max_by_key(|member| (member.role, std::cmp::Reverse((member.since, member.user))))
            .copied()
    }
}

/// Every group.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<GroupId, Group>,
    /// By what names are compared by; names on their way into the store included.
    by_name: HashMap<String, GroupId>,
    /// Memberships and invitations of each user.
    of_user: HashMap<UserId, BTreeSet<GroupId>>,
    /// What changes on their way into the store will add, and how often: it counts against the
    /// bounds from the moment it was granted.
    claims: HashMap<Claim, usize>,
    last_id: GroupId,
}

/// Something of which there may only be so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    /// Another group.
    Group,
    /// Another group that this user is in.
    Membership(UserId),
    /// Another open invitation of this user.
    Invitation(UserId),
}

impl Groups {
    /// What the store knows.
    pub(super) fn load(snapshot: &Snapshot) -> Self {
        let mut groups = Self { last_id: snapshot.last_group, ..Self::default() };
        for stored in &snapshot.groups {
            groups.by_name.insert(stored.name.key(), stored.id);
            groups.save(stored);
        }
        for member in &snapshot.members {
            groups.put_member(*member);
        }
        groups
    }

    /// Groups that there are, or are about to be.
    pub(super) fn len(&self) -> usize {
        self.groups.len() + self.claimed(Claim::Group)
    }

    /// Groups that the user is in, or is about to be in.
    pub(super) fn memberships(&self, user: UserId) -> usize {
        let joined = self.of(user).filter(|group| group.role(user).is_some()).count();
        joined + self.claimed(Claim::Membership(user))
    }

    /// Open invitations of the user, and those that are about to be.
    pub(super) fn invitations(&self, user: UserId) -> usize {
        let open = self.of(user).filter(|group| group.is_invited(user)).count();
        open + self.claimed(Claim::Invitation(user))
    }

    /// Counts what a change will add, until [`Self::release`].
    pub(super) fn claim(&mut self, claims: &[Claim]) {
        for claim in claims {
            *self.claims.entry(*claim).or_default() += 1;
        }
    }

    /// The store has answered: what a change has added counts by itself, or was not added.
    pub(super) fn release(&mut self, claims: &[Claim]) {
        for claim in claims {
            match self.claims.get_mut(claim) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => drop(self.claims.remove(claim)),
            }
        }
    }

    fn claimed(&self, claim: Claim) -> usize {
        self.claims.get(&claim).copied().unwrap_or_default()
    }

    pub(super) fn get(&self, group: GroupId) -> Option<&Group> {
        self.groups.get(&group)
    }

    pub(super) fn get_mut(&mut self, group: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(&group)
    }

    /// The group of that name, if it exists already: one that is only about to have the name is
    /// still found by the one before.
    pub(super) fn find(&self, name: &Name) -> Option<&Group> {
        let key = name.key();
        let found = self.groups.get(self.by_name.get(&key)?);
        found.filter(|group| group.stored.name.key() == key)
    }

    /// The groups that a user is in or invited to.
    pub(super) fn of(&self, user: UserId) -> impl Iterator<Item = &Group> {
        self.of_user.get(&user).into_iter().flatten().filter_map(|group| self.groups.get(group))
    }

    /// A new group's number and first state; its name is taken from now on.
    pub(super) fn reserve(
        &mut self,
        name: Name,
        has_history: bool,
        since: Timestamp,
    ) -> StoredGroup {
        self.last_id = GroupId(self.last_id.0 + 1);
        let id = self.last_id;
        self.reserve_name(&name, id);
        StoredGroup { id, name, has_history, since }
    }

    /// Whether no other group than `group` has this name or is about to have it.
    pub(super) fn is_free(&self, name: &Name, group: Option<GroupId>) -> bool {
        self.by_name.get(&name.key()).is_none_or(|holder| Some(*holder) == group)
    }

    /// Keeps a name for a group until the store has it.
    pub(super) fn reserve_name(&mut self, name: &Name, group: GroupId) {
        self.by_name.insert(name.key(), group);
    }

    /// Gives a name back that the store could not take.
    pub(super) fn release_name(&mut self, name: &Name, group: GroupId) {
        let is_current = self.groups.get(&group).is_some_and(|group| group.stored.name == *name);
        if !is_current && self.by_name.get(&name.key()) == Some(&group) {
            self.by_name.remove(&name.key());
        }
    }

    /// Does what the store has done; answers the changes that have lost their group.
    pub(super) fn apply(&mut self, write: &GroupWrite) -> VecDeque<WaitingChange> {
        match write {
            GroupWrite::Save(stored) => self.save(stored),
            GroupWrite::Member(member) => self.put_member(*member),
            &GroupWrite::Drop { group, user } => self.drop_member(group, user),
            &GroupWrite::End(group) => return self.end(group),
            GroupWrite::Note(_) | GroupWrite::Unnote(_) => {}
        }
        VecDeque::new()
    }

    fn save(&mut self, stored: &StoredGroup) {
        self.last_id = self.last_id.max(stored.id);
        if let Some(group) = self.groups.get_mut(&stored.id) {
            let before = std::mem::replace(&mut group.stored, stored.clone());
            return self.release_name(&before.name, stored.id);
        }
        let group = Group {
            stored: stored.clone(),
            members: BTreeMap::new(),
            is_changing: false,
            waiting: VecDeque::new(),
        };
        self.groups.insert(stored.id, group);
    }

    fn put_member(&mut self, member: StoredMember) {
        if let Some(group) = self.groups.get_mut(&member.group) {
            group.members.insert(member.user, member);
            self.of_user.entry(member.user).or_default().insert(member.group);
        }
    }

    fn drop_member(&mut self, group: GroupId, user: UserId) {
        if let Some(known) = self.groups.get_mut(&group) {
            known.members.remove(&user);
        }
        if let Some(groups) = self.of_user.get_mut(&user) {
            groups.remove(&group);
            if groups.is_empty() {
                self.of_user.remove(&user);
            }
        }
    }

    fn end(&mut self, group: GroupId) -> VecDeque<WaitingChange> {
        let Some(ended) = self.groups.remove(&group) else { return VecDeque::new() };
        self.by_name.remove(&ended.stored.name.key());
        for user in ended.members.into_keys() {
            self.drop_member(group, user);
        }
        ended.waiting
    }
}
