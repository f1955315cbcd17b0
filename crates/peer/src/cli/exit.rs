//! Exit codes, and the errors that lead to them.

use std::{error::Error, fmt, process::ExitCode};

use portolan_identity::{KeyFileError, KnownHostsError};
use portolan_protocol::{ClosingReason, ErrorBody, ErrorCode};

use crate::{
    ConnectError, FileError, ReachError, RequestError, SessionEnd, ShareError, TreeSummary,
};

/// How the program ends; `docs/peer.md` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for was done.
    Done = 0,
    /// It was not, for a reason that has no code of its own.
    Failed = 1,
    /// The command line, or the configuration, makes no sense.
    Usage = 2,
    /// The server is not there, or is there no more.
    Unreachable = 3,
    /// The server does not let us in, or is not the one that we know.
    Refused = 4,
    /// What arrived is not what was sent.
    Integrity = 5,
    /// The other user, or a quota, said no.
    RefusedByPeer = 6,
    /// No answer in time.
    TimedOut = 7,
    /// Some files are missing; the same again goes on with them.
    Partial = 8,
    /// Ended by the keyboard or a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, for people and for programs, and how to exit after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, code: "usage", message: message.into() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, code: ErrorCode::Internal.as_str(), message: message.into() }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, code: "key", message: message.into() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, code: "unreachable", message: message.into() }
    }

    /// Some files of a directory did not arrive.
    pub(crate) fn partial(summary: &TreeSummary) -> Self {
        let TreeSummary { files, failed, .. } = summary;
        let message =
            format!("{failed} files are missing, {files} are there; run it again to go on");
        Self { exit: Exit::Partial, code: "partial", message }
    }

    pub(crate) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, code: "interrupted", message: "interrupted".into() }
    }

    pub(crate) fn new(exit: Exit, code: ErrorCode, error: &dyn Error) -> Self {
        Self { exit, code: code.as_str(), message: with_causes(error) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The error and its causes in one line, none of them twice.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        use portolan_transport::ConnectError as Transport;

        let (exit, code) = match &error {
            ConnectError::Bind(_) | ConnectError::Share(_) => (Exit::Failed, ErrorCode::Internal),
            ConnectError::Transport(Transport::WrongPeer { .. }) => {
                let failure = Self::refused(with_causes(&error));
                let advice = "check the key with whoever runs the server; if it has a new one, \
                              correct --server-key or delete the old line in the known hosts";
                return Self { message: format!("{}; {advice}", failure.message), ..failure };
            }
            ConnectError::Transport(
                Transport::Unreachable { .. }
                | Transport::TimedOut(_)
                | Transport::Refused { .. }
                | Transport::Handshake { .. }
                | Transport::Unusable { .. },
            ) => return Self::unreachable(with_causes(&error)),
            ConnectError::Refused(body) => (Exit::Refused, body.code),
            ConnectError::Version(_) => (Exit::Refused, ErrorCode::Version),
            ConnectError::OutsideLan(_) => return Self::usage(with_causes(&error)),
            ConnectError::Ended(end) => return end.into(),
            ConnectError::TimedOut => (Exit::TimedOut, ErrorCode::TimedOut),
        };
        Self::new(exit, code, &error)
    }
}

impl From<&SessionEnd> for Failure {
    fn from(end: &SessionEnd) -> Self {
        let exit = match end {
            SessionEnd::Local => Exit::Done,
            SessionEnd::Server(closing) => match closing.why {
                ClosingReason::Shutdown | ClosingReason::TooSlow => Exit::Unreachable,
                ClosingReason::Replaced
                | ClosingReason::Kicked
                | ClosingReason::Banned
                | ClosingReason::Abuse => Exit::Refused,
            },
            SessionEnd::Lost(_) | SessionEnd::Silent => Exit::Unreachable,
            SessionEnd::Protocol(_) => Exit::Unreachable,
            SessionEnd::Refused(_) | SessionEnd::WrongServer(_) => Exit::Refused,
        };
        Self { exit, code: "closed", message: end.to_string() }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let (exit, code) = match &error {
            RequestError::Refused(body) => (exit_of(body), body.code),
            RequestError::Closed(end) => return end.into(),
            RequestError::Broken(_) => (Exit::Unreachable, ErrorCode::Internal),
            RequestError::TimedOut => (Exit::TimedOut, ErrorCode::TimedOut),
            RequestError::Unexpected(_) => (Exit::Failed, ErrorCode::Internal),
        };
        Self::new(exit, code, &error)
    }
}

impl From<ReachError> for Failure {
    fn from(error: ReachError) -> Self {
        let code = error.code();
        let exit = match &error {
            ReachError::Request(request) => return request.clone().into(),
            ReachError::Refused { body, .. } => exit_of(body),
            ReachError::KeyChanged(_) | ReachError::TwoKeys { .. } => Exit::Refused,
            ReachError::Tunnel { .. } | ReachError::Broken { .. } | ReachError::TooMany { .. } => {
                Exit::Failed
            }
            ReachError::TimedOut { .. } => Exit::TimedOut,
            ReachError::Ourselves { .. } => Exit::Usage,
        };
        Self::new(exit, code, &error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let code = error.code();
        let exit = match error {
            FileError::Reach(reach) => return reach.into(),
            FileError::Refused { ref body, .. } => exit_of(body),
            FileError::Integrity { .. } | FileError::Size { .. } | FileError::Corrupt { .. } => {
                Exit::Integrity
            }
            FileError::TimedOut { .. } => Exit::TimedOut,
            FileError::Interrupted { .. }
            | FileError::Name { .. }
            | FileError::Exists(_)
            | FileError::NoSpace { .. }
            | FileError::DiskFull { .. }
            | FileError::NotAFile(_)
            | FileError::Changed { .. }
            | FileError::TooLarge { .. }
            | FileError::Outdated { .. }
            | FileError::Io { .. }
            | FileError::Protocol { .. }
            | FileError::NoOwner
            | FileError::NoSuchOffer(_)
            | FileError::NoSuchTransfer(_) => Exit::Failed,
            FileError::Stopped { by: None, .. } => Exit::Failed,
            FileError::Stopped { by: Some(_), .. } => Exit::RefusedByPeer,
        };
        Self::new(exit, code, &error)
    }
}

fn exit_of(body: &ErrorBody) -> Exit {
    match body.code {
        ErrorCode::Integrity => Exit::Integrity,
        ErrorCode::TimedOut => Exit::TimedOut,
        _ => Exit::RefusedByPeer,
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        Self::new(Exit::Failed, ErrorCode::Internal, &error)
    }
}

impl From<ShareError> for Failure {
    fn from(error: ShareError) -> Self {
        Self::new(Exit::Failed, ErrorCode::BadRequest, &error)
    }
}

impl From<KnownHostsError> for Failure {
    fn from(error: KnownHostsError) -> Self {
        match &error {
            KnownHostsError::Changed { .. } => Self::refused(with_causes(&error)),
            KnownHostsError::Line { .. }
            | KnownHostsError::Full { .. }
            | KnownHostsError::NotAHost { .. }
            | KnownHostsError::Io { .. } => Self::failed(with_causes(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use portolan_protocol::{ErrorBody, ErrorCode, Hash, Name};

    use super::{Exit, Failure};
    use crate::{ConnectError, FileError, RequestError};

    #[test]
    fn errors_lead_to_the_documented_exit_codes() {
        let bob = Name::new("bob").unwrap();
        let body = |code| ErrorBody::new(code, "no");
        let address = "127.0.0.1:7275".parse().unwrap();
        let key = portolan_identity::Identity::from_seed([1; 32]).id();
        let transport = portolan_transport::ConnectError::TimedOut(address);
        let wrong = portolan_transport::ConnectError::WrongPeer { addr: address, expected: key };
        let hash = Hash([0; 32]);
        let rows: Vec<(Failure, Exit)> = vec![
            (ConnectError::from(transport).into(), Exit::Unreachable),
            (ConnectError::from(wrong).into(), Exit::Refused),
            (ConnectError::Refused(body(ErrorCode::NameTaken)).into(), Exit::Refused),
            (FileError::Integrity { expected: hash, computed: hash }.into(), Exit::Integrity),
            (
                FileError::Refused { who: bob.clone(), body: body(ErrorCode::Denied) }.into(),
                Exit::RefusedByPeer,
            ),
            (
                FileError::Refused { who: bob.clone(), body: body(ErrorCode::Integrity) }.into(),
                Exit::Integrity,
            ),
            (RequestError::Refused(body(ErrorCode::UnknownUser)).into(), Exit::RefusedByPeer),
            (RequestError::TimedOut.into(), Exit::TimedOut),
            (FileError::TimedOut { who: bob }.into(), Exit::TimedOut),
        ];
        for (failure, exit) in rows {
            assert_eq!(failure.exit, exit, "{failure}");
        }
    }

    #[test]
    fn causes_are_told_once() {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let addr = "127.0.0.1:1".parse().unwrap();
        let error = portolan_transport::ConnectError::Unreachable { addr, source };
        let failure = Failure::from(ConnectError::from(error));
        assert_eq!(failure.message.matches("connection refused").count(), 1, "{failure}");
        assert!(failure.message.contains("127.0.0.1:1"), "{failure}");
    }
}
