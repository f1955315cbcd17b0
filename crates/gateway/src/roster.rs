//! A list of users, page after page.

use portolan_protocol::{List, UserInfo, Users, Whom};

/// Users that one list holds, at most.
const USERS_MAX: usize = 4_096;

/// What has come of a list.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Roster {
    users: Vec<UserInfo>,
}

impl Roster {
    /// The first question.
    pub(crate) fn question(whom: Whom) -> List {
        List { whom, ..List::default() }
    }

    /// Takes a page; the next question, if more is to come.
    pub(crate) fn take(&mut self, page: Users, whom: Whom) -> Option<List> {
        self.users.extend(page.users);
        let last = self.users.last().map(|user| user.name.clone());
        let goes_on = page.more && self.users.len() < USERS_MAX;
        goes_on.then(|| List { after: last, ..Self::question(whom) })
    }

    /// In order of their coming.
    pub(crate) fn by_arrival(mut self) -> Vec<UserInfo> {
        self.users.sort_by(|one, other| {
            one.online_since.cmp(&other.online_since).then_with(|| one.name.cmp(&other.name))
        });
        self.users
    }

    /// In order of name.
    pub(crate) fn by_name(self) -> Vec<UserInfo> {
        self.users
    }
}
