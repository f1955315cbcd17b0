//! quinn's errors in the transport's words.

use std::{io, net::SocketAddr};

use portolan_transport::{CloseCode, CloseReason, ConnectError, Expect};
use quinn::{ConnectionError, TransportErrorCode, VarInt};

/// TLS alert `access_denied` (RFC 8446 §6.2): how our verifier refuses another key than the
/// expected one, and nothing else.
const ACCESS_DENIED: u8 = 49;

/// TLS alert `no_application_protocol` (RFC 7301 §3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// An application's number; larger ones are not from a peer of ours.
pub(crate) fn number(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}

/// Why a connection is gone; `local` is what this side said when it closed it.
pub(crate) fn close_reason(
    error: &ConnectionError,
    local: Option<&(CloseCode, String)>,
) -> CloseReason {
    match error {
        ConnectionError::LocallyClosed => match local {
            Some((code, reason)) => CloseReason::Local { code: *code, reason: reason.clone() },
            None => CloseReason::Local { code: CloseCode::DROPPED, reason: String::new() },
        },
        ConnectionError::ApplicationClosed(close) => CloseReason::Remote {
            code: CloseCode(number(close.error_code)),
            reason: CloseReason::words(&close.reason),
        },
        ConnectionError::TimedOut => CloseReason::TimedOut,
        ConnectionError::Reset => CloseReason::Lost {
            detail: "the other side does not know the connection any more".to_owned(),
        },
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted => CloseReason::Lost { detail: error.to_string() },
    }
}

/// Why a handshake with `addr` failed.
pub(crate) fn connect_error(
    error: &ConnectionError,
    addr: SocketAddr,
    expect: Expect,
) -> ConnectError {
    match error {
        ConnectionError::TimedOut => ConnectError::TimedOut(addr),
        ConnectionError::LocallyClosed => {
            ConnectError::Unusable { addr, detail: "the endpoint is closed".to_owned() }
        }
        ConnectionError::TransportError(ours) => match expect {
            Expect::Id(expected) if ours.code == TransportErrorCode::crypto(ACCESS_DENIED) => {
                ConnectError::WrongPeer { addr, expected }
            }
            Expect::Id(_) | Expect::Any => {
                ConnectError::Handshake { addr, detail: error.to_string() }
            }
        },
        ConnectionError::ConnectionClosed(theirs) => closed_by_remote(error, theirs, addr),
        ConnectionError::ApplicationClosed(close) => {
            ConnectError::Refused { addr, reason: CloseReason::words(&close.reason) }
        }
        ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::CidsExhausted => {
            ConnectError::Handshake { addr, detail: error.to_string() }
        }
    }
}

fn closed_by_remote(
    error: &ConnectionError,
    close: &quinn::ConnectionClose,
    addr: SocketAddr,
) -> ConnectError {
    if close.error_code == TransportErrorCode::CONNECTION_REFUSED {
        return ConnectError::Refused { addr, reason: "no room for another connection".to_owned() };
    }
    let detail = if close.error_code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) {
        "it does not speak this protocol or version".to_owned()
    } else {
        error.to_string()
    };
    ConnectError::Handshake { addr, detail }
}

/// Why a handshake with `addr` could not even begin.
pub(crate) fn start_error(error: &quinn::ConnectError, addr: SocketAddr) -> ConnectError {
    let detail = match error {
        quinn::ConnectError::EndpointStopping => "the endpoint is closed".to_owned(),
        quinn::ConnectError::InvalidRemoteAddress(_)
        | quinn::ConnectError::CidsExhausted
        | quinn::ConnectError::InvalidServerName(_)
        | quinn::ConnectError::NoDefaultClientConfig
        | quinn::ConnectError::UnsupportedVersion => error.to_string(),
    };
    ConnectError::Unusable { addr, detail }
}

/// The system says that `addr` cannot be reached.
pub(crate) fn unreachable(addr: SocketAddr, source: io::Error) -> ConnectError {
    ConnectError::Unreachable { addr, source }
}
