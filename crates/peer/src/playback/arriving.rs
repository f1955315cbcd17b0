//! A file between the task that fetches it and the thread that reads it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use portolan_media::{Input, Interrupt};
use portolan_protocol::GroupRange;
use tokio::{sync::Notify, time::Duration};

use super::RemoteAudio;
use crate::{
    FileError,
    files::{Run, Tree},
};

/// Between two looks whether a reader that waits is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A reader that waits longer than that says so.
const PATIENCE: u32 = 4;

/// What both sides know.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something has arrived, or ended: for threads and for tasks.
    arrived: Condvar,
    changed: Notify,
    /// Someone wants it.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    begun: bool,
    file: Option<Content>,
    failed: Option<Arc<FileError>>,
    /// The piece that a reader waits for.
    needed: Option<u32>,
    /// The piece that was read last.
    cursor: u32,
}

struct Content {
    file: Arc<File>,
    tree: Arc<Tree>,
    have: Vec<bool>,
}

impl Content {
    fn is_whole(&self) -> bool {
        self.have.iter().all(|have| *have)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) {
        self.lock().begun = true;
        self.wanted.notify_one();
    }

    /// Waits until someone wants it.
    pub(super) async fn begun(&self) {
        while !self.lock().begun {
            self.wanted.notified().await;
        }
    }

    pub(super) async fn whole(&self) -> Result<(), FileError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = self.lock();
                if let Some(error) = &state.failed {
                    return Err(again(error));
                }
                if state.file.as_ref().is_some_and(Content::is_whole) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Its content is known.
    pub(super) fn describe(&self, file: File, tree: Arc<Tree>) {
        let have = vec![false; tree.pieces() as usize];
        self.lock().file = Some(Content { file: Arc::new(file), tree, have });
        self.tell();
    }

    /// Writes a piece that is proven. Blocking.
    pub(super) fn put(&self, piece: u32, bytes: &Bytes) -> io::Result<()> {
        let (file, start) = {
            let state = self.lock();
            let content = state.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
            (Arc::clone(&content.file), content.tree.piece_span(piece).0)
        };
        write_at(&file, start, bytes)?;
        let mut state = self.lock();
        if let Some(content) = &mut state.file
            && let Some(have) = content.have.get_mut(piece as usize)
        {
            *have = true;
        }
        if state.needed == Some(piece) {
            state.needed = None;
        }
        drop(state);
        self.tell();
        Ok(())
    }

    pub(super) fn fail(&self, error: FileError) {
        self.lock().failed = Some(Arc::new(error));
        self.tell();
    }

    fn tell(&self) {
        self.arrived.notify_all();
        self.changed.notify_waiters();
    }

    /// What is to be asked for next, beside what was asked for already.
    pub(super) fn next_run(&self, asked: &VecDeque<Run>) -> Option<Next> {
        let state = self.lock();
        let content = state.file.as_ref()?;
        let pieces = u32::try_from(content.have.len()).unwrap_or(u32::MAX);
        let is_missing = |piece: &u32| {
            content.have.get(*piece as usize) == Some(&false)
                && !asked.iter().any(|run| run.pieces.contains(piece))
        };
        let in_order = (state.cursor..pieces).chain(0..state.cursor);
        let first = state.needed.into_iter().chain(in_order).find(is_missing)?;
        let is_urgent = state.needed == Some(first);
        let behind = first.checked_sub(state.cursor);
        let is_near = is_urgent || behind.is_some_and(|ahead| ahead <= AHEAD);
        let most = if is_near { NEAR } else { FAR };
        let end = content.tree.pieces_of(content.tree.group_of(first)).end;
        let end = end.min(first.saturating_add(most)).max(first + 1);
        let count = (first..end).take_while(is_missing).count();
        let count = u32::try_from(count).unwrap_or(1).max(1);
        Some(Next { pieces: GroupRange { first, count }, is_near })
    }
}

/// What is to be asked for.
pub(super) struct Next {
    pub(super) pieces: GroupRange,
    /// It is needed soon: more may be asked for before it has come.
    pub(super) is_near: bool,
}

/// Pieces ahead of the player from which on one run is asked for at a time, so that a seek waits
/// for little.
const AHEAD: u32 = 64;
/// Pieces asked for at once where they are needed soon.
const NEAR: u32 = 4;
/// The same where there is time.
const FAR: u32 = 16;

/// An error that several are told.
fn again(error: &FileError) -> FileError {
    FileError::Interrupted { bytes: 0, total: 0, kept: None, detail: error.to_string() }
}

fn write_at(file: &File, start: u64, bytes: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, start)
    }
    #[cfg(not(unix))]
    {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let at = start + written as u64;
            match std::os::windows::fs::FileExt::seek_write(file, rest, at)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        Ok(())
    }
}

fn read_at(file: &File, start: u64, out: &mut [u8]) -> io::Result<usize> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_at(file, out, start)
    }
    #[cfg(not(unix))]
    {
        std::os::windows::fs::FileExt::seek_read(file, out, start)
    }
}

/// The reader's side: a file that blocks where it has not arrived.
pub(super) struct Arriving {
    audio: RemoteAudio,
    interrupt: Interrupt,
    waits: Box<dyn Fn(bool) + Send + Sync>,
    file: Arc<File>,
    tree: Arc<Tree>,
    at: u64,
}

impl Arriving {
    /// Waits until the size is known.
    pub(super) fn new(
        audio: RemoteAudio,
        interrupt: Interrupt,
        waits: Box<dyn Fn(bool) + Send + Sync>,
    ) -> io::Result<Self> {
        let (file, tree) = wait(audio.shared(), &interrupt, &*waits, |state| {
            let content = state.file.as_ref()?;
            Some((Arc::clone(&content.file), Arc::clone(&content.tree)))
        })?;
        Ok(Self { audio, interrupt, waits, file, tree, at: 0 })
    }

    /// Waits until a piece is there.
    fn wait_for(&self, piece: u32) -> io::Result<()> {
        let shared = self.audio.shared();
        wait(shared, &self.interrupt, &*self.waits, |state| {
            state.cursor = piece;
            let content = state.file.as_ref()?;
            if content.have.get(piece as usize) != Some(&false) {
                return Some(());
            }
            state.needed = Some(piece);
            None
        })
    }
}

/// Waits until `look` finds what it looks for.
fn wait<T>(
    shared: &Shared,
    interrupt: &Interrupt,
    waits: &(dyn Fn(bool) + Send + Sync),
    mut look: impl FnMut(&mut State) -> Option<T>,
) -> io::Result<T> {
    let mut looks = 0;
    let mut state = shared.lock();
    let found = loop {
        if let Some(found) = look(&mut state) {
            break Ok(found);
        }
        if let Some(error) = &state.failed {
            break Err(io::Error::other(error.to_string()));
        }
        if interrupt.is_set() {
            break Err(io::ErrorKind::WouldBlock.into());
        }
        let waited = shared.arrived.wait_timeout(state, LOOK_EVERY);
        let (locked, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        state = locked;
        if timed_out.timed_out() {
            looks += 1;
            if looks == PATIENCE {
                drop(state);
                waits(true);
                state = shared.lock();
            }
        }
    };
    drop(state);
    if looks >= PATIENCE {
        waits(false);
    }
    found
}

impl Read for Arriving {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.tree.size().saturating_sub(self.at);
        if left == 0 || out.is_empty() {
            return Ok(0);
        }
        let piece = self.tree.piece_at(self.at);
        self.wait_for(piece)?;
        let (start, length) = self.tree.piece_span(piece);
        let room = (start + length as u64).saturating_sub(self.at);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(out.len());
        let read = read_at(&self.file, self.at, out.get_mut(..room).unwrap_or_default())?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Arriving {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(from) => self.tree.size().checked_add_signed(from),
            SeekFrom::Current(from) => self.at.checked_add_signed(from),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Input for Arriving {
    fn length(&self) -> Option<u64> {
        Some(self.tree.size())
    }
}
