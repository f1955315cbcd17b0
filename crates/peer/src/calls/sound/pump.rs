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
    report::{AudioUpdate, CallQuality, ReceivedAudio, SentAudio},
};
use crate::{
    CallId,
    remote::{DatagramInbox, Sessions},
};

/// How often the receiver is asked for sound: twice a frame, which makes the delay shorter.
const STEP: Duration = Duration::from_millis(10);
const STEP_SAMPLES: usize = FRAME_SAMPLES / 2;
/// Steps between two reports to the application.
const REPORT_EVERY: u32 = 100;
/// Frames of a device that are taken at once: what gathers while the machine is busy.
const BURST: usize = 4;
/// A task that slept for longer than this has missed its frames for good.
const ASLEEP: Duration = Duration::from_millis(500);
/// A datagram is worth sending for as long as the receiver's buffer waits, and this much more.
const WORTH_MORE: Duration = Duration::from_millis(60);
/// What a receiver's buffer is taken for before it has said so.
const WORTH_FIRST: Duration = Duration::from_millis(140);

/// What the call says about its sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    /// Neither side holds the call.
    pub(crate) flows: bool,
    pub(crate) muted: bool,
    pub(crate) round_trip: Option<Duration>,
}

/// What the sound tells the call.
#[derive(Debug)]
pub(crate) enum SoundNews {
    Report(Box<AudioUpdate>),
    /// The source or the sink has failed.
    Failed(String),
}

/// What goes out.
pub(crate) struct Outgoing {
    pub(crate) sender: Sender,
    pub(crate) feed: Feed,
    /// A frame in which nothing is to be heard.
    pub(crate) silence: Vec<f32>,
    pub(crate) level: u8,
}

/// What comes in.
pub(crate) struct Incoming {
    pub(crate) receiver: Receiver,
    pub(crate) drain: Drain,
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
                changed = self.control.changed() => if changed.is_err() { break },
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
        let burst = if outgoing.feed.sets_speed() { BURST } else { 1 };
        let mut failed = None;
        for datagram in datagrams.iter_mut().take(burst) {
            match outgoing.feed.take() {
                Fed::Frame(frame) => {
                    *datagram = outgoing.frame(now, Some(&*frame).filter(|_| flows && !muted));
                    outgoing.feed.give_back(frame);
                }
                Fed::Nothing => break,
                Fed::Ended(why) => {
                    failed = why;
                    *datagram = outgoing.frame(now, None);
                    break;
                }
            }
        }
        let worth = outgoing.sender.report().map_or(WORTH_FIRST, |report| {
            Duration::from_millis(u64::from(report.buffer)) + WORTH_MORE
        });
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
        let Self { receiver, drain } = self;
        if drain.is_behind() {
            return;
        }
        let mut frame = drain.frame();
        frame.resize(STEP_SAMPLES * usize::from(drain.channels()), 0.0);
        receiver.pull(now.into_std(), &mut frame);
        drain.put(frame);
    }

    fn report(&self, now: Instant, round_trip: Option<Duration>) -> ReceivedAudio {
        let quality = self.receiver.quality(now.into_std(), round_trip);
        ReceivedAudio {
            counts: self.receiver.stats(),
            dropped: self.drain.dropped(),
            quality: CallQuality::from(&quality),
            level: self.receiver.level(),
        }
    }
}

/// When the next step is due.
fn after(tick: Instant, now: Instant) -> Instant {
    let next = tick + STEP;
    if next + ASLEEP < now { now } else { next }
}
