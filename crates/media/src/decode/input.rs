//! The bytes of a file, wherever they are.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use symphonia::core::io::MediaSource;

/// Bytes that can be read from any place; reading may block until they have arrived.
pub trait Input: Read + Seek + Send + Sync {
    /// How many there are, where that is known.
    fn length(&self) -> Option<u64>;
}

impl Input for File {
    fn length(&self) -> Option<u64> {
        self.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
    }
}

impl<T: AsRef<[u8]> + Send + Sync> Input for io::Cursor<T> {
    fn length(&self) -> Option<u64> {
        Some(self.get_ref().as_ref().len() as u64)
    }
}

/// An input as symphonia wants it.
pub(super) struct Bytes {
    input: Box<dyn Input>,
    length: Option<u64>,
    seekable: Arc<AtomicBool>,
}

impl Bytes {
    /// As long as `seekable` is off, it says that it can only be read in order.
    pub(super) fn new(input: Box<dyn Input>, seekable: Arc<AtomicBool>) -> Self {
        let length = input.length();
        Self { input, length, seekable }
    }
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.input.read(out)
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

impl MediaSource for Bytes {
    fn is_seekable(&self) -> bool {
        self.length.is_some() && self.seekable.load(Ordering::Relaxed)
    }

    fn byte_len(&self) -> Option<u64> {
        self.length
    }
}
