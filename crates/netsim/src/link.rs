//! What a link does to packets: plain parameters.

use std::time::Duration;

use crate::Queue;

/// One direction between two hosts. The default is perfect: no delay, no loss, no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// The time that every packet takes.
    pub delay: Duration,
    /// Up to this much more, drawn evenly.
    pub jitter: Duration,
    /// Whether jitter lets packets overtake each other.
    pub order: Order,
    /// How fast the link sends, and how much may wait for it; `None` sends at once.
    pub rate: Option<Rate>,
    /// How packets get lost.
    pub loss: Loss,
    /// How packets get overtaken; `None` keeps the order.
    pub reorder: Option<Reorder>,
    /// Probability that a second copy arrives, up to `jitter` after the first.
    pub duplicate: f64,
    /// Probability that one bit of the payload arrives flipped.
    pub corrupt: f64,
    /// Longest IP packet in bytes (IP and UDP headers included); longer ones are dropped.
    pub mtu: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self::PERFECT
    }
}

impl Link {
    pub(crate) const PERFECT: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        order: Order::Kept,
        rate: None,
        loss: Loss::None,
        reorder: None,
        duplicate: 0.0,
        corrupt: 0.0,
        mtu: 65_535,
    };

    /// # Panics
    /// When a probability is not one, or a rate is zero: a mistake of the caller.
    pub(crate) fn check(&self) {
        let mut probabilities = vec![self.duplicate, self.corrupt];
        probabilities.extend(self.reorder.map(|reorder| reorder.probability));
        match self.loss {
            Loss::None => {}
            Loss::Random(lost) => probabilities.push(lost),
            Loss::Burst { begin, end, good, bad } => probabilities.extend([begin, end, good, bad]),
        }
        for probability in probabilities {
            assert!((0.0..=1.0).contains(&probability), "{probability} is not within 0..=1");
        }
        if let Some(rate) = self.rate {
            assert!(rate.bits_per_second > 0, "a rate of 0 is Change::Down");
        }
    }
}

/// Whether the packets of a flow stay in order under jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// A packet waits for the one before it, as on every link with one queue.
    #[default]
    Kept,
    /// Each takes its own time: many paths, or a radio link that repeats what got lost.
    Free,
}

/// A bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Speed in bits a second, IP and UDP headers included.
    pub bits_per_second: u64,
    /// What may wait for it.
    pub queue: Queue,
}

/// How packets get lost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// Not at all.
    #[default]
    None,
    /// Each with this probability, independent of the others.
    Random(f64),
    /// In bursts: the Gilbert-Elliott chain, stepped by each packet of a flow.
    ///
    /// With `good` 0 and `bad` 1 the share lost is `begin / (begin + end)`, the mean burst
    /// `1 / end` packets.
    Burst {
        /// Probability of going from the good to the bad state.
        begin: f64,
        /// Probability of going back.
        end: f64,
        /// Probability of loss in the good state.
        good: f64,
        /// Probability of loss in the bad state.
        bad: f64,
    },
}

/// How packets get overtaken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reorder {
    /// Probability that a packet is held back.
    pub probability: f64,
    /// For how long; those behind it do not wait.
    pub hold: Duration,
}
