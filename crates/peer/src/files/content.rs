//! The bytes of a file between a disk and a stream, hashed on the way.
//!
//! Disk and hash have a thread of their own for the time of the transfer; two chunks in each
//! queue keep both sides busy, and a slow side stops the other.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use bytes::{Bytes, BytesMut};
use portolan_protocol::Hash;
use tempfile::NamedTempFile;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    task::{JoinError, spawn_blocking},
    time::{Duration, timeout},
};

use super::Progress;

/// Bytes read from or written to a disk at once.
const CHUNK: usize = 256 << 10;
/// Chunks between the disk's thread and the stream's task.
const QUEUE: usize = 2;

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
    /// The file is shorter than it was.
    #[error("the file became shorter")]
    Shrunk,
    /// The disk failed.
    #[error("{0}")]
    Disk(io::Error),
}

impl From<JoinError> for ContentError {
    fn from(error: JoinError) -> Self {
        Self::Disk(io::Error::other(error))
    }
}

/// Sends exactly `size` bytes of `file`, and says what their hash is. Not cancel safe for the
/// stream; the thread ends by itself.
pub(crate) async fn send<W: AsyncWrite + Unpin>(
    file: File,
    size: u64,
    stream: &mut W,
    progress: &mut Progress,
    stall: Duration,
) -> Result<Hash, ContentError> {
    let (chunks, mut filled) = mpsc::channel(QUEUE);
    let reader = spawn_blocking(move || read(file, size, &chunks));
    while let Some(chunk) = filled.recv().await {
        let written = timeout(stall, stream.write_all(&chunk)).await;
        written.map_err(|_| ContentError::Stalled)?.map_err(ContentError::Stream)?;
        progress.advance(chunk.len() as u64);
    }
    reader.await?
}

fn read(mut file: File, size: u64, chunks: &mpsc::Sender<Bytes>) -> Result<Hash, ContentError> {
    let mut hasher = blake3::Hasher::new();
    let mut left = size;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; length];
        file.read_exact(&mut chunk).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ContentError::Shrunk,
            _ => ContentError::Disk(error),
        })?;
        hasher.update(&chunk);
        left -= length as u64;
        if chunks.blocking_send(chunk.into()).is_err() {
            // The stream's side has gone and knows why.
            break;
        }
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// Receives exactly `size` bytes into `file`, and says what their hash is.
///
/// When it returns an error the file is gone. Dropped half way, the file goes as soon as its
/// thread has noticed.
pub(crate) async fn receive<R: AsyncRead + Unpin>(
    stream: &mut R,
    size: u64,
    file: NamedTempFile,
    progress: &mut Progress,
    stall: Duration,
) -> Result<(NamedTempFile, Hash), ContentError> {
    let (chunks, to_write) = mpsc::channel(QUEUE);
    let writer = spawn_blocking(move || write(file, to_write));
    let received = receive_chunks(stream, size, &chunks, progress, stall).await;
    drop(chunks);
    // Also after an error: the file is removed before anyone hears of it.
    let written = writer.await?;
    match received {
        Ok(()) => written,
        Err(error) => written.and(Err(error)),
    }
}

async fn receive_chunks<R: AsyncRead + Unpin>(
    stream: &mut R,
    size: u64,
    chunks: &mpsc::Sender<Bytes>,
    progress: &mut Progress,
    stall: Duration,
) -> Result<(), ContentError> {
    let mut limited = stream.take(size);
    let mut buffer = BytesMut::new();
    while limited.limit() > 0 {
        let wanted = usize::try_from(limited.limit()).unwrap_or(CHUNK).min(CHUNK);
        buffer.reserve(wanted);
        while buffer.len() < wanted {
            let read = timeout(stall, limited.read_buf(&mut buffer)).await;
            let read = read.map_err(|_| ContentError::Stalled)?.map_err(ContentError::Stream)?;
            if read == 0 {
                return Err(ContentError::Truncated);
            }
            progress.advance(read as u64);
        }
        if chunks.send(buffer.split().freeze()).await.is_err() {
            // The disk's side has gone and knows why.
            return Ok(());
        }
    }
    Ok(())
}

fn write(
    mut file: NamedTempFile,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<(NamedTempFile, Hash), ContentError> {
    let mut hasher = blake3::Hasher::new();
    while let Some(chunk) = chunks.blocking_recv() {
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(ContentError::Disk)?;
    }
    file.flush().map_err(ContentError::Disk)?;
    Ok((file, Hash(*hasher.finalize().as_bytes())))
}
