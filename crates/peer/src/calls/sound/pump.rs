//! The task that moves the sound of one call: 20 ms at a time out, 10 ms in.

use std::sync::Weak;

use bytes::Bytes;
use portolan_live::{FRAME_SAMPLES, Receiver, Sender, level};
use portolan_protocol::{DatagramHead, DatagramKind, Name};
use portolan_transport::Lifetime;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, sleep_until},
};

use super::{
    drain::Drain,
    feed::{Fed, Feed},
    report::{AudioUpdate, CallQuality, Listening, ReceivedAudio, SentAudio},
    together::{Aim, Together},
};
use crate::{
    CallId,
    calls::stage::StageFrame,
    remote::{DatagramInbox, Sessions},
};

/// How often the receiver is asked for sound: twice a frame, which makes the delay shorter.
const STEP: Duration = Duration::from_millis(10);
const STEP_SAMPLES: usize = FRAME_SAMPLES / 2;
/// Frames between two marks: half a second.
const MARK_EVERY: u32 = 25;
/// Steps between two reports to the application.
const REPORT_EVERY: u32 = 100;
/// Frames of a device that are taken at once: what gathers while the machine is busy.
const BURST: usize = 4;
/// A task that slept for longer than this has missed its frames for good.
const ASLEEP: Duration = Duration::from_millis(500);
/// A datagram is worth sending for as long as it is under way, the receiver's buffer waits, and
/// this much more.
const WORTH_MORE: Duration = Duration::from_millis(60);
/// And at least so long: on links of all kinds the best of what was measured (docs/audio.md).
const WORTH_LEAST: Duration = Duration::from_millis(150);

/// What the call says about its sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    /// Neither side holds the call.
    pub(crate) flows: bool,
    pub(crate) muted: bool,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) aim: Option<Aim>,
}

/// Where the sound is that is played to several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) timestamp: u32,
    pub(crate) at: Instant,
    pub(crate) position: Duration,
    pub(crate) plays: bool,
}

/// What the sound tells the call.
#[derive(Debug)]
pub(crate) enum SoundNews {
    Report(Box<AudioUpdate>),
    /// To be told to who listens.
    Mark(Mark),
    /// What was played to several has ended.
    Over,
    /// The source or the sink has failed.
    Failed(String),
}

/// What goes out.
pub(crate) struct Outgoing {
    sender: Sender,
    input: Input,
    /// A frame in which nothing is to be heard.
    silence: Vec<f32>,
    level: u8,
    /// Frames until the next mark, and whether sound was played at the last one.
    mark_in: u32,
    played: bool,
}

/// Where what goes out comes from.
pub(crate) enum Input {
    /// Our own source, frame by frame as we ask.
    Feed(Feed),
    /// A stage, when it plays.
    Seat(mpsc::Receiver<StageFrame>),
}

/// What comes in.
pub(crate) struct Incoming {
    pub(crate) receiver: Receiver,
    pub(crate) drain: Drain,
    /// Holds it back where several listen.
    pub(crate) together: Option<Together>,
}

/// The task that moves the sound of one call.
pub(crate) struct Pump {
    pub(crate) id: CallId,
    pub(crate) with: Name,
    pub(crate) sessions: Weak<Sessions>,
    pub(crate) inbox: DatagramInbox,
    pub(crate) outgoing: Option<Outgoing>,
    pub(crate) incoming: Option<Incoming>,
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) news: mpsc::Sender<SoundNews>,
}

impl Pump {
    /// Runs until the call drops its end of `control`; then the sink has everything.
    pub(crate) async fn run(mut self) {
        let mut tick = Instant::now();
        let mut steps = 0_u32;
        loop {
            tokio::select! {
                changed = self.control.changed() => match changed {
                    Ok(()) => self.on_control(),
                    Err(_) => break,
                },
                frame = next_of(&mut self.outgoing) => self.on_stage(frame),
                datagram = self.inbox.next() => match datagram {
                    Some(datagram) => self.on_datagram(Instant::now(), &datagram),
                    None => break,
                },
                () = sleep_until(tick) => {
                    if steps.is_multiple_of(2) {
                        self.send_frames(Instant::now());
                    }
                    self.play(tick);
                    steps = steps.wrapping_add(1);
                    if steps.is_multiple_of(REPORT_EVERY) {
                        self.report(tick, false);
                    }
                    tick = after(tick, Instant::now());
                }
            }
        }
        self.report(Instant::now(), true);
        if let Some(incoming) = self.incoming.take() {
            incoming.drain.finish().await;
        }
    }

    fn on_control(&mut self) {
        let aim = self.control.borrow_and_update().aim;
        let together = self.incoming.as_mut().and_then(|incoming| incoming.together.as_mut());
        if let (Some(aim), Some(together)) = (aim, together) {
            together.aim(aim);
        }
    }

    /// A frame of what is played to several.
    fn on_stage(&mut self, frame: Option<StageFrame>) {
        let flows = self.control.borrow().flows;
        let Some(outgoing) = &mut self.outgoing else { return };
        let Some(frame) = frame else {
            outgoing.input = Input::Feed(Feed::ended());
            let _ = self.news.try_send(SoundNews::Over);
            return;
        };
        let mark = outgoing.mark(&frame);
        let heard = frame.pcm.as_deref().filter(|_| flows);
        let datagram = outgoing.frame(Instant::now(), heard);
        let worth = outgoing.worth();
        if let Some(mark) = mark {
            let _ = self.news.try_send(SoundNews::Mark(mark));
        }
        if let Some(datagram) = datagram {
            self.send(datagram, Lifetime::Until(worth));
        }
    }

    fn on_datagram(&mut self, now: Instant, datagram: &Bytes) {
        let Some(head) = DatagramHead::read(datagram) else { return };
        let now = now.into_std();
        let taken = match (head.kind, &mut self.incoming, &mut self.outgoing) {
            (DatagramKind::Audio, Some(incoming), _) => {
                incoming.receiver.handle_datagram(now, datagram).map_err(|error| error.to_string())
            }
            (DatagramKind::Report, _, Some(outgoing)) => {
                outgoing.sender.handle_datagram(now, datagram).map_err(|error| error.to_string())
            }
            (DatagramKind::Audio, None, _) | (DatagramKind::Report, _, None) => Ok(()),
        };
        if let Err(error) = taken {
            tracing::trace!(error, "a datagram of {} was not used", self.with);
        }
    }

    /// Plays what is to be heard from `now` on, and tells the other side how it came.
    fn play(&mut self, now: Instant) {
        let Some(incoming) = &mut self.incoming else { return };
        incoming.play(now);
        let report = incoming.receiver.poll_report(Instant::now().into_std());
        if report.is_some()
            && let Some(round_trip) = self.control.borrow().round_trip
        {
            incoming.receiver.set_round_trip(round_trip);
        }
        if let Some(why) = incoming.drain.failure() {
            let _ = self.news.try_send(SoundNews::Failed(why));
        }
        if let Some(report) = report {
            self.send(report, Lifetime::Once);
        }
    }

    /// Sends 20 ms, or what a device has.
    fn send_frames(&mut self, now: Instant) {
        let Control { flows, muted, .. } = *self.control.borrow();
        let Some(outgoing) = &mut self.outgoing else { return };
        let mut datagrams: [Option<Bytes>; BURST] = Default::default();
        let failed = outgoing.take_frames(now, flows && !muted, &mut datagrams);
        let worth = outgoing.worth();
        for datagram in datagrams.into_iter().flatten() {
            self.send(datagram, Lifetime::Until(worth));
        }
        if let Some(why) = failed {
            let _ = self.news.try_send(SoundNews::Failed(why));
        }
    }

    /// Over whatever leads to the other side now; while nothing does, sound is lost.
    fn send(&self, datagram: Bytes, lifetime: Lifetime) {
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.send_datagram(&self.with, datagram, lifetime);
        }
    }

    fn report(&self, now: Instant, is_last: bool) {
        let sent = self.outgoing.as_ref().map(Outgoing::report);
        let round_trip = self.outgoing.as_ref().and_then(|outgoing| outgoing.sender.round_trip());
        let round_trip = round_trip.into_iter().chain(self.control.borrow().round_trip).min();
        let received = self.incoming.as_ref().map(|incoming| incoming.report(now, round_trip));
        let (id, with) = (self.id, self.with.clone());
        let update = AudioUpdate { id, with, sent, received, round_trip, is_last };
        let _ = self.news.try_send(SoundNews::Report(Box::new(update)));
    }
}

impl Outgoing {
    pub(crate) fn new(sender: Sender, input: Input, channels: u16) -> Self {
        let silence = vec![0.0; FRAME_SAMPLES * usize::from(channels)];
        Self { sender, input, silence, level: 127, mark_in: 0, played: false }
    }

    /// Makes datagrams of what our own source has; says why it has failed.
    fn take_frames(
        &mut self,
        now: Instant,
        is_heard: bool,
        datagrams: &mut [Option<Bytes>; BURST],
    ) -> Option<String> {
        for datagram in datagrams {
            let Input::Feed(feed) = &mut self.input else { return None };
            let sets_speed = feed.sets_speed();
            match feed.take() {
                Fed::Frame(frame) => {
                    *datagram = self.frame(now, Some(&*frame).filter(|_| is_heard));
                    self.give_back(frame);
                }
                Fed::Nothing => return None,
                Fed::Ended(why) => {
                    *datagram = self.frame(now, None);
                    return why;
                }
            }
            if !sets_speed {
                return None;
            }
        }
        None
    }

    fn give_back(&self, frame: Vec<f32>) {
        match &self.input {
            Input::Feed(feed) => feed.give_back(frame),
            Input::Seat(_) => {}
        }
    }

    /// How long a datagram is worth sending.
    fn worth(&self) -> Duration {
        let buffer = self.sender.report().map_or(0, |report| report.buffer);
        let waits = Duration::from_millis(u64::from(buffer)) + WORTH_MORE;
        WORTH_LEAST.max(self.sender.round_trip().unwrap_or_default() / 2 + waits)
    }

    /// Where the sound is, if it is time to tell: twice a second, and when it stops or goes on.
    fn mark(&mut self, frame: &StageFrame) -> Option<Mark> {
        let plays = frame.pcm.is_some();
        let is_news = std::mem::replace(&mut self.played, plays) != plays;
        self.mark_in = self.mark_in.saturating_sub(1);
        if self.mark_in > 0 && !is_news {
            return None;
        }
        self.mark_in = MARK_EVERY;
        let frames = self.sender.stats().frames;
        #[expect(clippy::cast_possible_truncation, reason = "time stamps wrap")]
        let timestamp = frames.wrapping_mul(FRAME_SAMPLES as u64) as u32;
        Some(Mark { timestamp, at: frame.at, position: frame.position, plays })
    }

    /// The datagram of a frame, or of silence where there is none.
    fn frame(&mut self, now: Instant, frame: Option<&[f32]>) -> Option<Bytes> {
        let frame = frame.unwrap_or(&self.silence);
        self.level = level(frame);
        match self.sender.send(now.into_std(), frame) {
            Ok(datagram) => datagram,
            Err(error) => {
                tracing::debug!(%error, "a frame was not sent");
                None
            }
        }
    }

    fn report(&self) -> SentAudio {
        let counts = self.sender.stats();
        SentAudio { counts, bitrate: self.sender.bitrate(), level: self.level }
    }
}

impl Incoming {
    /// Makes sound for the sink, unless that is behind: then the receiver's buffer holds what the
    /// sink will catch up with.
    fn play(&mut self, now: Instant) {
        let Self { receiver, drain, together } = self;
        if drain.is_behind() {
            return;
        }
        let mut frame = drain.frame();
        frame.resize(STEP_SAMPLES * usize::from(drain.channels()), 0.0);
        let pulled = receiver.pull(now.into_std(), &mut frame);
        if let Some(together) = together {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "time stamps are these numbers modulo 2³²"
            )]
            let timestamp = pulled.spoken.map(|spoken| spoken as u32);
            together.pass(now, timestamp, &mut frame);
        }
        drain.put(frame);
    }

    fn report(&self, now: Instant, round_trip: Option<Duration>) -> ReceivedAudio {
        let quality = self.receiver.quality(now.into_std(), round_trip);
        ReceivedAudio {
            counts: self.receiver.stats(),
            dropped: self.drain.dropped(),
            together: self.together.as_ref().and_then(|together| {
                let (position, off_ms) = (together.position()?, together.off_ms());
                Some(Listening { position, off_ms })
            }),
            quality: CallQuality::from(&quality),
            level: self.receiver.level(),
        }
    }
}

/// The next frame of a stage; nothing comes from a source of our own.
async fn next_of(outgoing: &mut Option<Outgoing>) -> Option<StageFrame> {
    match outgoing {
        Some(Outgoing { input: Input::Seat(seat), .. }) => seat.recv().await,
        Some(Outgoing { input: Input::Feed(_), .. }) | None => std::future::pending().await,
    }
}

/// When the next step is due.
fn after(tick: Instant, now: Instant) -> Instant {
    let next = tick + STEP;
    if next + ASLEEP < now { now } else { next }
}
