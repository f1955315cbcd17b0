//! What `rudp` reads from anyone who can send a datagram.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use portolan_identity::{Alpn, Expect, Identity, provider};
use portolan_rudp::{CookiePolicy, Endpoint, EndpointConfig, Routed, fuzz};

use crate::start;

/// RFC 9000 §8.1.
const AMPLIFICATION_MAX: usize = 3;

pub(crate) fn headers(bytes: &[u8]) {
    fuzz::headers(bytes);
}

pub(crate) fn headers_seeds() -> Vec<Vec<u8>> {
    let mut seeds = first_datagrams();
    let body = seeds.first().and_then(|first| first.get(2..18)).unwrap_or_default().to_vec();
    for first in [0x80, 0x91, 0xa3, 0xab, 0xb0, 0xb1, 0x40, 0x00] {
        seeds.push([&[first][..], &body, &[0, 20], &[7; 20]].concat());
    }
    seeds
}

pub(crate) fn frames(bytes: &[u8]) {
    fuzz::frames(bytes);
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        vec![0x00, 0x01, 0x1e],
        vec![0x02, 9, 0, 2, 1, 0, 0, 1, 2],
        vec![0x02, 5, 0, 0, 6],
        vec![0x03, 0x80, 0, 1, 0, 0x40, 100, 1, 9, 0, 30, 4, 0, 7],
        vec![0x06, 0, 5, 1, 2, 3, 4, 5],
        [&[0x07, 2][..], &[5; 8], &[6; 16], &[0x08, 1]].concat(),
        vec![0x1a, 1, 2, 3, 4, 5, 6, 7, 8, 0x1b, 1, 2, 3, 4, 5, 6, 7, 8],
    ];
    seeds.extend(crate::frames::frames_seeds());
    seeds
}

pub(crate) fn params(bytes: &[u8]) {
    fuzz::params(bytes);
}

pub(crate) fn params_seeds() -> Vec<Vec<u8>> {
    let mux: &[u8] = &[1, 1, 7, 2, 2, 0x50, 0, 3, 2, 0x60, 0, 4, 2, 0x44, 0xb0];
    let client = [
        &[0, 1, 1, 1, 8, 3, 3, 3, 3, 3, 3, 3, 3, 4, 2, 0x4e, 0x20, 5, 15][..],
        mux,
        &[6, 2, 0x45, 0xdc, 7, 2, 0x61, 0xa8],
    ]
    .concat();
    let server = [&client[..], &[2, 8, 4, 4, 4, 4, 4, 4, 4, 4, 3, 0, 8, 16], &[5; 16]].concat();
    vec![[&client[..], &[0x20, 1, 9]].concat(), client, server, Vec::new()]
}

/// The first datagrams that a server ever sees from an address: raw ones, with and without
/// cookies. The first byte says which; the rest is the datagram.
pub(crate) fn first_datagram(bytes: &[u8]) {
    let Some((&first, datagram)) = bytes.split_first() else { return };
    let policy = if first & 1 == 0 { CookiePolicy::Always } else { CookiePolicy::Above(9) };
    offer(policy, datagram);
}

pub(crate) fn first_datagram_seeds() -> Vec<Vec<u8>> {
    let datagrams = first_datagrams();
    let with = |policy: u8| {
        datagrams.iter().map(move |datagram| [&[policy][..], datagram].concat()).collect()
    };
    let both: [Vec<Vec<u8>>; 2] = [with(0), with(1)];
    both.concat()
}

/// A client's first packet around any payload, its checksum right.
pub(crate) fn init(payload: &[u8]) {
    let payload = payload.get(..1100).unwrap_or(payload);
    offer(CookiePolicy::Above(9), &fuzz::init_datagram(&provider(), &[], payload));
}

/// The payloads of real first packets, and frames that do not belong there.
pub(crate) fn init_seeds() -> Vec<Vec<u8>> {
    let real = first_datagrams().into_iter().filter_map(|datagram| {
        let payload = datagram.get(22..datagram.len().min(600))?;
        Some(payload.to_vec())
    });
    real.chain(frames_seeds()).collect()
}

/// What a client may receive while it waits for the server: any datagrams, each behind its
/// length (one byte, in eights).
pub(crate) fn client(bytes: &[u8]) {
    let now = start();
    let config = Arc::new(EndpointConfig::default());
    let mut endpoint = Endpoint::new(config, None, [3; 32]);
    let identity = identity();
    let tls = identity.client_config(Alpn::Udp);
    let name = Expect::Any.server_name();
    let Ok((_, mut connection)) = endpoint.connect(now, remote(), tls, name) else { return };
    let mut buffer = Vec::new();
    while connection.poll_transmit(now, &mut buffer).is_some() {}
    let mut rest = bytes;
    while let Some((&length, after)) = rest.split_first() {
        let length = (usize::from(length) * 8).min(after.len());
        let (datagram, after) = after.split_at(length);
        connection.handle_datagram(now, remote(), None, &mut datagram.to_vec());
        while connection.poll_transmit(now, &mut buffer).is_some() {}
        while connection.poll_event().is_some() {}
        assert!(!connection.is_connected(), "connected without a server");
        rest = after;
    }
}

pub(crate) fn client_seeds() -> Vec<Vec<u8>> {
    let headers = headers_seeds();
    let framed = headers.iter().map(|datagram| {
        let length = u8::try_from(datagram.len() / 8).unwrap_or(u8::MAX);
        [&[length][..], datagram].concat()
    });
    framed.collect()
}

/// Gives a server one datagram and checks what it costs.
fn offer(policy: CookiePolicy, datagram: &[u8]) {
    let now = start();
    let config = Arc::new(EndpointConfig { cookies: policy, ..EndpointConfig::default() });
    let server = identity().server_config(Alpn::Udp);
    let mut endpoint = Endpoint::new(Arc::clone(&config), Some(server), [2; 32]);
    let mut bytes = datagram.to_vec();
    let mut buffer = Vec::new();
    let mut answered = 0;
    match endpoint.handle_datagram(now, remote(), None, &mut bytes) {
        Routed::Dropped | Routed::Replied | Routed::To(_) => {}
        Routed::New(_, mut connection) => {
            assert!(policy != CookiePolicy::Always, "something was allocated before the cookie");
            connection.handle_datagram(now, remote(), None, &mut bytes);
            let later = now + Duration::from_secs(5);
            for at in [now, later] {
                connection.handle_timeout(at);
                while let Some(transmit) = connection.poll_transmit(at, &mut buffer) {
                    answered += transmit.size;
                }
            }
            assert!(connection.memory() <= config.connection.memory_max());
            assert!(!connection.is_connected(), "connected by one datagram");
        }
    }
    while let Some(transmit) = endpoint.poll_transmit(&mut buffer) {
        assert!(transmit.size <= datagram.len(), "an answer longer than the question");
        answered += transmit.size;
    }
    assert!(answered <= AMPLIFICATION_MAX * datagram.len(), "{answered} for {}", datagram.len());
}

/// What real clients begin with: two of them, the second with a token that is not ours.
fn first_datagrams() -> Vec<Vec<u8>> {
    let now = start();
    let config = Arc::new(EndpointConfig::default());
    let mut endpoint = Endpoint::new(config, None, [1; 32]);
    let tls = identity().client_config(Alpn::Udp);
    let connected = endpoint.connect(now, remote(), tls, Expect::Any.server_name());
    let mut datagrams = vec![fuzz::init_datagram(&provider(), &[9; 21], b"\x01\x00\x00")];
    let mut buffer = Vec::new();
    if let Ok((_, mut connection)) = connected {
        while connection.poll_transmit(now, &mut buffer).is_some() {
            datagrams.push(buffer.clone());
        }
    }
    datagrams
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::from_seed([1; 32]))
}

fn remote() -> SocketAddr {
    ([10, 0, 0, 1], 7275).into()
}
