//! How connections end.

use std::fmt;

use portolan_mux::{
    Violation, ViolationCode,
    frame::{Close, CloseCause, REASON_MAX},
};
use rustls::AlertDescription;

/// TLS alerts among the codes of violations (RFC 9001 §4.8).
const ALERT_BASE: u64 = 0x100;

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq)]
pub enum CloseReason {
    /// This side's application closed it.
    Local {
        /// The application's code.
        code: u32,
        /// Its words.
        reason: Vec<u8>,
    },
    /// The remote's application closed it.
    Remote {
        /// The application's code.
        code: u32,
        /// Its words, at most 256 bytes; untrusted.
        reason: Vec<u8>,
    },
    /// Nothing was heard for the agreed idle time.
    TimedOut,
    /// The handshake did not end in time; nothing says that anyone listens there.
    HandshakeTimedOut,
    /// The remote has forgotten the connection, as after a restart.
    Reset,
    /// The remote has no room for another connection, or wants none.
    Refused {
        /// Its words, at most 256 bytes; untrusted.
        reason: Vec<u8>,
    },
    /// The remote broke the protocol.
    Violation(Violation),
    /// The remote says that we broke the protocol, or that it could not go on.
    RemoteViolation {
        /// A [`ViolationCode`] or a number that this version does not know.
        code: u64,
        /// Its words, at most 256 bytes; untrusted.
        reason: Vec<u8>,
    },
    /// The handshake failed here: `portolan_identity::is_wrong_peer` knows one cause.
    Handshake(rustls::Error),
    /// The handshake failed at the remote, by this alert (RFC 8446 §6).
    RemoteHandshake(AlertDescription),
    /// The remote does not speak our version of the protocol.
    Version {
        /// The versions that it speaks.
        offered: Vec<u8>,
    },
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { code, reason } => {
                write!(f, "closed by us (code {code}): {}", String::from_utf8_lossy(reason))
            }
            Self::Remote { code, reason } => {
                write!(
                    f,
                    "closed by the other side (code {code}): {}",
                    String::from_utf8_lossy(reason)
                )
            }
            Self::TimedOut => f.write_str("timed out: nothing heard from the other side"),
            Self::HandshakeTimedOut => f.write_str("the other side did not answer in time"),
            Self::Reset => f.write_str("the other side has forgotten the connection"),
            Self::Refused { reason } => {
                write!(f, "refused by the other side: {}", String::from_utf8_lossy(reason))
            }
            Self::Violation(violation) => {
                write!(f, "the other side broke the protocol: {violation}")
            }
            Self::RemoteViolation { code, reason } => {
                write!(f, "ended by the other side with ")?;
                match ViolationCode::from_number(*code) {
                    Some(code) => write!(f, "{code}")?,
                    None => write!(f, "code {code:#x}")?,
                }
                write!(f, ": {}", String::from_utf8_lossy(reason))
            }
            Self::Handshake(error) => write!(f, "the handshake failed: {error}"),
            Self::RemoteHandshake(alert) => {
                write!(f, "the other side refused the handshake: {alert:?}")
            }
            Self::Version { offered } => write!(
                f,
                "the other side speaks other versions of the protocol than ours: {offered:?}"
            ),
        }
    }
}

impl CloseReason {
    /// What the remote's CLOSE says.
    pub(crate) fn from_remote(close: &Close<'_>) -> Self {
        let reason = close.reason.to_vec();
        match close.cause {
            CloseCause::Application(code) => Self::Remote { code, reason },
            CloseCause::Violation(code) if code == ViolationCode::ConnectionRefused.number() => {
                Self::Refused { reason }
            }
            CloseCause::Violation(code) => match alert_of(code) {
                Some(alert) => Self::RemoteHandshake(alert),
                None => Self::RemoteViolation { code, reason },
            },
        }
    }
}

/// What we tell the remote at the end.
#[derive(Debug, Clone)]
pub(crate) struct Farewell {
    cause: CloseCause,
    reason: Vec<u8>,
}

impl Farewell {
    pub(crate) fn application(code: u32, reason: &[u8]) -> Self {
        Self::new(CloseCause::Application(code), reason)
    }

    pub(crate) fn violation(violation: Violation) -> Self {
        Self::new(CloseCause::Violation(violation.code.number()), violation.detail.as_bytes())
    }

    pub(crate) fn alert(alert: Option<AlertDescription>) -> Self {
        let alert = alert.unwrap_or(AlertDescription::HandshakeFailure);
        Self::new(CloseCause::Violation(ALERT_BASE + u64::from(u8::from(alert))), b"")
    }

    fn new(cause: CloseCause, reason: &[u8]) -> Self {
        Self { cause, reason: reason.get(..REASON_MAX).unwrap_or(reason).to_vec() }
    }

    /// As sent where the remote has proved its key.
    pub(crate) fn frame(&self) -> Close<'_> {
        Close { cause: self.cause, reason: &self.reason }
    }

    /// As sent before that: nothing of the application's is shown (RFC 9000 §10.2.3).
    pub(crate) fn early_frame(&self) -> Close<'_> {
        match self.cause {
            CloseCause::Application(_) => {
                let code = ViolationCode::Application.number();
                Close { cause: CloseCause::Violation(code), reason: b"" }
            }
            CloseCause::Violation(_) => self.frame(),
        }
    }
}

fn alert_of(code: u64) -> Option<AlertDescription> {
    let number = u8::try_from(code.checked_sub(ALERT_BASE)?).ok()?;
    Some(AlertDescription::from(number))
}
