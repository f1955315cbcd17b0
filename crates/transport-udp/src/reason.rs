//! The machine's ends in the transport's words.

use std::net::SocketAddr;

use portolan_identity::is_wrong_peer;
use portolan_mux::ViolationCode;
use portolan_rudp::{CloseReason as Ended, ConnectError as StartError};
use portolan_transport::{CloseCode, CloseReason, ConnectError, Expect};

/// Why a connection is gone.
pub(crate) fn close_reason(ended: &Ended) -> CloseReason {
    match ended {
        Ended::Local { code, reason } => {
            CloseReason::Local { code: CloseCode(*code), reason: CloseReason::words(reason) }
        }
        Ended::Remote { code, reason } => {
            CloseReason::Remote { code: CloseCode(*code), reason: CloseReason::words(reason) }
        }
        Ended::TimedOut | Ended::HandshakeTimedOut => CloseReason::TimedOut,
        Ended::Reset
        | Ended::Refused { .. }
        | Ended::Violation(_)
        | Ended::RemoteViolation { .. }
        | Ended::Handshake(_)
        | Ended::RemoteHandshake(_)
        | Ended::Version { .. } => CloseReason::Lost { detail: ended.to_string() },
    }
}

/// Why a handshake with `addr` failed.
pub(crate) fn connect_error(ended: &Ended, addr: SocketAddr, expect: Expect) -> ConnectError {
    match ended {
        Ended::Local { .. } => closed(addr),
        Ended::TimedOut | Ended::HandshakeTimedOut => ConnectError::TimedOut(addr),
        Ended::Refused { reason } | Ended::Remote { reason, .. } => refused(addr, reason),
        // What an application says before the end of the handshake arrives without its words.
        Ended::RemoteViolation { code, reason } if *code == ViolationCode::Application.number() => {
            refused(addr, reason)
        }
        Ended::Handshake(error) => match expect {
            Expect::Id(expected) if is_wrong_peer(error) => {
                ConnectError::WrongPeer { addr, expected }
            }
            Expect::Id(_) | Expect::Any => handshake(addr, ended),
        },
        Ended::Reset
        | Ended::Violation(_)
        | Ended::RemoteViolation { .. }
        | Ended::RemoteHandshake(_)
        | Ended::Version { .. } => handshake(addr, ended),
    }
}

fn handshake(addr: SocketAddr, ended: &Ended) -> ConnectError {
    ConnectError::Handshake { addr, detail: ended.to_string() }
}

fn refused(addr: SocketAddr, reason: &[u8]) -> ConnectError {
    let reason = if reason.is_empty() {
        "no room for another connection".to_owned()
    } else {
        CloseReason::words(reason)
    };
    ConnectError::Refused { addr, reason }
}

/// The endpoint is closed: nothing can be reached from it.
pub(crate) fn closed(addr: SocketAddr) -> ConnectError {
    ConnectError::Unusable { addr, detail: "the endpoint is closed".to_owned() }
}

/// Why a handshake with `addr` could not even begin.
pub(crate) fn start_error(error: &StartError, addr: SocketAddr) -> ConnectError {
    ConnectError::Unusable { addr, detail: error.to_string() }
}
