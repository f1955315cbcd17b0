//! WAV files as they are written: 32-bit floats, so that nothing is lost.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{OpenError, RATE, Sink, SinkError};

/// Bytes of everything before the samples.
const HEADER: u16 = 58;
/// Bytes of samples that the format can count.
const DATA_MAX: u64 = u32::MAX as u64 - HEADER as u64;
/// `WAVE_FORMAT_IEEE_FLOAT` (RFC 2361, appendix A).
const FLOAT: u16 = 3;
/// Bytes of a sample.
const WIDTH: u16 = 4;

/// Writes a WAV file. Until [`Sink::finish`] its header says that its length is unknown, which
/// players take for "to the end of the file".
#[derive(Debug)]
pub struct WavSink {
    file: BufWriter<File>,
    path: PathBuf,
    channels: u16,
    bytes: u64,
}

impl WavSink {
    /// Begins the file anew.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn create(path: &Path, channels: u16) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        file.write_all(&header(channels, u32::MAX, u32::MAX)).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), channels, bytes: 0 })
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Io { what: self.path.display().to_string(), source }
    }

    fn end(&mut self) -> io::Result<()> {
        let count = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let riff = count(u64::from(HEADER) - 8 + self.bytes);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.channels, riff, count(self.bytes)))?;
        self.file.flush()
    }
}

impl Sink for WavSink {
    fn channels(&self) -> u16 {
        self.channels
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), SinkError> {
        let bytes = self.bytes + samples.len() as u64 * u64::from(WIDTH);
        if bytes > DATA_MAX {
            return Err(SinkError::Full { max: DATA_MAX });
        }
        for sample in samples {
            let written = self.file.write_all(&sample.to_le_bytes());
            written.map_err(|error| self.failed(error))?;
        }
        self.bytes = bytes;
        Ok(())
    }

    fn delay(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(mut self: Box<Self>) -> Result<(), SinkError> {
        self.end().map_err(|error| self.failed(error))
    }
}

/// RIFF, `fmt ` with an empty extension, `fact`-less as everybody reads it, and `data`.
fn header(channels: u16, riff: u32, data: u32) -> [u8; HEADER as usize] {
    let align = channels * WIDTH;
    let frames = if data == u32::MAX { u32::MAX } else { data / u32::from(align.max(1)) };
    let mut header = [0; HEADER as usize];
    let parts: [&[u8]; 17] = [
        b"RIFF",
        &riff.to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &18_u32.to_le_bytes(),
        &FLOAT.to_le_bytes(),
        &channels.to_le_bytes(),
        &RATE.to_le_bytes(),
        &(RATE * u32::from(align)).to_le_bytes(),
        &align.to_le_bytes(),
        &(WIDTH * 8).to_le_bytes(),
        &0_u16.to_le_bytes(),
        b"fact",
        &4_u32.to_le_bytes(),
        &frames.to_le_bytes(),
        b"data",
        &data.to_le_bytes(),
    ];
    let mut rest = header.as_mut_slice();
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    header
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{HEADER, WavSink};
    use crate::Sink;

    #[test]
    fn a_finished_file_counts_its_bytes_and_holds_every_sample_exactly() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wav");
        let mut sink = Box::new(WavSink::create(&path, 2).unwrap());
        let samples = [0.1, -0.2, f32::MIN_POSITIVE, 1.0];
        sink.write(&samples).unwrap();
        sink.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        let header = HEADER as usize;
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), header + 16);
        assert_eq!((number(4) as usize, number(header - 4)), (bytes.len() - 8, 16));
        let read = bytes[header..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        assert!(read.eq(samples));
    }
}
