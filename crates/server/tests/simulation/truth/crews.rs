//! Groups, as a few rules say they are.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use portolan_protocol::{Command, ErrorCode, Groups, ListMembers, Members, Name, Role, Timestamp};
use portolan_server::store::{GroupId, GroupWrite, Snapshot, UserId};

use super::Word;
use crate::world::{limits, user_of};

/// A group; those without a role are invited.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Crew {
    name: String,
    has_history: bool,
    members: BTreeMap<usize, Option<Role>>,
    since: BTreeMap<usize, (Timestamp, UserId)>,
}

type All = BTreeMap<GroupId, Crew>;

#[derive(Default)]
pub(crate) struct Crews {
    /// As the core knows them.
    told: All,
    /// As the disk has them.
    stored: All,
    /// Changes on their way to the disk, which may want names and places.
    queued: usize,
    /// The change of which the core is being told.
    written: Option<Written>,
}

/// A change that the disk has made.
#[derive(Debug, Clone)]
struct Written {
    group: GroupId,
    before: Option<Crew>,
    is_answered: bool,
}

/// Whether a command changes a group.
pub(crate) fn is_change(command: &Command) -> bool {
    matches!(command, Command::CreateGroup(_)) || group_name(command).is_some()
}

/// The group that a change is about.
fn group_name(command: &Command) -> Option<&str> {
    match command {
        Command::InviteToGroup(invite) => Some(&invite.group),
        Command::JoinGroup(join) => Some(&join.group),
        Command::LeaveGroup(leave) => Some(&leave.group),
        Command::RemoveFromGroup(remove) => Some(&remove.group),
        Command::SetRole(set) => Some(&set.group),
        Command::RenameGroup(rename) => Some(&rename.group),
        _ => None,
    }
}

impl Crew {
    fn role(&self, user: usize) -> Option<Role> {
        self.members.get(&user).copied().flatten()
    }

    fn is_invited(&self, user: usize) -> bool {
        self.members.get(&user) == Some(&None)
    }

    fn must_be(&self, user: usize, least: Role) -> Result<(), ErrorCode> {
        (self.role(user) >= Some(least)).then_some(()).ok_or(ErrorCode::Forbidden)
    }

    /// Those of the highest role inherit, the one who has been there longest first.
    fn heir(&self, leaver: usize) -> Option<usize> {
        let others = self.members.iter().filter(|(user, role)| **user != leaver && role.is_some());
        others.max_by_key(|(user, role)| (**role, Reverse(self.since[user]))).map(|(user, _)| *user)
    }
}

impl Crews {
    fn by_name(&self, name: &str) -> Option<(GroupId, &Crew)> {
        self.told.iter().find(|(_, crew)| crew.name == name).map(|(id, crew)| (*id, crew))
    }

    pub(crate) fn of(&self, user: usize) -> Option<String> {
        let mut theirs = self.told.values().filter(|crew| crew.members.contains_key(&user));
        theirs.next().map(|crew| crew.name.clone())
    }

    /// The group of that name, if the user may know of it.
    pub(crate) fn find(&self, user: usize, name: &str) -> Result<GroupId, ErrorCode> {
        let found = self.by_name(name).filter(|(_, crew)| crew.members.contains_key(&user));
        found.map(|(id, _)| id).ok_or(ErrorCode::UnknownGroup)
    }

    /// To whom a member speaks.
    pub(crate) fn speaks(&self, user: usize, name: &str) -> Result<Vec<usize>, ErrorCode> {
        let crew = &self.told[&self.find(user, name)?];
        crew.role(user).ok_or(ErrorCode::Forbidden)?;
        let others = crew.members.iter().filter(|(other, role)| **other != user && role.is_some());
        Ok(others.map(|(other, _)| *other).collect())
    }

    pub(crate) fn audience(&self, name: &str) -> BTreeSet<usize> {
        let crew = self.by_name(name).map(|(_, crew)| crew);
        let members = crew.into_iter().flat_map(|crew| &crew.members);
        members.filter(|(_, role)| role.is_some()).map(|(user, _)| *user).collect()
    }

    pub(crate) fn has_history(&self, group: GroupId) -> bool {
        let crew = self.told.get(&group).or_else(|| self.stored.get(&group));
        crew.is_none_or(|crew| crew.has_history)
    }

    /// Which group a request is about, from the moment in which it is taken.
    pub(crate) fn meant(&self, user: usize, command: &Command) -> Option<GroupId> {
        self.find(user, group_name(command)?).ok()
    }

    pub(crate) fn expect(&self, user: usize, command: &Command) -> Option<Result<(), ErrorCode>> {
        self.find(user, group_name(command)?).err().map(Err)
    }

    /// Whether news of a group are for this user: who is in it or invited, before or after.
    pub(crate) fn concerns(&self, user: usize, name: &str) -> bool {
        let before = self.written.as_ref().and_then(|written| written.before.as_ref());
        let now = self.by_name(name).map(|(_, crew)| crew);
        let named = before.filter(|crew| crew.name == name).into_iter().chain(now);
        named.into_iter().any(|crew| crew.members.contains_key(&user))
    }

    pub(crate) fn on_queued(&mut self, writes: &[GroupWrite]) {
        self.queued += usize::from(!writes.is_empty());
    }

    pub(crate) fn on_committed(&mut self, writes: &[GroupWrite], ids: &BTreeMap<UserId, usize>) {
        writes.iter().for_each(|write| apply(&mut self.stored, write, ids));
    }

    pub(crate) fn on_outcome(
        &mut self,
        writes: &[GroupWrite],
        is_done: bool,
        ids: &BTreeMap<UserId, usize>,
    ) {
        self.queued -= usize::from(!writes.is_empty());
        let group = writes.first().map(group_of).filter(|_| is_done);
        if let Some(group) = group {
            let before = self.told.get(&group).cloned();
            self.written = Some(Written { group, before, is_answered: false });
            writes.iter().for_each(|write| apply(&mut self.told, write, ids));
        }
    }

    pub(crate) fn on_outcome_taken(&mut self) {
        let written = self.written.take();
        let is_answered = written.as_ref().is_none_or(|written| written.is_answered);
        assert!(is_answered, "a group was changed and nobody was answered: {written:?}");
    }

    pub(crate) fn on_killed(&mut self) {
        self.told = self.stored.clone();
        self.queued = 0;
        self.written = None;
    }

    /// A change was granted or refused: rightly?
    pub(crate) fn check_change(
        &mut self,
        (user, is_there): (usize, bool),
        group: Option<GroupId>,
        command: &Command,
        code: Result<(), ErrorCode>,
        known: &BTreeSet<usize>,
    ) -> Word {
        match code {
            Ok(()) => {
                let written = self.written.as_mut().expect("nothing was written");
                let is_second = std::mem::replace(&mut written.is_answered, true);
                assert!(!is_second, "one change, two answers");
                let mut world = self.told.clone();
                let after = world.remove(&written.group);
                if let Some(before) = &written.before {
                    world.insert(written.group, before.clone());
                }
                let right = change(&world, user, group, command, known).map(|(_, crew)| crew);
                let shape = |crew: Option<Crew>| crew.map(|c| (c.name, c.has_history, c.members));
                assert_eq!(Ok(shape(after)), right.map(shape), "{command:?} of user{user}");
                Word::GroupChanged
            }
            Err(ErrorCode::NotLoggedIn) => {
                assert!(!is_there, "user{user} is there");
                Word::Nothing
            }
            Err(code) => {
                let right = change(&self.told, user, group, command, known).map(drop);
                // Names and places are kept for changes that are on their way.
                let is_wanted =
                    matches!(code, ErrorCode::Conflict | ErrorCode::Quota) && self.queued > 0;
                assert!(right == Err(code) || is_wanted, "{command:?}: {code:?}, not {right:?}");
                Word::Nothing
            }
        }
    }

    pub(crate) fn check_groups(&self, user: usize, groups: &Groups) {
        let shown: BTreeMap<String, Option<Role>> =
            groups.groups.iter().map(|info| (info.group.clone(), info.role)).collect();
        let theirs = self
            .told
            .values()
            .filter_map(|crew| Some((crew.name.clone(), *crew.members.get(&user)?)));
        assert_eq!(shown, theirs.collect());
    }

    pub(crate) fn check_members(&self, user: usize, list: &ListMembers, members: &Members) {
        let Ok(group) = self.find(user, &list.group) else { panic!("{members:?}") };
        let shown: BTreeMap<usize, Option<Role>> =
            members.members.iter().map(|member| (user_of(&member.name), member.role)).collect();
        assert_eq!(shown, self.told[&group].members);
    }

    pub(crate) fn check_snapshot(&self, snapshot: &Snapshot, ids: &BTreeMap<UserId, usize>) {
        let mut found = All::new();
        for group in &snapshot.groups {
            apply(&mut found, &GroupWrite::Save(group.clone()), ids);
        }
        for member in &snapshot.members {
            apply(&mut found, &GroupWrite::Member(*member), ids);
        }
        assert_eq!(found, self.stored);
        let owners =
            |crew: &Crew| crew.members.values().filter(|r| **r == Some(Role::Owner)).count();
        assert!(found.values().all(|crew| owners(crew) == 1), "a group without its owner");
        for crew in found.values() {
            assert!(crew.members.len() <= limits().group_members, "too many members");
        }
    }
}

fn group_of(write: &GroupWrite) -> GroupId {
    match write {
        GroupWrite::Save(group) => group.id,
        GroupWrite::Member(member) => member.group,
        GroupWrite::Drop { group, .. } | GroupWrite::End(group) => *group,
        GroupWrite::Note(_) | GroupWrite::Unnote(_) => unreachable!("nobody gives references"),
    }
}

fn apply(all: &mut All, write: &GroupWrite, ids: &BTreeMap<UserId, usize>) {
    match write {
        GroupWrite::Save(group) => {
            let crew = all.entry(group.id).or_insert_with(|| Crew {
                name: String::new(),
                has_history: group.has_history,
                members: BTreeMap::new(),
                since: BTreeMap::new(),
            });
            crew.name = group.name.to_string();
        }
        GroupWrite::Member(member) => {
            if let Some(crew) = all.get_mut(&member.group) {
                let user = ids[&member.user];
                crew.members.insert(user, member.role);
                crew.since.insert(user, (member.since, member.user));
            }
        }
        GroupWrite::Note(_) | GroupWrite::Unnote(_) => {}
        GroupWrite::Drop { group, user } => {
            if let Some(crew) = all.get_mut(group) {
                crew.members.remove(&ids[user]);
                crew.since.remove(&ids[user]);
            }
        }
        GroupWrite::End(group) => drop(all.remove(group)),
    }
}

/// The rules: what a change makes of a group, or why it is refused.
fn change(
    all: &All,
    user: usize,
    group: Option<GroupId>,
    command: &Command,
    known: &BTreeSet<usize>,
) -> Result<(Option<GroupId>, Option<Crew>), ErrorCode> {
    let is_free = |name: &str, own: Option<GroupId>| {
        all.iter().all(|(id, crew)| Some(*id) == own || crew.name != name)
    };
    if let Command::CreateGroup(create) = command {
        is_free(&create.group, None).then_some(()).ok_or(ErrorCode::Conflict)?;
        may_be_in_another(all, user)?;
        let members = BTreeMap::from([(user, Some(Role::Owner))]);
        let (name, has_history) = (create.group.clone(), create.history);
        return Ok((None, Some(Crew { name, has_history, members, since: BTreeMap::new() })));
    }
    let crew = group.and_then(|group| all.get(&group)).ok_or(ErrorCode::UnknownGroup)?;
    let mut crew = crew.clone();
    crew.members.get(&user).ok_or(ErrorCode::UnknownGroup)?;
    let of = |name: &Name| {
        let other = user_of(name);
        known.contains(&other).then_some(other).ok_or(ErrorCode::UnknownUser)
    };
    match command {
        Command::InviteToGroup(invite) => {
            crew.must_be(user, Role::Admin)?;
            let other = of(&invite.user)?;
            let invitations = all.values().filter(|crew| crew.is_invited(other)).count();
            if crew.members.contains_key(&other) {
                return Err(ErrorCode::Conflict);
            }
            if crew.members.len() >= limits().group_members
                || invitations >= limits().invitations_per_user
            {
                return Err(ErrorCode::Quota);
            }
            crew.members.insert(other, None);
        }
        Command::JoinGroup(_) => {
            crew.is_invited(user).then_some(()).ok_or(ErrorCode::Conflict)?;
            may_be_in_another(all, user)?;
            crew.members.insert(user, Some(Role::Member));
        }
        Command::LeaveGroup(_) => {
            let role = crew.role(user);
            let heir = crew.heir(user);
            crew.members.remove(&user);
            match heir {
                None => return Ok((group, None)),
                Some(heir) if role == Some(Role::Owner) => {
                    crew.members.insert(heir, Some(Role::Owner));
                }
                Some(_) => {}
            }
        }
        Command::RemoveFromGroup(remove) => {
            crew.must_be(user, Role::Admin)?;
            let other = of(&remove.user)?;
            crew.members.get(&other).ok_or(ErrorCode::UnknownUser)?;
            if crew.role(other) >= crew.role(user) {
                return Err(ErrorCode::Forbidden);
            }
            crew.members.remove(&other);
        }
        Command::SetRole(set) => {
            crew.must_be(user, Role::Owner)?;
            let other = of(&set.user)?;
            crew.members.get(&other).ok_or(ErrorCode::UnknownUser)?;
            if other == user || crew.role(other).is_none() {
                return Err(ErrorCode::Conflict);
            }
            crew.members.insert(other, Some(set.role));
            if set.role == Role::Owner {
                crew.members.insert(user, Some(Role::Admin));
            }
        }
        Command::RenameGroup(rename) => {
            crew.must_be(user, Role::Admin)?;
            is_free(&rename.to, group).then_some(()).ok_or(ErrorCode::Conflict)?;
            crew.name.clone_from(&rename.to);
        }
        other => panic!("no change of a group: {other:?}"),
    }
    Ok((group, Some(crew)))
}

fn may_be_in_another(all: &All, user: usize) -> Result<(), ErrorCode> {
    let count = all.values().filter(|crew| crew.role(user).is_some()).count();
    (count < limits().groups_per_user).then_some(()).ok_or(ErrorCode::Quota)
}
