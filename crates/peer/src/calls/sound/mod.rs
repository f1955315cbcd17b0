//! The sound of calls.
//!
//! ```text
//!   source ─ thread ─► Feed ─► live::Sender ─► datagrams
//!                                   ▲ reports
//!   sink ◄─ thread ─ Drain ◄─ live::Receiver ◄─ datagrams
//! ```
//!
//! One task a call moves a frame of 20 ms each way ([`Pump`]); the threads only read and write, and
//! everything between them is bounded.

mod drain;
mod feed;
mod media;
mod pump;
mod report;

use std::sync::Weak;

use portolan_live::{
    Channels, CodecError, FRAME_SAMPLES, Receiver, ReceiverConfig, Sender, SenderConfig,
};
use portolan_protocol::Name;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, timeout},
};
use tokio_util::task::AbortOnDropHandle;

pub use media::CallMedia;
pub(crate) use pump::{Control, SoundNews};
pub use report::{AudioUpdate, CallQuality, ReceivedAudio, SentAudio};

use self::{
    drain::Drain,
    feed::Feed,
    pump::{Incoming, Outgoing, Pump},
};
use crate::{
    CallId,
    remote::{DatagramInbox, Sessions},
};

/// News of the sound that wait for the call's task.
const NEWS_MAX: usize = 8;
/// How long the sound may take to end.
const FAREWELL: Duration = Duration::from_secs(4);

/// The sound of one call, as the call's task sees it.
pub(crate) struct Sound {
    control: watch::Sender<Control>,
    news: mpsc::Receiver<SoundNews>,
    task: AbortOnDropHandle<()>,
}

/// What the sound of a call needs.
pub(crate) struct SoundParts {
    pub(crate) id: CallId,
    pub(crate) with: Name,
    pub(crate) sessions: Weak<Sessions>,
    pub(crate) inbox: DatagramInbox,
    pub(crate) media: CallMedia,
    /// The number that our datagrams carry.
    pub(crate) stream: u32,
}

impl Sound {
    /// Opens source and sink and begins.
    pub(crate) fn start(parts: SoundParts, first: Control) -> Result<Self, CodecError> {
        let SoundParts { id, with, sessions, mut inbox, media, stream } = parts;
        let CallMedia { source, speed, sink } = media;
        let outgoing = Outgoing {
            sender: Sender::new(SenderConfig::voice(stream, 0))?,
            feed: Feed::start(source, speed, 1),
            silence: vec![0.0; FRAME_SAMPLES],
            level: 127,
        };
        // Reports carry the number of what they speak of.
        inbox.take_reports(stream);
        let incoming = Incoming {
            receiver: Receiver::new(ReceiverConfig::new(inbox.number(), Channels::Mono))?,
            drain: Drain::start(sink, 1),
        };
        let (control, controlled) = watch::channel(first);
        let (news_in, news) = mpsc::channel(NEWS_MAX);
        let pump = Pump {
            id,
            with,
            sessions,
            inbox,
            outgoing: Some(outgoing),
            incoming: Some(incoming),
            control: controlled,
            news: news_in,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(pump.run()));
        Ok(Self { control, news, task })
    }

    /// How the call stands.
    pub(crate) fn control(&self, now: Control) {
        self.control.send_if_modified(|before| std::mem::replace(before, now) != now);
    }

    /// Waits for news. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<SoundNews> {
        self.news.recv().await
    }

    /// Ends it, and gives the last report once the sink has everything.
    pub(crate) async fn finish(self) -> Option<AudioUpdate> {
        let Self { control, mut news, task } = self;
        drop(control);
        let _ = timeout(FAREWELL, task).await;
        let mut last = None;
        while let Ok(SoundNews::Report(update)) = news.try_recv() {
            last = Some(*update);
        }
        last
    }
}
