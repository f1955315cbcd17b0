//! A file of another peer of which any groups can be fetched, in any order.

use std::sync::Arc;

use bytes::Bytes;
use portolan_protocol::{Get, GroupRange, Hash, Name, PeerCommand, Want};

use super::{Sessions, owner::OwnerStream, transfer::ask_for};
use crate::{
    FileError,
    files::{Attributes, Tree, check_path},
};

/// A stream to one owner of a file, past the list of hashes.
pub(crate) struct RemoteFile {
    path: String,
    stream: OwnerStream,
    tree: Arc<Tree>,
    attributes: Attributes,
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
        let (stream, content, attributes) = ask_for(sessions, who, PeerCommand::Get(get)).await?;
        let stall = sessions.host().timing.stall;
        let (stream, tree) = OwnerStream::begin(who, stream, content, stall).await?;
        Ok(Self { path: path.to_owned(), stream, tree: Arc::new(tree), attributes })
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
        self.stream.want(Want { groups, more: true, ..Want::default() }).await
    }

    /// Receives the next group that was asked for, which has this number. Nothing is proven yet.
    /// Not cancel safe.
    pub(crate) async fn receive(&mut self, number: u32) -> Result<Bytes, FileError> {
        self.stream.bytes(self.tree.span(number).1).await
    }

    /// Says that nothing more is wanted, and waits a little until the owner has heard it.
    pub(crate) async fn finish(self) {
        self.stream.finish().await;
    }

    /// Leaves the stream, with the reason if a person here has stopped what goes over it.
    pub(crate) fn leave<T>(self, result: &Result<T, FileError>) {
        self.stream.leave(result);
    }
}
