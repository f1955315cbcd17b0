//! Which of address, time, key or protocol stood in the way.

use std::{io, net::SocketAddr};

use portolan_identity::is_wrong_peer;
use portolan_transport::{ConnectError, Expect};

use crate::greeting::GreetError;

/// What `connect` of the system said.
pub(crate) fn unreachable(addr: SocketAddr, source: io::Error) -> ConnectError {
    match source.kind() {
        io::ErrorKind::TimedOut => ConnectError::TimedOut(addr),
        _ => ConnectError::Unreachable { addr, source },
    }
}

/// What TLS said.
pub(crate) fn tls_failed(addr: SocketAddr, expect: &Expect, error: &io::Error) -> ConnectError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, expect) {
        (Some(tls), Expect::Id(expected)) if is_wrong_peer(tls) => {
            ConnectError::WrongPeer { addr, expected: *expected }
        }
        (Some(tls), Expect::Id(_) | Expect::Any) => handshake(addr, tls.to_string()),
        (None, Expect::Id(_) | Expect::Any) => handshake(addr, carrier_failed(error)),
    }
}

/// What the greeting said.
pub(crate) fn greeting_failed(
    addr: SocketAddr,
    expect: &Expect,
    error: GreetError,
) -> ConnectError {
    match error {
        GreetError::Io(error) => tls_failed(addr, expect, &error),
        GreetError::Refused(reason) => ConnectError::Refused { addr, reason },
        GreetError::Wrong(detail) => handshake(addr, detail),
    }
}

pub(crate) fn handshake(addr: SocketAddr, detail: String) -> ConnectError {
    ConnectError::Handshake { addr, detail }
}

/// Words for a carrier that failed or ended.
pub(crate) fn carrier_failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other side ended it without a farewell".to_owned(),
        _ => error.to_string(),
    }
}
