//! What one direction of a stream carries, how it ends and how it is read: all of it a function
//! of the seed, so that both ends and the judge agree without talking.

use std::time::Duration;

use portolan_mux::{Side, StreamId};

use crate::chance::Chance;

/// One direction of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Bytes that are written.
    pub(crate) size: u64,
    /// How the writer ends.
    pub(crate) ending: Ending,
    /// The reader reads this many bytes at once, then waits.
    pub(crate) read_at_once: u64,
    pub(crate) read_pause: Duration,
    /// Where the reader asks to stop, and with which code.
    pub(crate) stop: Option<(u64, u32)>,
    content: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Finish,
    Reset(u32),
}

impl Plan {
    /// The bytes from `writer` on stream `id` in the run of this seed.
    pub(crate) fn of(seed: u64, id: StreamId, writer: Side) -> Self {
        let mut chance = Chance::new(seed, 1000 + 2 * id.0 + writer as u64);
        let bulk = chance.one_in(6);
        let size = chance.size(if bulk { 20 } else { 15 });
        let ending = match chance.one_in(10) {
            true => Ending::Reset(code(&mut chance)),
            false => Ending::Finish,
        };
        let stop = chance.one_in(10).then(|| (chance.within(0..=size), code(&mut chance)));
        let slow = chance.one_in(8);
        let read_at_once = chance.within(1_000..=20_000);
        let read_pause = chance.millis(1..=300);
        Self {
            size,
            ending,
            read_at_once: if slow { read_at_once } else { u64::MAX },
            read_pause: if slow { read_pause } else { Duration::ZERO },
            stop,
            content: chance.within(0..=u64::MAX - 1),
        }
    }

    /// Fills `buffer` with what stands at `offset`.
    pub(crate) fn fill(&self, offset: u64, buffer: &mut [u8]) {
        for (byte, offset) in buffer.iter_mut().zip(offset..) {
            *byte = self.byte(offset);
        }
    }

    /// Where `bytes` read at `offset` first differ from what was written.
    pub(crate) fn first_difference(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let differs = |(byte, offset): (&u8, u64)| (*byte != self.byte(offset)).then_some(offset);
        bytes.iter().zip(offset..).find_map(differs)
    }

    /// Depends on every bit of the stream's number and the offset (the finisher of SplitMix64).
    fn byte(&self, offset: u64) -> u8 {
        let mut word = self.content ^ (offset / 8);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()[(offset % 8) as usize]
    }
}

fn code(chance: &mut Chance) -> u32 {
    u32::try_from(chance.within(0..=u64::from(u32::MAX))).unwrap_or_default()
}
