//! What the application's calls can answer.

use thiserror::Error;

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The send buffer is full; [`Event::Writable`](crate::Event::Writable) follows.
    #[error("the send buffer is full")]
    Blocked,
    /// The remote does not want more.
    #[error("the other side stopped reading (code {0})")]
    Stopped(u32),
    /// This side has finished or reset the stream already.
    #[error("the stream was finished or reset before")]
    Ended,
    /// No such stream, or it is over on both sides.
    #[error("no such stream")]
    UnknownStream,
}

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Nothing has arrived; [`Event::Readable`](crate::Event::Readable) follows.
    #[error("nothing has arrived yet")]
    Blocked,
    /// The remote abandoned the stream.
    #[error("the other side abandoned the stream (code {0})")]
    Reset(u32),
    /// No such stream, or it has been read to its end or stopped.
    #[error("no such stream")]
    UnknownStream,
}

/// The datagram is longer than fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a datagram of {size} bytes does not fit; {max} do")]
pub struct DatagramTooLarge {
    /// Its length in bytes.
    pub size: usize,
    /// The longest that fits now, in bytes.
    pub max: usize,
}
