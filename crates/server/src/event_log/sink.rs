//! Writes the event log from a thread of its own, so that a slow disk holds up nobody.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use portolan_protocol::Timestamp;
use serde::Serialize;

use super::{
    LogEntry,
    output::{Output, Rotation},
    rfc3339::Rfc3339,
};
use crate::config::EventLog;

/// Lines that wait for the disk; with more, lines are dropped and counted.
const QUEUE: usize = 4_096;

/// Bytes that are written at once.
const BATCH: usize = 64 << 10;

/// Takes entries and returns at once.
#[derive(Debug, Default)]
pub(crate) struct EventSink {
    orders: Mutex<Option<SyncSender<Order>>>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How the log fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogHealth {
    /// Lines written.
    pub(crate) lines: u64,
    /// Lines left out.
    pub(crate) dropped: u64,
    /// Whether the last attempt to write failed.
    pub(crate) is_failing: bool,
}

/// What both sides count.
#[derive(Debug, Default)]
struct State {
    lines: AtomicU64,
    dropped: AtomicU64,
    /// Those of them that the log does not tell of yet.
    untold: AtomicU64,
    is_failing: AtomicBool,
}

enum Order {
    Write(Timestamp, LogEntry),
    Reopen,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    entry: &'a LogEntry,
}

impl EventSink {
    /// Logs to `target`; a file is rotated.
    pub(crate) fn open(target: &EventLog, rotation: Rotation) -> io::Result<Self> {
        let output = Output::open(target, rotation)?;
        let (orders, queue) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        let mut writer =
            Writer { output, state: Arc::clone(&state), batch: Vec::new(), lines: 0, told: 0 };
        let thread = std::thread::Builder::new()
            .name("event-log".into())
            .spawn(move || writer.run(&queue))?;
        Ok(Self { orders: Mutex::new(Some(orders)), state, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn log(&self, at: Timestamp, entry: LogEntry) {
        if !self.order(Order::Write(at, entry)) {
            self.state.drop_lines(1);
        }
    }

    /// Opens the file anew: somebody has renamed it. (A file that was taken away is noticed
    /// without being told as soon as there is a line to write.)
    pub(crate) fn reopen(&self) {
        self.order(Order::Reopen);
    }

    /// Whether it was taken, or there is nobody to take it.
    fn order(&self, order: Order) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.as_ref().is_none_or(|orders| orders.try_send(order).is_ok())
    }

    pub(crate) fn health(&self) -> LogHealth {
        LogHealth {
            lines: self.state.lines.load(Relaxed),
            dropped: self.state.dropped.load(Relaxed),
            is_failing: self.state.is_failing.load(Relaxed),
        }
    }

    /// Writes what waits and ends. Blocks for as long as the disk takes.
    pub(crate) fn close(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ended = thread.join();
        }
    }
}

impl State {
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Relaxed);
        self.untold.fetch_add(lines, Relaxed);
    }
}

/// The thread's side.
struct Writer {
    output: Output,
    state: Arc<State>,
    /// Whole lines that are not written yet.
    batch: Vec<u8>,
    /// How many of them are events.
    lines: u64,
    /// How many lost ones they tell of.
    told: u64,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Order>) {
        while let Ok(first) = queue.recv() {
            let mut next = Some(first);
            while let Some(order) = next {
                self.follow(order);
                next = queue.try_recv().ok();
            }
            self.flush();
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Write(at, entry) => self.push(at, &entry),
            Order::Reopen => {
                self.flush();
                self.output.reopen();
            }
        }
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn push(&mut self, at: Timestamp, entry: &LogEntry) {
        let untold = self.state.untold.swap(0, Relaxed);
        if untold > 0 {
            self.append(at, &LogEntry::Dropped { lines: untold });
            self.told += untold;
        }
        self.append(at, entry);
        self.lines += 1;
    }

    fn append(&mut self, at: Timestamp, entry: &LogEntry) {
        let start = self.batch.len();
        let line = Line { at: Rfc3339(at).to_string(), entry };
        if let Err(error) = serde_json::to_writer(&mut self.batch, &line) {
            tracing::error!(%error, "an event cannot be written down");
            return self.batch.truncate(start);
        }
        self.batch.push(b'\n');
    }

    /// Writes the batch. If that fails it is lost, which is told once, and in the log as soon as
    /// it can be written again.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (lines, told) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.told));
        match self.output.write(&self.batch) {
            Ok(()) => {
                self.state.lines.fetch_add(lines, Relaxed);
                if self.state.is_failing.swap(false, Relaxed) {
                    tracing::warn!("the event log can be written again");
                }
            }
            Err(error) => {
                self.state.drop_lines(lines);
                self.state.untold.fetch_add(told, Relaxed);
                if !self.state.is_failing.swap(true, Relaxed) {
                    tracing::error!(%error, "the event log cannot be written; the server goes on");
                }
            }
        }
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Timestamp;

    use super::{EventSink, Rotation};
    use crate::{config::EventLog, event_log::LogEntry};

    fn stopped(length: usize) -> LogEntry {
        LogEntry::Stopped { reason: "x".repeat(length) }
    }

    #[test]
    fn lines_are_json_with_their_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let rotation = Rotation { size_max: 1 << 20, kept: 1 };
        let sink = EventSink::open(&EventLog::File(path.clone()), rotation).unwrap();
        for number in 0..4 {
            sink.log(Timestamp(number), stopped(60));
            sink.reopen();
        }
        sink.close();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["event"], "stopped");
            assert!(line["at"].as_str().unwrap().ends_with('Z'));
        }
        let health = sink.health();
        assert_eq!((health.lines, health.dropped, health.is_failing), (4, 0, false));
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted() {
        let full = std::path::Path::new("/dev/full");
        if !full.exists() {
            println!("there is no /dev/full here");
            return;
        }
        let rotation = Rotation { size_max: 0, kept: 0 };
        let sink = EventSink::open(&EventLog::File(full.to_owned()), rotation).unwrap();
        for number in 0..4 {
            sink.log(Timestamp(number), stopped(10));
        }
        sink.close();
        let health = sink.health();
        assert!(health.is_failing && health.dropped >= 4, "{health:?}");
        assert_eq!(health.lines, 0);
    }

    #[cfg(unix)]
    #[test]
    fn after_a_failure_the_log_goes_on_and_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let rotation = Rotation { size_max: 0, kept: 0 };
        let sink = EventSink::open(&EventLog::File(path.clone()), rotation).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        sink.log(Timestamp(1), stopped(10));
        while !sink.health().is_failing {
            std::thread::yield_now();
        }
        std::fs::remove_dir(&path).unwrap();
        sink.log(Timestamp(2), stopped(10));
        sink.close();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["event"], "dropped");
        assert_eq!(lines[0]["lines"], 1);
        assert_eq!(lines[1]["event"], "stopped");
    }
}
