//! What other peers may ask of us: one request a stream.

use std::{path::Path, sync::Arc};

use portolan_protocol::{
    Accepted, Content, ErrorBody, ErrorCode, FileEnd, FileList, Files, Get, Hello,
    Limits as MessageLimits, Message, Name, Offer, PeerCommand, PeerEvent, PeerMessage, PeerReply,
    RequestId, VERSIONS, Verified, Welcome,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{RecvStream, SendStream};
use tokio::{
    task::spawn_blocking,
    time::{Duration, timeout},
};

use super::Host;
use crate::{
    Direction, FileError, FilePhase, TransferId,
    files::{OpenedFile, Progress, Share, Target, content, content::ContentError},
    remote::transfer::receive_and_check,
    software,
};

/// Serves one stream of `who` to its end.
pub(crate) async fn serve(host: &Arc<Host>, who: &Name, send: SendStream, receive: RecvStream) {
    let (mut reader, writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let Ok(request) = timeout(host.timing.request, reader.next_message()).await else { return };
    let mut answers = Answers { writer, id: RequestId(0) };
    match request {
        Ok(PeerMessage::Request(id, command)) => {
            answers.id = id;
            on_command(host, who, command, (reader, answers)).await;
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
    who: &Name,
    command: PeerCommand,
    (reader, answers): (FrameReader<RecvStream>, Answers),
) {
    match command {
        PeerCommand::Hello(hello) => in_time(host, on_hello(&hello, answers)).await,
        PeerCommand::Files(files) => in_time(host, on_files(host, files, answers)).await,
        PeerCommand::Get(get) => on_get(host, who, get, (reader, answers)).await,
        PeerCommand::Offer(offer) => on_offer(host, who, offer, (reader, answers)).await,
    }
}

/// An asker that does not read its answer is not waited for.
async fn in_time(host: &Host, answering: impl Future<Output = ()>) {
    if timeout(host.timing.request, answering).await.is_err() {
        tracing::debug!("an answer was not read in time");
    }
}

/// The sending side of a request's stream.
struct Answers {
    writer: FrameWriter<SendStream>,
    id: RequestId,
}

impl Answers {
    async fn send(&mut self, reply: PeerReply) -> Result<(), FileError> {
        let message = PeerMessage::Answer(self.id, reply);
        self.writer.send(&message).await.map_err(|error| interrupted(&error.to_string()))
    }

    async fn last(mut self, reply: PeerReply) {
        if self.send(reply).await.is_ok() {
            let _ = self.writer.get_mut().finish();
        }
    }

    async fn refuse(&mut self, body: ErrorBody) {
        if self.writer.send(&PeerMessage::Error(self.id, body)).await.is_ok() {
            let _ = self.writer.get_mut().finish();
        }
    }
}

fn interrupted(detail: &str) -> FileError {
    FileError::Interrupted { bytes: 0, total: 0, detail: detail.to_owned() }
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
            let task = spawn_blocking(move || share.page(files.after.as_deref(), limit));
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
    // Half of the time that the asker waits for an answer.
    let permit = timeout(host.timing.request / 2, host.theirs.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return answers.refuse(busy()).await };
    let opened = match host.share() {
        Some(share) => open_shared(share, get.path.clone()).await,
        None => Err(unknown_file(&get.path)),
    };
    let file = match opened {
        Ok(file) => file,
        Err(body) => return answers.refuse(body).await,
    };
    let (_, mut progress) = host.progress_of_theirs(Direction::Send, who, &get.path, file.size);
    progress.stage(FilePhase::Started).await;
    let result = send_shared(file, &mut answers, &mut progress, host.timing.stall).await;
    drop(reader);
    match result {
        Ok(hash) => progress.done(hash, None).await,
        // Dropping the stream resets it: the other side never takes a part for the whole.
        Err(error) => progress.failed(error.code(), error.to_string()).await,
    }
}

async fn open_shared(share: Arc<Share>, path: String) -> Result<OpenedFile, ErrorBody> {
    let asked = path.clone();
    let opened = spawn_blocking(move || share.open(&asked)).await;
    // The reason stays here: to the other side, what is not shared does not exist.
    opened.ok().and_then(Result::ok).ok_or_else(|| unknown_file(&path))
}

fn unknown_file(path: &str) -> ErrorBody {
    let path: String = path.chars().take(256).collect();
    ErrorBody::new(ErrorCode::UnknownFile, "no such file is shared; list what is").with_detail(path)
}

fn busy() -> ErrorBody {
    ErrorBody::new(ErrorCode::Quota, "too many files are on their way; try later")
}

async fn send_shared(
    file: OpenedFile,
    answers: &mut Answers,
    progress: &mut Progress,
    stall: Duration,
) -> Result<portolan_protocol::Hash, FileError> {
    let content = Content { size: file.size, modified: file.modified };
    answers.send(PeerReply::Content(content)).await?;
    send_content(file, &mut answers.writer, progress, stall).await
}

/// Sends the bytes of a file and the end that names their hash, and finishes the stream.
pub(crate) async fn send_content(
    file: OpenedFile,
    writer: &mut FrameWriter<SendStream>,
    progress: &mut Progress,
    stall: Duration,
) -> Result<portolan_protocol::Hash, FileError> {
    let size = file.size;
    let sent = content::send(file.file, size, writer.get_mut(), progress, stall).await;
    let hash = sent.map_err(|error| FileError::from_content(error, progress.bytes(), size))?;
    let end = PeerMessage::Event(PeerEvent::End(FileEnd { hash }));
    writer.send(&end).await.map_err(|error| FileError::Interrupted {
        bytes: progress.bytes(),
        total: size,
        detail: error.to_string(),
    })?;
    // A reader that has the end may have gone already, content.
    let _ = writer.get_mut().finish();
    Ok(hash)
}

async fn on_offer(
    host: &Arc<Host>,
    who: &Name,
    offer: Offer,
    (reader, mut answers): (FrameReader<RecvStream>, Answers),
) {
    let name = if crate::files::check_name(&offer.name).is_ok() { &offer.name } else { "?" };
    let (id, mut progress) = host.progress_of_theirs(Direction::Receive, who, name, offer.size);
    match take_offer(host, id, &offer, (reader, &mut answers), &mut progress).await {
        Ok((hash, path)) => {
            answers.last(PeerReply::Verified(Verified { hash })).await;
            progress.done(hash, Some(path)).await;
        }
        Err(Refusal::Body(body)) => {
            answers.refuse(body.clone()).await;
            progress.failed(body.code, body.message).await;
        }
        Err(Refusal::File(error)) => {
            answers.refuse(ErrorBody::new(error.code(), error.for_sender())).await;
            progress.failed(error.code(), error.to_string()).await;
        }
    }
}

/// Why an offered file is not taken.
enum Refusal {
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
    id: TransferId,
    offer: &Offer,
    (mut reader, answers): (FrameReader<RecvStream>, &mut Answers),
    progress: &mut Progress,
) -> Result<(portolan_protocol::Hash, std::path::PathBuf), Refusal> {
    // What cannot be written is refused before a person is asked.
    let target = open_target(host, &host.downloads, offer).await?;
    tokio::select! {
        decision = host.decide(id, offer, progress) => decision?,
        // Nothing is due before our answer: anything here is the end of the offer.
        _ = reader.next_frame() => {
            let detail = "the sender took the offer back".to_owned();
            let interrupted = FileError::Interrupted { bytes: 0, total: offer.size, detail };
            return Err(interrupted.into());
        }
    }
    let permit = timeout(host.timing.offer, host.theirs.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return Err(busy().into()) };
    progress.stage(FilePhase::Started).await;
    answers.send(PeerReply::Accepted(Accepted {})).await?;
    Ok(receive_and_check(reader, offer.size, target, progress, host.timing.stall).await?)
}

async fn open_target(host: &Arc<Host>, to: &Path, offer: &Offer) -> Result<Target, FileError> {
    let (to, name, size, existing) = (to.to_owned(), offer.name.clone(), offer.size, host.existing);
    let made = spawn_blocking(move || Target::new(&to, &name, size, existing)).await;
    made.unwrap_or_else(|error| Err(FileError::from_panic(error)))
}

impl FileError {
    /// Sorts what went wrong between disk and stream.
    pub(crate) fn from_content(error: ContentError, bytes: u64, total: u64) -> Self {
        match error {
            ContentError::Truncated => Self::Size { announced: total },
            ContentError::Stream(_) | ContentError::Stalled | ContentError::Shrunk => {
                Self::Interrupted { bytes, total, detail: error.to_string() }
            }
            ContentError::Disk(source) => {
                let path = "the file on this side's disk".into();
                Self::Io { during: "read or write", path, source }
            }
        }
    }

    pub(crate) fn from_panic(error: tokio::task::JoinError) -> Self {
        let source = std::io::Error::other(error);
        Self::Io { during: "use", path: "the disk".into(), source }
    }

    /// What the sender of an offered file may know: no path of ours.
    fn for_sender(&self) -> String {
        match self {
            Self::Exists(_) => "a file of that name is there already".to_owned(),
            Self::NoSpace { .. } => "there is not enough space for it".to_owned(),
            Self::Io { .. } | Self::NotAFile(_) | Self::Changed(_) => {
                "it could not be written there".to_owned()
            }
            Self::Reach(_)
            | Self::Refused { .. }
            | Self::Integrity { .. }
            | Self::Size { .. }
            | Self::Interrupted { .. }
            | Self::TimedOut { .. }
            | Self::Name { .. }
            | Self::Protocol { .. }
            | Self::NoSuchOffer(_) => self.to_string(),
        }
    }
}
