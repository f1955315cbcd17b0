//! Frames that have come and wait for their time.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    codec::is_twenty_milliseconds,
    datagram::{Audio, Moment},
    units::{FRAME_SAMPLES, FRAME_UNITS, SAMPLE_RATE},
};

/// Frames that wait at most: two and a half seconds.
pub(crate) const FRAMES_MAX: usize = 128;

/// By how many numbers a frame may be away from the newest: twenty seconds of talk.
const NUMBERS_MAX: i64 = 1_000;

/// By how much sound a frame may be away from the newest.
const TIME_MAX: i64 = 60 * SAMPLE_RATE as i64;

/// Frames in a row that contradict all before, and agree with each other, are a new beginning
/// (RFC 3550 appendix A.1 asks for two).
const CONTRADICTIONS: u32 = 4;

/// A frame with its number and its time counted on without end.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) sequence: i64,
    /// In samples.
    pub(crate) time: i64,
    pub(crate) moment: Moment,
    pub(crate) payload: Bytes,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is here already.
    #[error("this frame came before")]
    Duplicate,
    /// Its time has passed.
    #[error("this frame came too late")]
    Late,
    /// Not one of Opus, or not 20 ms.
    #[error("this is not an Opus frame of 20 ms")]
    Codec,
    /// Its number or its time does not fit with the others.
    #[error("the number or the time of this frame contradicts those before")]
    Contradiction,
}

/// What became of a frame that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits.
    Waiting {
        /// Its number.
        sequence: i64,
        /// Its time in samples.
        time: i64,
    },
    /// Everything begins anew with it.
    Restart,
}

/// The frames of one epoch, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Store {
    frames: VecDeque<Frame>,
    newest: Option<(i64, i64)>,
    contradiction: Option<(u16, u32)>,
    contradictions: u32,
}

impl Store {
    /// Takes a frame unless its number is below `wanted`, that of the next to be heard.
    pub(crate) fn take(&mut self, audio: &Audio, wanted: Option<i64>) -> Result<Taken, Refused> {
        if !is_twenty_milliseconds(&audio.payload) {
            return Err(Refused::Codec);
        }
        let Some((sequence, time)) = self.place(audio) else {
            return self.contradicted(audio);
        };
        self.contradictions = 0;
        if self.newest.is_none_or(|(newest, _)| newest < sequence) {
            self.newest = Some((sequence, time));
        }
        let taken = Taken::Waiting { sequence, time };
        if wanted.is_some_and(|wanted| sequence < wanted) {
            return Err(Refused::Late);
        }
        let index = self.frames.partition_point(|frame| frame.sequence < sequence);
        if self.frames.get(index).is_some_and(|frame| frame.sequence == sequence) {
            return Err(Refused::Duplicate);
        }
        let (moment, payload) = (audio.moment, audio.payload.clone());
        self.frames.insert(index, Frame { sequence, time, moment, payload });
        if self.frames.len() > FRAMES_MAX {
            self.frames.pop_front();
        }
        Ok(taken)
    }

    /// Where a frame belongs, as far as the newest before it can tell.
    pub(crate) fn place(&self, audio: &Audio) -> Option<(i64, i64)> {
        let (newest, newest_time) = match self.newest {
            Some(newest) => newest,
            None => return Some((i64::from(audio.sequence), i64::from(audio.timestamp))),
        };
        #[expect(clippy::cast_possible_truncation, reason = "numbers are counted modulo 2^16")]
        #[expect(clippy::cast_sign_loss, reason = "numbers are counted modulo 2^16")]
        let numbers = i64::from(audio.sequence.wrapping_sub(newest as u16).cast_signed());
        #[expect(clippy::cast_possible_truncation, reason = "times are counted modulo 2^32")]
        #[expect(clippy::cast_sign_loss, reason = "times are counted modulo 2^32")]
        let samples = i64::from(audio.timestamp.wrapping_sub(newest_time as u32).cast_signed());
        let frame = FRAME_SAMPLES as i64;
        // A frame lasts 20 ms; between two there may be a pause, of whole frames as well.
        let consistent = match numbers {
            0 => samples == 0,
            1.. => samples >= numbers * frame,
            _ => samples <= numbers * frame,
        };
        let near = numbers.abs() <= NUMBERS_MAX && samples.abs() <= TIME_MAX;
        let whole = samples % frame == 0;
        (consistent && near && whole).then_some((newest + numbers, newest_time + samples))
    }

    fn contradicted(&mut self, audio: &Audio) -> Result<Taken, Refused> {
        let follows = self.contradiction.is_some_and(|(sequence, timestamp)| {
            audio.sequence == sequence.wrapping_add(1)
                && audio.timestamp == timestamp.wrapping_add(FRAME_UNITS)
        });
        self.contradictions = if follows { self.contradictions + 1 } else { 1 };
        self.contradiction = Some((audio.sequence, audio.timestamp));
        if self.contradictions < CONTRADICTIONS {
            return Err(Refused::Contradiction);
        }
        Ok(Taken::Restart)
    }

    pub(crate) fn first(&self) -> Option<&Frame> {
        self.frames.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(sequence: u16, timestamp: u32) -> Audio {
        let payload = Bytes::from_static(&[1 << 3, 0, 0]);
        let (stream, epoch, moment, level) = (0, 0, Moment::Talking, 0);
        Audio { stream, epoch, moment, level, sequence, timestamp, payload }
    }

    #[test]
    fn numbers_and_times_count_on_beyond_their_width() {
        let mut store = Store::default();
        store.take(&audio(u16::MAX, 960 * 4_473_924), None).unwrap();
        let next = 960_u32.wrapping_mul(4_473_924).wrapping_add(960);
        let taken = store.take(&audio(0, next), None).unwrap();
        let Taken::Waiting { sequence, time } = taken else { panic!("{taken:?}") };
        assert_eq!(sequence, 65_536);
        assert_eq!(time, 960 * 4_473_925);
    }

    #[test]
    fn frames_come_out_in_order_once() {
        let mut store = Store::default();
        for number in [3_u16, 1, 2, 4] {
            store.take(&audio(number, 960 * u32::from(number)), None).unwrap();
        }
        assert_eq!(store.take(&audio(2, 1_920), None), Err(Refused::Duplicate));
        let order: Vec<_> = std::iter::from_fn(|| store.pop()).map(|one| one.sequence).collect();
        assert_eq!(order, [1, 2, 3, 4]);
        assert_eq!(store.take(&audio(2, 1_920), Some(5)), Err(Refused::Late));
    }

    #[test]
    fn one_wild_number_changes_nothing_and_four_in_a_row_are_a_new_beginning() {
        let mut store = Store::default();
        store.take(&audio(1, 960), None).unwrap();
        assert_eq!(store.take(&audio(30_000, 5), None), Err(Refused::Contradiction));
        store.take(&audio(2, 1_920), None).unwrap();
        for number in 0..3 {
            let wild = audio(40_000 + number, 77 + 960 * u32::from(number));
            assert_eq!(store.take(&wild, None), Err(Refused::Contradiction));
        }
        assert_eq!(store.take(&audio(40_003, 77 + 960 * 3), None), Ok(Taken::Restart));
    }

    #[test]
    fn more_than_the_bound_pushes_the_oldest_out() {
        let mut store = Store::default();
        for number in 0..=u16::try_from(FRAMES_MAX).unwrap() {
            store.take(&audio(number, 960 * u32::from(number)), None).unwrap();
        }
        assert_eq!((store.len(), store.first().unwrap().sequence), (FRAMES_MAX, 1));
    }
}
