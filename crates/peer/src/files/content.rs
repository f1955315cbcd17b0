//! The groups of a file between a disk and a stream, each checked on the way.
//!
//! Disk and hash have a thread of their own for the time of the transfer; a few groups in each
//! queue keep both sides busy, and a slow side stops the other.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
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
    let (filled, mut full) = mpsc::channel(ahead_of(&source.tree));
    let file = source.file.try_clone().map_err(ContentError::Disk)?;
    let source = Source { file, tree: Arc::clone(&source.tree) };
    let reader = spawn_blocking(move || read(&source, &groups, &filled));
    while let Some(group) = full.recv().await {
        for chunk in group.chunks(CHUNK) {
            send_bytes(stream, chunk, stall).await?;
            progress.advance(chunk.len() as u64);
        }
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
    filled: &mpsc::Sender<Bytes>,
) -> Result<(), ContentError> {
    let (mut file, tree) = (&source.file, &source.tree);
    for range in groups {
        file.seek(SeekFrom::Start(tree.span(range.first).0)).map_err(ContentError::Disk)?;
        for number in range.first..range.first + range.count {
            let mut group = Vec::new();
            tree.read_group(file, number, &mut group)?;
            if !tree.proves(number, &group) {
                return Err(ContentError::Changed);
            }
            if filled.blocking_send(group.into()).is_err() {
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
    let (filled, to_write) = mpsc::channel(unwritten_of(&tree));
    let writer = spawn_blocking(move || write(partial, to_write));
    let received = receive_groups(stream, &tree, groups, &filled, (progress, stall)).await;
    drop(filled);
    let (partial, written) = writer.await?;
    Ok((partial, written.and(received)))
}

async fn receive_groups<R: AsyncRead + Unpin>(
    stream: &mut R,
    tree: &Tree,
    groups: &mut impl Sequence,
    filled: &mpsc::Sender<(u32, Bytes)>,
    (progress, stall): (&mut Progress, Duration),
) -> Result<(), ContentError> {
    let mut buffer = BytesMut::new();
    while let Some(number) = groups.next().await? {
        let length = tree.span(number).1;
        receive_bytes(stream, length, &mut buffer, |bytes| progress.advance(bytes), stall).await?;
        if filled.send((number, buffer.split().freeze())).await.is_err() {
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
    buffer: &mut BytesMut,
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
    mut groups: mpsc::Receiver<(u32, Bytes)>,
) -> (Partial, Result<(), ContentError>) {
    while let Some((number, group)) = groups.blocking_recv() {
        if let Err(error) = partial.write(number, &group) {
            return (partial, Err(error));
        }
    }
    (partial, Ok(()))
}
