//! Writes the event log from a thread of its own, so that a slow disk holds up nobody.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use portolan_protocol::Timestamp;
use serde::Serialize;

use super::{LogEntry, rfc3339::Rfc3339};
use crate::config::EventLog;

/// Lines that wait for the disk; with more, lines are dropped and counted.
const QUEUE: usize = 4_096;

/// Takes entries and returns at once.
#[derive(Debug, Default)]
pub(crate) struct EventSink {
    lines: Mutex<Option<SyncSender<(Timestamp, LogEntry)>>>,
    dropped: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    entry: &'a LogEntry,
}

impl EventSink {
    /// Logs to `target`; a file is rotated beyond `size_max` bytes.
    pub(crate) fn open(target: &EventLog, size_max: u64) -> io::Result<Self> {
        let mut output = Output::open(target, size_max)?;
        let (lines, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("event-log".into())
            .spawn(move || write_lines(&queue, &mut output))?;
        Ok(Self {
            lines: Mutex::new(Some(lines)),
            dropped: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn log(&self, at: Timestamp, entry: LogEntry) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lines) = lines.as_ref() else { return };
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 && lines.try_send((at, LogEntry::Dropped { lines: dropped })).is_err() {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        if lines.try_send((at, entry)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits and ends. Blocks for as long as the disk takes.
    pub(crate) fn close(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ended = thread.join();
        }
    }
}

fn write_lines(queue: &Receiver<(Timestamp, LogEntry)>, output: &mut Output) {
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some((at, entry)) = next {
            if let Err(error) = output.write(at, &entry) {
                tracing::warn!(%error, "the event log cannot be written");
            }
            next = queue.try_recv().ok();
        }
        if let Err(error) = output.flush() {
            tracing::warn!(%error, "the event log cannot be written");
        }
    }
}

enum Output {
    Stderr,
    File { path: PathBuf, file: BufWriter<File>, size: u64, size_max: u64 },
}

impl Output {
    fn open(target: &EventLog, size_max: u64) -> io::Result<Self> {
        match target {
            EventLog::Stderr => Ok(Self::Stderr),
            EventLog::File(path) => {
                let file = open_private(path)?;
                let size = file.metadata()?.len();
                Ok(Self::File { path: path.clone(), file: BufWriter::new(file), size, size_max })
            }
        }
    }

    fn write(&mut self, at: Timestamp, entry: &LogEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { at: Rfc3339(at).to_string(), entry })?;
        line.push(b'\n');
        match self {
            Self::Stderr => io::stderr().lock().write_all(&line),
            Self::File { .. } => self.write_to_file(&line),
        }
    }

    fn write_to_file(&mut self, line: &[u8]) -> io::Result<()> {
        let Self::File { path, file, size, size_max } = self else { return Ok(()) };
        if *size + line.len() as u64 > *size_max && *size > 0 {
            file.flush()?;
            let mut older = path.clone().into_os_string();
            older.push(".1");
            fs::rename(&*path, &older)?;
            *file = BufWriter::new(open_private(path)?);
            *size = 0;
        }
        file.write_all(line)?;
        *size += line.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr => Ok(()),
            Self::File { file, .. } => file.flush(),
        }
    }
}

/// Opens a file to append to; a new one is for its owner only.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Timestamp;

    use super::EventSink;
    use crate::{config::EventLog, event_log::LogEntry};

    #[test]
    fn lines_are_json_and_a_full_file_is_kept_beside_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let sink = EventSink::open(&EventLog::File(path.clone()), 200).unwrap();
        for number in 0..4 {
            sink.log(Timestamp(number), LogEntry::Stopped { reason: "x".repeat(60) });
        }
        sink.close();
        let newer = std::fs::read_to_string(&path).unwrap();
        let older = std::fs::read_to_string(directory.path().join("events.jsonl.1")).unwrap();
        assert!(newer.len() <= 200 && older.len() <= 200);
        for line in older.lines().chain(newer.lines()) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["event"], "stopped");
            assert!(line["at"].as_str().unwrap().ends_with('Z'));
        }
    }
}
