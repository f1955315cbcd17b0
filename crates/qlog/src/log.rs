//! The log of one connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    record::{Trace, put_event, put_header},
    writer::{BUFFER_MAX, FILE_MAX, Writer},
};

/// A buffer that is so full is written before its turn.
const URGENT: usize = BUFFER_MAX / 4;

/// The log of one connection; dropping it ends the file.
#[derive(Debug)]
pub struct Log {
    page: Arc<Page>,
    writer: Arc<Writer>,
    started: Instant,
}

/// What recorders and writer share of one file.
#[derive(Debug)]
pub(crate) struct Page {
    /// `ID_side`, without what tells the kind of file.
    pub(crate) name: String,
    buffer: Mutex<Buffer>,
}

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the whole file so far, those that wait included.
    len: u64,
    pub(crate) events: u64,
    pub(crate) dropped: u64,
    /// The time of the last event.
    pub(crate) time: Duration,
    pub(crate) is_closed: bool,
}

impl Page {
    pub(crate) fn new(trace: &Trace, reference: Duration) -> Self {
        let mut buffer = Buffer::default();
        put_header(&mut buffer.bytes, trace, reference);
        buffer.len = buffer.bytes.len() as u64;
        let name = format!("{}_{}", trace.original_id, trace.vantage);
        Self { name, buffer: Mutex::new(buffer) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    pub(crate) fn new(page: Arc<Page>, writer: Arc<Writer>, started: Instant) -> Self {
        Self { page, writer, started }
    }

    /// Records an event of `now`. When the disk is too slow, or the file too long, it is dropped
    /// and counted.
    pub fn record(&self, now: Instant, name: &str, data: &impl Serialize) {
        let mut buffer = self.page.lock();
        let before = buffer.bytes.len();
        if before >= BUFFER_MAX || buffer.len >= FILE_MAX || buffer.is_closed {
            buffer.dropped += 1;
            return;
        }
        let time = now.saturating_duration_since(self.started);
        put_event(&mut buffer.bytes, time, name, data);
        let after = buffer.bytes.len();
        buffer.len += (after - before) as u64;
        buffer.events += 1;
        buffer.time = time;
        drop(buffer);
        if before < URGENT && after >= URGENT {
            self.writer.hurry();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.page.lock().is_closed = true;
        self.writer.hurry();
    }
}
