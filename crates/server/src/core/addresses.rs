//! What is counted for each address: keys cost nothing to make, addresses are harder to come by.
//!
//! An address is one of IPv4, or a /64 of IPv6, which is what one customer has. This machine
//! itself is not counted: whoever is on it could do worse.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Instant,
};

use portolan_protocol::{ErrorBody, ErrorCode};
use portolan_transport::CloseCode;

use super::{Core, Now, SessionId, departure::Departure, rates::TokenBucket, session::Session};
use crate::config::{Limits, Rate};

/// What an address may do only so often, whatever its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Log in.
    Login,
    /// Take a name that nobody has.
    NewName,
    /// Set or try a password.
    Password,
}

const DEEDS: [Deed; 3] = [Deed::Login, Deed::NewName, Deed::Password];

/// The lowest 64 bits of an address.
const HOST_BITS: u128 = u64::MAX as u128;

/// Every address from which somebody came lately.
#[derive(Debug)]
pub(super) struct Addresses {
    rates: [Rate; DEEDS.len()],
    strangers_max: usize,
    known: HashMap<IpAddr, Visits>,
    known_max: usize,
}

/// Who came from one address.
#[derive(Debug)]
struct Visits {
    /// Connections that are there and have not logged in.
    strangers: usize,
    buckets: [TokenBucket; DEEDS.len()],
}

impl Addresses {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            rates: DEEDS.map(|deed| match deed {
                Deed::Login => limits.address_logins,
                Deed::NewName => limits.address_names,
                Deed::Password => limits.address_passwords,
            }),
            strangers_max: limits.strangers_per_address,
            known: HashMap::new(),
            known_max: limits.keys,
        }
    }

    /// Whether another connection that has not logged in is borne; if so, it is counted.
    fn meet(&mut self, now: Instant, address: SocketAddr) -> bool {
        let most = self.strangers_max;
        let Some(place) = place(address) else { return true };
        let Some(visits) = self.visits(now, place) else { return false };
        let is_borne = visits.strangers < most;
        visits.strangers += usize::from(is_borne);
        is_borne
    }

    /// A session has logged in, or is over: it is no stranger any more, if it was one.
    pub(super) fn part(&mut self, session: &mut Session) {
        if !std::mem::take(&mut session.is_stranger) {
            return;
        }
        let place = place(session.remote.address);
        if let Some(visits) = place.and_then(|place| self.known.get_mut(&place)) {
            visits.strangers = visits.strangers.saturating_sub(1);
        }
    }

    /// Whether this may be done from there now; if so, it is counted.
    fn take(&mut self, now: Instant, address: SocketAddr, deed: Deed) -> bool {
        let Some(place) = place(address) else { return true };
        let index = deed as usize;
        let rate = self.rates[index];
        self.visits(now, place).is_some_and(|visits| visits.buckets[index].take(now, rate))
    }

    /// What is known of an address; `None`: there are too many.
    fn visits(&mut self, now: Instant, place: IpAddr) -> Option<&mut Visits> {
        let rates = self.rates;
        if self.known.len() >= self.known_max && !self.known.contains_key(&place) {
            // Who has rested is as good as new.
            self.known.retain(|_, visits| {
                let mut buckets = visits.buckets.iter_mut().zip(rates);
                visits.strangers > 0 || buckets.any(|(bucket, rate)| !bucket.is_full(now, rate))
            });
            if self.known.len() >= self.known_max {
                return None;
            }
        }
        let new =
            || Visits { strangers: 0, buckets: rates.map(|rate| TokenBucket::new(now, rate)) };
        Some(self.known.entry(place).or_insert_with(new))
    }
}

/// What is counted as one address; `None`: this machine.
fn place(address: SocketAddr) -> Option<IpAddr> {
    let ip = address.ip().to_canonical();
    if ip.is_loopback() {
        return None;
    }
    Some(match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !HOST_BITS)),
    })
}

impl Core {
    /// Counts a connection with its address, or sends it away.
    pub(super) fn meet_stranger(&mut self, now: Now, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if state.has_admin_right {
            return;
        }
        state.is_stranger = self.addresses.meet(now.instant, state.remote.address);
        if !state.is_stranger {
            let limit = self.limits.strangers_per_address;
            let reason = format!(
                "{limit} connections from your address have not logged in; log in, or close some"
            );
            self.leave(now, session, Departure::Abuse, &reason);
            self.close(session, CloseCode::BUSY, reason);
        }
    }

    /// Whether the session's address may do this now.
    pub(super) fn pay_at_address(
        &mut self,
        now: Now,
        session: SessionId,
        deed: Deed,
    ) -> Result<(), ErrorBody> {
        let Some(state) = self.sessions.get(&session) else { return Ok(()) };
        if state.has_admin_right || self.addresses.take(now.instant, state.remote.address, deed) {
            return Ok(());
        }
        let what = match deed {
            Deed::Login => "logins",
            Deed::NewName => "new names",
            Deed::Password => "passwords",
        };
        let message = format!("too many {what} from your address; try again later");
        Err(ErrorBody::new(ErrorCode::RateLimited, message))
    }
}
