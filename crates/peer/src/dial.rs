//! From a configuration to a connection: several ways are tried, and the first that gets through
//! counts.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_transport::{
    BindConfig, ConnectError as NotConnected, Connection, Endpoint, Transport,
};
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Config, ConnectError, Way};

/// Between the starts of two attempts (RFC 8305 §5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// From a name to its addresses.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// A connection to a server that has proved its key, and the way by which it was reached.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) way: Way,
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) connection: Arc<dyn Connection>,
    /// The address of ours that led there.
    pub(crate) from: Option<IpAddr>,
}

/// Tries the ways one after another without waiting for failures to be slow; the first that gets
/// through counts, the others are dropped before they have said anything. Cancel safe.
///
/// Says which way it was, by its place in `ways`, of which there is at least one. Ways that the
/// configuration does not allow are not tried.
pub(crate) async fn dial(
    config: &Config,
    ways: &[Way],
) -> Result<(usize, Connected), ConnectError> {
    let is_allowed = |(_, way): &(usize, Way)| config.paths.allows_server(way.server.ip());
    let allowed: Vec<_> = ways.iter().copied().enumerate().filter(is_allowed).collect();
    if let (true, Some(way)) = (allowed.is_empty(), ways.first()) {
        return Err(ConnectError::OutsideLan(way.server));
    }
    let mut waiting = allowed.into_iter();
    let mut attempts = JoinSet::new();
    let mut first_error: Option<ConnectError> = None;
    loop {
        if let Some((place, way)) = waiting.next() {
            let config = config.clone();
            attempts.spawn(async move { (place, connect(&config, way).await) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.join_next() => {
                match attempt.expect("an attempt to connect does not panic") {
                    (place, Ok(connected)) => return Ok((place, connected)),
                    (place, Err(error)) => {
                        tracing::info!(%error, way = place, "a way to the server failed");
                        // A wrong key says more than an unreachable port.
                        if first_error.as_ref().is_none_or(|_| is_wrong_peer(&error)) {
                            first_error = Some(error);
                        }
                    }
                }
            }
            () = sleep(ATTEMPT_DELAY), if more => {}
            else => {}
        }
        if attempts.is_empty()
            && waiting.len() == 0
            && let Some(error) = first_error.take()
        {
            return Err(error);
        }
    }
}

async fn connect(config: &Config, way: Way) -> Result<Connected, ConnectError> {
    let unspecified = match way.server {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let mut bind = BindConfig::new(SocketAddr::new(unspecified, 0), config.identity.clone());
    bind.shared = config.shared.clone();
    let from = config.addresses.towards(way.server);
    let endpoint = way.transport.bind(bind).await?;
    let connection = endpoint.connect(way.server, config.expect).await?;
    Ok(Connected { way, endpoint, connection, from })
}

fn is_wrong_peer(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Transport(NotConnected::WrongPeer { .. }))
}

/// The addresses of a host, IPv6 and IPv4 in turn (RFC 8305 §4). Cancel safe.
pub(crate) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = timeout(LOOKUP_TIMEOUT, lookup_host((host, port))).await;
    Ok(interleave(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.collect()))
}

/// Every transport at the first address before the second address.
pub(crate) fn ways(addresses: &[SocketAddr], transports: &[&'static dyn Transport]) -> Vec<Way> {
    let at = |&server| transports.iter().map(move |&transport| Way { server, transport });
    addresses.iter().flat_map(at).collect()
}

fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|addr| addr.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut addresses = Vec::new();
    while addresses.len() < ADDRESSES_MAX {
        let before = addresses.len();
        addresses.extend(first.next());
        addresses.extend(second.next());
        if addresses.len() == before {
            break;
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::interleave;

    #[test]
    fn families_of_addresses_take_turns_and_are_bounded() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let found = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        let wanted = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(found), wanted);
        assert!(interleave(vec![parse(&["1.1.1.1:1"])[0]; 50]).len() <= 9);
    }
}
