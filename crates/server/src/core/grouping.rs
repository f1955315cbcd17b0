//! Groups: create, invite, join, leave, remove, roles, rename.
//!
//! A change is decided on when the one before it is stored, so that what was answered is what the
//! store has; meanwhile further ones wait in order.

use portolan_protocol::{
    CreateGroup, ErrorBody, ErrorCode, GroupChange, GroupInfo, GroupNews, Groups,
    Limits as MessageLimits, ListMembers, Member, Members, MessageId, Name, RequestId, Role,
};

use super::{
    Core, Effect, Now, SessionId,
    commands::rate_limited,
    group_references::Asked,
    groups::{Change, Claim, Group, WaitingChange},
    lists::page_size,
    mailbox::{Pending, store_failed},
    rates::Action,
};
use crate::{
    event_log::LogEntry,
    store::{GroupId, GroupWrite, Operation, Outcome, StoredGroup, StoredMember, UserId},
};

/// Changes of one group that wait for the store; more are refused.
const WAITING_MAX: usize = 64;

/// A change on its way into the store.
#[derive(Debug)]
pub(super) struct PendingGroup {
    session: SessionId,
    id: RequestId,
    /// By whom and under what number it was asked for.
    noted: Option<(UserId, u64)>,
    plan: Plan,
}

/// What a change writes, and what is told when it is written.
#[derive(Debug)]
struct Plan {
    group: GroupId,
    writes: Vec<GroupWrite>,
    /// A name that was taken for it.
    reserved: Option<Name>,
    /// What it adds to that is bounded.
    claims: Vec<Claim>,
    news: Vec<News>,
}

#[derive(Debug)]
struct News {
    change: GroupChange,
    by: UserId,
    user: Option<UserId>,
    role: Option<Role>,
    to: Option<Name>,
}

impl News {
    fn new(change: GroupChange, by: UserId) -> Self {
        Self { change, by, user: None, role: None, to: None }
    }

    fn role(by: UserId, of: UserId, role: Role) -> Self {
        Self { role: Some(role), ..Self::new(GroupChange::Role, by).about(of) }
    }

    fn about(self, user: UserId) -> Self {
        Self { user: Some(user), ..self }
    }
}

impl Core {
    pub(super) fn create_group(
        &mut self,
        now: Now,
        session: SessionId,
        id: RequestId,
        create: &CreateGroup,
    ) {
        let asked = (session, id, create.reference);
        if self.is_repeated(asked) {
            return;
        }
        match self.plan_creation(now, session, create) {
            Ok(plan) => self.store_plan(now, asked, plan),
            Err(error) => self.refuse(session, id, error),
        }
    }

    fn plan_creation(
        &mut self,
        now: Now,
        session: SessionId,
        create: &CreateGroup,
    ) -> Result<Plan, ErrorBody> {
        let owner = self.logged_in(session)?;
        self.pay_for_change(now, owner)?;
        let name = self.check_group_name(&create.group, None)?;
        if self.groups.len() >= self.limits.groups {
            return Err(ErrorBody::new(ErrorCode::Quota, "this server takes no new groups"));
        }
        self.check_memberships(owner)?;
        let stored = self.groups.reserve(name.clone(), create.history, now.wall);
        let member = StoredMember {
            group: stored.id,
            user: owner,
            role: Some(Role::Owner),
            since: now.wall,
            after: MessageId(0),
            by: owner,
        };
        Ok(Plan {
            group: stored.id,
            writes: vec![GroupWrite::Save(stored), GroupWrite::Member(member)],
            reserved: Some(name),
            claims: vec![Claim::Group, Claim::Membership(owner)],
            news: Vec::new(),
        })
    }

    fn check_group_name(&self, text: &str, group: Option<GroupId>) -> Result<Name, ErrorBody> {
        let name = Name::new(text).map_err(|error| {
            ErrorBody::new(ErrorCode::NameInvalid, error.to_string()).with_detail("group")
        })?;
        if self.groups.is_free(&name, group) {
            return Ok(name);
        }
        let message = format!("there is a group {name} already; choose another name");
        Err(ErrorBody::new(ErrorCode::Conflict, message).with_detail(name.as_str()))
    }

    /// A change of a group that exists: now, or after those that were asked for before.
    pub(super) fn change_group(&mut self, now: Now, asked: Asked, group: &str, change: Change) {
        if self.is_repeated(asked) {
            return;
        }
        let (session, id, reference) = asked;
        let found = self.logged_in(session).and_then(|user| {
            self.pay_for_change(now, user)?;
            self.group_of(user, group).map(|group| group.stored.id)
        });
        let group = match found {
            Ok(group) => group,
            Err(error) => return self.refuse(session, id, error),
        };
        let Some(known) = self.groups.get_mut(group) else { return };
        if !known.is_changing {
            let waiting = WaitingChange { session, id, reference, change };
            return self.begin_change(now, group, waiting);
        }
        if known.waiting.len() < WAITING_MAX {
            return known.waiting.push_back(WaitingChange { session, id, reference, change });
        }
        let message = "too many changes of this group at once; try again in a moment";
        self.refuse(session, id, ErrorBody::new(ErrorCode::RateLimited, message));
    }

    fn begin_change(&mut self, now: Now, group: GroupId, waiting: WaitingChange) {
        let WaitingChange { session, id, reference, change } = waiting;
        if self.is_repeated((session, id, reference)) {
            return;
        }
        let planned = self.logged_in(session).and_then(|user| {
            let known = self.groups.get(group).filter(|known| known.members.contains_key(&user));
            known.ok_or_else(|| unknown_group("this one"))?;
            self.plan_change(now, user, group, change)
        });
        match planned {
            Ok(plan) => self.store_plan(now, (session, id, reference), plan),
            Err(error) => self.refuse(session, id, error),
        }
    }

    fn store_plan(&mut self, now: Now, asked: Asked, mut plan: Plan) {
        let (session, id, _) = asked;
        let noted = self.note_reference(now, asked, &mut plan.writes);
        if let Some(group) = self.groups.get_mut(plan.group) {
            group.is_changing = true;
        }
        self.groups.claim(&plan.claims);
        let operation = Operation::WriteGroup(plan.writes.clone());
        self.store(Pending::Group(PendingGroup { session, id, noted, plan }), operation);
    }

    fn plan_change(
        &mut self,
        now: Now,
        user: UserId,
        group: GroupId,
        change: Change,
    ) -> Result<Plan, ErrorBody> {
        match change {
            Change::Invite(whom) => self.plan_invitation(now, user, group, &whom),
            Change::Join => self.plan_joining(now, user, group),
            Change::Leave => self.plan_leaving(user, group),
            Change::Remove(whom) => self.plan_removal(user, group, &whom),
            Change::SetRole(whom, role) => self.plan_role(user, group, &whom, role),
            Change::Rename(to) => self.plan_renaming(user, group, &to),
        }
    }

    fn plan_invitation(
        &self,
        now: Now,
        by: UserId,
        group: GroupId,
        whom: &Name,
    ) -> Result<Plan, ErrorBody> {
        let known = self.group_with(group, by, Role::Admin)?;
        let user = self.known_user(whom)?;
        if known.members.contains_key(&user) {
            let message = format!("{whom} is in the group or invited already");
            return Err(ErrorBody::new(ErrorCode::Conflict, message).with_detail(whom.as_str()));
        }
        if known.members.len() >= self.limits.group_members {
            let limit = self.limits.group_members;
            let message = format!("the group has its {limit} members, invited ones included");
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        let invitations = self.groups.invitations(user);
        if invitations >= self.limits.invitations_per_user {
            let message = format!("{whom} has {invitations} open invitations; try again later");
            return Err(ErrorBody::new(ErrorCode::Quota, message).with_detail(whom.as_str()));
        }
        let after = MessageId(0);
        let member = StoredMember { group, user, role: None, since: now.wall, after, by };
        Ok(Plan {
            group,
            writes: vec![GroupWrite::Member(member)],
            reserved: None,
            claims: vec![Claim::Invitation(user)],
            news: vec![News::new(GroupChange::Invited, by).about(user)],
        })
    }

    fn plan_joining(&self, now: Now, user: UserId, group: GroupId) -> Result<Plan, ErrorBody> {
        let known = self.groups.get(group).filter(|known| known.is_invited(user));
        let Some(known) = known else {
            return Err(ErrorBody::new(ErrorCode::Conflict, "you are in this group already"));
        };
        self.check_memberships(user)?;
        let Some(invitation) = known.members.get(&user) else {
            return Err(unknown_group("this one"));
        };
        let after = match known.stored.has_history {
            true => MessageId(0),
            false => MessageId(self.last_message),
        };
        let member =
            StoredMember { role: Some(Role::Member), since: now.wall, after, ..*invitation };
        Ok(Plan {
            group,
            writes: vec![GroupWrite::Member(member)],
            reserved: None,
            claims: vec![Claim::Membership(user)],
            news: vec![News::new(GroupChange::Joined, user)],
        })
    }

    fn plan_leaving(&self, user: UserId, group: GroupId) -> Result<Plan, ErrorBody> {
        let known = self.groups.get(group).ok_or_else(|| unknown_group("this one"))?;
        let mut writes = vec![GroupWrite::Drop { group, user }];
        let mut news = vec![News::new(GroupChange::Left, user)];
        match known.heir(user) {
            Some(heir) if known.role(user) == Some(Role::Owner) => {
                let role = Some(Role::Owner);
                writes.push(GroupWrite::Member(StoredMember { role, ..heir }));
                news.push(News::role(user, heir.user, Role::Owner));
            }
            Some(_) => {}
            // Whoever is still invited could never be let in by anyone.
            None => writes = vec![GroupWrite::End(group)],
        }
        Ok(Plan { group, writes, reserved: None, claims: Vec::new(), news })
    }

    fn plan_removal(&self, by: UserId, group: GroupId, whom: &Name) -> Result<Plan, ErrorBody> {
        let known = self.group_with(group, by, Role::Admin)?;
        let user = self.in_group(known, whom)?;
        if known.role(user) >= known.role(by) {
            let message = format!("{whom} has no lower role than yours; the owner can change that");
            return Err(ErrorBody::new(ErrorCode::Forbidden, message).with_detail(whom.as_str()));
        }
        Ok(Plan {
            group,
            writes: vec![GroupWrite::Drop { group, user }],
            reserved: None,
            claims: Vec::new(),
            news: vec![News::new(GroupChange::Removed, by).about(user)],
        })
    }

    fn plan_role(
        &self,
        by: UserId,
        group: GroupId,
        whom: &Name,
        role: Role,
    ) -> Result<Plan, ErrorBody> {
        let known = self.group_with(group, by, Role::Owner)?;
        let user = self.in_group(known, whom)?;
        let (Some(member), Some(owner)) = (known.members.get(&user), known.members.get(&by)) else {
            return Err(unknown_group("this one"));
        };
        if user == by || member.role.is_none() {
            let message = match user == by {
                true => "the owner stays the owner until another member is made the owner".into(),
                false => format!("{whom} is invited and has not joined yet"),
            };
            return Err(ErrorBody::new(ErrorCode::Conflict, message).with_detail(whom.as_str()));
        }
        let mut writes = vec![GroupWrite::Member(StoredMember { role: Some(role), ..*member })];
        let mut news = vec![News::role(by, user, role)];
        if role == Role::Owner {
            writes.push(GroupWrite::Member(StoredMember { role: Some(Role::Admin), ..*owner }));
            news.push(News::role(by, by, Role::Admin));
        }
        Ok(Plan { group, writes, reserved: None, claims: Vec::new(), news })
    }

    fn plan_renaming(&mut self, by: UserId, group: GroupId, to: &str) -> Result<Plan, ErrorBody> {
        let stored = self.group_with(group, by, Role::Admin)?.stored.clone();
        let name = self.check_group_name(to, Some(group))?;
        self.groups.reserve_name(&name, group);
        let news = News { to: Some(name.clone()), ..News::new(GroupChange::Renamed, by) };
        Ok(Plan {
            group,
            writes: vec![GroupWrite::Save(StoredGroup { name: name.clone(), ..stored })],
            reserved: Some(name),
            claims: Vec::new(),
            news: vec![news],
        })
    }

    pub(super) fn on_group_stored(&mut self, now: Now, pending: PendingGroup, outcome: &Outcome) {
        let PendingGroup { session, id, noted, plan } = pending;
        self.groups.release(&plan.claims);
        let is_done = !matches!(outcome, Outcome::Failed(_));
        self.settle_reference(noted, is_done);
        match outcome {
            Outcome::Failed(_) => {
                if let Some(name) = &plan.reserved {
                    self.groups.release_name(name, plan.group);
                }
                self.refuse(session, id, store_failed());
            }
            Outcome::Done
            | Outcome::Kept
            | Outcome::Repeated { .. }
            | Outcome::Page { .. }
            | Outcome::Noted { .. }
            | Outcome::Trimmed { .. }
            | Outcome::BackedUp { .. } => {
                self.respond_done(session, id, Ok(()));
                for news in &plan.news {
                    self.tell_group(plan.group, news);
                }
                self.apply_to_groups(&plan.writes);
            }
        }
        let Some(group) = self.groups.get_mut(plan.group) else { return };
        group.is_changing = false;
        while let Some(group) = self.groups.get_mut(plan.group)
            && !group.is_changing
            && let Some(next) = group.waiting.pop_front()
        {
            self.begin_change(now, plan.group, next);
        }
    }

    fn apply_to_groups(&mut self, writes: &[GroupWrite]) {
        for write in writes {
            for WaitingChange { session, id, .. } in self.groups.apply(write) {
                self.refuse(session, id, unknown_group("this one"));
            }
        }
    }

    /// Tells those who are in the group, and whom it concerns, before the change is made.
    fn tell_group(&mut self, group: GroupId, news: &News) {
        let Some(known) = self.groups.get(group) else { return };
        let name = |user| self.user(user).map(|known| known.name.clone());
        let Some(by) = name(news.by) else { return };
        let user = news.user.and_then(name);
        let group = known.stored.name.clone();
        let told = known.joined().chain(news.user).chain([news.by]);
        let mut to: Vec<SessionId> = told.flat_map(|user| self.sessions_of(user)).collect();
        to.sort_unstable();
        to.dedup();
        let event = GroupNews {
            group: group.to_string(),
            change: news.change,
            by: by.clone(),
            user: user.clone(),
            role: news.role,
            to: news.to.as_ref().map(Name::to_string),
        };
        self.log(LogEntry::Group { group, change: news.change, by, user });
        self.effects.push(Effect::Tell { to, event: event.into() });
    }

    /// A user who has logged in learns of the invitations that wait.
    pub(super) fn repeat_invitations(&mut self, user: UserId, session: SessionId) {
        let invitations: Vec<GroupNews> = self
            .groups
            .of(user)
            .filter(|group| group.is_invited(user))
            .filter_map(|group| {
                let by = group.members.get(&user)?.by;
                Some(GroupNews {
                    group: group.stored.name.to_string(),
                    change: GroupChange::Invited,
                    by: self.user(by)?.name.clone(),
                    user: self.user(user).map(|known| known.name.clone()),
                    role: None,
                    to: None,
                })
            })
            .collect();
        for news in invitations {
            self.tell(session, news);
        }
    }

    pub(super) fn list_groups(&mut self, session: SessionId, id: RequestId) {
        let result = self.logged_in(session).map(|user| {
            let mut groups: Vec<&Group> = self.groups.of(user).collect();
            groups.sort_unstable_by_key(|group| group.stored.name.key());
            let groups = groups.into_iter().map(|group| GroupInfo {
                group: group.stored.name.to_string(),
                role: group.role(user),
                members: u32::try_from(group.joined().count()).unwrap_or(u32::MAX),
                history: group.stored.has_history,
            });
            Groups { groups: groups.collect() }
        });
        self.respond(session, id, result);
    }

    pub(super) fn list_members(&mut self, session: SessionId, id: RequestId, list: &ListMembers) {
        let result = self.logged_in(session).and_then(|user| {
            let group = self.group_of(user, &list.group)?;
            let mut members: Vec<Member> = group
                .members
                .values()
                .filter_map(|member| {
                    let name = self.user(member.user)?.name.clone();
                    Some(Member { name, role: member.role })
                })
                .filter(|member| list.after.as_ref().is_none_or(|after| member.name > *after))
                .collect();
            members.sort_unstable_by(|one, other| one.name.cmp(&other.name));
            let limit = page_size(list.limit);
            let more = members.len() > limit;
            members.truncate(limit);
            Ok(Members { members, more })
        });
        self.respond(session, id, result);
    }

    /// The group of that name, if the user is in it or invited: others do not learn of it.
    pub(super) fn group_of(&self, user: UserId, text: &str) -> Result<&Group, ErrorBody> {
        let shown: String = text.chars().take(MessageLimits::V1.name as usize).collect();
        let name = Name::new(text).map_err(|_| unknown_group(&shown))?;
        let found = self.groups.find(&name).filter(|group| group.members.contains_key(&user));
        found.ok_or_else(|| unknown_group(&shown))
    }

    /// The group, if the user's role in it is enough.
    fn group_with(&self, group: GroupId, user: UserId, least: Role) -> Result<&Group, ErrorBody> {
        let known = self.groups.get(group).ok_or_else(|| unknown_group("this one"))?;
        if known.role(user).is_some_and(|role| role >= least) {
            return Ok(known);
        }
        let who = match least {
            Role::Owner => "only the owner of the group",
            Role::Admin => "only the owner and the admins of the group",
            Role::Member => "only the members of the group",
        };
        Err(ErrorBody::new(ErrorCode::Forbidden, format!("{who} may do this")))
    }

    /// The user of that name, who is in the group or invited.
    fn in_group(&self, group: &Group, name: &Name) -> Result<UserId, ErrorBody> {
        let user = self.known_user(name)?;
        if group.members.contains_key(&user) {
            return Ok(user);
        }
        let message = format!("{name} is not in the group");
        Err(ErrorBody::new(ErrorCode::UnknownUser, message).with_detail(name.as_str()))
    }

    fn check_memberships(&self, user: UserId) -> Result<(), ErrorBody> {
        let limit = self.limits.groups_per_user;
        if self.groups.memberships(user) < limit {
            return Ok(());
        }
        let message = format!("you are in {limit} groups; leave one first");
        Err(ErrorBody::new(ErrorCode::Quota, message))
    }

    fn pay_for_change(&mut self, now: Now, user: UserId) -> Result<(), ErrorBody> {
        let key = self.user(user).map(|user| user.key);
        if key.is_some_and(|key| !self.rates.take(now.instant, key, Action::GroupChange)) {
            return Err(rate_limited("changes of groups", self.limits.group_changes.per_second));
        }
        Ok(())
    }
}

fn unknown_group(name: &str) -> ErrorBody {
    let message = format!("there is no group {name}, or you are not in it");
    ErrorBody::new(ErrorCode::UnknownGroup, message).with_detail(name)
}
