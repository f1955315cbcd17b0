//! What gives sound.

use crate::SourceError;

/// Gives samples; [`RATE`](crate::RATE) of them a second and channel, interleaved.
pub trait Source: Send {
    /// One or two, the same for the whole life.
    fn channels(&self) -> u16;

    /// Fills `out` from its beginning and says how many samples it has put there: a multiple of
    /// [`Self::channels`], and 0 at the end. Blocks until there are some.
    ///
    /// # Errors
    /// [`SourceError`]; what was given before stays good.
    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError>;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn channels(&self) -> u16 {
        (**self).channels()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        (**self).read(out)
    }
}
