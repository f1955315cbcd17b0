//! Datagrams in, PCM out.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    arrivals::{Arrivals, count},
    codec::CodecError,
    datagram::{Audio, Datagram, DecodeError, Report, StreamNumber},
    fifo::Made,
    playout::Playout,
    quality::Quality,
    store::Refused,
    tally::{Lately, Tally},
    units::{Channels, FRAME_SAMPLES},
};

/// How a stream is received.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverConfig {
    /// Its number.
    pub stream: StreamNumber,
    /// What comes out, whatever the sender has.
    pub channels: Channels,
    /// How long frames wait.
    pub buffer: Buffer,
}

impl ReceiverConfig {
    /// One voice, and a buffer that adapts.
    #[must_use]
    pub const fn new(stream: StreamNumber, channels: Channels) -> Self {
        Self { stream, channels, buffer: Buffer::ADAPTIVE }
    }
}

/// How long frames wait before they are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffer {
    /// As long as frames need, between these two.
    Adaptive {
        /// At least.
        min: Duration,
        /// At most; what takes longer is lost.
        max: Duration,
        /// For how many of them.
        waiting: Waiting,
    },
    /// Always the same: the yardstick.
    Fixed(Duration),
}

impl Buffer {
    /// Up to a second, nothing where nothing is needed, and between them what sounds best.
    pub const ADAPTIVE: Self = Self::adaptive(Waiting::Rated);

    /// The same, with the least delay with which one frame in a hundred is late.
    pub const LEAST: Self = Self::adaptive(Waiting::Least);

    const fn adaptive(waiting: Waiting) -> Self {
        Self::Adaptive { min: Duration::ZERO, max: Duration::from_millis(1_000), waiting }
    }
}

/// For how many frames a buffer that adapts waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Waiting {
    /// For all but one in a hundred.
    Least,
    /// For more where the rating of ITU-T G.107 gains by it: one late frame in a hundred is worth
    /// some hundred milliseconds while the delay is small, and thirty when it is large.
    #[default]
    Rated,
}

/// Why a datagram changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// It is not what WIRE.md describes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A report is for senders.
    #[error("a receiver was given a report, it takes audio")]
    Report,
    /// Another stream's, or of an earlier beginning.
    #[error("a frame of another stream or of an earlier beginning")]
    Other,
    /// It could not be used.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What [`Receiver::pull`] has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// How it was made; of several ways the worst.
    pub made: Made,
    /// When its first sample was spoken, in samples by the sender's clock; unknown in a pause.
    pub spoken: Option<i64>,
}

/// Makes PCM of the datagrams of a stream.
///
/// The sink asks with [`Self::pull`] whenever it has room, by its own clock; datagrams come in
/// whenever they do. [`Self::poll_report`] says what to tell the sender.
pub struct Receiver {
    config: ReceiverConfig,
    playout: Playout,
    /// Where our own time begins.
    begun: Option<Instant>,
    epoch: Option<u8>,
    arrivals: Arrivals,
    tally: Tally,
    lately: Lately,
    second: i64,
    level: u8,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What a receiver has counted since it began. Frames are those of 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverStats {
    /// Frames that came and were new.
    pub received: u64,
    /// Frames that never came.
    pub lost: u64,
    /// Frames that came when their time had passed, and were let go.
    pub late: u64,
    /// Frames that came when sound had been made up in front of them, and were heard after that.
    pub delayed: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Datagrams that could not be used.
    pub refused: u64,
    /// New beginnings of the stream.
    pub restarts: u64,
    /// Frames heard as they were sent.
    pub played: u64,
    /// Frames heard from the copy in the next.
    pub repaired: u64,
    /// Frames made up.
    pub concealed: u64,
    /// Frames of pauses.
    pub silence: u64,
    /// Times at which sound had to be made up.
    pub gaps: u64,
    /// Sound left out to catch up.
    pub shortened: Duration,
    /// Sound said twice to wait.
    pub lengthened: Duration,
}

impl Receiver {
    /// A receiver to which nothing has come.
    ///
    /// # Errors
    /// When the codec cannot begin.
    pub fn new(config: ReceiverConfig) -> Result<Self, CodecError> {
        Ok(Self {
            config,
            playout: Playout::new(&config)?,
            begun: None,
            epoch: None,
            arrivals: Arrivals::default(),
            tally: Tally::default(),
            lately: Lately::default(),
            second: 0,
            level: 127,
        })
    }

    /// Takes a datagram that came at `now`.
    ///
    /// # Errors
    /// When it changed nothing, and why; all but the unknown is counted, and the stream goes on.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &Bytes) -> Result<(), ReceiveError> {
        match Datagram::decode(bytes) {
            Ok(Datagram::Audio(audio)) => self.handle_audio(now, &audio),
            Ok(Datagram::Report(_)) => Err(ReceiveError::Report),
            Err(error) => {
                self.tally.refused += 1;
                Err(error.into())
            }
        }
    }

    /// Takes a frame that came at `now`.
    ///
    /// # Errors
    /// As [`Self::handle_datagram`].
    pub fn handle_audio(&mut self, now: Instant, audio: &Audio) -> Result<(), ReceiveError> {
        let now = self.micros(now);
        if audio.stream != self.config.stream || !self.enter(audio.epoch) {
            return Err(ReceiveError::Other);
        }
        match self.playout.take(now, audio, &mut self.tally) {
            Ok(entered) => {
                if entered.restarted {
                    self.arrivals.restart(&mut self.tally);
                }
                if self.arrivals.on_frame(now, entered.sequence, &mut self.tally) {
                    self.level = audio.level;
                }
                Ok(())
            }
            Err(refused) => {
                self.on_refused(refused);
                Err(refused.into())
            }
        }
    }

    /// Begins a later epoch; false for an earlier one.
    fn enter(&mut self, epoch: u8) -> bool {
        let newer = self.epoch.map(|known| epoch.wrapping_sub(known).cast_signed());
        match newer {
            Some(0) => true,
            Some(1..) => {
                self.epoch = Some(epoch);
                self.arrivals.restart(&mut self.tally);
                self.playout.restart();
                true
            }
            Some(_) => false,
            None => {
                self.epoch = Some(epoch);
                true
            }
        }
    }

    fn on_refused(&mut self, refused: Refused) {
        match refused {
            Refused::Duplicate => self.tally.duplicates += 1,
            Refused::Late => {
                self.tally.late += 1;
                self.tally.received += 1;
            }
            Refused::Codec | Refused::Contradiction => self.tally.refused += 1,
        }
    }

    /// The report that is due at `now`, as a datagram to the sender: once a second while frames
    /// come. To be asked as often as [`Self::pull`].
    pub fn poll_report(&mut self, now: Instant) -> Option<Bytes> {
        let now = self.micros(now);
        let report = self.arrivals.report(now, &self.tally)?;
        let jitter = Duration::from_secs_f64(self.playout.jitter() / 1e6).as_micros() / 100;
        let buffer = duration(self.playout.waits(now)).as_millis();
        let report = Report { jitter: count(jitter), buffer: count(buffer), ..report };
        Some(report.about(self.config.stream, self.epoch?).encode())
    }

    /// Fills `out`, interleaved, with what is to be heard from `now` on.
    ///
    /// There is always something: sound, what could have been, or silence. `out` may have any
    /// length; the less, the shorter the delay.
    pub fn pull(&mut self, now: Instant, out: &mut [f32]) -> Pulled {
        let now = self.micros(now);
        self.on_time(now);
        let made = self.playout.pull(now, out, &mut self.tally);
        let heard = i64::try_from(out.len() / self.config.channels.count()).unwrap_or_default();
        let spoken = self.playout.front().map(|front| front - heard);
        Pulled { made, spoken }
    }

    fn on_time(&mut self, now: i64) {
        let second = now / 1_000_000;
        if second > self.second {
            self.second = second;
            self.lately.on_second(&self.tally);
        }
    }

    /// How it sounds now, looking back five seconds; `round_trip` is the connection's.
    #[must_use]
    pub fn quality(&self, now: Instant, round_trip: Option<Duration>) -> Quality {
        let now = self.elapsed(now);
        let last = self.lately.of(&self.tally);
        let of_expected = |count: u64| count as f64 / last.expected.max(1) as f64;
        let quality = Quality {
            loss: of_expected(last.lost()).min(1.0),
            late: of_expected(last.late).min(1.0),
            repaired: last.share(last.repaired),
            concealed: last.share(last.concealed),
            buffer: duration(self.playout.waits(now)),
            jitter: Duration::from_secs_f64(self.playout.jitter() / 1e6),
            round_trip,
            ..Quality::default()
        };
        quality.rate(last.burst())
    }

    /// Says how long the network takes there and back: the longer, the dearer is further delay.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.playout.set_way(round_trip / 2);
    }

    /// How long a frame is meant to wait that nothing held up.
    #[must_use]
    pub fn target(&self) -> Duration {
        duration(self.playout.target())
    }

    /// Loudness of the newest frame, 0 to 127 dB below the loudest possible.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> ReceiverStats {
        let tally = &self.tally;
        let frames = |samples: u64| (samples + FRAME_SAMPLES as u64 / 2) / FRAME_SAMPLES as u64;
        let time = |samples: u64| Duration::from_micros(samples * 1_000 / 48);
        ReceiverStats {
            received: tally.received,
            lost: tally.lost(),
            late: tally.late,
            delayed: tally.delayed,
            duplicates: tally.duplicates,
            refused: tally.refused,
            restarts: tally.restarts,
            played: frames(tally.played),
            repaired: frames(tally.repaired),
            concealed: frames(tally.concealed),
            silence: frames(tally.silence),
            gaps: tally.gaps,
            shortened: time(tally.shortened),
            lengthened: time(tally.lengthened),
        }
    }

    fn micros(&mut self, now: Instant) -> i64 {
        self.begun.get_or_insert(now);
        self.elapsed(now)
    }

    fn elapsed(&self, now: Instant) -> i64 {
        let begun = self.begun.unwrap_or(now);
        i64::try_from(now.saturating_duration_since(begun).as_micros()).unwrap_or(i64::MAX / 4)
    }
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
