//! Which requests are asked again when the connection broke before the answer, and what a refusal
//! of the second one says about the first.

use std::collections::BTreeSet;

use portolan_protocol::{Command, Empty, ErrorBody, ErrorCode, Name, Reply, Requested};

use crate::{RequestError, SessionEnd};

/// What becomes of a request without an answer when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// It is not asked again: twice could be more than once.
    Never,
    /// It is asked again.
    Again {
        /// Refusals that mean: what was asked for is so.
        done: &'static [ErrorCode],
        /// Refusals that the first one may have caused itself.
        unsure: &'static [ErrorCode],
    },
}

/// A question, or a request that the server recognises: its answer counts as if it were the first.
const SAME: Repetition = Repetition::Again { done: &[], unsure: &[] };

const fn change(done: &'static [ErrorCode], unsure: &'static [ErrorCode]) -> Repetition {
    Repetition::Again { done, unsure }
}

/// The table: every command, and whether and how it is repeated.
pub(crate) fn repetition(command: &Command) -> Repetition {
    use ErrorCode::{NoConversation, Offline, Quota, RateLimited};

    match command {
        // They make a session and are not asked in it; after a logout there is none.
        Command::Hello(_) | Command::Login(_) | Command::Logout(_) => Repetition::Never,
        // Questions.
        Command::Heartbeat(_) | Command::Echo(_) | Command::ServerInfo(_) => SAME,
        Command::List(_) | Command::Lookup(_) => SAME,
        Command::Mailbox(_) | Command::History(_) => SAME,
        Command::ListGroups(_) | Command::ListMembers(_) | Command::ListBans(_) => SAME,
        // What holds after the second as after the first.
        Command::Receipts(_) | Command::SetPassword(_) | Command::Candidates(_) => SAME,
        Command::SetAway(_) => change(&[], &[RateLimited]),
        Command::Settings(_) => SAME,
        // The reference makes it one message; its rate and its room may be used up by the first.
        Command::Send(_) => change(&[], &[RateLimited, Quota]),
        // See also `settle`: what the first one did may be going on.
        Command::Converse(_) => change(&[], &[RateLimited, Quota]),
        Command::Accept(_) => SAME,
        Command::Deny(_) | Command::End(_) => change(&[NoConversation], &[]),
        // The reference makes it one change.
        Command::CreateGroup(_) | Command::RenameGroup(_) | Command::SetRole(_) => SAME,
        Command::InviteToGroup(_) | Command::RemoveFromGroup(_) => SAME,
        Command::JoinGroup(_) | Command::LeaveGroup(_) => SAME,
        Command::Kick(_) => change(&[Offline], &[]),
        // What came meanwhile, and whom it would meet, is not what was meant.
        Command::ClearMailbox(_) | Command::Announce(_) => Repetition::Never,
        Command::Shutdown(_) | Command::Backup(_) => Repetition::Never,
        Command::Ban(_) | Command::Unban(_) => Repetition::Never,
    }
}

/// The answer to a request that was asked before on a connection which ended with `end`.
///
/// `talking`: with whom there are conversations now.
pub(crate) fn settle(
    command: &Command,
    refusal: ErrorBody,
    talking: &BTreeSet<Name>,
    end: &SessionEnd,
) -> Result<Reply, RequestError> {
    if let Some(reply) = goes_on(command, refusal.code, talking) {
        return Ok(reply);
    }
    match repetition(command) {
        Repetition::Again { done, .. } if done.contains(&refusal.code) => Ok(Reply::Done(Empty {})),
        Repetition::Again { unsure, .. } if unsure.contains(&refusal.code) => {
            Err(RequestError::Broken(end.clone()))
        }
        Repetition::Again { .. } | Repetition::Never => Err(RequestError::Refused(refusal)),
    }
}

/// The conversation that the first request was about has begun and is going on.
fn goes_on(command: &Command, code: ErrorCode, talking: &BTreeSet<Name>) -> Option<Reply> {
    if let Command::Accept(accept) = command {
        let is_on = code == ErrorCode::NoConversation && talking.contains(&accept.with);
        return is_on.then_some(Reply::Done(Empty {}));
    }
    if let Command::Converse(converse) = command {
        let is_on = code == ErrorCode::Conflict && talking.contains(&converse.with);
        return is_on.then_some(Reply::Requested(Requested { expires_ms: 0 }));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portolan_protocol::{
        Accept, ClearMailbox, Command, Converse, CreateGroup, Deny, Empty, End, ErrorBody,
        ErrorCode, Name, Recipient, Reply, Requested, Send,
    };

    use super::{Repetition, repetition, settle};
    use crate::{RequestError, SessionEnd};

    /// A repeated command, its refusal, who talks with us, and the answer to the application.
    type Row<'a> = (Command, ErrorCode, &'a BTreeSet<Name>, Result<Reply, RequestError>);

    fn bob() -> Name {
        Name::new("bob").unwrap()
    }

    #[test]
    fn what_the_first_request_did_is_no_failure_of_the_second() {
        let (nobody, talking) = (BTreeSet::new(), BTreeSet::from([bob()]));
        let done = || Ok(Reply::Done(Empty {}));
        let unknown = || Err(RequestError::Broken(SessionEnd::Silent));
        let refused = |code| Err(RequestError::Refused(ErrorBody::new(code, "no")));
        let send = Send { to: Recipient::All, text: "hi".into(), reference: Some(1) };
        let rows: [Row<'_>; 9] = [
            (Accept { with: bob() }.into(), ErrorCode::NoConversation, &talking, done()),
            (
                Accept { with: bob() }.into(),
                ErrorCode::NoConversation,
                &nobody,
                refused(ErrorCode::NoConversation),
            ),
            (
                Converse { with: bob() }.into(),
                ErrorCode::Conflict,
                &talking,
                Ok(Reply::Requested(Requested { expires_ms: 0 })),
            ),
            (
                Converse { with: bob() }.into(),
                ErrorCode::Conflict,
                &nobody,
                refused(ErrorCode::Conflict),
            ),
            (Deny { with: bob(), reason: None }.into(), ErrorCode::NoConversation, &nobody, done()),
            (End { with: bob() }.into(), ErrorCode::NoConversation, &nobody, done()),
            (send.clone().into(), ErrorCode::RateLimited, &nobody, unknown()),
            (send.into(), ErrorCode::UnknownUser, &nobody, refused(ErrorCode::UnknownUser)),
            (
                CreateGroup { group: "crew".to_owned(), history: false, reference: Some(2) }.into(),
                ErrorCode::Conflict,
                &nobody,
                refused(ErrorCode::Conflict),
            ),
        ];
        for (command, code, talking, wanted) in rows {
            let refusal = ErrorBody::new(code, "no");
            let settled = settle(&command, refusal, talking, &SessionEnd::Silent);
            assert_eq!(settled, wanted, "{command:?}");
        }
    }

    #[test]
    fn what_would_do_more_the_second_time_is_not_repeated() {
        assert_eq!(repetition(&ClearMailbox {}.into()), Repetition::Never);
    }
}
