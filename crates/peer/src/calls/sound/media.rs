//! What a call is heard from and heard by.

use std::fmt;

use portolan_media::{OpenError, Pacing, Sink, Source, open_sink, open_source};

use crate::calls::stage::Door;

type OpenSource = Box<dyn FnOnce() -> Result<Box<dyn Source>, OpenError> + Send>;
type OpenSink = Box<dyn FnOnce(u16) -> Result<Box<dyn Sink>, OpenError> + Send>;

/// The word of the source and the sink that have a clock of their own.
const DEVICE: &str = "device";

/// Who sets the speed of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// The source itself: a microphone. What it gives is sent at once.
    Own,
    /// We: it gives as much as is taken.
    Ours,
}

/// What we do in a call.
#[derive(Debug)]
pub(crate) enum Part {
    /// Speak and hear.
    Talk(CallMedia),
    /// Play to one of several.
    Host(Door),
    /// Hear what is played to several.
    Guest(CallMedia),
}

/// Where the sound of a call comes from, and where it goes. Both are opened when the call is taken,
/// each on a thread of its own, and not before: nobody is heard while it rings.
pub struct CallMedia {
    pub(crate) source: OpenSource,
    pub(crate) speed: Speed,
    pub(crate) sink: OpenSink,
}

impl CallMedia {
    /// By the words of [`portolan_media::SOURCES`] and [`portolan_media::SINKS`]: `device`,
    /// `tone:440`, `wav:FILE`, …
    #[must_use]
    pub fn words(source: &str, sink: &str) -> Self {
        let speed = if source == DEVICE { Speed::Own } else { Speed::Ours };
        let (source, sink) = (source.to_owned(), sink.to_owned());
        let media = Self::new(
            move || open_source(&source),
            move |channels| open_sink(&sink, channels, Pacing::Unpaced),
        );
        Self { speed, ..media }
    }

    /// By what opens them. The source gives as fast as it is asked; the sink is opened for so many
    /// channels, and paces nobody unless it has a speed of its own.
    #[must_use]
    pub fn new(
        source: impl FnOnce() -> Result<Box<dyn Source>, OpenError> + Send + 'static,
        sink: impl FnOnce(u16) -> Result<Box<dyn Sink>, OpenError> + Send + 'static,
    ) -> Self {
        Self { source: Box::new(source), speed: Speed::Ours, sink: Box::new(sink) }
    }
}

impl fmt::Debug for CallMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallMedia").field("speed", &self.speed).finish_non_exhaustive()
    }
}
