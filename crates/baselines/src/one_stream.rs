//! Connections that are one stream.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_subject::{Link, Stream, no_messages};

/// A connection whose only stream is taken once, by whichever name.
pub(crate) struct OneStream(Mutex<Option<Stream>>);

impl OneStream {
    pub(crate) fn new(stream: Stream) -> Self {
        Self(Mutex::new(Some(stream)))
    }

    pub(crate) fn link(stream: Stream) -> Box<dyn Link> {
        Box::new(Self::new(stream))
    }

    /// The stream, the first time.
    pub(crate) fn take(&self) -> io::Result<Stream> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::other("the only stream of this connection is taken"))
    }
}

#[async_trait]
impl Link for OneStream {
    async fn open(&self) -> io::Result<Stream> {
        self.take()
    }

    async fn accept(&self) -> io::Result<Stream> {
        self.take()
    }

    fn send_message(&self, _: Bytes, _: Option<Duration>) -> io::Result<()> {
        Err(no_messages())
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        Err(no_messages())
    }
}
