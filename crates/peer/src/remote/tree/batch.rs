//! Small files, many to a stream.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use portolan_protocol::{
    Batch, BatchFile, Compared, ErrorCode, FrameBuffer, GROUP_MIN, Hash, Message, PeerEvent,
    PeerMessage, PeerReply, Small, Unsent, decode,
};
use portolan_protocol_io::RawReader;
use portolan_transport::{Priority, RecvStream};
use tokio::{
    io::AsyncReadExt,
    sync::mpsc,
    task::spawn_blocking,
    time::{Duration, timeout},
};

use super::{
    ends_all,
    pull::{Listed, Pull},
};
use crate::{
    Existing, FileError,
    files::{Attributes, There, hash_of_small},
    remote::transfer::{answer_within, ask, unexpected},
};

/// Bytes asked of the stream at once.
const READ: usize = 64 << 10;
/// Files between the stream's task and the disk's thread.
const QUEUE: usize = 16;

/// Files that are settled, and whether the others are still to come.
type Settled = (Vec<String>, Result<(), FileError>);

/// Files to ask for, and how.
type Wanted = Vec<(Listed, BatchFile)>;

/// A file that has come, on its way to the disk.
struct Arrived {
    listed: Listed,
    small: Small,
    bytes: Bytes,
}

/// Receives the small files of one page, and makes its directories.
pub(super) async fn batch(
    pull: &Arc<Pull>,
    directories: Vec<String>,
    files: Vec<Listed>,
) -> Settled {
    let prepared = {
        let pull = Arc::clone(pull);
        spawn_blocking(move || prepare(&pull, &directories, files)).await
    };
    let (mut settled, wanted) = match prepared {
        Ok((settled, Ok(wanted))) => (settled, wanted),
        Ok((settled, Err(error))) => return (settled, Err(error)),
        Err(error) => return (Vec::new(), Err(FileError::from_panic(error))),
    };
    if wanted.is_empty() {
        return (settled, Ok(()));
    }
    let (filled, to_write) = mpsc::channel(QUEUE);
    let writer = {
        let pull = Arc::clone(pull);
        spawn_blocking(move || write(&pull, to_write))
    };
    let received = receive(pull, wanted, filled, &mut settled).await;
    match writer.await {
        Ok((written, result)) => {
            settled.extend(written);
            (settled, result.and(received))
        }
        Err(error) => (settled, Err(FileError::from_panic(error))),
    }
}

/// Looks at what is there already. Blocking.
fn prepare(
    pull: &Pull,
    directories: &[String],
    files: Vec<Listed>,
) -> (Vec<String>, Result<Wanted, FileError>) {
    let (mut settled, mut wanted) = (Vec::new(), Vec::new());
    for directory in directories {
        match pull.landing.directory(directory) {
            Ok(_) => {}
            Err(error) if ends_all(&error) => return (settled, Err(error)),
            Err(error) => pull.missed(directory, &error),
        }
        settled.push(directory.clone());
    }
    for mut listed in files {
        match want(pull, &listed) {
            Ok(file) if file.have.is_some() || pull.reserve(&mut listed) => {
                wanted.push((listed, file));
            }
            Ok(_) => settled.push(listed.path),
            Err(error) if ends_all(&error) => return (settled, Err(error)),
            Err(error) => {
                pull.missed(&listed.path, &error);
                settled.push(listed.path);
            }
        }
    }
    (settled, Ok(wanted))
}

/// How to ask for a file, after what is there under its name.
fn want(pull: &Pull, listed: &Listed) -> Result<BatchFile, FileError> {
    let (full, there) = pull.landing.there(&listed.path)?;
    let have = match there {
        There::File(size) if size == listed.size => hash_of_small(&full, GROUP_MIN)?,
        There::File(_) | There::Nothing => None,
    };
    let keep = there != There::Nothing && pull.landing.existing() == Existing::Keep;
    match keep && have.is_none() {
        true => Err(FileError::Exists(full)),
        false => Ok(BatchFile { path: listed.path.clone(), have, keep }),
    }
}

async fn receive(
    pull: &Arc<Pull>,
    wanted: Wanted,
    filled: mpsc::Sender<Arrived>,
    settled: &mut Vec<String>,
) -> Result<(), FileError> {
    let timing = pull.sessions.host().timing;
    let (listed, files): (Vec<Listed>, Vec<BatchFile>) = wanted.into_iter().unzip();
    let batch = Batch { tree: pull.ticket, path: pull.path.clone(), files };
    let mut stream = ask(&pull.sessions, &pull.who, batch.into(), Priority::Bulk).await?;
    let _ = stream.writer.get_mut().finish();
    match answer_within(&pull.who, &mut stream.reader, timing.request).await? {
        PeerReply::Sending(_) => {}
        other => return Err(unexpected(&pull.who, &other)),
    }
    let stream_left = stream.lease;
    let mut reader = Reader {
        stream: stream.reader.into_raw(),
        buffer: FrameBuffer::default(),
        stall: timing.stall,
    };
    for mut listed in listed {
        match reader.next(pull).await? {
            Next::Small(small) => {
                let bytes = reader.bytes(pull, small.size).await?;
                if !pull.fits(&mut listed, small.size) {
                    let reason = "it has grown beyond what was offered";
                    pull.tally.missed(&listed.path, ErrorCode::TooLarge, reason);
                    settled.push(listed.path);
                } else if filled.send(Arrived { listed, small, bytes }).await.is_err() {
                    // The disk's side has gone and knows why.
                    return Ok(());
                }
            }
            Next::Compared(Compared { same }) => {
                match same {
                    true => pull.tally.same(listed.size),
                    false => {
                        let reason = "another file of that name is there; --overwrite replaces it";
                        pull.tally.missed(&listed.path, ErrorCode::Conflict, reason);
                    }
                }
                settled.push(listed.path);
            }
            Next::Unsent(Unsent { code, message }) => {
                let code = ErrorCode::from_word(&code);
                let message: String = message.chars().take(256).collect();
                pull.tally.missed(&listed.path, code, &message);
                settled.push(listed.path);
            }
        }
    }
    drop(stream_left);
    Ok(())
}

/// Writes what has come. Blocking.
fn write(pull: &Pull, mut arrived: mpsc::Receiver<Arrived>) -> Settled {
    let mut settled = Vec::new();
    while let Some(Arrived { mut listed, small, bytes }) = arrived.blocking_recv() {
        let path = listed.path.clone();
        match write_one(pull, &path, &small, &bytes) {
            Ok(()) => {
                listed.arrived();
                pull.tally.advance(small.size);
                pull.tally.arrived(1);
            }
            // Another transfer of it was faster.
            Err(FileError::Exists(full)) if is_same(&full, &small) => pull.tally.same(small.size),
            Err(error) if ends_all(&error) => return (settled, Err(error)),
            Err(error) => pull.missed(&path, &error),
        }
        settled.push(path);
    }
    (settled, Ok(()))
}

fn is_same(full: &Path, small: &Small) -> bool {
    let is_file = full.symlink_metadata().is_ok_and(|there| there.is_file());
    is_file && matches!(hash_of_small(full, GROUP_MIN), Ok(Some(hash)) if hash == small.hash)
}

fn write_one(pull: &Pull, path: &str, small: &Small, bytes: &[u8]) -> Result<(), FileError> {
    let computed = Hash(*blake3::hash(bytes).as_bytes());
    if computed != small.hash {
        return Err(FileError::Integrity { expected: small.hash, computed });
    }
    let attributes = Attributes::kept(pull.landing.keep(), small.modified, small.mode);
    pull.landing.write(path, bytes, attributes)
}

/// What comes of the next file.
enum Next {
    Small(Small),
    Compared(Compared),
    Unsent(Unsent),
}

/// Frames with raw bytes between them.
struct Reader {
    stream: RawReader<RecvStream>,
    buffer: FrameBuffer,
    stall: Duration,
}

impl Reader {
    async fn next(&mut self, pull: &Pull) -> Result<Next, FileError> {
        let broken = |detail: String| FileError::Protocol { who: pull.who.clone(), detail };
        let frame = loop {
            match self.buffer.next_frame() {
                Ok(Some(frame)) => break frame,
                Ok(None) => self.fill(pull).await?,
                Err(error) => return Err(broken(error.to_string())),
            }
        };
        let message: PeerMessage = decode(&frame).map_err(|error| broken(error.to_string()))?;
        match message {
            Message::Event(PeerEvent::Small(small)) if small.size <= GROUP_MIN => {
                Ok(Next::Small(small))
            }
            Message::Event(PeerEvent::Compared(compared)) => Ok(Next::Compared(compared)),
            Message::Event(PeerEvent::Unsent(unsent)) => Ok(Next::Unsent(unsent)),
            Message::Event(_) | Message::Request(..) | Message::Answer(..) | Message::Error(..) => {
                Err(broken("no small file came".into()))
            }
        }
    }

    async fn bytes(&mut self, pull: &Pull, size: u64) -> Result<Bytes, FileError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        while self.buffer.bytes_mut().len() < size {
            self.fill(pull).await?;
        }
        Ok(self.buffer.bytes_mut().split_to(size).freeze())
    }

    async fn fill(&mut self, pull: &Pull) -> Result<(), FileError> {
        let buffer = self.buffer.bytes_mut();
        buffer.reserve(READ);
        let read = timeout(self.stall, self.stream.read_buf(buffer)).await;
        let read = read.unwrap_or_else(|_| Err(io::Error::other("nothing came for too long")));
        match read {
            Ok(0) => Err(pull.interrupted("the bytes end too early".into())),
            Ok(_) => Ok(()),
            Err(error) => Err(pull.interrupted(error.to_string())),
        }
    }
}
