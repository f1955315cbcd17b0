//! What quinn tells of a connection, in the files that our own UDP writes too.
//!
//! quinn writes records of its own form into whatever it is given. Here their head is left out and
//! each of the others is taken apart, so that files have one header, one trailer, one clock and
//! the bounds of [`Qlog`], whichever transport they are about.

use std::{
    io,
    time::{Duration, Instant},
};

use portolan_qlog::{Log, Qlog, Trace, Vantage};
use quinn::{QlogConfig, QlogStream};
use serde::Deserialize;
use serde_json::Value;

/// Ends a record of a JSON text sequence; [`SEPARATOR`] begins it (RFC 7464).
const END: u8 = b'\n';

const SEPARATOR: u8 = 0x1e;

/// Longest record that is waited for; quinn's have some hundred bytes.
const RECORD_MAX: usize = 16 << 10;

/// Where quinn tells what a connection does from now on, if somebody wants to know.
pub(crate) fn qlog_stream(
    qlog: &Qlog,
    vantage: Vantage,
    original_id: Option<String>,
) -> Option<QlogStream> {
    if !qlog.is_on() {
        return None;
    }
    let started = now();
    let file = File {
        qlog: qlog.clone(),
        vantage,
        original_id,
        started,
        state: State::Head,
        record: Vec::new(),
    };
    let mut config = QlogConfig::default();
    config.start_time(started).writer(Box::new(file));
    config.into_stream()
}

#[expect(clippy::disallowed_methods, reason = "quinn's events have the machine's times")]
fn now() -> Instant {
    Instant::now()
}

/// Takes what quinn writes.
struct File {
    qlog: Qlog,
    vantage: Vantage,
    /// `None`: the first event says it.
    original_id: Option<String>,
    started: Instant,
    state: State,
    /// The beginning of a record.
    record: Vec<u8>,
}

enum State {
    /// quinn's own header comes first.
    Head,
    /// Nothing has happened yet.
    Unopened,
    Open(Log),
    /// Too many are logged already.
    Refused,
}

/// An event as quinn writes it.
#[derive(Deserialize)]
struct Event {
    /// Milliseconds.
    time: f64,
    name: String,
    data: Value,
    /// The remote's first connection ID.
    group_id: Option<String>,
}

impl File {
    fn on_record(&mut self) {
        let record = std::mem::take(&mut self.record);
        match &self.state {
            State::Head => self.state = State::Unopened,
            State::Unopened => {
                if let Some(event) = decode(&record) {
                    self.open(event.group_id.as_deref());
                    self.put(&event);
                }
            }
            State::Open(_) => {
                if let Some(event) = decode(&record) {
                    self.put(&event);
                }
            }
            State::Refused => {}
        }
        self.record = record;
        self.record.clear();
    }

    fn open(&mut self, group: Option<&str>) {
        let original_id = self.original_id.take().or_else(|| group.map(str::to_owned));
        let trace = || Trace {
            transport: "quic",
            vantage: self.vantage,
            original_id: original_id.unwrap_or_else(|| "unknown".to_owned()),
            started: self.started,
        };
        self.state = self.qlog.open(trace).map_or(State::Refused, State::Open);
    }

    fn put(&self, event: &Event) {
        if let State::Open(log) = &self.state {
            let time = Duration::try_from_secs_f64(event.time / 1e3).unwrap_or_default();
            log.record(self.started + time, &event.name, &event.data);
        }
    }
}

fn decode(record: &[u8]) -> Option<Event> {
    serde_json::from_slice(record.strip_prefix(&[SEPARATOR]).unwrap_or(record)).ok()
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == END) {
            let (is_end, piece) = match piece.split_last() {
                Some((&END, rest)) => (true, rest),
                Some(_) | None => (false, piece),
            };
            if self.record.len() + piece.len() <= RECORD_MAX {
                self.record.extend_from_slice(piece);
            }
            if is_end {
                self.on_record();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
