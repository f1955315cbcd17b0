//! Sound that several people hear at the same time: held back until it is its time.

use std::collections::VecDeque;

use portolan_live::SAMPLE_RATE;
use tokio::time::{Duration, Instant};

/// How much later than it is played out everybody hears it: enough for the way and for the buffer.
pub(crate) const LAG: Duration = Duration::from_millis(400);
/// What a receiver's buffer waits of that.
pub(crate) const BUFFER: Duration = Duration::from_millis(150);
/// So much off is not corrected: nobody hears it, and what is moved is heard.
const GOOD: i64 = samples(Duration::from_millis(10));
/// The most that is held back.
const HELD_MAX: i64 = samples(Duration::from_secs(2));

/// Further off than that is a lie, and all the same.
const OFF_MAX: i64 = samples(Duration::from_secs(3600));

/// When a sample is to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The time stamp of a sample …
    pub(crate) timestamp: u32,
    /// … and when it was played out, by our clock.
    pub(crate) at: Instant,
    /// Where that is in what is played.
    pub(crate) position: Duration,
}

/// Holds sound back, so that each sample is heard [`LAG`] after it was played out.
#[derive(Debug)]
pub(crate) struct Together {
    channels: usize,
    held: VecDeque<f32>,
    aim: Option<Aim>,
    /// How much too late (or too early, below zero) sound was at the last look, in samples.
    off: i64,
    /// Where the sound is that was given last.
    position: Option<Duration>,
}

impl Together {
    pub(crate) fn new(channels: usize) -> Self {
        Self { channels, held: VecDeque::new(), aim: None, off: 0, position: None }
    }

    pub(crate) fn aim(&mut self, aim: Aim) {
        self.aim = Some(aim);
    }

    /// Takes what was made of the stream at `now`; its first sample has the time stamp `timestamp`,
    /// unless it is a pause. Gives as much back, of what is due.
    pub(crate) fn pass(&mut self, now: Instant, timestamp: Option<u32>, sound: &mut [f32]) {
        if let (Some(aim), Some(timestamp)) = (self.aim, timestamp) {
            self.align(now, aim, timestamp);
        }
        self.held.extend(&*sound);
        for sample in sound {
            *sample = self.held.pop_front().unwrap_or_default();
        }
    }

    /// How far off the sound is, below zero when it is early.
    pub(crate) fn off_ms(&self) -> i32 {
        i32::try_from(self.off * 1000 / i64::from(SAMPLE_RATE)).unwrap_or(i32::MAX)
    }

    /// Where the sound is that is heard now.
    pub(crate) fn position(&self) -> Option<Duration> {
        self.position
    }

    fn align(&mut self, now: Instant, aim: Aim, timestamp: u32) {
        // Time stamps wrap after a day: what lies between is less than half of that.
        let since = i64::from(timestamp.wrapping_sub(aim.timestamp).cast_signed());
        let waits = i64::try_from(self.held.len() / self.channels).unwrap_or(HELD_MAX);
        let heard = between(aim.at + LAG, now) + waits;
        self.off = (heard - since).clamp(-OFF_MAX, OFF_MAX);
        let position = i64::try_from(aim.position.as_millis()).unwrap_or(0)
            + (since - waits) * 1000 / i64::from(SAMPLE_RATE);
        self.position = u64::try_from(position).ok().map(Duration::from_millis);
        if self.off < -GOOD {
            let room = (HELD_MAX - waits).max(0);
            let missing = usize::try_from((-self.off).min(room)).unwrap_or(0);
            self.held.extend(std::iter::repeat_n(0.0, missing * self.channels));
        } else if self.off > GOOD {
            let excess = usize::try_from(self.off.min(waits)).unwrap_or(0);
            self.held.drain(..excess * self.channels);
        }
    }
}

/// Samples from one instant to another, below zero if the other is earlier.
fn between(from: Instant, to: Instant) -> i64 {
    match to.checked_duration_since(from) {
        Some(after) => samples(after),
        None => -samples(from.duration_since(to)),
    }
}

/// Samples of one channel in a time.
#[expect(clippy::cast_possible_truncation, reason = "checked against its bound before")]
const fn samples(time: Duration) -> i64 {
    let micros = time.as_micros();
    // A century of samples fits.
    if micros > i64::MAX as u128 / 48 { i64::MAX / 48 } else { micros as i64 * 48 / 1000 }
}

#[cfg(test)]
mod tests;
