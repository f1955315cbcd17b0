//! A file of another peer of which any groups can be fetched, in any order.

use std::sync::Arc;

use bytes::Bytes;
use portolan_protocol::{
    Get, GroupRange, Hash, Name, PeerCommand, PeerEvent, PeerMessage, Want, group_length,
};
use portolan_protocol_io::{FrameReader, RawReader};
use portolan_transport::RecvStream;
use tokio::time::{Duration, timeout};

use super::{
    Sessions,
    exchange::Writer,
    sessions::{Lease, PeerStream},
    stop::{leave_receiving, leave_sending},
    transfer::ask_for,
};
use crate::{
    FileError,
    files::{
        Attributes, Tree, check_path,
        content::{self, ContentError},
    },
};

/// How long an owner may take to end its stream.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A stream to one owner of a file, past the list of hashes.
pub(crate) struct RemoteFile {
    who: Name,
    path: String,
    raw: RawReader<RecvStream>,
    writer: Writer,
    tree: Arc<Tree>,
    attributes: Attributes,
    buffer: Vec<u8>,
    stall: Duration,
    _lease: Lease,
}

impl RemoteFile {
    /// Asks `who` for the file at `path`, and checks the list of its hashes. Cancel safe: the
    /// stream is left.
    pub(crate) async fn open(
        sessions: &Arc<Sessions>,
        who: &Name,
        path: &str,
    ) -> Result<Self, FileError> {
        let problem = |problem| FileError::Name { name: path.chars().take(256).collect(), problem };
        check_path(path).map_err(problem)?;
        let get = Get { path: path.to_owned(), groups: true, tree: None, edges: None };
        let (stream, (size, hash), attributes) =
            ask_for(sessions, who, PeerCommand::Get(get)).await?;
        let group = group_length(size)
            .ok_or(FileError::TooLarge { size, max: portolan_protocol::FILE_MAX })?;
        let stall = sessions.host().timing.stall;
        let PeerStream { reader, writer, lease, way: _ } = stream;
        let (mut raw, mut list) = (reader.into_raw(), Vec::new());
        let length = Tree::list_length(size, group);
        let received = content::receive_bytes(&mut raw, length, &mut list, |_| {}, stall).await;
        received.map_err(|error| broken(who, error))?;
        let tree = Tree::checked(size, group, hash, &list)
            .map_err(|computed| FileError::Integrity { expected: hash, computed })?;
        Ok(Self {
            who: who.clone(),
            path: path.to_owned(),
            raw,
            writer,
            tree: Arc::new(tree),
            attributes,
            buffer: Vec::new(),
            stall,
            _lease: lease,
        })
    }

    /// How its owner calls it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What proves its groups.
    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// What of it is kept besides its content.
    pub(crate) fn attributes(&self) -> Attributes {
        self.attributes
    }

    pub(crate) fn hash(&self) -> Hash {
        self.tree.root()
    }

    /// Asks for groups. They come behind those that were asked for before.
    pub(crate) async fn want(&mut self, groups: Vec<GroupRange>) -> Result<(), FileError> {
        self.say(Want { groups, more: true, ..Want::default() }).await
    }

    /// Receives the next group that was asked for, which has this number. Nothing is proven yet.
    /// Not cancel safe.
    pub(crate) async fn receive(&mut self, number: u32) -> Result<Bytes, FileError> {
        let length = self.tree.span(number).1;
        let (raw, buffer) = (&mut self.raw, &mut self.buffer);
        let received = content::receive_bytes(raw, length, buffer, |_| {}, self.stall).await;
        received.map_err(|error| broken(&self.who, error))?;
        Ok(std::mem::take(&mut self.buffer).into())
    }

    /// Says that nothing more is wanted, and waits a little until the owner has heard it.
    pub(crate) async fn finish(mut self) {
        if self.say(Want::default()).await.is_ok() {
            let mut frames = FrameReader::new(&mut self.raw);
            let ended = async { while let Ok(Some(_)) = frames.next_frame().await {} };
            let _ = timeout(LAST_WORDS, ended).await;
            let _ = self.writer.get_mut().finish();
        }
    }

    /// Leaves the stream, with the reason if a person here has stopped what goes over it.
    pub(crate) fn leave<T>(mut self, result: &Result<T, FileError>) {
        leave_receiving(result, self.raw.get_mut());
        leave_sending(result, self.writer.get_mut());
    }

    async fn say(&mut self, want: Want) -> Result<(), FileError> {
        let message = PeerMessage::Event(PeerEvent::Want(want));
        match timeout(self.stall, self.writer.send(&message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(broken(&self.who, ContentError::Stream(std::io::Error::other(error))))
            }
            Err(_) => Err(broken(&self.who, ContentError::Stalled)),
        }
    }
}

/// What it means for one of several owners that bytes did not come.
pub(super) fn broken(who: &Name, error: ContentError) -> FileError {
    use crate::Stop;

    match &error {
        ContentError::Stream(source) if let Some(stop) = Stop::told_by(source) => {
            FileError::stopped_by(stop, who)
        }
        error => {
            let detail = format!("{who}: {error}");
            FileError::Interrupted { bytes: 0, total: 0, kept: None, detail }
        }
    }
}
