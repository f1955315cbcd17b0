//! The slow work on hosts, beside the thread that must never wait: addresses, routes, cables.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, SyncSender},
    },
    time::Instant,
};

use portolan_netsim::{Addressing, HostChange, InterfaceId};

use super::{
    namespace::{Addresses, Namespace},
    netlink,
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
    /// How it is, or will be when its cable is in again.
    pub(super) addressing: Addressing,
    pub(super) plugged: bool,
    /// The host's addresses, and which of its interfaces this is.
    pub(super) addresses: Addresses,
    pub(super) position: usize,
}

/// Does jobs until nobody gives any more.
pub(super) fn work(jobs: &Receiver<Job>, mut places: HashMap<InterfaceId, Place>) {
    let mut failure = None;
    for job in jobs {
        match job {
            Job::Change(change) => {
                if let Err(reason) = do_change(change, &mut places) {
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
    places: &mut HashMap<InterfaceId, Place>,
) -> Result<(), netlink::Reason> {
    let (HostChange::Readdressed { interface, .. } | HostChange::Carrier { interface, .. }) =
        &change;
    let missing = || "the interface belongs to no host".to_owned();
    let place = places.get_mut(interface).ok_or_else(missing)?;
    place.namespace.enter().map_err(|error| error.to_string())?;
    match change {
        HostChange::Readdressed { addressing, .. } => place.addressing = addressing,
        HostChange::Carrier { up, .. } => place.plugged = up,
    }
    if place.plugged { set_up(place) } else { netlink::take_down(&place.name) }
}

/// A cable that is pulled takes the device down with it, addresses and routes included, as a program
/// that configures the network would on a real host. (The kernel would see a lost carrier up to a
/// second later, which is nobody's network.)
fn set_up(place: &Place) -> Result<(), netlink::Reason> {
    netlink::readdress(&place.name, &place.addressing)?;
    let addresses = place.addressing.addresses.iter();
    let now: Vec<IpAddr> = addresses.map(|(address, _)| *address).collect();
    let mut addresses = place.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = addresses.get_mut(place.position) {
        *own = now;
    }
    Ok(())
}
