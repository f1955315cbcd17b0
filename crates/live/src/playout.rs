//! What is heard next.
//!
//! A frame should be heard along a *line* of [`Delays`]: early enough that nobody waits in vain,
//! late enough that all but one in a hundred are there, or more where that is cheap. Pauses are for free: the next talk simply
//! begins on the line. Within a talk a few milliseconds of [`stretch`] at a time keep to it.
//!
//! The sink takes sound in portions. A frame is needed when the portion at hand cannot be filled
//! without it, with `rest` samples of the frame before still there: it must be here that much
//! before it is heard. Its *slack* is how far beyond the line it is at that moment. To leave out
//! as much as the rest costs no slack; to leave out more costs that of a whole portion.

use crate::{
    codec::{CodecError, Decoder, PIECE, has_copy_of_last},
    datagram::{Audio, Moment},
    delays::Delays,
    fifo::{Fifo, Made},
    receiver::{Buffer, ReceiverConfig, Waiting},
    store::{Frame, Refused, Store, Taken},
    stretch::{Change, Wish, stretch},
    tally::Tally,
    units::{FRAME_MICROS, FRAME_SAMPLES, micros, micros_of, samples},
};

/// Less slack than this is made greater. More than that of a portion is made smaller.
const SLACK_LOW: f64 = 1_000.0;
const SLACK_SPARE: f64 = 4_000.0;

/// Slack from which on haste counts more than beauty.
const SLACK_FAR: f64 = 60_000.0;

/// How alike two periods must be, where there is time and where there is none.
const ALIKE: f32 = 0.85;
const ALIKE_IN_HASTE: f32 = 0.4;

/// A change of this many samples finds a period in most sound.
const LEAST: usize = 2 * PIECE;

/// Frames between two changes of length, where there is time.
const REST: u32 = 3;

/// How much a new slack counts beside those before: who asks may be a little late or early.
const SLACK_SHARE: f64 = 0.25;

/// So long sound is made up while nothing comes at all; then the talk has broken off.
const WAIT_MAX: usize = 10 * FRAME_SAMPLES;

/// Who was cut off goes on at most this far behind the line; older frames are let go.
const BEHIND_MAX: i64 = 200_000;

/// A fixed buffer that is off by more than a frame lets a frame go, or plays one twice as long.
const SLIP: i64 = FRAME_MICROS;

/// Loss from which on it is worth waiting for the copy in the next frame, and to which.
const LOSS_TO_WAIT: f64 = 0.01;
const LOSS_TO_STOP: f64 = 0.004;

/// How much one frame counts in the share of lost ones.
const LOSS_SHARE: f64 = 1.0 / 256.0;

/// Turns frames into sound, in the order and at the time in which they are asked for.
pub(crate) struct Playout {
    buffer: Buffer,
    channels: usize,
    decoder: Decoder,
    store: Store,
    delays: Delays,
    fifo: Fifo,
    flow: Flow,
    /// The number after the last one heard: what is below has had its time.
    wanted: Option<i64>,
    /// How far beyond the line sound is heard, smoothed, in microseconds: slack and rest together.
    beyond: f64,
    /// Samples of a portion, and those that were there when the frame at hand was needed.
    portion: usize,
    rest: usize,
    /// Whether the frame at hand is not the first that this portion needs.
    again: bool,
    /// Frames until sound may be stretched again.
    pause: u32,
    loss: f64,
    copies: bool,
    waits_for_copies: bool,
    scratch: Vec<f32>,
}

/// Whether somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Nothing has come yet.
    New,
    /// A pause.
    Quiet,
    /// A talk that broke off.
    Cut,
    /// The next frame has this number and this time; so many samples were made up in front of it.
    Talking { sequence: i64, time: i64, waited: usize },
}

impl Playout {
    pub(crate) fn new(config: &ReceiverConfig) -> Result<Self, CodecError> {
        let channels = config.channels.count();
        Ok(Self {
            buffer: config.buffer,
            channels,
            decoder: Decoder::new(config.channels)?,
            store: Store::default(),
            delays: Delays::default(),
            fifo: Fifo::new(channels),
            flow: Flow::New,
            wanted: None,
            beyond: 0.0,
            portion: FRAME_SAMPLES,
            rest: 0,
            again: false,
            pause: 0,
            loss: 0.0,
            copies: false,
            waits_for_copies: false,
            scratch: Vec::with_capacity(2 * FRAME_SAMPLES * channels),
        })
    }

    /// Forgets all that came, but not the sound that is ready.
    pub(crate) fn restart(&mut self) {
        self.store = Store::default();
        self.delays = Delays::default();
        self.flow = match self.flow {
            Flow::New => Flow::New,
            Flow::Quiet | Flow::Cut | Flow::Talking { .. } => Flow::Quiet,
        };
        self.wanted = None;
    }

    /// Takes a frame that came at `now`.
    pub(crate) fn take(
        &mut self,
        now: i64,
        audio: &Audio,
        tally: &mut Tally,
    ) -> Result<Entered, Refused> {
        match self.store.take(audio, self.wanted) {
            Ok(Taken::Waiting { sequence, time }) => {
                self.on_lag(now, time);
                let waiting = matches!(self.flow, Flow::Talking { sequence: next, waited, .. }
                    if next == sequence && waited > 0);
                tally.delayed += u64::from(waiting);
                Ok(Entered { sequence, restarted: false })
            }
            Ok(Taken::Restart) => {
                self.restart();
                self.take(now, audio, tally).map(|one| Entered { restarted: true, ..one })
            }
            Err(Refused::Late) => {
                // It still tells how long the way was.
                if let Some((_, time)) = self.store.place(audio) {
                    self.on_lag(now, time);
                }
                Err(Refused::Late)
            }
            Err(refused) => Err(refused),
        }
    }

    /// What comes all at once after the talk broke off was held up by something that nobody wants
    /// to wait for next time.
    fn on_lag(&mut self, now: i64, time: i64) {
        if self.flow != Flow::Cut {
            self.delays.on_lag(now - micros(time));
        }
    }

    /// Fills `out`, and says how.
    pub(crate) fn pull(&mut self, now: i64, out: &mut [f32], tally: &mut Tally) -> Made {
        let needed = out.len() / self.channels;
        self.portion = needed;
        self.again = false;
        while self.fifo.len() < needed {
            self.make(now, needed - self.fifo.len(), tally);
        }
        self.fifo.take(out)
    }

    /// Makes some more sound; `missing` samples are needed at once.
    fn make(&mut self, now: i64, missing: usize, tally: &mut Tally) {
        match self.flow {
            Flow::New | Flow::Quiet | Flow::Cut => {
                if !self.begin(now, tally) {
                    self.fill_pause(missing, tally);
                }
            }
            Flow::Talking { sequence, time, waited } => {
                self.go_on(now, missing, Next { sequence, time, waited }, tally);
            }
        }
    }

    /// Begins a talk if its first frame is due; whether it is.
    fn begin(&mut self, now: i64, tally: &mut Tally) -> bool {
        while let Some(first) = self.store.first() {
            let slack = now - micros(first.time) - self.line();
            if slack < 0 {
                return false;
            }
            if slack > BEHIND_MAX && self.store.len() > 1 {
                self.wanted = Some(first.sequence + 1);
                self.store.pop();
                tally.late += 1;
                continue;
            }
            let (sequence, time) = (first.sequence, first.time);
            self.flow = Flow::Talking { sequence, time, waited: 0 };
            self.beyond = (slack + micros_of(self.fifo.len())) as f64;
            self.pause = 0;
            return true;
        }
        false
    }

    fn fill_pause(&mut self, missing: usize, tally: &mut Tally) {
        self.scratch.clear();
        let made = match self.flow {
            Flow::New => {
                self.scratch.resize(missing * self.channels, 0.0);
                Made::Silence
            }
            Flow::Quiet => {
                self.decoder.conceal(missing, &mut self.scratch);
                Made::Silence
            }
            Flow::Cut | Flow::Talking { .. } => {
                self.decoder.conceal(missing, &mut self.scratch);
                Made::Concealed
            }
        };
        self.emit(made, tally);
    }

    fn go_on(&mut self, now: i64, missing: usize, next: Next, tally: &mut Tally) {
        let next = self.let_go(next, tally);
        let Some(first) = self.store.first() else {
            return self.run_dry(missing, next, tally);
        };
        let (gap, sequence, time) = (first.time - next.time, first.sequence, first.time);
        if gap == 0 {
            self.play(now, Next { sequence, ..next }, tally);
        } else if sequence <= next.sequence || gap > samples(BEHIND_MAX) {
            // The speaker has paused, or so much is lost that it comes to the same.
            self.flow = Flow::Quiet;
        } else if samples_of(next.waited) >= gap {
            // What was made up while waiting stands for what was lost.
            let missed = u64::try_from(sequence - next.sequence).unwrap_or_default();
            (0..missed).for_each(|_| self.on_frame(true));
            self.play(now, Next { sequence, time, waited: 0 }, tally);
        } else {
            self.do_without(next, tally);
        }
    }

    /// A fixed buffer does not wait: frames whose time has passed are late.
    fn let_go(&mut self, next: Next, tally: &mut Tally) -> Next {
        match self.buffer {
            Buffer::Adaptive { .. } => return next,
            Buffer::Fixed(_) => {}
        }
        while self.store.first().is_some_and(|first| first.time < next.time) {
            self.store.pop();
            tally.late += 1;
        }
        let waited = if self.store.first().is_some() { 0 } else { next.waited };
        Next { waited, ..next }
    }

    /// Nothing is there at all: it is late, or lost.
    fn run_dry(&mut self, missing: usize, next: Next, tally: &mut Tally) {
        self.scratch.clear();
        match self.buffer {
            Buffer::Adaptive { .. } => {
                self.decoder.conceal(missing, &mut self.scratch);
                let made = self.scratch.len() / self.channels;
                self.wait(Next { waited: next.waited + made, ..next });
            }
            Buffer::Fixed(_) => {
                self.decoder.conceal(FRAME_SAMPLES, &mut self.scratch);
                // What comes late is let go, though who counts on may be wrong about numbers.
                self.wait(Next { waited: next.waited + FRAME_SAMPLES, ..next.after() });
            }
        }
        self.emit(Made::Concealed, tally);
    }

    fn wait(&mut self, next: Next) {
        let Next { sequence, time, waited } = next;
        self.flow =
            if waited < WAIT_MAX { Flow::Talking { sequence, time, waited } } else { Flow::Cut };
    }

    /// The next frame is missing and later ones are here.
    fn do_without(&mut self, next: Next, tally: &mut Tally) {
        self.scratch.clear();
        let after = next.after();
        let copy = self.store.first().filter(|first| {
            first.sequence == after.sequence
                && first.time == after.time
                && has_copy_of_last(&first.payload)
        });
        let repaired =
            copy.is_some_and(|copy| self.decoder.repair(&copy.payload, &mut self.scratch));
        // What was made up while waiting stands for its beginning.
        let waited = next.waited.min(FRAME_SAMPLES);
        if repaired {
            self.scratch.drain(..waited * self.channels);
        } else {
            self.scratch.clear();
            self.decoder.conceal(FRAME_SAMPLES - waited, &mut self.scratch);
        }
        self.on_frame(true);
        let waited = next.waited - waited;
        self.flow = Flow::Talking { sequence: after.sequence, time: after.time, waited };
        self.wanted = Some(after.sequence);
        self.emit(if repaired { Made::Repaired } else { Made::Concealed }, tally);
    }

    /// The next frame is here.
    fn play(&mut self, now: i64, next: Next, tally: &mut Tally) {
        let Some(frame) = self.store.pop() else { return };
        self.on_frame(false);
        self.copies = has_copy_of_last(&frame.payload);
        let after = next.after();
        self.wanted = Some(after.sequence);
        self.scratch.clear();
        let sound = self.decoder.decode(&frame.payload, &mut self.scratch);
        let made = match frame.moment {
            Moment::Talking | Moment::Spurt if sound => Made::Played,
            Moment::Talking | Moment::Spurt => Made::Concealed,
            Moment::Silent => Made::Silence,
        };
        self.flow = match frame.moment {
            Moment::Silent => Flow::Quiet,
            Moment::Talking | Moment::Spurt => {
                Flow::Talking { sequence: after.sequence, time: after.time, waited: 0 }
            }
        };
        self.keep_to_the_line(now, &frame, tally);
        self.emit(made, tally);
    }

    /// Makes the frame in `scratch` longer or shorter where it is off the line.
    fn keep_to_the_line(&mut self, now: i64, frame: &Frame, tally: &mut Tally) {
        let slack = now - micros(frame.time) - self.line();
        match self.buffer {
            Buffer::Adaptive { .. } => self.bend(slack, tally),
            Buffer::Fixed(_) => self.slip(slack),
        }
    }

    fn bend(&mut self, slack: i64, tally: &mut Tally) {
        if !self.again {
            self.again = true;
            self.rest = self.fifo.len();
            let beyond = (slack + micros_of(self.rest)) as f64;
            self.beyond += (beyond - self.beyond) * SLACK_SHARE;
        }
        self.pause = self.pause.saturating_sub(1);
        let slack = self.beyond - micros_of(self.rest) as f64;
        let hasty = slack > SLACK_FAR;
        let Some((change, samples_max)) = self.change(slack) else { return };
        let likeness = if hasty { ALIKE_IN_HASTE } else { ALIKE };
        let wish = Wish { change, samples_max, likeness };
        let by = stretch(&mut self.scratch, 0, self.channels, wish);
        if by == 0 {
            return;
        }
        self.pause = if hasty { 0 } else { REST };
        match change {
            Change::Shorter => {
                self.beyond -= micros_of(by) as f64;
                tally.shortened += by as u64;
            }
            Change::Longer => {
                self.beyond += micros_of(by) as f64;
                tally.lengthened += by as u64;
            }
        }
        self.rest = self.rest_after(change, by);
    }

    /// What will be left when the next frame is needed.
    fn rest_after(&self, change: Change, by: usize) -> usize {
        let portion = self.portion.max(1);
        let length = match change {
            Change::Shorter => self.rest + FRAME_SAMPLES - by,
            Change::Longer => self.rest + FRAME_SAMPLES + by,
        };
        length % portion
    }

    /// Which way to go, and by at most how many samples.
    fn change(&self, slack: f64) -> Option<(Change, usize)> {
        if self.pause > 0 {
            return None;
        }
        if slack < SLACK_LOW {
            // The least that helps, unless much is missing or no sound repeats itself so soon.
            let to_the_next = self.portion.saturating_sub(self.rest);
            let far = slack < -SLACK_SPARE;
            return Some((
                Change::Longer,
                if far { FRAME_SAMPLES } else { to_the_next.max(LEAST) },
            ));
        }
        let spare = slack > micros_of(self.portion) as f64 + SLACK_SPARE;
        let samples_max = if spare { usize::MAX } else { self.rest };
        Some((Change::Shorter, samples_max))
    }

    /// A fixed buffer knows whole frames only.
    fn slip(&mut self, slack: i64) {
        let Flow::Talking { sequence, time, waited } = self.flow else { return };
        let next = Next { sequence, time, waited };
        if slack > SLIP && self.store.first().is_some_and(|first| first.sequence == sequence) {
            self.store.pop();
            self.wait(Next { waited: 0, ..next.after() });
        } else if slack < -SLIP {
            self.decoder.conceal(FRAME_SAMPLES, &mut self.scratch);
        }
    }

    /// Counts a frame in the share of lost ones.
    fn on_frame(&mut self, lost: bool) {
        let one = if lost { 1.0 } else { 0.0 };
        self.loss += (one - self.loss) * LOSS_SHARE;
        let limit = if self.waits_for_copies { LOSS_TO_STOP } else { LOSS_TO_WAIT };
        self.waits_for_copies = self.loss > limit && (self.copies || self.waits_for_copies);
    }

    fn emit(&mut self, made: Made, tally: &mut Tally) {
        tally.on_sound(made, self.scratch.len() / self.channels);
        self.fifo.push(&self.scratch, made);
    }

    /// The lag along which frames are to be heard.
    fn line(&self) -> i64 {
        let base = self.delays.base();
        match self.buffer {
            Buffer::Fixed(delay) => base + delay_micros(delay),
            Buffer::Adaptive { min, max, waiting } => {
                let line = match waiting {
                    Waiting::Least => self.delays.line(),
                    Waiting::Rated => self.delays.rated(),
                };
                let copies = self.delays.mostly() + FRAME_MICROS;
                let line = if self.waits_for_copies { line.max(copies) } else { line };
                line.clamp(base + delay_micros(min), base + delay_micros(max.max(min)))
            }
        }
    }

    /// The network takes so long one way.
    pub(crate) const fn set_way(&mut self, way: std::time::Duration) {
        self.delays.set_way(way);
    }

    /// How long a frame is to wait that nothing held up, in microseconds.
    pub(crate) fn target(&self) -> i64 {
        self.line() - self.delays.base()
    }

    /// How long such a frame waits now until its first sample is heard, in microseconds.
    pub(crate) fn waits(&self, now: i64) -> i64 {
        match self.flow {
            Flow::Talking { time, .. } => {
                let rest = micros_of(self.fifo.len());
                (now - micros(time) - self.delays.base() + rest).max(0)
            }
            Flow::New | Flow::Quiet | Flow::Cut => self.target(),
        }
    }

    /// When the sound at the front was spoken, in samples since the first frame's time.
    pub(crate) fn front(&self) -> Option<i64> {
        match self.flow {
            Flow::Talking { time, .. } => Some(time - samples_of(self.fifo.len())),
            Flow::New | Flow::Quiet | Flow::Cut => None,
        }
    }

    /// In microseconds.
    pub(crate) const fn jitter(&self) -> f64 {
        self.delays.jitter()
    }
}

/// A frame that was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) sequence: i64,
    /// Whether everything began anew with it.
    pub(crate) restarted: bool,
}

/// The frame that is due.
#[derive(Debug, Clone, Copy)]
struct Next {
    sequence: i64,
    time: i64,
    waited: usize,
}

impl Next {
    const fn after(self) -> Self {
        Self { sequence: self.sequence + 1, time: self.time + FRAME_SAMPLES as i64, ..self }
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a few frames")]
const fn samples_of(count: usize) -> i64 {
    count as i64
}

fn delay_micros(delay: std::time::Duration) -> i64 {
    i64::try_from(delay.as_micros()).unwrap_or(i64::MAX / 4)
}

const _: () = assert!(FRAME_SAMPLES.is_multiple_of(PIECE), "a frame is whole pieces");
