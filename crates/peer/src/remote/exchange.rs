//! How the bytes of a file go over, whoever asked for it: hashes, what is missing, groups, end.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use portolan_protocol::{
    ErrorBody, FileEnd, GroupRange, Hash, Hashing, Message, Name, PeerEvent, PeerMessage, Want,
    group_length,
};
use portolan_protocol_io::{FrameReader, FrameWriter, RawReader, ReadMessageError};
use portolan_transport::{RecvStream, SendStream};
use tokio::{
    io::AsyncRead,
    task::spawn_blocking,
    time::{Duration, error::Elapsed, sleep, timeout},
};

use super::{Host, asking::Asking, way::Way};
use crate::{
    FileError, FilePhase, Stop,
    files::{
        OpenedFile, Partial, Progress, Reached, Target, Tree,
        content::{self, ContentError, Source},
        open_file,
    },
};

/// Between two words that a file is still being read.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a sender may take to end its stream.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a transfer of the same file that may be ending is waited for, and between two looks.
const PART_PATIENCE: Duration = Duration::from_secs(2);
const PART_POLL: Duration = Duration::from_millis(20);

pub(crate) type Reader = FrameReader<RecvStream>;
pub(crate) type Writer = FrameWriter<SendStream>;

/// Work on a disk that stops when nobody waits for it any more.
struct Watched(Arc<Reached>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Does work on a disk, and tells the other side meanwhile that it goes on.
pub(crate) async fn telling<T: Send + 'static>(
    mut writer: Option<&mut Writer>,
    work: impl FnOnce(&Reached) -> Result<T, ContentError> + Send + 'static,
) -> Result<T, ContentError> {
    let watched = Watched(Arc::default());
    let reached = Arc::clone(&watched.0);
    let mut task = spawn_blocking(move || work(&reached));
    let mut told = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut task => return done?,
            () = sleep(TELL_EVERY) => {}
        }
        let bytes = watched.0.bytes();
        if let Some(writer) = writer.as_mut().filter(|_| bytes > told) {
            told = bytes;
            let hashing = PeerMessage::Event(PeerEvent::Hashing(Hashing { bytes }));
            let sent = writer.send(&hashing).await;
            sent.map_err(|error| ContentError::Stream(io::Error::other(error)))?;
        }
    }
}

/// Waits for a message, for as long as the other side says that it reads a file.
pub(crate) async fn past_hashing(
    reader: &mut Reader,
    patience: Duration,
) -> Result<Result<PeerMessage, ReadMessageError>, Elapsed> {
    let mut read = 0;
    loop {
        match timeout(patience, reader.next_message()).await? {
            Ok(PeerMessage::Event(PeerEvent::Hashing(Hashing { bytes }))) if bytes > read => {
                read = bytes;
            }
            other => return Ok(other),
        }
    }
}

/// Finds out what proves a file that is to be sent.
pub(crate) async fn prove(
    host: &Arc<Host>,
    opened: OpenedFile,
    writer: Option<&mut Writer>,
) -> Result<Source, ContentError> {
    let trees = Arc::clone(&host.trees);
    telling(writer, move |reached| {
        let tree = trees.tree_of(&opened, reached)?;
        Ok(Source { file: opened.file, tree })
    })
    .await
}

/// Sends the hashes and hears what is missing on the other side.
pub(crate) async fn send_hashes(
    host: &Host,
    who: &Name,
    tree: &Tree,
    (reader, writer): (&mut Reader, &mut Writer),
    progress: &mut Progress,
) -> Result<Want, FileError> {
    let sent = content::send_bytes(writer.get_mut(), tree.list(), host.timing.stall).await;
    sent.map_err(|error| progress.broken(error, None))?;
    let want = hear_want(reader, who, (tree, host.timing.request), progress).await?;
    progress.resume_with(there(&want, tree));
    progress.stage(FilePhase::Started).await;
    Ok(want)
}

/// Bytes that are on the other side already, as far as is known.
fn there(want: &Want, tree: &Tree) -> u64 {
    match want.have {
        Some(have) => have.min(tree.size()),
        // Of one who asks again and again nobody knows what it has.
        None if want.more => 0,
        None => tree.size() - tree.bytes_of(&want.groups),
    }
}

/// Hears what is missing on the other side.
pub(crate) async fn hear_want(
    reader: &mut Reader,
    who: &Name,
    (tree, patience): (&Tree, Duration),
    progress: &Progress,
) -> Result<Want, FileError> {
    let message = past_hashing(reader, patience).await;
    let wanted = message.map_err(|_| FileError::TimedOut { who: who.clone() })?;
    wanted_by(who, tree, wanted, progress)
}

/// What is missing on the other side, if it says so.
pub(crate) fn wanted_by(
    who: &Name,
    tree: &Tree,
    message: Result<PeerMessage, ReadMessageError>,
    progress: &Progress,
) -> Result<Want, FileError> {
    match message {
        Ok(PeerMessage::Event(PeerEvent::Want(want))) if tree.has(&want.groups) => Ok(want),
        Ok(Message::Error(_, body)) => Err(refused(who, body)),
        Ok(Message::Request(..) | Message::Answer(..) | Message::Event(..)) => {
            let detail = "it does not say what it is missing".into();
            Err(FileError::Protocol { who: who.clone(), detail })
        }
        Err(ReadMessageError::Stream(error)) => {
            Err(progress.broken(ContentError::Stream(error), None))
        }
        Err(error) => Err(FileError::Interrupted {
            bytes: 0,
            total: tree.size(),
            kept: None,
            detail: error.to_string(),
        }),
    }
}

/// How a file has gone over on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// To its end.
    Whole(Hash),
    /// What is missing is asked for on a better way.
    Moved,
}

/// Sends groups.
pub(crate) async fn send_some(
    host: &Host,
    source: &Source,
    groups: Vec<GroupRange>,
    writer: &mut Writer,
    progress: &mut Progress,
) -> Result<(), FileError> {
    let sent = content::send(source, groups, writer.get_mut(), progress, host.timing.stall).await;
    sent.map_err(|error| {
        if matches!(error, ContentError::Changed) {
            host.trees.forget(&source.tree);
        }
        progress.broken(error, None)
    })
}

/// Says that all bytes were sent, and finishes the stream.
pub(crate) async fn send_end(
    hash: Hash,
    writer: &mut Writer,
    progress: &Progress,
) -> Result<Hash, FileError> {
    let end = PeerMessage::Event(PeerEvent::End(FileEnd { hash }));
    let ended = writer.send(&end).await;
    ended.map_err(|error| progress.broken(ContentError::Stream(io::Error::other(error)), None))?;
    // A reader that has the end may have gone already, content.
    let _ = writer.get_mut().finish();
    Ok(hash)
}

/// The receiving side of a file's stream, and the way that it goes by, if there may be others.
pub(crate) type Inflow<'a> = (&'a mut RawReader<RecvStream>, &'a mut Writer, Option<&'a Way>);

/// What one stream has brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// The whole is there, under its name.
    Whole(Hash, PathBuf),
    /// A part; a better way has come, and the rest is to be asked for there.
    Moved(Box<Partial>),
}

/// Receives what is missing of a file, proves it group by group, and gives the whole its name.
/// What an earlier stream has brought is gone on with.
pub(crate) async fn receive(
    host: &Host,
    (raw, writer, way): Inflow<'_>,
    (size, hash): (u64, Hash),
    (target, kept): (Target, Option<Box<Partial>>),
    progress: &mut Progress,
) -> Result<Received, FileError> {
    let stall = host.timing.stall;
    let tree = receive_list(raw, (size, hash), progress, stall).await?;
    let partial = match kept {
        Some(partial) => *partial,
        None => {
            let opened = open_partial(target.directory(), Arc::new(tree), Some(&mut *writer)).await;
            opened.map_err(|error| unwritten(error, &target, progress, None))?
        }
    };
    progress.resume_with(partial.bytes());
    if let Some(way) = way.cloned() {
        progress.look_at(move || way.via());
    }
    progress.stage(FilePhase::Started).await;
    let mut asking = Asking::new(&partial, (writer, way), stall);
    if let Err(error) = asking.ask().await {
        let kept = Some(partial.bytes());
        return Err(progress.broken(error, kept));
    }
    let received = content::receive(raw, &mut asking, partial, progress, stall).await;
    let (partial, outcome) = received.map_err(|error| unwritten(error, &target, progress, None))?;
    if let Err(error) = outcome {
        let kept = partial.bytes();
        progress.fall_back_to(kept);
        put_aside(Box::new(partial)).await;
        return Err(unwritten(error, &target, progress, Some(kept)));
    }
    let has_moved = asking.has_moved();
    if has_more(&mut FrameReader::new(raw)).await {
        partial.discard();
        return Err(FileError::Size { announced: size });
    }
    if has_moved && !partial.is_whole() {
        return Ok(Received::Moved(Box::new(partial)));
    }
    let path = name_whole(host, partial, target).await?;
    Ok(Received::Whole(hash, path))
}

/// Receives the hashes of a file's groups.
async fn receive_list(
    raw: &mut RawReader<RecvStream>,
    (size, hash): (u64, Hash),
    progress: &Progress,
    stall: Duration,
) -> Result<Tree, FileError> {
    let group = group_length(size).unwrap_or(1);
    let mut list = Vec::new();
    let length = Tree::list_length(size, group);
    let received = content::receive_bytes(raw, length, &mut list, |_| {}, stall).await;
    received.map_err(|error| progress.broken(error, None))?;
    Tree::checked(size, group, hash, &list)
        .map_err(|computed| FileError::Integrity { expected: hash, computed })
}

/// Whether `path` is an ordinary file with that content. The other side is told while it is read.
pub(crate) async fn holds(
    host: &Arc<Host>,
    path: &Path,
    (size, hash): (u64, Hash),
    writer: Option<&mut Writer>,
) -> bool {
    let (trees, path) = (Arc::clone(&host.trees), path.to_owned());
    let root = telling(writer, move |reached| {
        let is_plain = |path: &Path| {
            let there = path.symlink_metadata();
            there.is_ok_and(|there| there.is_file() && there.len() == size)
        };
        let opened = is_plain(&path).then(|| open_file(&path).ok()).flatten();
        let tree = opened.map(|opened| trees.tree_of(&opened, reached)).transpose()?;
        Ok(tree.map(|tree| tree.root()))
    });
    root.await.is_ok_and(|root| root == Some(hash))
}

/// Lets the other side go through the motions of a transfer of which nothing is missing here.
pub(crate) async fn receive_nothing(
    host: &Host,
    (raw, writer): (&mut RawReader<RecvStream>, &mut Writer),
    size: u64,
    progress: &mut Progress,
) -> Result<(), FileError> {
    let stall = host.timing.stall;
    let mut list = Vec::new();
    let length = Tree::list_length(size, group_length(size).unwrap_or(1));
    let received = content::receive_bytes(raw, length, &mut list, |_| {}, stall).await;
    received.map_err(|error| progress.broken(error, None))?;
    progress.resume_with(size);
    progress.stage(FilePhase::Started).await;
    let want = PeerMessage::Event(PeerEvent::Want(Want::default()));
    // Whether the other side hears it or not: what it has is here.
    let _ = timeout(stall, writer.send(&want)).await;
    let _ = has_more(&mut FrameReader::new(raw)).await;
    Ok(())
}

/// A transfer of the same file that has just broken off may still be putting its part aside.
pub(crate) async fn wait_for_part(directory: &Path, hash: Hash) {
    let wait = async {
        loop {
            let directory = directory.to_owned();
            let busy = spawn_blocking(move || Partial::is_busy(&directory, hash)).await;
            if !busy.unwrap_or(false) {
                return;
            }
            sleep(PART_POLL).await;
        }
    };
    let _ = timeout(PART_PATIENCE, wait).await;
}

/// Opens what is there of a file, and lets the other side know that it takes time.
pub(crate) async fn open_partial(
    directory: &Path,
    tree: Arc<Tree>,
    writer: Option<&mut Writer>,
) -> Result<Partial, ContentError> {
    if tree.groups() > 1 {
        wait_for_part(directory, tree.root()).await;
    }
    let directory = directory.to_owned();
    telling(writer, move |reached| Partial::open(&directory, tree, reached)).await
}

/// Gives a whole file its name.
pub(crate) async fn name_whole(
    host: &Host,
    partial: Partial,
    target: Target,
) -> Result<PathBuf, FileError> {
    if !partial.is_whole() {
        // Cannot be: every missing group was asked for and has come.
        return Err(FileError::Size { announced: partial.tree().size() });
    }
    let trees = Arc::clone(&host.trees);
    let kept = spawn_blocking(move || {
        let tree = Arc::clone(partial.tree());
        let path = target.keep(partial)?;
        // Whoever asks for it next need not wait until it is hashed.
        if let Ok(opened) = open_file(&path) {
            trees.learn(&opened, tree);
        }
        Ok(path)
    });
    kept.await.unwrap_or_else(|error| Err(FileError::from_panic(error)))
}

/// Puts a part aside; this may look at its directory.
pub(crate) async fn put_aside(partial: Box<Partial>) {
    let _ = spawn_blocking(move || drop(partial)).await;
}

/// Whether anything but the end stands behind the groups: then there is more than was announced.
/// That the stream breaks there does not matter, for the file is whole.
async fn has_more<R: AsyncRead + Unpin>(frames: &mut FrameReader<R>) -> bool {
    match timeout(LAST_WORDS, frames.next_message()).await {
        Ok(Ok(PeerMessage::Event(PeerEvent::End(FileEnd { .. })))) => {
            // To the very end, so that the sender is not told that we have stopped.
            matches!(timeout(LAST_WORDS, frames.next_frame()).await, Ok(Ok(Some(_))))
        }
        Err(_) | Ok(Err(ReadMessageError::Stream(_) | ReadMessageError::Ended)) => false,
        Ok(
            Ok(Message::Request(..) | Message::Answer(..) | Message::Error(..) | Message::Event(_))
            | Err(ReadMessageError::Truncated | ReadMessageError::Decode(_)),
        ) => true,
    }
}

pub(crate) fn unwritten(
    error: ContentError,
    target: &Target,
    progress: &Progress,
    kept: Option<u64>,
) -> FileError {
    match error {
        ContentError::Disk(source) if is_full(&source) => FileError::DiskFull {
            directory: target.directory().to_owned(),
            kept: kept.unwrap_or(0),
        },
        ContentError::Disk(source) => {
            FileError::Io { during: "write", path: target.path().to_owned(), source }
        }
        error => progress.broken(error, kept),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(crate) fn refused(who: &Name, body: ErrorBody) -> FileError {
    use portolan_protocol::ErrorCode;

    if let Some(stop) = Stop::told_in(&body) {
        return FileError::stopped_by(stop, who);
    }
    match body.code {
        ErrorCode::TimedOut => FileError::TimedOut { who: who.clone() },
        _ => FileError::Refused { who: who.clone(), body },
    }
}

impl Progress {
    /// What it means for a transfer that bytes did not go over; `kept` is what is left of it here,
    /// where we receive it.
    pub(crate) fn broken(&self, error: ContentError, kept: Option<u64>) -> FileError {
        let (bytes, total) = (self.bytes(), self.total());
        if let ContentError::Stream(error) = &error
            && let Some(stop) = Stop::told_by(error)
        {
            return FileError::stopped_by(stop, self.with());
        }
        match error {
            ContentError::Truncated | ContentError::Stream(_) | ContentError::Stalled => {
                let detail = error.to_string();
                FileError::Interrupted { bytes, total, kept, detail }
            }
            ContentError::Changed => FileError::Changed { name: self.name().to_owned() },
            ContentError::Corrupt { start, length } => {
                FileError::Corrupt { start, length, kept: kept.unwrap_or(0) }
            }
            ContentError::TooLarge => {
                FileError::TooLarge { size: total, max: portolan_protocol::FILE_MAX }
            }
            ContentError::Disk(source) => {
                let path = "the file on this side's disk".into();
                FileError::Io { during: "read or write", path, source }
            }
        }
    }
}
