//! Files by what they are: whether we share one, and whether others do.

use std::{path::Path, sync::Arc};

use portolan_protocol::{Find, Found, Hash, Name, PeerReply};
use portolan_transport::Priority;
use tokio::time::timeout;

use super::{
    Host, Sessions,
    exchange::telling,
    serve::{Answers, busy, unknown_file},
    transfer::{answer, ask, unexpected},
};
use crate::{
    FileError,
    files::{Reached, Share, Trees, check_path, content::ContentError},
};

/// Files of the right size that are hashed for one question.
const HASHED_MAX: usize = 8;

/// Answers whether we share a file with that hash.
pub(crate) async fn on_find(host: &Arc<Host>, find: Find, mut answers: Answers) {
    // Half of the time that the asker waits for an answer.
    let permit = timeout(host.timing.request / 2, host.theirs.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return answers.refuse(busy()).await };
    let found = match host.share() {
        Some(share) => {
            let (trees, asked) = (Arc::clone(&host.trees), find.clone());
            let look = move |reached: &Reached| look(&share, &trees, &asked, reached);
            telling(Some(answers.writer()), look).await
        }
        None => Ok(None),
    };
    match found {
        Ok(Some(found)) => answers.last(PeerReply::Found(found)).await,
        Ok(None) => answers.refuse(unknown_file(&find.hash.to_string())).await,
        // Nobody listens any more.
        Err(_) => {}
    }
}

/// Looks among the files whose hashes are known, then among those of the right size. Blocking.
fn look(
    share: &Share,
    trees: &Trees,
    find: &Find,
    reached: &Reached,
) -> Result<Option<Found>, ContentError> {
    let known = trees.paths_of(find.hash);
    let known = known.iter().filter_map(|path| share.shared_path(path)).collect::<Vec<_>>();
    let sized = find.size.map(|size| share.of_size(size, HASHED_MAX)).unwrap_or_default();
    for path in known.into_iter().chain(sized) {
        let Ok(opened) = share.open(&path) else { continue };
        let (size, modified) = (opened.size, opened.modified);
        let tree = match trees.tree_of(&opened, reached) {
            Ok(tree) => tree,
            Err(ContentError::Stalled) => return Err(ContentError::Stalled),
            // It changed, or its disk failed: others may be better.
            Err(_) => continue,
        };
        if tree.root() == find.hash {
            return Ok(Some(Found { path, size, modified }));
        }
    }
    Ok(None)
}

/// Asks `who` for a file with that hash; the answer is its path there.
pub(crate) async fn find(
    sessions: &Arc<Sessions>,
    who: &Name,
    hash: Hash,
    size: Option<u64>,
) -> Result<String, FileError> {
    let question = Find { hash, size };
    let mut stream = ask(sessions, who, question.into(), Priority::Interactive).await?;
    let _ = stream.writer.get_mut().finish();
    match answer(sessions.host(), who, &mut stream.reader).await? {
        PeerReply::Found(found) if check_path(&found.path).is_ok() => Ok(found.path),
        PeerReply::Found(found) => {
            let name = found.path.chars().take(256).collect();
            Err(FileError::Name { name, problem: "no file is shared under such a path" })
        }
        other => Err(unexpected(who, &other)),
    }
}

/// The last part of a path that was shared.
pub(crate) fn name_of(path: &str) -> String {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.unwrap_or(path).to_owned()
}
