//! Groups, and what was said before.

use portolan_protocol::{
    CreateGroup, GroupInfo, History, InviteToGroup, JoinGroup, LeaveGroup, ListGroups, ListMembers,
    Member, MessageId, Messages, Name, Recipient, RemoveFromGroup, RenameGroup, Reply, Role,
    SetRole, Table,
};

use crate::{Peer, RequestError, peer::ask};

impl Peer {
    /// Makes a group that we own; with `history`, whoever joins may read what was said before.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when the name is taken or breaks a rule.
    pub async fn create_group(&self, group: &str, history: bool) -> Result<(), RequestError> {
        self.done(CreateGroup { group: group.to_owned(), history, reference: None }.into()).await
    }

    /// Asks a user to join.
    ///
    /// # Errors
    /// [`RequestError::Refused`] without the role for it, or when `who` is in it already.
    pub async fn invite_to_group(&self, group: &str, who: &Name) -> Result<(), RequestError> {
        self.done(
            InviteToGroup { group: group.to_owned(), user: who.clone(), reference: None }.into(),
        )
        .await
    }

    /// Takes an invitation.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when there is none.
    pub async fn join_group(&self, group: &str) -> Result<(), RequestError> {
        self.done(JoinGroup { group: group.to_owned(), reference: None }.into()).await
    }

    /// Leaves a group, or turns an invitation down.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when we are not in it.
    pub async fn leave_group(&self, group: &str) -> Result<(), RequestError> {
        self.done(LeaveGroup { group: group.to_owned(), reference: None }.into()).await
    }

    /// Puts a member out, or takes an invitation back.
    ///
    /// # Errors
    /// [`RequestError::Refused`] without a role above the member's.
    pub async fn remove_from_group(&self, group: &str, who: &Name) -> Result<(), RequestError> {
        self.done(
            RemoveFromGroup { group: group.to_owned(), user: who.clone(), reference: None }.into(),
        )
        .await
    }

    /// Gives a member another role; as the owner. A new owner makes us an admin.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when we do not own the group.
    pub async fn set_role(&self, group: &str, who: &Name, role: Role) -> Result<(), RequestError> {
        self.done(
            SetRole { group: group.to_owned(), user: who.clone(), role, reference: None }.into(),
        )
        .await
    }

    /// Gives a group another name.
    ///
    /// # Errors
    /// [`RequestError::Refused`] without the role for it, or when the name is taken.
    pub async fn rename_group(&self, group: &str, to: &str) -> Result<(), RequestError> {
        self.done(
            RenameGroup { group: group.to_owned(), to: to.to_owned(), reference: None }.into(),
        )
        .await
    }

    /// The groups that we are in or invited to, in order of name.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, RequestError> {
        let reply: Result<_, RequestError> = ask!(self, ListGroups {}, Groups);
        Ok(reply?.groups)
    }

    /// Who is in a group or invited to it, in order of name.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when we are neither.
    pub async fn group_members(&self, group: &str) -> Result<Vec<Member>, RequestError> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let after = members.last().map(|member| member.name.clone());
            let list = ListMembers { group: group.to_owned(), after, limit: None };
            let page: Result<_, RequestError> = ask!(self, list, Members);
            let page = page?;
            let is_empty = page.members.is_empty();
            members.extend(page.members);
            if !page.more || is_empty {
                return Ok(members);
            }
        }
    }

    /// The newest page of what was said with a user or in a group, before the message `before`.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when there is no such user, or we are not in the group.
    pub async fn history(
        &self,
        with: Recipient,
        before: Option<MessageId>,
        limit: Option<u16>,
    ) -> Result<Messages, RequestError> {
        ask!(self, History { with, before, limit }, Messages)
    }
}
