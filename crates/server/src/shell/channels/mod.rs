//! Carries datagrams between two clients that are introduced to each other: ciphertext from one
//! UDP address to the other, under a header (`docs/relay.md`).
//!
//! A channel lives as long as the relay that it belongs to ([`super::relay`]). Each side has a
//! number and a key; a datagram is carried when it comes from where its side has proved to be
//! with that key, and goes on with the header of the other side, no longer than it came.

mod bucket;
mod carrier;
mod quota;
mod table;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use portolan_datagram_io::RelayKey;
use portolan_protocol::{ChannelKey, RelayChannel};

pub(super) use self::quota::Quota;
use self::table::{ChannelLimits, ChannelTable, Refusal};
use crate::{config::Limits, metrics::ChannelCounts};

/// Every channel of this server.
#[derive(Debug)]
pub(super) struct Channels {
    port: u16,
    table: Mutex<ChannelTable>,
    counts: Counts,
}

/// What became of datagrams, since the start.
#[derive(Debug, Default)]
struct Counts {
    carried: AtomicU64,
    bytes: AtomicU64,
    unknown: AtomicU64,
    unbound: AtomicU64,
    forged: AtomicU64,
    too_many: AtomicU64,
    overflowed: AtomicU64,
    spent: AtomicU64,
}

impl Channels {
    /// None yet; clients reach them at `port`.
    pub(super) fn new(port: u16, limits: &Limits) -> Self {
        let limits = ChannelLimits {
            bytes: limits.relay_rate,
            datagrams: limits.relay_datagrams.into(),
            queue: limits.relay_queue,
        };
        Self { port, table: Mutex::new(ChannelTable::new(limits)), counts: Counts::default() }
    }

    /// Opens one. Dropping what is returned closes it.
    pub(super) fn open(self: &Arc<Self>, now: Instant, quota: &Quota) -> Option<OpenChannel> {
        let sides = [self.side()?, self.side()?];
        let [caller, callee] = &sides;
        let numbers = [caller.number, callee.number];
        let table =
            [(caller.number, RelayKey(caller.key.0)), (callee.number, RelayKey(callee.key.0))];
        if !self.lock().open(now, table, quota) {
            return None;
        }
        let [caller, callee] = sides;
        Some(OpenChannel { channels: Arc::clone(self), numbers, caller, callee })
    }

    /// A number that nobody can guess, and a key.
    fn side(&self) -> Option<RelayChannel> {
        let mut random = [0; 40];
        portolan_identity::provider().secure_random.fill(&mut random).ok()?;
        let (number, key) = random.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*number) >> 8;
        let (key, _) = key.split_first_chunk::<32>()?;
        Some(RelayChannel { number, key: ChannelKey(*key), port: self.port })
    }

    /// What became of datagrams.
    pub(super) fn counts(&self) -> ChannelCounts {
        let counts = &self.counts;
        ChannelCounts {
            carried: counts.carried.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            refused: [
                ("unknown", counts.unknown.load(Relaxed)),
                ("unbound", counts.unbound.load(Relaxed)),
                ("forged", counts.forged.load(Relaxed)),
                ("rate", counts.too_many.load(Relaxed)),
                ("full", counts.overflowed.load(Relaxed)),
                ("spent", counts.spent.load(Relaxed)),
            ],
        }
    }

    fn lock(&self) -> MutexGuard<'_, ChannelTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn refuse(&self, refusal: Refusal, datagrams: usize) {
        let count = match refusal {
            Refusal::Unknown => &self.unknown,
            Refusal::Unbound => &self.unbound,
            Refusal::Forged => &self.forged,
            Refusal::TooMany => &self.too_many,
            Refusal::Overflowed => &self.overflowed,
            Refusal::Spent => &self.spent,
        };
        count.fetch_add(datagrams as u64, Relaxed);
    }
}

/// A channel, open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenChannel {
    channels: Arc<Channels>,
    numbers: [u64; 2],
    /// What the caller is told.
    pub(super) caller: RelayChannel,
    /// What the callee is told.
    pub(super) callee: RelayChannel,
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        let [number, _] = self.numbers;
        self.channels.lock().close(number);
    }
}
