//! What other peers may ask of us: one request a stream.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use portolan_protocol::{
    Accepted, Content, ErrorBody, ErrorCode, FileList, Files, Get, Hash, Hello,
    Limits as MessageLimits, Meet, Message, Name, Offer, PeerCommand, PeerMessage, PeerReply,
    RequestId, VERSIONS, Verified, Welcome,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{RecvStream, SendStream};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{
    Host, Meeting, Sessions,
    agreements::{Agreement, Agreements, Offered, Standing},
    exchange::{
        Received, Sent, hear_want, holds, prove, put_aside, receive, receive_nothing, send_end,
        send_hashes, send_some,
    },
    find::on_find,
    paths::Streams,
    piecewise::send_pieces,
    stop::{leave_receiving, leave_sending},
    transfer::remove_part,
    tree::{on_batch, on_get_offered, on_offer_tree, on_walk},
    way::Way,
};
use crate::{
    Direction, FileError, Stop, TransferId,
    calls::Link,
    files::{Attributes, OpenedFile, Progress, Share, Target},
    software,
};

/// Answers, where only better ways may be used, what is said on the first one about those.
pub(crate) async fn answer_introductions(host: Arc<Host>, meeting: Arc<Meeting>) {
    if !meeting.is_introduction_only() {
        return;
    }
    let first = meeting.first();
    while let Ok((send, receive)) = first.accept_stream().await {
        let answering = introduce(&host, &meeting, send, receive);
        if timeout(host.timing.request, answering).await.is_err() {
            tracing::debug!("an introduction was not read in time");
        }
    }
}

async fn introduce(
    host: &Arc<Host>,
    meeting: &Arc<Meeting>,
    send: SendStream,
    receive: RecvStream,
) {
    let (mut reader, writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let Ok(PeerMessage::Request(id, command)) = reader.next_message().await else { return };
    let mut answers = Answers { writer, id, way: None };
    match command {
        PeerCommand::Hello(hello) => in_time(host, on_hello(&hello, answers)).await,
        PeerCommand::Meet(meet) => in_time(host, on_meet(meeting, meet, answers)).await,
        _ => {
            let message = "only direct connections are used here; this one is through the server";
            answers.refuse(ErrorBody::new(ErrorCode::Denied, message)).await;
        }
    }
}

/// Serves one stream of `who` to its end.
pub(crate) async fn serve(
    (host, meeting): (&Arc<Host>, &Arc<Meeting>),
    sessions: &Weak<Sessions>,
    who: &Name,
    (way, (send, receive)): (Way, Streams),
) {
    let (mut reader, writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let Ok(request) = timeout(host.timing.request, reader.next_message()).await else { return };
    let mut answers = Answers { writer, id: RequestId(0), way: Some(way) };
    match request {
        Ok(PeerMessage::Request(id, command)) => {
            answers.id = id;
            match command {
                PeerCommand::Meet(meet) => in_time(host, on_meet(meeting, meet, answers)).await,
                command => on_command(host, sessions, who, command, (reader, answers)).await,
            }
        }
        Ok(Message::Answer(..) | Message::Error(..) | Message::Event(..)) => {}
        Err(ReadMessageError::Decode(error)) => {
            if let Some((id, body)) = error.answer() {
                answers.id = id;
                answers.refuse(body).await;
            }
        }
        Err(_) => {}
    }
}

async fn on_command(
    host: &Arc<Host>,
    sessions: &Weak<Sessions>,
    who: &Name,
    command: PeerCommand,
    (reader, answers): (FrameReader<RecvStream>, Answers),
) {
    match command {
        PeerCommand::Hello(hello) => in_time(host, on_hello(&hello, answers)).await,
        PeerCommand::Files(files) => in_time(host, on_files(host, files, answers)).await,
        PeerCommand::Get(get) => on_get(host, who, get, (reader, answers)).await,
        PeerCommand::Offer(offer) => on_offer(host, who, offer, (reader, answers)).await,
        PeerCommand::Find(find) => on_find(host, find, answers).await,
        PeerCommand::Call(call) => {
            let Answers { writer, id, .. } = answers;
            let link = |hold| Link::new((reader, writer), id, hold);
            host.calls.on_call(who, call, link).await;
        }
        PeerCommand::Walk(walk) => on_walk(host, who, walk, answers).await,
        PeerCommand::Batch(batch) => on_batch(host, who, batch, answers).await,
        PeerCommand::OfferTree(offer) => {
            on_offer_tree(host, sessions, who, offer, (reader, answers)).await;
        }
        PeerCommand::Meet(_) | PeerCommand::Join(_) => in_time(host, misplaced(answers)).await,
    }
}

async fn on_meet(meeting: &Arc<Meeting>, meet: Meet, mut answers: Answers) {
    match meeting.on_meet(meet).await {
        Ok(ends) => answers.last(PeerReply::Ends(ends)).await,
        Err(body) => answers.refuse(body).await,
    }
}

async fn misplaced(mut answers: Answers) {
    let message = "a ticket belongs at the beginning of a connection";
    answers.refuse(ErrorBody::new(ErrorCode::BadRequest, message)).await;
}

/// An asker that does not read its answer is not waited for.
async fn in_time(host: &Host, answering: impl Future<Output = ()>) {
    if timeout(host.timing.request, answering).await.is_err() {
        tracing::debug!("an answer was not read in time");
    }
}

/// The sending side of a request's stream.
pub(super) struct Answers {
    pub(super) writer: FrameWriter<SendStream>,
    id: RequestId,
    /// By which the stream came, if others may be better.
    way: Option<Way>,
}

impl Answers {
    pub(super) async fn send(&mut self, reply: PeerReply) -> Result<(), FileError> {
        let message = PeerMessage::Answer(self.id, reply);
        self.writer.send(&message).await.map_err(|error| interrupted(&error.to_string()))
    }

    pub(super) fn writer(&mut self) -> &mut FrameWriter<SendStream> {
        &mut self.writer
    }

    pub(super) async fn last(mut self, reply: PeerReply) {
        if self.send(reply).await.is_ok() {
            let _ = self.writer.get_mut().finish();
        }
    }

    pub(super) async fn refuse(&mut self, body: ErrorBody) {
        if self.writer.send(&PeerMessage::Error(self.id, body)).await.is_ok() {
            let _ = self.writer.get_mut().finish();
        }
    }
}

fn interrupted(detail: &str) -> FileError {
    FileError::Interrupted { bytes: 0, total: 0, kept: None, detail: detail.to_owned() }
}

async fn on_hello(hello: &Hello, mut answers: Answers) {
    match VERSIONS.iter().find(|version| hello.versions.contains(version)) {
        Some(&version) => {
            let welcome = Welcome {
                version,
                features: Vec::new(),
                software: software(),
                limits: MessageLimits::V1,
                heartbeat_ms: 0,
                keep_alive_ms: 0,
                attention_ms: 0,
                seen_as: String::new(),
            };
            answers.last(PeerReply::Welcome(welcome)).await;
        }
        None => {
            let message = format!("this peer speaks the versions {VERSIONS:?}");
            answers.refuse(ErrorBody::new(ErrorCode::Version, message)).await;
        }
    }
}

async fn on_files(host: &Arc<Host>, files: Files, answers: Answers) {
    let limit = files.limit.map_or(MessageLimits::V1.page, u32::from);
    let limit = limit.clamp(1, MessageLimits::V1.page) as usize;
    let page = match host.share() {
        Some(share) => {
            let heard = Arc::clone(&host.heard);
            let task = spawn_blocking(move || {
                let mut page = share.page(files.after.as_deref(), limit);
                heard.describe(&share, &mut page.files);
                page
            });
            task.await.unwrap_or_default()
        }
        None => FileList::default(),
    };
    answers.last(PeerReply::Files(page)).await;
}

async fn on_get(
    host: &Arc<Host>,
    who: &Name,
    get: Get,
    (reader, mut answers): (FrameReader<RecvStream>, Answers),
) {
    if !get.groups {
        return answers.refuse(outdated()).await;
    }
    if let Some(ticket) = get.tree {
        return on_get_offered(host, who, (get, ticket), (reader, answers)).await;
    }
    // Half of the time that the asker waits for an answer.
    let permit = timeout(host.timing.request / 2, host.theirs.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return answers.refuse(busy()).await };
    let asked = Offered { from: who.clone(), name: get.path.clone(), hash: None };
    let lent = host.lent.find(Instant::now(), &asked);
    if let Some(stop) = lent.as_ref().and_then(Agreement::stop) {
        return answers.refuse(still_stopped(&host.lent, (asked, lent), stop)).await;
    }
    let opened = match host.share() {
        Some(share) => open_shared(share, get.path.clone()).await,
        None => Err(unknown_file(&get.path)),
    };
    let file = match opened {
        Ok(file) => file,
        Err(body) => return answers.refuse(body).await,
    };
    let (id, mut progress) =
        begin(host, lent.as_ref(), (Direction::Send, who), (&get.path, file.size));
    let orders = progress.orders();
    let stream = (reader, &mut answers);
    let result = match get.edges {
        None => orders.unless(send_shared(host, who, file, stream, &mut progress)).await,
        Some(edges) => {
            let sending = send_pieces((host, who), file, edges, stream, &mut progress);
            orders.unless(sending).await.map(Sent::Whole)
        }
    };
    // Dropping the stream resets it: the other side never takes a part for the whole.
    leave_sending(&result, answers.writer.get_mut());
    drop(answers);
    match result {
        Ok(Sent::Whole(hash)) => {
            host.lent.end(&asked);
            progress.done(hash, None).await;
        }
        // It is asked for again, and goes on under its number.
        Ok(Sent::Moved) => {
            let agreement = Agreement { id, standing: Standing::Wanted };
            host.lent.note(Instant::now(), asked, agreement);
        }
        Err(error) => {
            settle(&host.lent, (asked, id), &error);
            report(&mut progress, &error).await;
        }
    }
}

/// Begins to report on a transfer, or goes on under the number that it had.
fn begin(
    host: &Host,
    agreed: Option<&Agreement>,
    (direction, who): (Direction, &Name),
    (name, size): (&str, u64),
) -> (TransferId, Progress) {
    match agreed {
        Some(Agreement { id, .. }) => (*id, host.progress_again((*id, direction), who, name, size)),
        None => host.progress_of_theirs(direction, who, name, size),
    }
}

/// Remembers what is to become of a transfer that did not end well, when it comes again.
pub(super) fn settle(agreed: &Agreements, (offered, id): (Offered, TransferId), error: &FileError) {
    let now = Instant::now();
    match error {
        FileError::Stopped { stop: Stop::Paused, by: Some(_) } => {
            agreed.note(now, offered, Agreement { id, standing: Standing::Wanted });
        }
        FileError::Stopped { stop, by: None } => {
            agreed.note(now, offered, Agreement { id, standing: Standing::Stopped(*stop) });
        }
        FileError::Interrupted { .. } => {}
        _ => agreed.end(&offered),
    }
}

/// Reports how a transfer ended that others began, or that it waits for them.
async fn report(progress: &mut Progress, error: &FileError) {
    match error {
        FileError::Stopped { stop: Stop::Paused, .. } => progress.parked(error.to_string()).await,
        error => progress.failed(error).await,
    }
}

/// What is said to those who come back with a transfer that we have stopped.
pub(super) fn still_stopped(
    agreed: &Agreements,
    (offered, agreement): (Offered, Option<Agreement>),
    stop: Stop,
) -> ErrorBody {
    match (stop, agreement) {
        // They will ask again, and must not be forgotten meanwhile.
        (Stop::Paused, Some(agreement)) => agreed.note(Instant::now(), offered, agreement),
        (Stop::Paused, None) | (Stop::Cancelled, _) => agreed.end(&offered),
    }
    stop.body()
}

async fn open_shared(share: Arc<Share>, path: String) -> Result<OpenedFile, ErrorBody> {
    let asked = path.clone();
    let opened = spawn_blocking(move || share.open(&asked)).await;
    // The reason stays here: to the other side, what is not shared does not exist.
    opened.ok().and_then(Result::ok).ok_or_else(|| unknown_file(&path))
}

pub(super) fn unknown_file(path: &str) -> ErrorBody {
    let path: String = path.chars().take(256).collect();
    ErrorBody::new(ErrorCode::UnknownFile, "no such file is shared; list what is").with_detail(path)
}

pub(super) fn busy() -> ErrorBody {
    ErrorBody::new(ErrorCode::Quota, "too many files are on their way; try later")
}

fn outdated() -> ErrorBody {
    let message =
        "files are sent and taken in proven groups only; your program is too old for that";
    ErrorBody::new(ErrorCode::Unsupported, message)
}

pub(super) async fn send_shared(
    host: &Arc<Host>,
    who: &Name,
    file: OpenedFile,
    (mut reader, answers): (FrameReader<RecvStream>, &mut Answers),
    progress: &mut Progress,
) -> Result<Sent, FileError> {
    let (size, modified, mode) = (file.size, file.modified, file.mode);
    let source = prove(host, file, Some(&mut answers.writer)).await;
    let source = source.map_err(|error| progress.broken(error, None))?;
    let content = Content { size, modified, hash: Some(source.tree.root()), mode, pieces: false };
    answers.send(PeerReply::Content(content)).await?;
    let stream = (&mut reader, &mut answers.writer);
    let mut want = send_hashes(host, who, &source.tree, stream, progress).await?;
    loop {
        send_some(host, &source, want.groups, &mut answers.writer, progress).await?;
        if !want.more {
            let hash = send_end(source.tree.root(), &mut answers.writer, progress).await?;
            return Ok(if want.moved { Sent::Moved } else { Sent::Whole(hash) });
        }
        // Whoever fetches from several owners may have enough to do with the others for a while.
        want = hear_want(&mut reader, who, (&source.tree, host.timing.stall), progress).await?;
    }
}

async fn on_offer(
    host: &Arc<Host>,
    who: &Name,
    offer: Offer,
    (reader, mut answers): (FrameReader<RecvStream>, Answers),
) {
    let name = match crate::files::check_name(&offer.name) {
        Ok(()) => offer.name.clone(),
        Err(_) => "?".to_owned(),
    };
    let Some(hash) = offer.hash else { return answers.refuse(outdated()).await };
    let offered = Offered { from: who.clone(), name: name.clone(), hash: Some(hash) };
    let proven = (offer.size, hash);
    let agreed = still_agreed(host, &offered, proven, &mut answers).await;
    if let Some(stop) = agreed.as_ref().and_then(Agreement::stop) {
        return answers.refuse(still_stopped(&host.agreements, (offered, agreed), stop)).await;
    }
    let direction = (Direction::Receive, who);
    let (id, mut progress) = begin(host, agreed.as_ref(), direction, (&name, offer.size));
    let incoming = Incoming { id, offered, proven, agreed: agreed.is_some() };
    let taken = take_offer(host, &incoming, &offer, (reader, &mut answers), &mut progress).await;
    match &taken {
        Ok(Taken::Whole(_, path)) => incoming.note(host, Standing::Arrived(path.clone())),
        Ok(Taken::Elsewhere) => {}
        Err(Refusal::File(error)) => {
            settle(&host.agreements, (incoming.offered.clone(), id), error);
            if error.stopped_here() == Some(Stop::Cancelled) {
                remove_part(&host.downloads, hash).await;
            }
        }
        Err(Refusal::Body(_)) => host.agreements.end(&incoming.offered),
    }
    match taken {
        Ok(Taken::Whole(hash, path)) => {
            answers.last(PeerReply::Verified(Verified { hash })).await;
            progress.done(hash, Some(path)).await;
        }
        // Its sender comes with it by another way, under the same number.
        Ok(Taken::Elsewhere) => {}
        Err(Refusal::Body(body)) => {
            answers.refuse(body.clone()).await;
            progress.failed_with(body.code, body.message).await;
        }
        Err(Refusal::File(error)) => {
            answers.refuse(error.for_sender()).await;
            report(&mut progress, &error).await;
        }
    }
}

/// An offered file on its way.
struct Incoming {
    id: TransferId,
    offered: Offered,
    proven: (u64, Hash),
    /// It was wanted before, and broke off.
    agreed: bool,
}

impl Incoming {
    fn note(&self, host: &Host, standing: Standing) {
        let agreement = Agreement { id: self.id, standing };
        host.agreements.note(Instant::now(), self.offered.clone(), agreement);
    }
}

/// What was agreed about the file before, unless it had arrived and is there no more.
async fn still_agreed(
    host: &Arc<Host>,
    offered: &Offered,
    proven: (u64, Hash),
    answers: &mut Answers,
) -> Option<Agreement> {
    let agreed = host.agreements.find(Instant::now(), offered)?;
    let holds = match &agreed.standing {
        Standing::Wanted | Standing::Stopped(_) => true,
        Standing::Arrived(path) => holds(host, path, proven, Some(&mut answers.writer)).await,
    };
    holds.then_some(agreed)
}

/// Where an offered file goes.
enum Place {
    /// Nothing is in the way.
    Free(Target),
    /// A file has the name: perhaps the same one.
    Taken(PathBuf),
}

/// What has become of an offered file on one stream.
enum Taken {
    /// It is there.
    Whole(Hash, PathBuf),
    /// It goes on by another way.
    Elsewhere,
}

/// Why an offered file is not taken.
pub(super) enum Refusal {
    /// In words for both sides.
    Body(ErrorBody),
    /// In words for us.
    File(FileError),
}

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        Self::Body(body)
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

async fn take_offer(
    host: &Arc<Host>,
    incoming: &Incoming,
    offer: &Offer,
    (mut reader, answers): (FrameReader<RecvStream>, &mut Answers),
    progress: &mut Progress,
) -> Result<Taken, Refusal> {
    let proven @ (size, hash) = incoming.proven;
    let orders = progress.orders();
    // What cannot be written is refused before a person is asked.
    let place = find_place(host, (offer, hash)).await?;
    let _admission = match &place {
        Place::Free(_) => Some(host.admit(size, hash).await?),
        Place::Taken(_) => None,
    };
    let decision = async {
        if incoming.agreed { Ok(()) } else { host.decide(incoming.id, offer, progress).await }
    };
    tokio::select! {
        decision = decision => decision?,
        stopped = orders.unless(std::future::pending::<Result<(), FileError>>()) => stopped?,
        // Nothing is due before our answer: anything here is the end of the offer.
        _ = reader.next_frame() => {
            let detail = "the sender took the offer back".to_owned();
            let interrupted = FileError::Interrupted { bytes: 0, total: offer.size, kept: None, detail };
            return Err(interrupted.into());
        }
    }
    incoming.note(host, Standing::Wanted);
    let permit = timeout(host.timing.offer, host.theirs.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return Err(busy().into()) };
    let target = match place {
        Place::Free(target) => Ok(target),
        Place::Taken(path) if holds(host, &path, proven, Some(&mut answers.writer)).await => {
            Err(path)
        }
        Place::Taken(path) => return Err(FileError::Exists(path).into()),
    };
    answers.send(PeerReply::Accepted(Accepted { groups: true })).await?;
    let claim = host.claims.take(incoming.id, answers.way.as_ref()).await;
    let mut raw = reader.into_raw();
    let way = answers.way.as_ref().filter(|_| offer.more);
    let stream = (&mut raw, &mut answers.writer, way);
    let receiving = async {
        match target {
            Ok(target) => match receive(host, stream, proven, (target, None), progress).await? {
                Received::Whole(hash, path) => Ok(Taken::Whole(hash, path)),
                Received::Moved(partial) => {
                    put_aside(partial).await;
                    Ok(Taken::Elsewhere)
                }
            },
            Err(same) => {
                receive_nothing(host, (stream.0, stream.1), size, progress).await?;
                Ok(Taken::Whole(hash, same))
            }
        }
    };
    let received = tokio::select! {
        received = orders.unless(receiving) => received,
        () = claim.taken_over() => Ok(Taken::Elsewhere),
    };
    leave_receiving(&received, raw.get_mut());
    if matches!(received, Ok(Taken::Elsewhere)) {
        // The sender waits for it, so that it finds the part free.
        let _ = answers.writer.get_mut().finish();
    }
    Ok(received?)
}

/// Where an offered file goes; a file of the same name and size may be the same.
async fn find_place(host: &Arc<Host>, (offer, hash): (&Offer, Hash)) -> Result<Place, FileError> {
    match open_target(host, &host.downloads, (offer, hash)).await {
        Ok(target) => Ok(Place::Free(target)),
        Err(FileError::Exists(path)) => match path.symlink_metadata() {
            Ok(there) if there.is_file() && there.len() == offer.size => Ok(Place::Taken(path)),
            Ok(_) | Err(_) => Err(FileError::Exists(path)),
        },
        Err(error) => Err(error),
    }
}

async fn open_target(
    host: &Arc<Host>,
    to: &Path,
    (offer, hash): (&Offer, Hash),
) -> Result<Target, FileError> {
    let (to, name, existing) = (to.to_owned(), offer.name.clone(), host.existing);
    let proven = (offer.size, hash);
    let attributes = Attributes::kept(host.keep, offer.modified, offer.mode);
    let made = spawn_blocking(move || Target::new(&to, &name, proven, existing)).await;
    let made = made.unwrap_or_else(|error| Err(FileError::from_panic(error)));
    made.map(|target| target.with(attributes))
}

impl FileError {
    pub(crate) fn from_panic(error: tokio::task::JoinError) -> Self {
        let source = std::io::Error::other(error);
        Self::Io { during: "use", path: "the disk".into(), source }
    }

    /// What the sender of an offered file may know: no path of ours.
    pub(super) fn for_sender(&self) -> ErrorBody {
        match self {
            Self::Stopped { stop, by: None } => stop.body(),
            error => ErrorBody::new(error.code(), error.words_for_sender()),
        }
    }

    fn words_for_sender(&self) -> String {
        match self {
            Self::Exists(_) => "a file of that name is there already".to_owned(),
            Self::NoSpace { .. } | Self::DiskFull { .. } => {
                "there is not enough space for it".to_owned()
            }
            Self::Io { .. } | Self::NotAFile(_) => "it could not be written there".to_owned(),
            Self::Reach(_)
            | Self::Refused { .. }
            | Self::Integrity { .. }
            | Self::Size { .. }
            | Self::Corrupt { .. }
            | Self::TooLarge { .. }
            | Self::Outdated { .. }
            | Self::Changed { .. }
            | Self::Interrupted { .. }
            | Self::TimedOut { .. }
            | Self::Name { .. }
            | Self::Protocol { .. }
            | Self::Stopped { .. }
            | Self::NoOwner
            | Self::NoSuchOffer(_)
            | Self::NoSuchTransfer(_) => self.to_string(),
        }
    }
}
