//! Handshakes under way, all together and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Up to this many, one address may have all of them.
const FEW: u32 = 16;

/// Places for handshakes: a bound for all, and a quarter of it for one address, so that nobody
/// can keep all others out by saying nothing.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    places: Arc<Semaphore>,
    each_max: u32,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// A handshake's place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    half_open: Arc<HalfOpen>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl HalfOpen {
    pub(crate) fn new(max: u32) -> Self {
        let places = (max as usize).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            each_max: (max / 4).max(max.min(FEW)),
            by_address: Mutex::default(),
        }
    }

    /// Waits for a place. Cancel safe.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Gives the place to a remote, unless its address has too many already.
    pub(crate) fn admit(
        self: &Arc<Self>,
        remote: IpAddr,
        place: OwnedSemaphorePermit,
    ) -> Option<Admitted> {
        let address = network(remote);
        let mut by_address = self.lock();
        let count = by_address.entry(address).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        drop(by_address);
        Some(Admitted { half_open: Arc::clone(self), address, _place: place })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_address = self.half_open.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// The address, or for IPv6 the network of 64 bits that one customer has.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_gets_a_quarter_and_its_places_return() {
        let half_open = Arc::new(HalfOpen::new(80));
        let mut admitted = Vec::new();
        for _ in 0..20 {
            let place = half_open.place().await.expect("open");
            admitted.extend(half_open.admit([10, 0, 0, 1].into(), place));
        }
        assert_eq!(admitted.len(), 20);
        let place = half_open.place().await.expect("open");
        assert!(half_open.admit([10, 0, 0, 1].into(), place).is_none());
        let place = half_open.place().await.expect("open");
        assert!(half_open.admit([10, 0, 0, 2].into(), place).is_some());
        drop(admitted);
        assert!(half_open.lock().is_empty());
        assert_eq!(half_open.places.available_permits(), 80);
    }

    #[test]
    fn a_customers_network_counts_as_one_address() {
        let one = network("2001:db8:1:2:3:4:5:6".parse().expect("an address"));
        let other = network("2001:db8:1:2:ffff::1".parse().expect("an address"));
        let neighbour = network("2001:db8:1:3::1".parse().expect("an address"));
        assert_eq!(one, other);
        assert_ne!(one, neighbour);
    }
}
