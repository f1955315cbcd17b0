//! Token buckets: of all remotes together, and of each remote host in bounded memory.

use std::{
    hash::{BuildHasher, DefaultHasher, Hasher},
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use crate::RateLimit;

/// Buckets that all hosts share: two hosts may meet in one, which halves their rates.
const HOST_BUCKETS: usize = 4096;

/// One token bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// Thousandths of a token.
    milli: u64,
    counted: Option<Instant>,
}

impl Bucket {
    pub(crate) const fn new() -> Self {
        Self { milli: 0, counted: None }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, limit: RateLimit) -> bool {
        let full = u64::from(limit.burst) * 1000;
        match self.counted {
            None => self.milli = full,
            Some(counted) => {
                let elapsed = now.saturating_duration_since(counted).as_millis();
                let earned = elapsed * u128::from(limit.per_second);
                let earned = u64::try_from(earned).unwrap_or(u64::MAX);
                self.milli = self.milli.saturating_add(earned).min(full);
            }
        }
        // Less than a millisecond is counted again next time.
        let moved = self.counted.is_none_or(|at| now.saturating_duration_since(at).as_millis() > 0);
        if moved {
            self.counted = Some(now);
        }
        let has_token = self.milli >= 1000;
        if has_token {
            self.milli -= 1000;
        }
        has_token
    }
}

/// One bucket for each remote host (/64 of IPv6), in memory that does not grow.
#[derive(Debug)]
pub(crate) struct HostBuckets {
    buckets: Box<[Bucket]>,
    hasher: SeededHasher,
}

impl HostBuckets {
    pub(crate) fn new(hasher: SeededHasher) -> Self {
        Self { buckets: vec![Bucket::new(); HOST_BUCKETS].into(), hasher }
    }

    pub(crate) fn take(&mut self, now: Instant, from: SocketAddr, limit: RateLimit) -> bool {
        let host = match from.ip().to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX),
        };
        let index = self.hasher.hash_one(host) % HOST_BUCKETS as u64;
        let bucket = usize::try_from(index).ok().and_then(|index| self.buckets.get_mut(index));
        bucket.is_some_and(|bucket| bucket.take(now, limit))
    }
}

/// `SipHash` behind a secret, so that remotes cannot choose what collides; from our seed and not
/// from the system's randomness, so that runs repeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeededHasher([u8; 16]);

impl SeededHasher {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }
}

impl BuildHasher for SeededHasher {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::epoch;

    const LIMIT: RateLimit = RateLimit { per_second: 10, burst: 3 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new();
        let mut now = epoch();
        let taken = (0..10).filter(|_| bucket.take(now, LIMIT)).count();
        assert_eq!(taken, 3);
        let mut taken = 0;
        for _ in 0..10_000 {
            now += Duration::from_micros(100);
            taken += usize::from(bucket.take(now, LIMIT));
        }
        assert_eq!(taken, 10);
    }

    #[test]
    fn a_flood_from_one_host_leaves_another_alone() {
        let mut hosts = HostBuckets::new(SeededHasher::new([1; 16]));
        let (flood, other) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 1).into());
        while hosts.take(epoch(), flood, LIMIT) {}
        assert!(hosts.take(epoch(), other, LIMIT));
    }
}
