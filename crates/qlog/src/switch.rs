//! The switch.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use thiserror::Error;

use crate::{Log, Trace, log::Page, writer::Writer};

/// Whether connections are logged, and where to. Clones are the same switch; off by default.
#[derive(Clone, Default)]
pub struct Qlog(Arc<OnceLock<Thread>>);

/// Why the switch cannot be turned on.
#[derive(Debug, Error)]
pub enum QlogError {
    /// The directory or the thread cannot be made.
    #[error(
        "cannot write qlog files into {}; choose a directory that you may write to",
        .directory.display()
    )]
    Io {
        /// Which directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is on already.
    #[error("qlog files are written already")]
    AlreadyOn,
}

/// What was logged so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Logs that were begun.
    pub logs: u64,
    /// Events of the logs that have ended.
    pub events: u64,
    /// Events of the logs that have ended which are missing.
    pub dropped: u64,
    /// Connections that were not logged because too many were.
    pub refused: u64,
    /// Files that could not be made or written.
    pub failed: u64,
}

#[derive(Debug)]
struct Thread {
    writer: Arc<Writer>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Qlog {
    /// Turns the switch on: a file for each connection that begins from now on, in `directory`,
    /// which is made if it is missing.
    ///
    /// # Errors
    /// [`QlogError`].
    pub fn write_to(&self, directory: &Path) -> Result<(), QlogError> {
        let failed = |source| QlogError::Io { directory: directory.to_owned(), source };
        make_directory(directory).map_err(failed)?;
        let writer = Arc::new(Writer::new(directory.to_owned()));
        let running = Arc::clone(&writer);
        let handle = thread::Builder::new()
            .name("qlog".into())
            .spawn(move || running.run())
            .map_err(failed)?;
        // A thread that is refused its place ends when it is dropped.
        let thread = Thread { writer, handle: Mutex::new(Some(handle)) };
        self.0.set(thread).map_err(|_| QlogError::AlreadyOn)
    }

    /// Whether the switch is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.get().is_some()
    }

    /// Begins a log; `None`: the switch is off, or as many logs are open as may be.
    #[must_use]
    pub fn open(&self, trace: impl FnOnce() -> Trace) -> Option<Log> {
        let thread = self.0.get()?;
        let trace = trace();
        let started = trace.started;
        let page = thread.writer.admit(|| Page::new(&trace, since_1970()))?;
        Some(Log::new(page, Arc::clone(&thread.writer), started))
    }

    /// Ends every log and waits until all is written; what is recorded afterwards is lost. Blocks
    /// for as long as the disk takes.
    pub fn finish(&self) {
        if let Some(thread) = self.0.get() {
            thread.finish();
            let Totals { dropped, refused, failed, .. } = thread.writer.totals();
            if dropped + refused + failed > 0 {
                tracing::warn!(dropped, refused, failed, "the qlog files are not complete");
            }
        }
    }

    /// What was logged so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.0.get().map_or_else(Totals::default, |thread| thread.writer.totals())
    }
}

impl Thread {
    fn finish(&self) {
        self.writer.stop();
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            // It panics only by a bug, and has said so.
            let _ended = handle.join();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for Qlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Qlog(on)" } else { "Qlog(off)" })
    }
}

#[cfg(unix)]
fn make_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

#[expect(clippy::disallowed_methods, reason = "a log says on which day it was written")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
