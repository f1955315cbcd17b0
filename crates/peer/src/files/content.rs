//! The groups of a file between a disk and a stream, each checked on the way.
//!
//! Disk and hash have a thread of their own for the time of the transfer; a few groups in each
//! queue keep both sides busy, and a slow side stops the other. Their memory goes round: fresh memory
//! for each group is cleared by the system page by page, which costs as much as hashing it.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    sync::Arc,
};

use portolan_protocol::GroupRange;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    task::{JoinError, spawn_blocking},
    time::{Duration, timeout},
};

use super::{Partial, Progress, Tree};

/// Bytes written to a stream at once: that much must move within the time of a stall.
const CHUNK: usize = 256 << 10;
/// Bytes that were read and wait to be sent: with small groups enough of them that neither side
/// waits whenever the other is interrupted.
const READ_AHEAD: u64 = 4 << 20;
/// Groups there, at least.
const READ_AHEAD_MIN: usize = 2;
/// Groups that have come and wait to be written; what is killed loses them.
const UNWRITTEN: usize = 4;
/// Groups beside those in a queue: one on either side of it.
const IN_HAND: usize = 2;
/// Bytes of groups from which on there are fewer of them.
const LARGE: usize = 4 << 20;

/// Why bytes did not go over.
#[derive(Debug, Error)]
pub(crate) enum ContentError {
    /// The stream failed.
    #[error("{0}")]
    Stream(io::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Stalled,
    /// The stream ended before the last byte.
    #[error("the bytes end too early")]
    Truncated,
    /// The file is no longer what its hash says.
    #[error("the file changed while it was sent")]
    Changed,
    /// A group that arrived is not the one that the hash of the file proves.
    #[error("the {length} bytes from {start} are not those of the file")]
    Corrupt {
        /// Where the group begins.
        start: u64,
        /// How long it is.
        length: usize,
    },
    /// The file is larger than any that is sent.
    #[error("the file is too large")]
    TooLarge,
    /// The disk failed.
    #[error("{0}")]
    Disk(io::Error),
}

impl ContentError {
    /// What it means that a group could not be read.
    pub(super) fn of_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Changed,
            _ => Self::Disk(error),
        }
    }
}

impl From<JoinError> for ContentError {
    fn from(error: JoinError) -> Self {
        Self::Disk(io::Error::other(error))
    }
}

/// A file and what proves it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: File,
    pub(crate) tree: Arc<Tree>,
}

/// A group that has come: its number and bytes.
type Group = (u32, Vec<u8>);

/// Groups that are read ahead of the stream.
fn ahead_of(tree: &Tree) -> usize {
    let groups = READ_AHEAD / tree.span(0).1.max(1) as u64;
    usize::try_from(groups).unwrap_or(READ_AHEAD_MIN).clamp(READ_AHEAD_MIN, 16)
}

/// Groups that may wait to be written.
pub(crate) fn unwritten_of(tree: &Tree) -> usize {
    if tree.span(0).1 < LARGE { UNWRITTEN } else { READ_AHEAD_MIN }
}

/// Sends groups of a file that are still those of its tree. Not cancel safe for the stream; the
/// thread ends by itself.
pub(crate) async fn send<W: AsyncWrite + Unpin>(
    source: &Source,
    groups: Vec<GroupRange>,
    stream: &mut W,
    progress: &mut Progress,
    stall: Duration,
) -> Result<(), ContentError> {
    let ahead = ahead_of(&source.tree);
    let (filled, mut full) = mpsc::channel(ahead);
    let (emptied, empty) = mpsc::channel(ahead + IN_HAND);
    let file = source.file.try_clone().map_err(ContentError::Disk)?;
    let source = Source { file, tree: Arc::clone(&source.tree) };
    let reader = spawn_blocking(move || read(&source, &groups, &filled, empty));
    while let Some(group) = full.recv().await {
        for chunk in group.chunks(CHUNK) {
            send_bytes(stream, chunk, stall).await?;
            progress.advance(chunk.len() as u64);
        }
        let _ = emptied.try_send(group);
    }
    reader.await?
}

/// Sends some bytes.
pub(crate) async fn send_bytes<W: AsyncWrite + Unpin>(
    stream: &mut W,
    bytes: &[u8],
    stall: Duration,
) -> Result<(), ContentError> {
    for chunk in bytes.chunks(CHUNK) {
        let written = timeout(stall, stream.write_all(chunk)).await;
        written.map_err(|_| ContentError::Stalled)?.map_err(ContentError::Stream)?;
    }
    Ok(())
}

fn read(
    source: &Source,
    groups: &[GroupRange],
    filled: &mpsc::Sender<Vec<u8>>,
    mut empty: mpsc::Receiver<Vec<u8>>,
) -> Result<(), ContentError> {
    let (mut file, tree) = (&source.file, &source.tree);
    for range in groups {
        file.seek(SeekFrom::Start(tree.span(range.first).0)).map_err(ContentError::Disk)?;
        for number in range.first..range.first + range.count {
            let mut group = empty.try_recv().unwrap_or_default();
            tree.read_group(file, number, &mut group)?;
            if !tree.proves(number, &group) {
                return Err(ContentError::Changed);
            }
            if filled.blocking_send(group).is_err() {
                // The stream's side has gone and knows why.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Knows which groups come on a stream, and asks for them in time.
pub(crate) trait Sequence: Send {
    /// The group that comes next; `None`: nothing more comes. Not cancel safe.
    fn next(&mut self) -> impl Future<Output = Result<Option<u32>, ContentError>> + Send;
}

/// Receives groups that `partial` misses and writes those that are proven.
///
/// What has arrived comes back also with an error. Dropped half way, `partial` is dropped as soon
/// as its thread has noticed.
pub(crate) async fn receive<R: AsyncRead + Unpin>(
    stream: &mut R,
    groups: &mut impl Sequence,
    partial: Partial,
    progress: &mut Progress,
    stall: Duration,
) -> Result<(Partial, Result<(), ContentError>), ContentError> {
    let tree = Arc::clone(partial.tree());
    let unwritten = unwritten_of(&tree);
    let (filled, to_write) = mpsc::channel(unwritten);
    let (emptied, empty) = mpsc::channel(unwritten + IN_HAND);
    let writer = spawn_blocking(move || write(partial, to_write, &emptied));
    let memory = (filled, empty);
    let received = receive_groups(stream, &tree, groups, memory, (progress, stall)).await;
    let (partial, written) = writer.await?;
    Ok((partial, written.and(received)))
}

async fn receive_groups<R: AsyncRead + Unpin>(
    stream: &mut R,
    tree: &Tree,
    groups: &mut impl Sequence,
    (filled, mut empty): (mpsc::Sender<Group>, mpsc::Receiver<Vec<u8>>),
    (progress, stall): (&mut Progress, Duration),
) -> Result<(), ContentError> {
    while let Some(number) = groups.next().await? {
        let length = tree.span(number).1;
        let mut group = empty.try_recv().unwrap_or_default();
        group.clear();
        receive_bytes(stream, length, &mut group, |bytes| progress.advance(bytes), stall).await?;
        if filled.send((number, group)).await.is_err() {
            // The disk's side has gone and knows why.
            return Ok(());
        }
    }
    Ok(())
}

/// Receives exactly `length` bytes; memory grows as they come.
pub(crate) async fn receive_bytes<R: AsyncRead + Unpin>(
    stream: &mut R,
    length: usize,
    buffer: &mut Vec<u8>,
    mut advance: impl FnMut(u64),
    stall: Duration,
) -> Result<(), ContentError> {
    let mut limited = stream.take(length as u64);
    while buffer.len() < length {
        buffer.reserve((length - buffer.len()).min(CHUNK));
        let read = timeout(stall, limited.read_buf(buffer)).await;
        let read = read.map_err(|_| ContentError::Stalled)?.map_err(ContentError::Stream)?;
        if read == 0 {
            return Err(ContentError::Truncated);
        }
        advance(read as u64);
    }
    Ok(())
}

fn write(
    mut partial: Partial,
    mut groups: mpsc::Receiver<Group>,
    emptied: &mpsc::Sender<Vec<u8>>,
) -> (Partial, Result<(), ContentError>) {
    while let Some((number, group)) = groups.blocking_recv() {
        if let Err(error) = partial.write(number, &group) {
            return (partial, Err(error));
        }
        let _ = emptied.try_send(group);
    }
    (partial, Ok(()))
}
