//! What all clients of a load together have seen, while they run.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use hdrhistogram::Histogram;

/// Clients share this many pairs of histograms, so that they seldom wait for each other.
const SHARDS: usize = 16;

/// Faults of which the words are kept.
const FAULTS_SHOWN: usize = 3;

/// Latencies beyond are counted as this one.
const LATENCY_MAX_NANOS: u64 = 60_000_000_000;

/// What clients count together.
#[derive(Debug)]
pub(crate) struct Tally {
    sent: AtomicU64,
    stored: AtomicU64,
    refused: AtomicU64,
    copies: AtomicU64,
    delivered: AtomicU64,
    /// Why a text was refused last.
    refusal: Mutex<Option<String>>,
    faults: AtomicU64,
    fault_words: Mutex<Vec<String>>,
    is_recording: AtomicBool,
    shards: [Mutex<Latencies>; SHARDS],
}

/// Latencies in nanoseconds: from a text's saying to the answer, and to its arrival.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) stored: Histogram<u64>,
    pub(crate) delivered: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { stored: histogram(), delivered: histogram() }
    }
}

/// The counters at one moment, or what is added to them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Texts said.
    pub(crate) sent: u64,
    /// Texts that the server has answered for.
    pub(crate) stored: u64,
    /// Texts that it did not take.
    pub(crate) refused: u64,
    /// Copies that it has promised to deliver.
    pub(crate) copies: u64,
    /// Texts that have arrived.
    pub(crate) delivered: u64,
}

impl Counts {
    /// Whether all that was said is answered, and all that was promised has come.
    pub(crate) fn is_settled(&self) -> bool {
        self.sent == self.stored + self.refused && self.delivered >= self.copies
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            refusal: Mutex::default(),
            faults: AtomicU64::new(0),
            fault_words: Mutex::default(),
            is_recording: AtomicBool::new(false),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Tally {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            sent: self.sent.load(Relaxed),
            stored: self.stored.load(Relaxed),
            refused: self.refused.load(Relaxed),
            copies: self.copies.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
        }
    }

    pub(crate) fn add_sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn add(&self, more: Counts) {
        for (counter, more) in [
            (&self.sent, more.sent),
            (&self.copies, more.copies),
            (&self.stored, more.stored),
            (&self.refused, more.refused),
            (&self.delivered, more.delivered),
        ] {
            if more > 0 {
                counter.fetch_add(more, Relaxed);
            }
        }
    }

    pub(crate) fn note_refusal(&self, why: String) {
        *lock(&self.refusal) = Some(why);
    }

    /// Why a text was refused last, since somebody asked last.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        lock(&self.refusal).take()
    }

    /// Where this client notes latencies; `None` while nobody measures.
    pub(crate) fn latencies(&self, client: u32) -> Option<MutexGuard<'_, Latencies>> {
        let shard = usize::try_from(client).unwrap_or_default() % SHARDS;
        self.is_recording.load(Relaxed).then(|| lock(&self.shards[shard]))
    }

    /// Notes latencies from now on, and none of before.
    pub(crate) fn start_recording(&self) {
        for shard in &self.shards {
            *lock(shard) = Latencies::default();
        }
        self.is_recording.store(true, Relaxed);
    }

    /// All latencies since the start.
    pub(crate) fn stop_recording(&self) -> Latencies {
        self.is_recording.store(false, Relaxed);
        let mut all = Latencies::default();
        for shard in &self.shards {
            let shard = lock(shard);
            // All have the same bounds.
            let _ = all.stored.add(&shard.stored);
            let _ = all.delivered.add(&shard.delivered);
        }
        all
    }

    pub(crate) fn blame(&self, fault: &dyn std::fmt::Display) {
        self.faults.fetch_add(1, Relaxed);
        let mut words = lock(&self.fault_words);
        if words.len() < FAULTS_SHOWN {
            words.push(fault.to_string());
        }
    }

    /// What went wrong since the last time that somebody asked.
    pub(crate) fn take_faults(&self) -> Option<String> {
        let count = self.faults.swap(0, Relaxed);
        let words = std::mem::take(&mut *lock(&self.fault_words)).join("; ");
        (count > 0).then(|| format!("{count} faults: {words}"))
    }
}

/// Notes a latency, cut to the longest that is told apart.
pub(crate) fn note(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram.saturating_record(nanos.min(LATENCY_MAX_NANOS));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LATENCY_MAX_NANOS, 3).expect("the bounds are constants")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
