//! Fetches a file for who hears it: first what is waited for, then the rest in order.

use std::sync::Arc;

use portolan_protocol::{Edges, Hash, Name};
use tokio::{task::spawn_blocking, time::sleep};

use super::arriving::Shared;
use crate::{
    FileError,
    remote::{PiecewiseFile, Sessions, Tries},
};

/// Bytes of the largest file that is heard while it arrives.
const SIZE_MAX: u64 = 4 << 30;
/// Runs of pieces asked for at once where little is there ahead of the player: the owner is never
/// idle.
const ASKED_MAX: usize = 4;

/// Fetches until everything is there, through broken connections.
pub(super) async fn fetch(sessions: Arc<Sessions>, who: Name, path: String, shared: Arc<Shared>) {
    shared.begun().await;
    let host = sessions.host();
    let mut tries = Tries::new(host.limits.retries, host.timing.retry);
    let mut fetched = Fetched { bytes: 0, pinned: None };
    loop {
        let error = match fetch_once(&sessions, (&who, &path), &shared, &mut fetched).await {
            Ok(()) => return,
            Err(error) => error,
        };
        // What never began will not begin by itself.
        let pause = tries.pause_after(&error, fetched.bytes, host.outlook(&who));
        let pause = pause.filter(|_| fetched.pinned.is_some());
        let Some(pause) = pause else { return shared.fail(error) };
        tracing::debug!(%error, "a file that is heard broke off and goes on");
        sleep(pause).await;
    }
}

/// How far it has come, over all tries.
struct Fetched {
    bytes: u64,
    pinned: Option<Hash>,
}

async fn fetch_once(
    sessions: &Arc<Sessions>,
    (who, path): (&Name, &str),
    shared: &Arc<Shared>,
    fetched: &mut Fetched,
) -> Result<(), FileError> {
    let edges = if fetched.pinned.is_none() { edges_of(path) } else { Edges::default() };
    let mut file = PiecewiseFile::open(sessions, (who, path), edges).await?;
    match fetched.pinned {
        None => {
            let size = file.tree().size();
            if size > SIZE_MAX {
                return Err(FileError::TooLarge { size, max: SIZE_MAX });
            }
            let there = spawn_blocking(tempfile::tempfile).await;
            let there = there.map_err(std::io::Error::other).and_then(|there| there);
            shared.describe(there.map_err(unwritten)?, Arc::clone(file.tree()));
            fetched.pinned = Some(file.hash());
        }
        Some(hash) if hash != file.hash() => {
            return Err(FileError::Changed { name: path.to_owned() });
        }
        Some(_) => {}
    }
    let pulled = pull(&mut file, shared, fetched).await;
    match pulled {
        Ok(()) => file.finish().await,
        Err(_) => file.leave(&pulled),
    }
    pulled
}

async fn pull(
    file: &mut PiecewiseFile,
    shared: &Arc<Shared>,
    fetched: &mut Fetched,
) -> Result<(), FileError> {
    loop {
        while let Some(next) = shared.next_run(file.expected()) {
            let room = if next.is_near { ASKED_MAX } else { 1 };
            if file.expected().len() >= room {
                break;
            }
            file.want(next.pieces).await?;
        }
        let Some((piece, bytes)) = file.receive().await? else { return Ok(()) };
        fetched.bytes += bytes.len() as u64;
        let shared = Arc::clone(shared);
        let kept = spawn_blocking(move || shared.put(piece, &bytes).map_err(unwritten));
        kept.await.unwrap_or_else(|error| Err(FileError::from_panic(error)))?;
    }
}

/// What a decoder reads first. In an Ogg file it looks for the last page, and an MP4 file may
/// have its tables at the end.
fn edges_of(path: &str) -> Edges {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let ends = ["ogg", "oga", "opus", "spx", "m4a", "m4b", "mp4"];
    match ends.iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        true => Edges { first: 2, last: 5 },
        false => Edges { first: 8, last: 0 },
    }
}

fn unwritten(source: std::io::Error) -> FileError {
    FileError::Io { during: "write", path: "the file that is being heard".into(), source }
}
