//! What takes sound.

use std::time::Duration;

use crate::{Clock, SinkError, duration_of};

/// Samples that a paced sink takes ahead of its clock: 100 ms.
const AHEAD: Duration = Duration::from_millis(100);

/// Takes samples; [`RATE`](crate::RATE) of them a second and channel, interleaved.
pub trait Sink: Send {
    /// One or two, the same for the whole life.
    fn channels(&self) -> u16;

    /// Takes all of `samples`. Blocks until there is room: this is what paces.
    ///
    /// # Errors
    /// [`SinkError`].
    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError>;

    /// How long what was written last still waits before it is heard.
    fn delay(&self) -> Duration;

    /// Drops what waits to be heard, where that can be: after a seek.
    ///
    /// # Errors
    /// [`SinkError`].
    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Waits until everything was heard or is on the disk.
    ///
    /// # Errors
    /// [`SinkError`]; then the end may be missing.
    fn finish(self: Box<Self>) -> Result<(), SinkError>;
}

/// Lets a sink without a pace of its own take samples as fast as they are heard.
#[derive(Debug)]
pub struct Paced<S, C> {
    sink: S,
    clock: C,
    frames: u64,
    started: Option<Duration>,
}

impl<S: Sink, C: Clock> Paced<S, C> {
    /// Paces `sink` by `clock`, from the first sample on.
    pub fn new(sink: S, clock: C) -> Self {
        Self { sink, clock, frames: 0, started: None }
    }

    /// When the sample after those taken so far is due.
    fn due(&self) -> Duration {
        self.started.unwrap_or_default() + duration_of(self.frames)
    }
}

impl<S: Sink, C: Clock> Sink for Paced<S, C> {
    fn channels(&self) -> u16 {
        self.sink.channels()
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        let now = self.clock.now();
        // Whoever gave too late: time passed in silence, and does not have to be made up for.
        if self.started.is_none() || self.due() < now {
            self.started = Some(now);
            self.frames = 0;
        }
        self.sink.write(samples)?;
        self.frames += samples.len() as u64 / u64::from(self.channels().max(1));
        self.clock.wait_until(self.due().saturating_sub(AHEAD));
        Ok(())
    }

    fn delay(&self) -> Duration {
        self.due().saturating_sub(self.clock.now())
    }

    fn finish(mut self: Box<Self>) -> Result<(), SinkError> {
        let end = self.due();
        self.clock.wait_until(end);
        Box::new(self.sink).finish()
    }
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
pub(crate) struct Null {
    pub(crate) channels: u16,
}

impl Sink for Null {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn write(&mut self, _samples: &[f32]) -> Result<(), SinkError> {
        Ok(())
    }

    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::{Null, Paced, Sink};
    use crate::{Clock, FRAME};

    /// Time that passes only where someone waits.
    #[derive(Debug, Clone, Default)]
    struct Steps(Arc<Mutex<Duration>>);

    impl Clock for Steps {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn wait_until(&mut self, at: Duration) {
            let mut now = self.0.lock().unwrap();
            *now = (*now).max(at);
        }
    }

    #[test]
    fn a_paced_sink_takes_a_second_a_second_but_for_what_it_takes_ahead() {
        let clock = Steps::default();
        let mut sink = Paced::new(Null { channels: 1 }, clock.clone());
        for _ in 0..50 {
            sink.write(&[0.0; FRAME]).unwrap();
        }
        assert_eq!(clock.now(), Duration::from_millis(900));
        assert_eq!(sink.delay(), Duration::from_millis(100));
        Box::new(sink).finish().unwrap();
        assert_eq!(clock.now(), Duration::from_secs(1));
    }

    #[test]
    fn a_pause_of_the_giver_is_not_made_up_for() {
        let mut clock = Steps::default();
        let mut sink = Paced::new(Null { channels: 1 }, clock.clone());
        sink.write(&[0.0; FRAME]).unwrap();
        clock.wait_until(Duration::from_secs(10));
        for _ in 0..50 {
            sink.write(&[0.0; FRAME]).unwrap();
        }
        assert_eq!(clock.now(), Duration::from_millis(10_900));
    }
}
