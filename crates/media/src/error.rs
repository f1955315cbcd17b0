//! What can go wrong, an enum an operation.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

/// Why a word is no source or sink, or cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No such kind.
    #[error("{word:.60} is no {what}; there are {known}")]
    Unknown {
        /// What was said.
        word: String,
        /// Source or sink.
        what: &'static str,
        /// Every kind.
        known: String,
    },
    /// The kind is there, but not with that behind the colon.
    #[error("{word:.60}: expected {expected}")]
    Argument {
        /// What was said.
        word: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The file cannot be opened or made.
    #[error("cannot open {}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is no audio that can be decoded.
    #[error("{}: {source}", .path.display())]
    Decode {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// No program on this machine plays or records sound, or none of them could.
    #[error(
        "no sound device: {reason}; install one of {programs}, or say wav:FILE, pcm:- or null \
         in place of device"
    )]
    NoDevice {
        /// What was tried, and what became of it.
        reason: String,
        /// What would do.
        programs: String,
    },
}

/// Why a file cannot be decoded (any further).
#[derive(Debug, Error)]
pub enum DecodeError {
    /// It is no audio, or of a format that we do not know.
    #[error("not audio that can be decoded ({0}); MP3, FLAC, Ogg, Opus, WAV and AAC can")]
    Unsupported(String),
    /// It is audio, but out of bounds.
    #[error("the file says {what} {value}, and at most {max} can be played")]
    OutOfBounds {
        /// Of what.
        what: &'static str,
        /// What it says.
        value: u64,
        /// What may be.
        max: u64,
    },
    /// It is broken.
    #[error("the file is broken: {0}")]
    Broken(String),
    /// It cannot be read.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
    /// The place is not in it.
    #[error("cannot go to {to:?}: {why}")]
    Seek {
        /// Where to.
        to: Duration,
        /// Why not.
        why: String,
    },
}

/// Why no more sound comes.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file cannot be decoded any further.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The pipe or device failed.
    #[error("cannot read {what}: {source}")]
    Io {
        /// From where.
        what: String,
        /// The system's word.
        source: io::Error,
    },
}

/// Why sound is not taken.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The file, pipe or device failed.
    #[error("cannot write {what}: {source}")]
    Io {
        /// Where to.
        what: String,
        /// The system's word.
        source: io::Error,
    },
    /// A WAV file can hold no more.
    #[error("a WAV file holds at most {max} bytes of sound")]
    Full {
        /// So many.
        max: u64,
    },
    /// The program that plays has ended.
    #[error("{program} has ended: {words}")]
    Ended {
        /// Which.
        program: String,
        /// What it said.
        words: String,
    },
}
