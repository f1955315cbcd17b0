//! The thread that writes to a sink.

use std::{sync::mpsc as threads, thread};

use portolan_media::{OpenError, Sink};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, timeout},
};

/// Stretches of 10 ms that may wait for a sink; of more, the newest are dropped.
const WAITING: usize = 16;
/// So many mean that the sink is slower than we are.
const MANY: usize = 8;
/// How long a sink may take to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// A sink on a thread of its own. When this is dropped the thread writes what waits and ends.
pub(crate) struct Drain {
    frames: mpsc::Sender<Vec<f32>>,
    used: threads::Receiver<Vec<f32>>,
    ended: oneshot::Receiver<Result<(), String>>,
    channels: u16,
    dropped: u64,
}

impl Drain {
    /// Opens the sink on its thread.
    pub(crate) fn start(
        open: impl FnOnce(u16) -> Result<Box<dyn Sink>, OpenError> + Send + 'static,
        channels: u16,
    ) -> Self {
        let (frames, full) = mpsc::channel(WAITING);
        let (empty, used) = threads::sync_channel(WAITING + 1);
        let (end, ended) = oneshot::channel();
        let write = move || {
            let _ = end.send(write_all(open, channels, full, &empty));
        };
        let started = thread::Builder::new().name("call sink".to_owned()).spawn(write);
        if let Err(error) = started {
            tracing::warn!(%error, "no thread for a sink of sound");
        }
        Self { frames, used, ended, channels, dropped: 0 }
    }

    /// One or two.
    pub(crate) fn channels(&self) -> u16 {
        self.channels
    }

    /// Whether the sink is behind: then a frame less is to be made, and the buffer catches up.
    pub(crate) fn is_behind(&self) -> bool {
        self.frames.max_capacity() - self.frames.capacity() >= MANY
    }

    /// Memory for a frame.
    pub(crate) fn frame(&self) -> Vec<f32> {
        self.used.try_recv().unwrap_or_default()
    }

    /// Passes a frame on; one too many is dropped and counted.
    pub(crate) fn put(&mut self, frame: Vec<f32>) {
        if self.frames.try_send(frame).is_err() {
            self.dropped += 1;
        }
    }

    /// Frames that the sink did not take in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Why the sink has ended, if it has.
    pub(crate) fn failure(&mut self) -> Option<String> {
        match self.ended.try_recv() {
            Ok(Err(why)) => Some(why),
            Ok(Ok(())) | Err(_) => None,
        }
    }

    /// Waits until everything is written, within a bound.
    pub(crate) async fn finish(self) {
        let Self { frames, ended, .. } = self;
        drop(frames);
        let _ = timeout(FAREWELL, ended).await;
    }
}

fn write_all(
    open: impl FnOnce(u16) -> Result<Box<dyn Sink>, OpenError>,
    channels: u16,
    mut full: mpsc::Receiver<Vec<f32>>,
    empty: &threads::SyncSender<Vec<f32>>,
) -> Result<(), String> {
    let mut sink = open(channels).map_err(|error| error.to_string())?;
    while let Some(frame) = full.blocking_recv() {
        sink.write(&frame).map_err(|error| error.to_string())?;
        let _ = empty.try_send(frame);
    }
    sink.finish().map_err(|error| error.to_string())
}
