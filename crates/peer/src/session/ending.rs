//! Which ends are for good, and which are followed by an attempt to come back.

use std::time::Duration;

use portolan_protocol::{ClosingReason, ErrorBody, ErrorCode};
use portolan_transport::{CloseCode, CloseReason, ConnectError as Transport};

use crate::{ConnectError, SessionEnd};

/// Codes with which the server closes connections of those who are not to come back
/// (`docs/server.md`): the protocol was broken, abuse, replaced, kicked. They count when the
/// words that go before them were lost.
const FOR_GOOD: [CloseCode; 4] = [CloseCode(17), CloseCode(18), CloseCode(20), CloseCode(21)];

/// Whether nothing is to be gained by coming back.
pub(crate) fn is_for_good(end: &SessionEnd) -> bool {
    match end {
        SessionEnd::Local
        | SessionEnd::Protocol(_)
        | SessionEnd::Refused(_)
        | SessionEnd::WrongServer(_) => true,
        SessionEnd::Server(closing) => match closing.why {
            ClosingReason::Shutdown | ClosingReason::TooSlow => false,
            ClosingReason::Replaced
            | ClosingReason::Kicked
            | ClosingReason::Banned
            | ClosingReason::Abuse => true,
        },
        SessionEnd::Lost(CloseReason::Remote { code, .. }) => FOR_GOOD.contains(code),
        SessionEnd::Lost(
            CloseReason::Local { .. } | CloseReason::TimedOut | CloseReason::Lost { .. },
        )
        | SessionEnd::Silent => false,
    }
}

/// How long the server has asked us to stay away.
pub(crate) fn rest(end: &SessionEnd) -> Option<Duration> {
    match end {
        SessionEnd::Server(closing) => {
            closing.reconnect_after_ms.map(|ms| Duration::from_millis(u64::from(ms)))
        }
        SessionEnd::Local
        | SessionEnd::Lost(_)
        | SessionEnd::Silent
        | SessionEnd::Protocol(_)
        | SessionEnd::Refused(_)
        | SessionEnd::WrongServer(_) => None,
    }
}

/// The end that a failed attempt to come back means; `None`: a later one may succeed.
pub(crate) fn end_of_attempts(error: &ConnectError) -> Option<SessionEnd> {
    match error {
        ConnectError::Transport(error @ Transport::WrongPeer { .. }) => {
            Some(SessionEnd::WrongServer(error.to_string()))
        }
        ConnectError::Version(_) => {
            let body = ErrorBody::new(ErrorCode::Version, error.to_string());
            Some(SessionEnd::Refused(body))
        }
        ConnectError::Refused(body) => {
            is_refusal_for_good(body.code).then(|| SessionEnd::Refused(body.clone()))
        }
        ConnectError::Ended(end) => is_for_good(end).then(|| end.clone()),
        ConnectError::Bind(_)
        | ConnectError::Share(_)
        | ConnectError::OutsideLan(_)
        | ConnectError::TimedOut
        | ConnectError::Transport(
            Transport::Unreachable { .. }
            | Transport::TimedOut(_)
            | Transport::Refused { .. }
            | Transport::Handshake { .. }
            | Transport::Unusable { .. },
        ) => None,
    }
}

/// Whether a login refused with this code would be refused tomorrow.
fn is_refusal_for_good(code: ErrorCode) -> bool {
    match code {
        ErrorCode::BadRequest
        | ErrorCode::Unsupported
        | ErrorCode::Version
        | ErrorCode::TooLarge
        | ErrorCode::Forbidden
        | ErrorCode::NameInvalid
        | ErrorCode::NameTaken
        | ErrorCode::WrongPassword
        | ErrorCode::Banned => true,
        // A full server, a busy one, one that goes down, a name on its way into the store.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Closing, ClosingReason, ErrorBody, ErrorCode};
    use portolan_transport::{CloseCode, CloseReason, ConnectError as Transport};

    use super::{end_of_attempts, is_for_good};
    use crate::{ConnectError, SessionEnd};

    fn closing(why: ClosingReason) -> SessionEnd {
        SessionEnd::Server(Closing { why, text: String::new(), reconnect_after_ms: None })
    }

    fn closed_with(code: u32) -> SessionEnd {
        SessionEnd::Lost(CloseReason::Remote { code: CloseCode(code), reason: String::new() })
    }

    #[test]
    fn who_was_sent_away_stays_away_and_who_was_lost_comes_back() {
        let lost = SessionEnd::Lost(CloseReason::Lost { detail: String::new() });
        let comes_back = [
            lost,
            SessionEnd::Lost(CloseReason::TimedOut),
            SessionEnd::Silent,
            closing(ClosingReason::Shutdown),
            closing(ClosingReason::TooSlow),
            // Dropped, no room, too slow, going down.
            closed_with(1),
            closed_with(2),
            closed_with(19),
            closed_with(22),
        ];
        let stays_away = [
            SessionEnd::Local,
            SessionEnd::Protocol(String::new()),
            closing(ClosingReason::Replaced),
            closing(ClosingReason::Kicked),
            closing(ClosingReason::Banned),
            closing(ClosingReason::Abuse),
            closed_with(18),
            closed_with(20),
            closed_with(21),
        ];
        comes_back.iter().for_each(|end| assert!(!is_for_good(end), "{end:?}"));
        stays_away.iter().for_each(|end| assert!(is_for_good(end), "{end:?}"));
    }

    #[test]
    fn a_server_that_refuses_for_good_is_not_asked_again() {
        let refused = |code| ConnectError::Refused(ErrorBody::new(code, "no"));
        for code in [ErrorCode::NameTaken, ErrorCode::Banned, ErrorCode::Version] {
            assert!(end_of_attempts(&refused(code)).is_some(), "{code:?}");
        }
        for code in [ErrorCode::RateLimited, ErrorCode::Quota, ErrorCode::ShuttingDown] {
            assert!(end_of_attempts(&refused(code)).is_none(), "{code:?}");
        }
        let addr = "127.0.0.1:1".parse().unwrap();
        let expected = portolan_identity::Identity::from_seed([1; 32]).id();
        let wrong = ConnectError::Transport(Transport::WrongPeer { addr, expected });
        assert!(matches!(end_of_attempts(&wrong), Some(SessionEnd::WrongServer(_))));
        let away = ConnectError::Transport(Transport::TimedOut(addr));
        assert!(end_of_attempts(&away).is_none());
    }
}
