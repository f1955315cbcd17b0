//! A stream to one owner of a file, past the list of hashes: what is wanted goes one way, its bytes
//! come back the other.

use bytes::Bytes;
use portolan_protocol::{Hash, Name, PeerEvent, PeerMessage, Want, group_length};
use portolan_protocol_io::{FrameReader, RawReader};
use portolan_transport::RecvStream;
use tokio::time::{Duration, timeout};

use super::{
    exchange::Writer,
    sessions::{Lease, PeerStream},
    stop::{leave_receiving, leave_sending},
};
use crate::{
    FileError,
    files::{
        Tree,
        content::{ContentError, receive_bytes},
    },
};

/// How long an owner may take to end its stream.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The stream to one owner.
pub(super) struct OwnerStream {
    who: Name,
    raw: RawReader<RecvStream>,
    writer: Writer,
    buffer: Vec<u8>,
    stall: Duration,
    _lease: Lease,
}

impl OwnerStream {
    /// Receives the list of the file's hashes and checks it.
    pub(super) async fn begin(
        who: &Name,
        stream: PeerStream,
        (size, hash): (u64, Hash),
        stall: Duration,
    ) -> Result<(Self, Tree), FileError> {
        let group = group_length(size)
            .ok_or(FileError::TooLarge { size, max: portolan_protocol::FILE_MAX })?;
        let PeerStream { reader, writer, lease, way: _ } = stream;
        let (raw, buffer) = (reader.into_raw(), Vec::new());
        let mut this = Self { who: who.clone(), raw, writer, buffer, stall, _lease: lease };
        let list = this.bytes(Tree::list_length(size, group)).await?;
        let tree = Tree::checked(size, group, hash, &list)
            .map_err(|computed| FileError::Integrity { expected: hash, computed })?;
        Ok((this, tree))
    }

    /// The next bytes that come. Not cancel safe.
    pub(super) async fn bytes(&mut self, length: usize) -> Result<Bytes, FileError> {
        let (raw, buffer) = (&mut self.raw, &mut self.buffer);
        let received = receive_bytes(raw, length, buffer, |_| {}, self.stall).await;
        received.map_err(|error| broken(&self.who, error))?;
        Ok(std::mem::take(&mut self.buffer).into())
    }

    /// Says what is wanted.
    pub(super) async fn want(&mut self, want: Want) -> Result<(), FileError> {
        let message = PeerMessage::Event(PeerEvent::Want(want));
        let said = match timeout(self.stall, self.writer.send(&message)).await {
            Ok(said) => said.map_err(|error| ContentError::Stream(std::io::Error::other(error))),
            Err(_) => Err(ContentError::Stalled),
        };
        said.map_err(|error| broken(&self.who, error))
    }

    /// Says that nothing more is wanted, and waits a little until the owner has heard it.
    pub(super) async fn finish(mut self) {
        if self.want(Want::default()).await.is_ok() {
            let mut frames = FrameReader::new(&mut self.raw);
            let ended = async { while let Ok(Some(_)) = frames.next_frame().await {} };
            let _ = timeout(LAST_WORDS, ended).await;
            let _ = self.writer.get_mut().finish();
        }
    }

    /// Leaves the stream, with the reason if a person here has stopped what goes over it.
    pub(super) fn leave<T>(mut self, result: &Result<T, FileError>) {
        leave_receiving(result, self.raw.get_mut());
        leave_sending(result, self.writer.get_mut());
    }
}

/// What it means for one of several owners that bytes did not come.
fn broken(who: &Name, error: ContentError) -> FileError {
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
