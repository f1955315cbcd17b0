//! The thread that writes.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    mem,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Totals, log::Page, record::put_trailer};

/// Bytes of one log that wait for the disk; events beyond are dropped and counted.
pub const BUFFER_MAX: usize = 1 << 20;

/// Bytes of one file, about; events beyond are dropped and counted.
pub const FILE_MAX: u64 = 1 << 30;

/// Logs that are open at once; further connections are not logged, and counted.
pub const LOGS_MAX: usize = 1024;

/// Names that are tried for a file before its log is given up.
const NAMES_MAX: u32 = 100;

/// How long an event may wait to be written.
const INTERVAL: Duration = Duration::from_millis(100);

/// What recorders and the thread share.
#[derive(Debug)]
pub(crate) struct Writer {
    directory: PathBuf,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Arc<Page>>,
    is_urgent: bool,
    is_over: bool,
    totals: Totals,
}

/// The files that the thread has open.
type Files = HashMap<*const Page, Output>;

/// A file, or nothing if it could not be made.
type Output = Option<File>;

impl Writer {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, state: Mutex::default(), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a log in, if there is room for it.
    pub(crate) fn admit(&self, page: impl FnOnce() -> Page) -> Option<Arc<Page>> {
        let mut state = self.lock();
        if state.is_over || state.open.len() >= LOGS_MAX {
            state.totals.refused += 1;
            return None;
        }
        let page = Arc::new(page());
        state.open.push(Arc::clone(&page));
        state.totals.logs += 1;
        self.wake.notify_one();
        Some(page)
    }

    /// Has the thread write at once.
    pub(crate) fn hurry(&self) {
        self.lock().is_urgent = true;
        self.wake.notify_one();
    }

    /// Has the thread write everything and end.
    pub(crate) fn stop(&self) {
        self.lock().is_over = true;
        self.wake.notify_one();
    }

    pub(crate) fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// Writes until it is stopped.
    pub(crate) fn run(&self) {
        let mut files = Files::new();
        let mut spare = Vec::new();
        loop {
            let (pages, is_over) = self.next_round();
            for page in &pages {
                self.write(page, &mut files, &mut spare, is_over);
            }
            if is_over {
                return;
            }
        }
    }

    /// Waits for work; what is open then, and whether this is the last round.
    fn next_round(&self) -> (Vec<Arc<Page>>, bool) {
        let mut state = self.lock();
        while state.open.is_empty() && !state.is_over {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.is_urgent && !state.is_over {
            let waited = self
                .wake
                .wait_timeout_while(state, INTERVAL, |state| !state.is_urgent && !state.is_over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_urgent = false;
        (state.open.clone(), state.is_over)
    }

    /// Writes what waits in one log, and its trailer if it has ended.
    fn write(&self, page: &Arc<Page>, files: &mut Files, spare: &mut Vec<u8>, is_over: bool) {
        let key = Arc::as_ptr(page);
        let mut buffer = page.lock();
        buffer.is_closed |= is_over;
        mem::swap(&mut buffer.bytes, spare);
        let is_closed = buffer.is_closed;
        let (time, events, dropped) = (buffer.time, buffer.events, buffer.dropped);
        drop(buffer);
        if is_closed {
            put_trailer(spare, time, events, dropped);
        }
        let file = files.entry(key).or_insert_with(|| self.create(&page.name));
        if let Some(open) = file
            && let Err(error) = open.write_all(spare)
        {
            self.give_up(&page.name, &error);
            *file = None;
        }
        spare.clear();
        if is_closed {
            files.remove(&key);
            let mut state = self.lock();
            state.open.retain(|open| !Arc::ptr_eq(open, page));
            state.totals.events += events;
            state.totals.dropped += dropped;
        }
    }

    fn create(&self, name: &str) -> Output {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Connection IDs repeat where chance does, as in simulations.
        let first = (0..NAMES_MAX).find_map(|turn| {
            let suffix = if turn == 0 { String::new() } else { format!("-{turn}") };
            let path = self.directory.join(format!("{name}{suffix}.sqlog"));
            match options.open(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                outcome => Some(outcome),
            }
        });
        let taken = || Err(io::Error::from(io::ErrorKind::AlreadyExists));
        first.unwrap_or_else(taken).map_err(|error| self.give_up(name, &error)).ok()
    }

    fn give_up(&self, name: &str, error: &io::Error) {
        self.lock().totals.failed += 1;
        tracing::warn!(log = name, %error, "a qlog file cannot be written; its events are lost");
    }
}
