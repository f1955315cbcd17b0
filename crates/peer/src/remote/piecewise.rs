//! Files that go over in pieces, for who hears them while they arrive.
//!
//! ```text
//!   get, edges ─────────────────────────────────►
//!   ◄─ content, hashes of groups, pieces of the edges
//!   want pieces, more ──────────────────────────►      as often as need be
//!   ◄─ hashes of a group's pieces, pieces ...
//! ```
//!
//! A piece is proven as soon as it is there, by its group's list of pieces, which the list of
//! groups proves. So a first sound needs 16 KiB and not a whole group.

use std::{
    collections::VecDeque,
    io::{Seek, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use portolan_protocol::{
    Content, Edges, Get, GroupRange, Hash, Name, PIECE, PeerCommand, PeerReply, Want,
};
use portolan_transport::Priority;
use tokio::{task::spawn_blocking, time::Duration};

use super::{
    Host, Sessions,
    exchange::{Reader, Writer, hear_want, prove, send_end},
    owner::OwnerStream,
    serve::Answers,
    transfer::{answer, ask, unexpected},
};
use crate::{
    FileError, FilePhase,
    files::{
        OpenedFile, Pieces, Progress, Run, Tree, check_path,
        content::{ContentError, Source, send_bytes},
    },
};

/// A stream to the owner of a file, over which pieces come in the order in which they were asked
/// for.
pub(crate) struct PiecewiseFile {
    stream: OwnerStream,
    tree: Arc<Tree>,
    /// What was asked for and has not come, in order.
    expected: VecDeque<Run>,
    /// The group that comes now.
    coming: Option<Pieces>,
}

impl PiecewiseFile {
    /// Asks `who` for the file at `path` and at once for its edges, and checks the list of its
    /// hashes. Cancel safe: the stream is left.
    pub(crate) async fn open(
        sessions: &Arc<Sessions>,
        (who, path): (&Name, &str),
        edges: Edges,
    ) -> Result<Self, FileError> {
        let problem = |problem| FileError::Name { name: path.chars().take(256).collect(), problem };
        check_path(path).map_err(problem)?;
        let get = Get { path: path.to_owned(), groups: true, tree: None, edges: Some(edges) };
        // Somebody waits for the first sound: the way that there is now is the best one.
        let mut stream = ask(sessions, who, PeerCommand::Get(get), Priority::Interactive).await?;
        let (size, hash) = match answer(sessions.host(), who, &mut stream.reader).await? {
            PeerReply::Content(Content { size, hash: Some(hash), pieces: true, .. }) => {
                (size, hash)
            }
            PeerReply::Content(_) => return Err(FileError::Outdated { who: who.clone() }),
            other => return Err(unexpected(who, &other)),
        };
        let stall = sessions.host().timing.stall;
        let (stream, tree) = OwnerStream::begin(who, stream, (size, hash), stall).await?;
        let expected = tree.runs(&tree.edges(edges)).into();
        Ok(Self { stream, tree: Arc::new(tree), expected, coming: None })
    }

    /// What proves its groups.
    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    pub(crate) fn hash(&self) -> Hash {
        self.tree.root()
    }

    /// What was asked for and has not come.
    pub(crate) fn expected(&self) -> &VecDeque<Run> {
        &self.expected
    }

    /// Asks for pieces. They come behind those that were asked for before.
    pub(crate) async fn want(&mut self, pieces: GroupRange) -> Result<(), FileError> {
        self.expected.extend(self.tree.runs(&[pieces]));
        self.stream.want(Want { pieces: vec![pieces], more: true, ..Want::default() }).await
    }

    /// Receives the next piece that was asked for; none when all have come. Proven. Not cancel
    /// safe.
    pub(crate) async fn receive(&mut self) -> Result<Option<(u32, Bytes)>, FileError> {
        let Some(Run { group, pieces }) = self.expected.front().cloned() else { return Ok(None) };
        let proofs = match self.coming.take() {
            Some(proofs) => proofs,
            None => {
                let list = self.stream.bytes(self.tree.pieces_list_length(group)).await?;
                self.tree.checked_pieces(group, &list).map_err(corrupt)?
            }
        };
        let piece = pieces.start;
        let (start, length) = self.tree.piece_span(piece);
        let bytes = self.stream.bytes(length).await?;
        if !self.tree.proves_piece(&proofs, piece, &bytes) {
            return Err(corrupt(ContentError::Corrupt { start, length }));
        }
        self.expected.pop_front();
        if piece + 1 < pieces.end {
            self.expected.push_front(Run { group, pieces: piece + 1..pieces.end });
            self.coming = Some(proofs);
        }
        Ok(Some((piece, bytes)))
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

fn corrupt(error: ContentError) -> FileError {
    match error {
        ContentError::Corrupt { start, length } => FileError::Corrupt { start, length, kept: 0 },
        other => {
            FileError::Interrupted { bytes: 0, total: 0, kept: None, detail: other.to_string() }
        }
    }
}

/// Sends a file in the pieces that `who` asks for, until nothing more is wanted.
pub(super) async fn send_pieces(
    (host, who): (&Arc<Host>, &Name),
    file: OpenedFile,
    edges: Edges,
    (mut reader, answers): (Reader, &mut Answers),
    progress: &mut Progress,
) -> Result<Hash, FileError> {
    let (size, modified, mode) = (file.size, file.modified, file.mode);
    let source = prove(host, file, Some(&mut answers.writer)).await;
    let source = Arc::new(source.map_err(|error| progress.broken(error, None))?);
    let hash = source.tree.root();
    let content = Content { size, modified, hash: Some(hash), mode, pieces: true };
    answers.send(PeerReply::Content(content)).await?;
    let writer = &mut answers.writer;
    let sent = send_bytes(writer.get_mut(), source.tree.list(), host.timing.stall).await;
    sent.map_err(|error| progress.broken(error, None))?;
    progress.stage(FilePhase::Started).await;
    let mut pieces = source.tree.edges(edges);
    loop {
        for run in source.tree.runs(&pieces) {
            let sent = send_run(&source, run, writer, (&mut *progress, host.timing.stall)).await;
            sent.map_err(|error| {
                if matches!(error, ContentError::Changed) {
                    host.trees.forget(&source.tree);
                }
                progress.broken(error, None)
            })?;
        }
        // A player that is far behind what has arrived may be silent for a while.
        let want = hear_want(&mut reader, who, (&source.tree, host.timing.stall), progress).await?;
        if !want.more {
            return send_end(hash, writer, progress).await;
        }
        if !source.tree.has_pieces(&want.pieces) {
            let detail = "it wants pieces that the file does not have".into();
            return Err(FileError::Protocol { who: who.clone(), detail });
        }
        pieces = want.pieces;
    }
}

async fn send_run(
    source: &Arc<Source>,
    run: Run,
    writer: &mut Writer,
    (progress, stall): (&mut Progress, Duration),
) -> Result<(), ContentError> {
    let (reading, group, pieces) = (Arc::clone(source), run.group, run.pieces);
    let (list, bytes) = spawn_blocking(move || {
        let (mut file, tree) = (&reading.file, &reading.tree);
        file.seek(SeekFrom::Start(tree.span(group).0)).map_err(ContentError::Disk)?;
        let mut bytes = Vec::new();
        tree.read_group(file, group, &mut bytes)?;
        match tree.proves(group, &bytes) {
            true => Ok((tree.pieces_list(group, &bytes), Bytes::from(bytes))),
            false => Err(ContentError::Changed),
        }
    })
    .await??;
    let origin = source.tree.pieces_of(group).start;
    let place = |piece: u32| usize::try_from(u64::from(piece - origin) * PIECE);
    let (from, to) = (place(pieces.start).unwrap_or(0), place(pieces.end).unwrap_or(usize::MAX));
    let wanted = bytes.slice(from.min(bytes.len())..to.min(bytes.len()));
    send_bytes(writer.get_mut(), &list, stall).await?;
    send_bytes(writer.get_mut(), &wanted, stall).await?;
    progress.advance(wanted.len() as u64);
    Ok(())
}
