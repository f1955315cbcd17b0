//! Exit codes, and failures that know theirs.

use std::{error::Error, fmt};

use portolan_protocol::{ErrorBody, ErrorCode};
use portolan_transport::ConnectError;

/// Anything not listed below.
pub(super) const ERROR: u8 = 1;
/// The arguments or the configuration are wrong.
pub(super) const USAGE: u8 = 2;
/// The server cannot be reached.
pub(super) const UNREACHABLE: u8 = 3;
/// The server refuses us, or is not who it should be.
pub(super) const REFUSED: u8 = 4;
/// No answer in time.
pub(super) const TIMED_OUT: u8 = 7;
/// The user does not want to wait for a graceful end.
pub(super) const INTERRUPTED: u8 = 130;

/// What to tell the user, and the code to exit with.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// The same for programs: the exit code's word, or the server's.
    pub(super) word: &'static str,
    pub(super) message: String,
}

/// The word of an exit code.
fn word(code: u8) -> &'static str {
    match code {
        USAGE => "usage",
        UNREACHABLE => "unreachable",
        REFUSED => "refused",
        TIMED_OUT => "timed_out",
        INTERRUPTED => "interrupted",
        _ => "error",
    }
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, word: word(code), message: message.into() }
    }

    /// A plain error with everything that led to it.
    pub(super) fn error(error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(ERROR, message)
    }

    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, word: word(code), ..self }
    }

    /// Says what was attempted.
    pub(super) fn during(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// Why the server could not be reached.
    pub(super) fn connect(error: &ConnectError) -> Self {
        let code = match error {
            ConnectError::WrongPeer { .. } | ConnectError::Refused { .. } => REFUSED,
            ConnectError::Unreachable { .. }
            | ConnectError::TimedOut(_)
            | ConnectError::Handshake { .. }
            | ConnectError::Unusable { .. } => UNREACHABLE,
        };
        Self::error(error).with_code(code)
    }

    /// Why the server did not grant what was asked.
    pub(super) fn refusal(error: &ErrorBody) -> Self {
        let code = match error.code {
            ErrorCode::Forbidden | ErrorCode::Banned | ErrorCode::Version => REFUSED,
            ErrorCode::TimedOut => TIMED_OUT,
            _ => ERROR,
        };
        Self { word: error.code.as_str(), ..Self::new(code, error.to_string()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
