//! What was said before, page by page.

use portolan_protocol::{ErrorBody, ErrorCode, History, MessageId, Recipient, RequestId};

use super::{
    Core, SessionId,
    lists::page_size,
    mailbox::{PAGE_BYTES, Pending},
};
use crate::store::{Operation, Talk, UserId};

impl Core {
    pub(super) fn history(&mut self, session: SessionId, id: RequestId, history: &History) {
        let found = self.logged_in(session).and_then(|reader| {
            let (talk, after) = self.talk_of(reader, &history.with)?;
            Ok((reader, talk, after))
        });
        match found {
            Err(error) => self.refuse(session, id, error),
            Ok((reader, talk, after)) => {
                let operation = Operation::History {
                    reader,
                    talk,
                    after,
                    before: history.before.unwrap_or(MessageId(u64::MAX)),
                    messages: page_size(history.limit),
                    bytes: PAGE_BYTES,
                };
                self.store(Pending::Mailbox { session, id }, operation);
            }
        }
    }

    /// Which conversation is meant, and after which message the reader may read.
    fn talk_of(&self, reader: UserId, with: &Recipient) -> Result<(Talk, MessageId), ErrorBody> {
        match with {
            Recipient::User(name) => Ok((Talk::With(self.known_user(name)?), MessageId(0))),
            Recipient::Group(name) => {
                let group = self.group_of(reader, name)?;
                match group.members.get(&reader).filter(|member| member.role.is_some()) {
                    Some(member) => Ok((Talk::In(group.stored.id), member.after)),
                    None => Err(ErrorBody::new(ErrorCode::Forbidden, "join the group first")),
                }
            }
            Recipient::All | Recipient::Others => Err(ErrorBody::new(
                ErrorCode::BadRequest,
                "what was said to everyone is not kept; ask for a user or a group",
            )
            .with_detail("with")),
        }
    }
}
