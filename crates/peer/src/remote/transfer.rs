//! What we ask of other peers: their list, a file of theirs, to take a file of ours.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use portolan_protocol::{
    Content, FileInfo, FileList, Files, Get, Hash, Limits as MessageLimits, Message, Name, Offer,
    PeerCommand, PeerEvent, PeerMessage, PeerReply, RequestId, Want,
};
use portolan_protocol_io::{FrameReader, ReadMessageError};
use portolan_transport::{Priority, RecvStream};
use tokio::{
    task::spawn_blocking,
    time::{Duration, timeout},
};

use super::{
    Host, Sessions,
    drive::{Attempt, drive},
    exchange::{
        Reader, Received, Sent, Writer, hear_want, holds, past_hashing, prove, receive,
        receive_nothing, refused, send_end, send_hashes, send_some, wait_for_part,
    },
    sessions::PeerStream,
    stop::{leave_receiving, leave_sending},
};
use crate::{
    Direction, Existing, FileError, FilePhase, ReachError, Stop,
    files::{
        Attributes, Partial, Progress, Target, check_name, check_path, content::Source, open_file,
    },
};

/// Words about what is wanted that a receiver may be ahead.
const WANTS_MAX: usize = 16;

/// How long a peer may take to say why it has stopped reading.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What to fetch and where to put it.
#[derive(Debug)]
pub(crate) struct GetRequest {
    pub(crate) path: String,
    pub(crate) to: PathBuf,
    pub(crate) existing: Existing,
}

/// One page of what `who` shares.
pub(crate) async fn files_page(
    sessions: &Arc<Sessions>,
    who: &Name,
    after: Option<String>,
) -> Result<FileList, FileError> {
    // Time for a session, a stream and the answer.
    let patience = sessions.host().timing.request * 3;
    let page = timeout(patience, files_page_untimed(sessions, who, after)).await;
    page.unwrap_or_else(|_| Err(FileError::TimedOut { who: who.clone() }))
}

async fn files_page_untimed(
    sessions: &Arc<Sessions>,
    who: &Name,
    after: Option<String>,
) -> Result<FileList, FileError> {
    let files = Files { after, limit: None };
    let mut stream = ask(sessions, who, files.into(), Priority::Interactive).await?;
    let _ = stream.writer.get_mut().finish();
    match answer(sessions.host(), who, &mut stream.reader).await? {
        PeerReply::Files(page) => Ok(page),
        other => Err(unexpected(who, &other)),
    }
}

/// Everything that `who` shares, up to our bound, without what no honest peer lists.
pub(crate) async fn all_files(
    sessions: &Arc<Sessions>,
    who: &Name,
) -> Result<Vec<FileInfo>, FileError> {
    let max = sessions.host().limits.files;
    let mut files: Vec<FileInfo> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = files_page(sessions, who, after.take()).await?;
        after = page.files.last().map(|file| file.path.clone());
        let listed = page.files.into_iter().take(MessageLimits::V1.page as usize);
        files.extend(listed.filter(|file| check_path(&file.path).is_ok()));
        if !page.more || after.is_none() || files.len() >= max {
            files.truncate(max);
            return Ok(files);
        }
    }
}

/// Fetches a file of `who`.
pub(crate) async fn get(
    sessions: &Arc<Sessions>,
    who: &Name,
    request: GetRequest,
) -> Result<(PathBuf, Hash), FileError> {
    let host = sessions.host();
    let (_, mut progress) = host.progress_of_ours(Direction::Receive, who, &request.path, 0);
    let mut fetch = Fetch { sessions, who, request, pinned: None };
    let (path, hash) = drive(host, &mut fetch, &mut progress).await?;
    progress.done(hash, Some(path.clone())).await;
    Ok((path, hash))
}

/// A file that is fetched.
struct Fetch<'a> {
    sessions: &'a Arc<Sessions>,
    who: &'a Name,
    request: GetRequest,
    /// What it is, once its owner has said so.
    pinned: Option<Hash>,
}

impl Attempt for Fetch<'_> {
    type Outcome = (PathBuf, Hash);

    async fn once(&mut self, progress: &mut Progress) -> Result<(PathBuf, Hash), FileError> {
        get_once(self.sessions, self.who, &self.request, &mut self.pinned, progress).await
    }

    async fn discard(&mut self) {
        if let Some(hash) = self.pinned {
            remove_part(&self.request.to, hash).await;
        }
    }
}

/// Every try is for the same content as the first.
fn same_as_before(pinned: &mut Option<Hash>, hash: Hash, name: &str) -> Result<(), FileError> {
    match pinned.replace(hash) {
        Some(before) if before != hash => Err(FileError::Changed { name: name.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

async fn get_once(
    sessions: &Arc<Sessions>,
    who: &Name,
    request: &GetRequest,
    pinned: &mut Option<Hash>,
    progress: &mut Progress,
) -> Result<(PathBuf, Hash), FileError> {
    let path = &request.path;
    check_path(path)
        .map_err(|problem| FileError::Name { name: path.chars().take(256).collect(), problem })?;
    let mut kept = None;
    loop {
        match get_by_one_way(sessions, who, request, (pinned, kept.take()), progress).await? {
            Received::Whole(hash, path) => return Ok((path, hash)),
            Received::Moved(partial) => kept = Some(partial),
        }
    }
}

/// Fetches a file, or as much of it as comes before a better way does.
async fn get_by_one_way(
    sessions: &Arc<Sessions>,
    who: &Name,
    request: &GetRequest,
    (pinned, kept): (&mut Option<Hash>, Option<Box<Partial>>),
    progress: &mut Progress,
) -> Result<Received, FileError> {
    let GetRequest { path, to, existing } = request;
    let (path, to, existing) = (path.clone(), to.clone(), *existing);
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let orders = progress.orders();
    let get = PeerCommand::Get(Get { path, groups: true, tree: None, edges: None });
    let (stream, proven, attributes) = orders.unless(ask_for(sessions, who, get)).await?;
    same_as_before(pinned, proven.1, &name)?;
    progress.set_total(proven.0);
    let host = sessions.host();
    let target = blocking(move || Target::new(&to, &name, proven, existing)).await;
    let PeerStream { reader, mut writer, lease: _lease, way } = stream;
    let mut raw = reader.into_raw();
    let received = match target {
        Ok(target) => {
            let target = target.with(attributes);
            let inflow = (&mut raw, &mut writer, Some(&way));
            let receiving = receive(host, inflow, proven, (target, kept), progress);
            orders.unless(receiving).await
        }
        Err(FileError::Exists(path)) if holds(host, &path, proven, None).await => {
            let receiving = receive_nothing(host, (&mut raw, &mut writer), proven.0, progress);
            orders.unless(receiving).await.map(|()| Received::Whole(proven.1, path))
        }
        Err(error) => Err(error),
    };
    leave_receiving(&received, raw.get_mut());
    leave_sending(&received, writer.get_mut());
    let received = received?;
    let _ = writer.get_mut().finish();
    Ok(received)
}

/// Asks for the content of a file, and hears what it is.
pub(crate) async fn ask_for(
    sessions: &Arc<Sessions>,
    who: &Name,
    command: PeerCommand,
) -> Result<(PeerStream, (u64, Hash), Attributes), FileError> {
    let keep = sessions.host().keep;
    let mut stream = ask(sessions, who, command, Priority::Bulk).await?;
    match answer(sessions.host(), who, &mut stream.reader).await? {
        PeerReply::Content(Content { size, hash: Some(hash), modified, mode, .. }) => {
            Ok((stream, (size, hash), Attributes::kept(keep, modified, mode)))
        }
        PeerReply::Content(Content { hash: None, .. }) => {
            Err(FileError::Outdated { who: who.clone() })
        }
        other => Err(unexpected(who, &other)),
    }
}

/// Offers a file to `who` and sends it if it is wanted.
pub(crate) async fn offer(
    sessions: &Arc<Sessions>,
    who: &Name,
    path: &Path,
) -> Result<(u64, Hash), FileError> {
    let host = sessions.host();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let (_, mut progress) = host.progress_of_ours(Direction::Send, who, &name, 0);
    let mut delivery = Delivery { sessions, who, name: &name, path, pinned: None };
    let (size, hash) = drive(host, &mut delivery, &mut progress).await?;
    progress.done(hash, None).await;
    Ok((size, hash))
}

/// A file that is offered and sent.
struct Delivery<'a> {
    sessions: &'a Arc<Sessions>,
    who: &'a Name,
    name: &'a str,
    path: &'a Path,
    /// What it is, once it was hashed.
    pinned: Option<Hash>,
}

impl Attempt for Delivery<'_> {
    type Outcome = (u64, Hash);

    async fn once(&mut self, progress: &mut Progress) -> Result<(u64, Hash), FileError> {
        let file = (self.name, self.path);
        offer_once(self.sessions, self.who, file, &mut self.pinned, progress).await
    }

    async fn discard(&mut self) {}
}

async fn offer_once(
    sessions: &Arc<Sessions>,
    who: &Name,
    (name, path): (&str, &Path),
    pinned: &mut Option<Hash>,
    progress: &mut Progress,
) -> Result<(u64, Hash), FileError> {
    let host = sessions.host();
    check_name(name).map_err(|problem| FileError::Name { name: name.to_owned(), problem })?;
    let path = path.to_owned();
    let file = blocking(move || open_file(&path)).await?;
    let (size, modified, mode) = (file.size, file.modified, file.mode);
    progress.set_total(size);
    let proving = async { Ok(prove(host, file, None).await) };
    let source = progress.orders().unless(proving).await?;
    let source = source.map_err(|error| progress.broken(error, None))?;
    same_as_before(pinned, source.tree.root(), name)?;
    let hash = Some(source.tree.root());
    let offer = Offer { name: name.to_owned(), size, modified, hash, mode, more: true };
    loop {
        match offer_reported(sessions, who, (&offer, &source), progress).await? {
            Sent::Whole(hash) => return Ok((size, hash)),
            // A better way has come.
            Sent::Moved => {}
        }
    }
}

async fn offer_reported(
    sessions: &Arc<Sessions>,
    who: &Name,
    (offer, source): (&Offer, &Source),
    progress: &mut Progress,
) -> Result<Sent, FileError> {
    let host = sessions.host();
    let orders = progress.orders();
    let offering = offer_to(sessions, who, offer.clone(), progress);
    let PeerStream { mut reader, mut writer, lease: _lease, way } = orders.unless(offering).await?;
    progress.look_at(move || way.via());
    let stream = (&mut reader, &mut writer);
    let sent = orders.unless(send_wanted(host, who, source, stream, progress)).await;
    leave_sending(&sent, writer.get_mut());
    match sent {
        Ok(Sent::Whole(hash)) => {
            orders.unless(verified(host, who, &mut reader, hash)).await.map(Sent::Whole)
        }
        Ok(Sent::Moved) => orders.unless(put_aside(host, who, &mut reader)).await,
        Err(error @ FileError::Interrupted { .. }) => {
            // It stopped reading; its reason may be behind.
            let words = timeout(LAST_WORDS, reader.next_message()).await;
            match words.map(|message| reply(who, message)) {
                Ok(Err(refused @ FileError::Refused { .. })) => Err(refused),
                Ok(Ok(_) | Err(_)) | Err(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Waits until the other side has put aside what has come, to go on with it on a better way.
async fn put_aside(host: &Host, who: &Name, reader: &mut Reader) -> Result<Sent, FileError> {
    match timeout(host.timing.stall, reader.next_message()).await {
        Ok(Err(ReadMessageError::Ended)) => Ok(Sent::Moved),
        Ok(message) => Err(unexpected(who, &reply(who, message)?)),
        Err(_) => Err(FileError::TimedOut { who: who.clone() }),
    }
}

/// Offers a file, and waits until it is wanted.
async fn offer_to(
    sessions: &Arc<Sessions>,
    who: &Name,
    offer: Offer,
    progress: &mut Progress,
) -> Result<PeerStream, FileError> {
    let timing = sessions.host().timing;
    let mut stream = ask(sessions, who, offer.into(), Priority::Bulk).await?;
    if !progress.is_paused() {
        progress.stage(FilePhase::Waiting).await;
    }
    // The other side's own time runs out first, so that its words arrive.
    match answer_within(who, &mut stream.reader, timing.offer + timing.request).await? {
        PeerReply::Accepted(accepted) if accepted.groups => Ok(stream),
        PeerReply::Accepted(_) => Err(FileError::Outdated { who: who.clone() }),
        other => Err(unexpected(who, &other)),
    }
}

/// Sends what the other side does not have yet.
async fn send_wanted(
    host: &Host,
    who: &Name,
    source: &Source,
    (reader, writer): (&mut Reader, &mut Writer),
    progress: &mut Progress,
) -> Result<Sent, FileError> {
    let tree = &source.tree;
    let mut want = send_hashes(host, who, tree, (&mut *reader, &mut *writer), progress).await?;
    let mut heard = VecDeque::new();
    loop {
        let may_say_more = want.more;
        let outcome = {
            let mut sending = pin!(send_some(host, source, want.groups, writer, progress));
            loop {
                let more = heard.back().map_or(may_say_more, |want: &Want| want.more);
                tokio::select! {
                    biased;
                    // What is wanted next may be said in advance; else only a refusal is due.
                    early = reader.next_message() => match early {
                        Ok(PeerMessage::Event(PeerEvent::Want(want)))
                            if more && heard.len() < WANTS_MAX && tree.has(&want.groups) =>
                        {
                            heard.push_back(want);
                        }
                        early => break Err(early),
                    },
                    sent = &mut sending => break Ok(sent),
                }
            }
        };
        match outcome {
            Ok(sent) => sent?,
            Err(early) => return Err(unexpected(who, &reply(who, early)?)),
        }
        if !may_say_more {
            let hash = send_end(tree.root(), writer, progress).await?;
            return Ok(if want.moved { Sent::Moved } else { Sent::Whole(hash) });
        }
        want = match heard.pop_front() {
            Some(want) => want,
            None => hear_want(reader, who, (tree, host.timing.stall), progress).await?,
        };
    }
}

/// Removes what has arrived of a file that is not wanted any more.
pub(crate) async fn remove_part(directory: &Path, hash: Hash) {
    let directory = directory.to_owned();
    wait_for_part(&directory, hash).await;
    let _ = spawn_blocking(move || Partial::remove(&directory, hash)).await;
}

async fn verified(
    host: &Host,
    who: &Name,
    reader: &mut FrameReader<RecvStream>,
    hash: Hash,
) -> Result<Hash, FileError> {
    match answer_within(who, reader, host.timing.offer).await? {
        PeerReply::Verified(verified) if verified.hash == hash => Ok(hash),
        PeerReply::Verified(verified) => {
            Err(FileError::Integrity { expected: hash, computed: verified.hash })
        }
        other => Err(unexpected(who, &other)),
    }
}

pub(crate) async fn ask(
    sessions: &Arc<Sessions>,
    who: &Name,
    command: PeerCommand,
    priority: Priority,
) -> Result<PeerStream, FileError> {
    let mut stream = sessions.open(who, priority).await?;
    let request = PeerMessage::Request(RequestId(1), command);
    let sent = timeout(sessions.host().timing.request, stream.writer.send(&request)).await;
    match sent {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => {
            let detail = error.to_string();
            Err(ReachError::Broken { who: who.clone(), detail }.into())
        }
        Err(_) => Err(FileError::TimedOut { who: who.clone() }),
    }
}

pub(crate) async fn answer(
    host: &Host,
    who: &Name,
    reader: &mut FrameReader<RecvStream>,
) -> Result<PeerReply, FileError> {
    answer_within(who, reader, host.timing.request).await
}

pub(super) async fn answer_within(
    who: &Name,
    reader: &mut FrameReader<RecvStream>,
    patience: Duration,
) -> Result<PeerReply, FileError> {
    match past_hashing(reader, patience).await {
        Ok(message) => reply(who, message),
        Err(_) => Err(FileError::TimedOut { who: who.clone() }),
    }
}

pub(super) fn reply(
    who: &Name,
    message: Result<PeerMessage, ReadMessageError>,
) -> Result<PeerReply, FileError> {
    match message {
        Ok(Message::Answer(_, reply)) => Ok(reply),
        Ok(Message::Error(_, body)) => Err(refused(who, body)),
        Ok(Message::Request(..) | Message::Event(..)) => {
            Err(FileError::Protocol { who: who.clone(), detail: "no answer came".into() })
        }
        Err(ReadMessageError::Decode(error)) => {
            Err(FileError::Protocol { who: who.clone(), detail: error.to_string() })
        }
        Err(
            error @ (ReadMessageError::Stream(_)
            | ReadMessageError::Truncated
            | ReadMessageError::Ended),
        ) => Err(match &error {
            ReadMessageError::Stream(error) if let Some(stop) = Stop::told_by(error) => {
                FileError::stopped_by(stop, who)
            }
            error => ReachError::Broken { who: who.clone(), detail: error.to_string() }.into(),
        }),
    }
}

pub(crate) fn unexpected(who: &Name, reply: &PeerReply) -> FileError {
    use portolan_protocol::Table;

    let detail = format!("{:?} is no answer to that", reply.kind());
    FileError::Protocol { who: who.clone(), detail }
}

pub(super) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    spawn_blocking(act).await.unwrap_or_else(|error| Err(FileError::from_panic(error)))
}
