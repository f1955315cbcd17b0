//! Proof of an address without remembering it: the token of a Retry packet.
//!
//! `epoch (1 byte) | seconds (4) | HMAC-SHA384(key of the epoch, what it is bound to) (16)`. It is
//! bound to the client's address and both connection ids, and lives 15 seconds; a key is used for
//! a minute and accepted for the next. Nothing is stored a client.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    ConnectionId,
    integrity::{Integrity, equal_secrets},
};

const LIFE: u32 = 15;
const EPOCH: u32 = 60;
const HEAD: usize = 5;
const TAG: usize = 16;

/// Makes and checks tokens.
#[derive(Debug)]
pub(crate) struct Cookies {
    master: [u8; 32],
    /// When seconds began to be counted.
    start: Option<Instant>,
}

/// Who is to come back with the token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) from: SocketAddr,
    pub(crate) source: ConnectionId,
    pub(crate) destination: ConnectionId,
}

impl Cookies {
    pub(crate) fn new(master: [u8; 32]) -> Self {
        Self { master, start: None }
    }

    pub(crate) fn mint(&mut self, integrity: &Integrity, now: Instant, client: Client) -> Vec<u8> {
        let seconds = self.seconds(now);
        let mut token = Vec::with_capacity(HEAD + TAG);
        token.push(epoch_byte(seconds / EPOCH));
        token.extend_from_slice(&seconds.to_be_bytes());
        let tag = self.tag(integrity, seconds / EPOCH, &token, client);
        token.extend_from_slice(&tag);
        token
    }

    pub(crate) fn is_valid(
        &mut self,
        integrity: &Integrity,
        now: Instant,
        client: Client,
        token: &[u8],
    ) -> bool {
        let now = self.seconds(now);
        let Some((head, tag)) = token.split_last_chunk::<TAG>() else { return false };
        let &[epoch, a, b, c, d] = head else { return false };
        let issued = u32::from_be_bytes([a, b, c, d]);
        let is_fresh = now.checked_sub(issued).is_some_and(|age| age <= LIFE);
        let is_known = epoch == epoch_byte(issued / EPOCH);
        is_fresh
            && is_known
            && equal_secrets(tag, &self.tag(integrity, issued / EPOCH, head, client))
    }

    fn tag(&self, integrity: &Integrity, epoch: u32, head: &[u8], client: Client) -> [u8; TAG] {
        let key = integrity.derive(&self.master, b"portolan rudp retry", epoch.into());
        let mut message = [0_u8; 1 + 16 + 2 + 2 * ConnectionId::LEN + HEAD];
        let parts: [&[u8]; 6] = [
            &[if client.from.is_ipv4() { 4 } else { 6 }],
            &ip_bytes(client.from.ip()),
            &client.from.port().to_be_bytes(),
            &client.source.0,
            &client.destination.0,
            head,
        ];
        for (to, from) in message.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        integrity.token(&key, &message)
    }

    fn seconds(&mut self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(*self.start.get_or_insert(now));
        u32::try_from(elapsed.min(Duration::from_secs(u32::MAX.into())).as_secs())
            .unwrap_or(u32::MAX)
    }
}

fn epoch_byte(epoch: u32) -> u8 {
    epoch.to_be_bytes()[3]
}

fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{epoch, integrity};

    fn client() -> Client {
        let (source, destination) = (ConnectionId([1; 8]), ConnectionId([2; 8]));
        Client { from: ([10, 0, 0, 1], 5000).into(), source, destination }
    }

    fn check(at: u64, client: Client, token: &[u8], cookies: &mut Cookies) -> bool {
        cookies.is_valid(&integrity(), epoch() + Duration::from_secs(at), client, token)
    }

    #[test]
    fn a_token_counts_for_its_client_only() {
        let mut cookies = Cookies::new([7; 32]);
        let token = cookies.mint(&integrity(), epoch(), client());
        assert!(check(0, client(), &token, &mut cookies));
        let others = [
            Client { from: ([10, 0, 0, 1], 5001).into(), ..client() },
            Client { from: ([10, 0, 0, 2], 5000).into(), ..client() },
            Client { source: ConnectionId([3; 8]), ..client() },
            Client { destination: ConnectionId([3; 8]), ..client() },
        ];
        for other in others {
            assert!(!check(0, other, &token, &mut cookies), "{other:?}");
        }
        assert!(!check(0, client(), &token, &mut Cookies::new([8; 32])));
    }

    #[test]
    fn a_token_lives_for_fifteen_seconds_also_across_keys() {
        let mut cookies = Cookies::new([7; 32]);
        cookies.seconds(epoch());
        let token = cookies.mint(&integrity(), epoch() + Duration::from_secs(50), client());
        assert!(check(65, client(), &token, &mut cookies));
        assert!(!check(66, client(), &token, &mut cookies));
        assert!(!check(49, client(), &token, &mut cookies), "not from the future");
    }

    #[test]
    fn a_damaged_or_cut_token_is_refused() {
        let mut cookies = Cookies::new([7; 32]);
        let token = cookies.mint(&integrity(), epoch(), client());
        for at in 0..token.len() {
            let mut damaged = token.clone();
            damaged[at] ^= 1;
            assert!(!check(0, client(), &damaged, &mut cookies), "byte {at}");
            assert!(!check(0, client(), &token[..at], &mut cookies), "cut to {at}");
        }
    }
}
