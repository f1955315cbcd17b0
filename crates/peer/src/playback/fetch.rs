//! Fetches a file for who hears it: first what is waited for, then the rest in order.

use std::{collections::VecDeque, sync::Arc};

use portolan_protocol::{GroupRange, Hash, Name};
use tokio::{task::spawn_blocking, time::sleep};

use super::arriving::Shared;
use crate::{
    FileError,
    remote::{RemoteFile, Sessions, Tries},
};

/// Bytes of the largest file that is heard while it arrives.
const SIZE_MAX: u64 = 4 << 30;
/// Groups asked for at once where little is there ahead of the player: the owner is never idle.
const ASKED_MAX: usize = 2;
/// Groups ahead of the player from which on one is asked for at a time, so that a seek waits for
/// little.
const AHEAD: u32 = 4;

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
        let pause = tries.pause_after(&error, fetched.bytes).filter(|_| fetched.pinned.is_some());
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
    let mut file = RemoteFile::open(sessions, who, path).await?;
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
    file: &mut RemoteFile,
    shared: &Arc<Shared>,
    fetched: &mut Fetched,
) -> Result<(), FileError> {
    let mut asked: VecDeque<u32> = VecDeque::new();
    loop {
        while let Some((number, is_near)) = shared.next_group(asked.make_contiguous(), AHEAD) {
            let room = if is_near { ASKED_MAX } else { 1 };
            if asked.len() >= room {
                break;
            }
            file.want(vec![GroupRange { first: number, count: 1 }]).await?;
            asked.push_back(number);
        }
        let Some(&number) = asked.front() else { return Ok(()) };
        let group = file.receive(number).await?;
        asked.pop_front();
        let (tree, shared) = (Arc::clone(file.tree()), Arc::clone(shared));
        let length = group.len();
        let kept = spawn_blocking(move || {
            if !tree.proves(number, &group) {
                let start = tree.span(number).0;
                return Err(FileError::Corrupt { start, length: group.len(), kept: 0 });
            }
            shared.put(number, &group).map_err(unwritten)
        });
        kept.await.unwrap_or_else(|error| Err(FileError::from_panic(error)))?;
        fetched.bytes += length as u64;
    }
}

fn unwritten(source: std::io::Error) -> FileError {
    FileError::Io { during: "write", path: "the file that is being heard".into(), source }
}
