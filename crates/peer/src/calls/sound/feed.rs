//! The thread that reads a source, frame by frame, ahead of its use.

use std::{sync::mpsc as threads, thread};

use portolan_live::FRAME_SAMPLES;
use portolan_media::{OpenError, Source, mix};
use tokio::sync::mpsc;

use super::media::Speed;

/// Frames that are read ahead: 100 ms.
const AHEAD: usize = 5;

/// What a source has given.
pub(crate) enum Fed {
    Frame(Vec<f32>),
    /// It has none now; a source of ours is being waited for, a device is simply not so far.
    Nothing,
    /// It has ended, and why if that was not to be.
    Ended(Option<String>),
}

/// Frames of 20 ms from a source that is read on a thread of its own. The thread ends with the
/// source, or at its next frame after this was dropped.
pub(crate) struct Feed {
    frames: mpsc::Receiver<Result<Vec<f32>, String>>,
    used: threads::SyncSender<Vec<f32>>,
    speed: Speed,
    has_ended: bool,
}

impl Feed {
    /// Opens the source on its thread and reads it as `channels` channels.
    pub(crate) fn start(
        open: impl FnOnce() -> Result<Box<dyn Source>, OpenError> + Send + 'static,
        speed: Speed,
        channels: u16,
    ) -> Self {
        let (full, frames) = mpsc::channel(AHEAD);
        let (used, empty) = threads::sync_channel(AHEAD + 1);
        let read = move || {
            if let Err(why) = read_all(open, channels, &full, &empty) {
                let _ = full.blocking_send(Err(why));
            }
        };
        let started = thread::Builder::new().name("call source".to_owned()).spawn(read);
        if let Err(error) = started {
            // Its ends of the channels are gone with it: the feed has ended.
            tracing::warn!(%error, "no thread for a source of sound");
        }
        Self { frames, used, speed, has_ended: false }
    }

    /// One that has nothing to give.
    pub(crate) fn ended() -> Self {
        let ((_, frames), (used, _)) = (mpsc::channel(1), threads::sync_channel(1));
        Self { frames, used, speed: Speed::Ours, has_ended: true }
    }

    /// Whether the source sets the speed, so that everything it has is to be taken.
    pub(crate) fn sets_speed(&self) -> bool {
        self.speed == Speed::Own
    }

    /// The next frame, if it is there.
    pub(crate) fn take(&mut self) -> Fed {
        if self.has_ended {
            return Fed::Ended(None);
        }
        match self.frames.try_recv() {
            Ok(Ok(frame)) => Fed::Frame(frame),
            Ok(Err(why)) => {
                self.has_ended = true;
                Fed::Ended(Some(why))
            }
            Err(mpsc::error::TryRecvError::Empty) => Fed::Nothing,
            Err(mpsc::error::TryRecvError::Disconnected) => {
                self.has_ended = true;
                Fed::Ended(None)
            }
        }
    }

    /// Gives a frame's memory back for another one.
    pub(crate) fn give_back(&self, frame: Vec<f32>) {
        let _ = self.used.try_send(frame);
    }
}

/// Reads until the source ends or nobody takes its frames any more.
fn read_all(
    open: impl FnOnce() -> Result<Box<dyn Source>, OpenError>,
    channels: u16,
    full: &mpsc::Sender<Result<Vec<f32>, String>>,
    empty: &threads::Receiver<Vec<f32>>,
) -> Result<(), String> {
    let mut source = open().map_err(|error| error.to_string())?;
    let theirs = source.channels();
    let mut raw = vec![0.0; FRAME_SAMPLES * usize::from(theirs)];
    loop {
        let count = fill(&mut *source, &mut raw)?;
        if count == 0 {
            return Ok(());
        }
        raw.get_mut(count..).unwrap_or_default().fill(0.0);
        let mut frame = empty.try_recv().unwrap_or_default();
        frame.clear();
        mix(&raw, theirs, channels, &mut frame);
        if full.blocking_send(Ok(frame)).is_err() {
            return Ok(());
        }
    }
}

/// Reads a whole frame, or what is left of the source.
fn fill(source: &mut dyn Source, raw: &mut [f32]) -> Result<usize, String> {
    let mut count = 0;
    while let Some(rest) = raw.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match source.read(rest).map_err(|error| error.to_string())? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}
