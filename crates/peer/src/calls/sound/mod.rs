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
mod together;

use std::sync::Weak;

use portolan_live::{Buffer, Channels, CodecError, Receiver, ReceiverConfig, Sender, SenderConfig};
use portolan_protocol::Name;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, timeout},
};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use feed::{Fed, Feed};
pub use media::CallMedia;
pub(crate) use media::{Part, Speed};
pub(crate) use pump::{Control, SoundNews};
pub use report::{AudioUpdate, CallQuality, Listening, ReceivedAudio, SentAudio};
pub(crate) use together::{Aim, LAG};

use self::{
    drain::Drain,
    pump::{Incoming, Input, Outgoing, Pump},
    together::{BUFFER, Together},
};
use crate::{
    CallId,
    calls::stage::CHANNELS,
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
    pub(crate) part: Part,
    /// The number that our datagrams carry.
    pub(crate) stream: u32,
}

impl Sound {
    /// Opens source and sink and begins.
    pub(crate) fn start(parts: SoundParts, first: Control) -> Result<Self, CodecError> {
        let SoundParts { id, with, sessions, mut inbox, part, stream } = parts;
        // Reports carry the number of what they speak of.
        inbox.take_reports(stream);
        let (outgoing, incoming) = match part {
            Part::Talk(CallMedia { source, speed, sink }) => {
                let input = Input::Feed(Feed::start(source, speed, 1));
                let sender = Sender::new(SenderConfig::voice(stream, 0))?;
                let receiver = ReceiverConfig::new(inbox.number(), Channels::Mono);
                (
                    Some(Outgoing::new(sender, input, 1)),
                    Some(talk(receiver, Drain::start(sink, 1))?),
                )
            }
            Part::Host(door) => {
                let config = SenderConfig::music(stream, 0, Channels::Stereo);
                let input = Input::Seat(door.seat());
                (Some(Outgoing::new(Sender::new(config)?, input, CHANNELS)), None)
            }
            Part::Guest(CallMedia { sink, .. }) => {
                let drain = Drain::start(sink, CHANNELS);
                (None, Some(listen(inbox.number(), drain)?))
            }
        };
        let (control, controlled) = watch::channel(first);
        let (news_in, news) = mpsc::channel(NEWS_MAX);
        let pump = Pump {
            id,
            with,
            sessions,
            inbox,
            outgoing,
            incoming,
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

fn talk(config: ReceiverConfig, drain: Drain) -> Result<Incoming, CodecError> {
    Ok(Incoming { receiver: Receiver::new(config)?, drain, together: None })
}

fn listen(number: u32, drain: Drain) -> Result<Incoming, CodecError> {
    let config = ReceiverConfig {
        buffer: Buffer::Fixed(BUFFER),
        ..ReceiverConfig::new(number, Channels::Stereo)
    };
    let together = Some(Together::new(usize::from(CHANNELS)));
    Ok(Incoming { receiver: Receiver::new(config)?, drain, together })
}
