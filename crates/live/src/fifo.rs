//! Sound that is ready, and how it was made.

use std::collections::VecDeque;

/// How sound was made; the greater, the worse it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Made {
    /// Nobody speaks: there was nothing to play.
    #[default]
    Silence,
    /// From its own frame, in time.
    Played,
    /// From the copy that the next frame carried.
    Repaired,
    /// Made up from what was before, as there was nothing.
    Concealed,
}

/// Samples in order, with how each stretch of them was made.
#[derive(Debug)]
pub(crate) struct Fifo {
    channels: usize,
    samples: VecDeque<f32>,
    pieces: VecDeque<(Made, usize)>,
}

impl Fifo {
    pub(crate) fn new(channels: usize) -> Self {
        Self { channels, samples: VecDeque::new(), pieces: VecDeque::new() }
    }

    /// Samples of each channel.
    pub(crate) fn len(&self) -> usize {
        self.samples.len() / self.channels
    }

    pub(crate) fn push(&mut self, pcm: &[f32], made: Made) {
        self.samples.extend(pcm);
        let count = pcm.len() / self.channels;
        match self.pieces.back_mut() {
            Some((last, samples)) if *last == made => *samples += count,
            Some(_) | None => self.pieces.push_back((made, count)),
        }
    }

    /// Fills `out` from the front; the worst of how that was made.
    pub(crate) fn take(&mut self, out: &mut [f32]) -> Made {
        let count = out.len().min(self.samples.len());
        for (to, from) in out.iter_mut().zip(self.samples.drain(..count)) {
            *to = from;
        }
        let mut left = count / self.channels;
        let mut worst = Made::Silence;
        while left > 0
            && let Some((made, samples)) = self.pieces.front_mut()
        {
            worst = worst.max(*made);
            let used = left.min(*samples);
            *samples -= used;
            left -= used;
            if *samples == 0 {
                self.pieces.pop_front();
            }
        }
        worst
    }
}
