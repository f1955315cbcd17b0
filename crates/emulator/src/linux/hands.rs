//! The slow work on hosts, beside the thread that must never wait: addresses, routes, cables.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, SyncSender},
    },
    time::Instant,
};

use portolan_netsim::{Addressing, HostChange, InterfaceId};

use super::{
    namespace::{Addresses, Namespace},
    netlink, sys,
};
use crate::ApplyError;

/// Jobs that wait at once.
pub(super) const JOBS_MAX: usize = 1024;

/// The answer to whoever made something happen.
pub(super) type Answer = SyncSender<Result<Instant, ApplyError>>;

/// What there is to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Do this to a host.
    Change(HostChange),
    /// Everything until here has been done; it took effect then.
    Answer(Answer, Instant),
}

/// Where an interface is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) namespace: Arc<Namespace>,
    pub(super) name: String,
    pub(super) tap: Arc<OwnedFd>,
    /// The host's addresses, and which of its interfaces this is.
    pub(super) addresses: Addresses,
    pub(super) position: usize,
}

/// Does jobs until nobody gives any more.
pub(super) fn work(jobs: &Receiver<Job>, places: &HashMap<InterfaceId, Place>) {
    let mut failure = None;
    for job in jobs {
        match job {
            Job::Change(change) => {
                if let Err(reason) = do_change(change, places) {
                    tracing::error!(reason, "a host did not follow a change of the world");
                    failure = Some(reason);
                }
            }
            Job::Answer(answer, at) => {
                let outcome = failure.take().map_or(Ok(at), |reason| Err(ApplyError::Host(reason)));
                // Who does not wait for it any more does not miss it.
                let _ = answer.try_send(outcome);
            }
        }
    }
}

fn do_change(
    change: HostChange,
    places: &HashMap<InterfaceId, Place>,
) -> Result<(), netlink::Reason> {
    let missing = || "the interface belongs to no host".to_owned();
    let said = |error: io::Error| error.to_string();
    match change {
        HostChange::Readdressed { interface, addressing } => {
            readdress(places.get(&interface).ok_or_else(missing)?, &addressing)
        }
        HostChange::Carrier { interface, up } => {
            let place = places.get(&interface).ok_or_else(missing)?;
            sys::set_carrier(place.tap.as_fd(), up).map_err(said)
        }
    }
}

fn readdress(place: &Place, addressing: &Addressing) -> Result<(), netlink::Reason> {
    place.namespace.enter().map_err(|error| error.to_string())?;
    netlink::readdress(&place.name, addressing)?;
    let now: Vec<IpAddr> = addressing.addresses.iter().map(|(address, _)| *address).collect();
    let mut addresses = place.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = addresses.get_mut(place.position) {
        *own = now;
    }
    Ok(())
}
