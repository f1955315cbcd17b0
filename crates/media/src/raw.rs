//! Bare samples on pipes and in files: 16-bit little-endian integers, two channels.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
    time::Duration,
};

use crate::{
    OpenError, Sink, SinkError, Source, SourceError,
    pcm::{from_i16, to_i16},
};

/// Left and right.
pub(crate) const CHANNELS: u16 = 2;
/// Bytes of a sample.
const WIDTH: usize = 2;

/// Reads bare samples.
pub(crate) struct RawSource {
    from: Box<dyn Read + Send>,
    what: String,
    channels: u16,
    bytes: Vec<u8>,
}

impl RawSource {
    /// Reads a file, or with `-` the standard input.
    pub(crate) fn open(word: &str) -> Result<Self, OpenError> {
        let from: Box<dyn Read + Send> = match word {
            "-" => Box::new(io::stdin()),
            path => {
                let failed = |source| OpenError::Io { path: path.into(), source };
                Box::new(BufReader::new(File::open(Path::new(path)).map_err(failed)?))
            }
        };
        Ok(Self::new(from, name(word, "the standard input"), CHANNELS))
    }

    pub(crate) fn new(from: Box<dyn Read + Send>, what: String, channels: u16) -> Self {
        Self { from, what, channels, bytes: Vec::new() }
    }

    /// Reads until a whole sample of every channel is there; what is cut off at the end is lost.
    fn fill(&mut self, room: usize) -> io::Result<usize> {
        let unit = WIDTH * usize::from(self.channels);
        self.bytes.resize(room / usize::from(self.channels) * unit, 0);
        let mut filled = 0;
        while filled < self.bytes.len() && (filled == 0 || !filled.is_multiple_of(unit)) {
            let Some(free) = self.bytes.get_mut(filled..) else { break };
            match self.from.read(free) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled / unit * usize::from(self.channels))
    }
}

impl Source for RawSource {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        let samples = self
            .fill(out.len())
            .map_err(|source| SourceError::Io { what: self.what.clone(), source })?;
        let pairs = self.bytes.as_chunks::<WIDTH>().0;
        for (sample, bytes) in out.iter_mut().take(samples).zip(pairs) {
            *sample = from_i16(i16::from_le_bytes(*bytes));
        }
        Ok(samples)
    }
}

/// Writes bare samples.
pub(crate) struct RawSink {
    to: Box<dyn Write + Send>,
    what: String,
    channels: u16,
}

impl RawSink {
    /// Writes a file, or with `-` the standard output.
    pub(crate) fn create(word: &str, channels: u16) -> Result<Self, OpenError> {
        let to: Box<dyn Write + Send> = match word {
            "-" => Box::new(io::stdout()),
            path => {
                let failed = |source| OpenError::Io { path: path.into(), source };
                Box::new(BufWriter::new(File::create(Path::new(path)).map_err(failed)?))
            }
        };
        Ok(Self { to, what: name(word, "the standard output"), channels })
    }
}

impl Sink for RawSink {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        // Whoever reads expects two channels, whatever is played.
        let copies = if self.channels == 1 { 2 } else { 1 };
        let bytes: Vec<u8> = samples
            .iter()
            .flat_map(|&sample| std::iter::repeat_n(to_i16(sample).to_le_bytes(), copies))
            .flatten()
            .collect();
        let written = self.to.write_all(&bytes).and_then(|()| self.to.flush());
        written.map_err(|source| SinkError::Io { what: self.what.clone(), source })
    }

    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(mut self: Box<Self>) -> Result<(), SinkError> {
        let ended = self.to.flush();
        ended.map_err(|source| SinkError::Io { what: self.what.clone(), source })
    }
}

fn name(word: &str, standard: &str) -> String {
    if word == "-" { standard.to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, io};

    use super::RawSource;
    use crate::Source;

    /// Gives its bytes in pieces of any size.
    struct Pieces(VecDeque<Vec<u8>>);

    impl io::Read for Pieces {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.pop_front() else { return Ok(0) };
            out[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn samples_that_come_in_pieces_are_put_together_and_half_ones_wait() {
        let pieces = [vec![0, 0x40, 0], vec![0xc0], vec![0, 0, 0], vec![0x20, 9]];
        let mut source = RawSource::new(Box::new(Pieces(pieces.into())), "a pipe".into(), 2);
        let mut out = [0.0; 64];
        assert_eq!(source.read(&mut out).unwrap(), 2);
        assert_eq!(out[..2], [0.5, -0.5]);
        assert_eq!(source.read(&mut out).unwrap(), 2, "the cut-off byte is no sample");
        assert_eq!(out[..2], [0.0, 0.25]);
        assert_eq!(source.read(&mut out).unwrap(), 0);
    }
}
