//! The owner of a directory: it lists and sends what it is asked for.

use std::{io::Read, sync::Arc};

use bytes::{Bytes, BytesMut};
use portolan_protocol::{
    Batch, Compared, ErrorBody, ErrorCode, GROUP_MIN, Get, Hash, Limits as MessageLimits, Message,
    Name, PeerEvent, PeerMessage, PeerReply, Sending, Small, TreeInfo, Unsent, Walk, encode,
};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use super::join;
use crate::{
    FileError,
    files::{OpenedFile, Progress, Share, Tally, Walker, content},
    remote::{
        Host,
        exchange::{Reader, Sent, telling},
        serve::{Answers, busy, send_shared, unknown_file},
    },
};

/// Bytes that are gathered before they go to the stream.
const GATHERED: usize = 256 << 10;
/// Such gatherings between the disk's thread and the stream's task.
const QUEUE: usize = 2;

/// What a request is about: what is shared, or an offered directory and who counts.
fn find(
    host: &Host,
    who: &Name,
    ticket: Option<u64>,
) -> Result<(Arc<Share>, Option<Arc<Tally>>), ErrorBody> {
    match ticket {
        None => host.share().map(|share| (share, None)).ok_or_else(|| unknown_file("")),
        Some(number) => match host.tickets.find(who, number) {
            Some(tree) => Ok((tree.share, Some(tree.tally))),
            None => {
                let message = "that directory is not offered any more";
                Err(ErrorBody::new(ErrorCode::Forbidden, message))
            }
        },
    }
}

/// Lists a directory, as fast as the other side reads.
pub(in crate::remote) async fn on_walk(
    host: &Arc<Host>,
    who: &Name,
    walk: Walk,
    mut answers: Answers,
) {
    let permit = timeout(host.timing.request / 2, host.walks.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return answers.refuse(busy()).await };
    let share = match find(host, who, walk.tree) {
        Ok((share, _)) => share,
        Err(body) => return answers.refuse(body).await,
    };
    let counted = {
        let (share, walk) = (Arc::clone(&share), walk.clone());
        telling(Some(&mut answers.writer), move |reached| {
            let begin = || Walker::new(&share, &walk.path, walk.after.as_deref());
            Ok(match (begin(), &walk.after) {
                (Ok(walker), None) => (begin(), walker.count(reached)?),
                (begun, _) => (begun, TreeInfo::default()),
            })
        })
        .await
    };
    let (mut walker, info) = match counted {
        Ok((Ok(walker), info)) => (walker, info),
        // To the other side, what is not shared does not exist.
        Ok((Err(_), _)) | Err(_) => return answers.refuse(unknown_file(&walk.path)).await,
    };
    let mut more = answers.send(PeerReply::Tree(info)).await.is_ok();
    while more {
        // A walk holds no thread while nobody reads.
        let step = spawn_blocking(move || {
            let entries = walker.next_page();
            (walker, entries)
        });
        let Ok((stepped, entries)) = step.await else { return };
        walker = stepped;
        more = entries.more;
        let sent = answers.writer.send(&PeerMessage::Event(PeerEvent::Entries(entries))).await;
        if sent.is_err() {
            return;
        }
    }
    let _ = answers.writer.get_mut().finish();
}

/// Sends small files, one after the other.
pub(in crate::remote) async fn on_batch(
    host: &Arc<Host>,
    who: &Name,
    batch: Batch,
    mut answers: Answers,
) {
    if batch.files.len() > MessageLimits::V1.page as usize {
        let message = "so many files are asked for in several batches";
        return answers.refuse(ErrorBody::new(ErrorCode::TooLarge, message)).await;
    }
    let (share, tally) = match find(host, who, batch.tree) {
        Ok(found) => found,
        Err(body) => return answers.refuse(body).await,
    };
    // Who fetches what we offered holds a permit already: that of the offer.
    let permit = match batch.tree {
        Some(_) => None,
        None => match timeout(host.timing.request / 2, host.theirs.acquire()).await {
            Ok(Ok(permit)) => Some(permit),
            Ok(Err(_)) | Err(_) => return answers.refuse(busy()).await,
        },
    };
    if answers.send(PeerReply::Sending(Sending {})).await.is_err() {
        return;
    }
    let (filled, mut full) = mpsc::channel(QUEUE);
    let reader = spawn_blocking(move || read(&share, &batch, &filled));
    while let Some(Gathered { bytes, files, content }) = full.recv().await {
        let writer = answers.writer.get_mut();
        if content::send_bytes(writer, &bytes, host.timing.stall).await.is_err() {
            return;
        }
        if let Some(tally) = &tally {
            tally.advance(content);
            tally.arrived(files);
        }
    }
    if reader.await.is_ok() {
        let _ = answers.writer.get_mut().finish();
    }
    drop(permit);
}

/// Some files as they go over.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Bytes,
    files: u64,
    content: u64,
}

/// Reads the files of a batch. Blocking.
fn read(share: &Share, batch: &Batch, filled: &mpsc::Sender<Gathered>) {
    let (mut out, mut files, mut content) = (BytesMut::new(), 0, 0);
    for wanted in &batch.files {
        match read_one(share, &join(&batch.path, &wanted.path)) {
            Ok((small, bytes)) if wanted.have == Some(small.hash) => {
                put(&mut out, PeerEvent::Compared(Compared { same: true }));
                (files, content) = (files + 1, content + bytes.len() as u64);
            }
            Ok(_) if wanted.keep => put(&mut out, PeerEvent::Compared(Compared { same: false })),
            Ok((small, bytes)) => {
                put(&mut out, PeerEvent::Small(small));
                out.extend_from_slice(&bytes);
                (files, content) = (files + 1, content + bytes.len() as u64);
            }
            Err(unsent) => put(&mut out, PeerEvent::Unsent(unsent)),
        }
        if out.len() >= GATHERED {
            let bytes = out.split().freeze();
            let gathered = Gathered { bytes, files, content };
            (files, content) = (0, 0);
            if filled.blocking_send(gathered).is_err() {
                // The stream's side has gone and knows why.
                return;
            }
        }
    }
    let _ = filled.blocking_send(Gathered { bytes: out.freeze(), files, content });
}

fn put(out: &mut BytesMut, event: PeerEvent) {
    let message: PeerMessage = Message::Event(event);
    encode(&message, out).expect("a small message fits into a frame");
}

/// A small file as it is now, whole; looked at twice where it is being written just now.
fn read_one(share: &Share, path: &str) -> Result<(Small, Vec<u8>), Unsent> {
    for _ in 0..2 {
        let opened = share.open(path).map_err(|error| unsent(&error))?;
        if opened.size > GROUP_MIN {
            let message = "it has grown since it was listed; ask for it again";
            return Err(Unsent::new(ErrorCode::TooLarge, message));
        }
        if let Some(bytes) = read_steady(&opened)? {
            let hash = Hash(*blake3::hash(&bytes).as_bytes());
            let (modified, mode) = (opened.modified, opened.mode);
            return Ok((Small { size: bytes.len() as u64, hash, modified, mode }, bytes));
        }
    }
    Err(Unsent::new(ErrorCode::Conflict, "it changes while it is sent; ask for it again"))
}

/// The bytes of a file; `None`: it changed while it was read.
fn read_steady(opened: &OpenedFile) -> Result<Option<Vec<u8>>, Unsent> {
    let failed = |_| Unsent::new(ErrorCode::Internal, "it cannot be read");
    let mut bytes = Vec::with_capacity(usize::try_from(opened.size).unwrap_or(0) + 1);
    (&opened.file).take(GROUP_MIN + 1).read_to_end(&mut bytes).map_err(failed)?;
    let now = opened.file.metadata().map_err(failed)?;
    let steady = now.len() == bytes.len() as u64
        && now.len() == opened.size
        && now.modified().ok() == opened.stamp.modified;
    Ok(steady.then_some(bytes))
}

/// Why a file cannot be sent, without a word about where it is.
fn unsent(error: &FileError) -> Unsent {
    match error {
        FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Unsent::new(ErrorCode::UnknownFile, "it is no longer there")
        }
        _ => Unsent::new(ErrorCode::UnknownFile, "it cannot be read"),
    }
}

/// Sends a larger file of a directory that we offer.
pub(in crate::remote) async fn on_get_offered(
    host: &Arc<Host>,
    who: &Name,
    (get, ticket): (Get, u64),
    (reader, mut answers): (Reader, Answers),
) {
    let (share, tally) = match find(host, who, Some(ticket)) {
        Ok((share, Some(tally))) => (share, tally),
        Ok((_, None)) => return,
        Err(body) => return answers.refuse(body).await,
    };
    let path = get.path.clone();
    let opened = spawn_blocking(move || share.open(&path)).await;
    let Ok(Ok(file)) = opened else { return answers.refuse(unknown_file(&get.path)).await };
    let mut progress = Progress::within(&tally, &get.path, file.size);
    let sent = send_shared(host, who, file, (reader, &mut answers), &mut progress).await;
    match sent {
        Ok(Sent::Whole(_)) => {
            progress.settle();
            tally.arrived(1);
        }
        // It is asked for again.
        Ok(Sent::Moved) => {}
        // The receiver says what it misses; dropping the stream resets it.
        Err(error) => tracing::info!(%error, "{} was not sent", get.path),
    }
}
