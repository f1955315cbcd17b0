//! Offering a directory: one decision for the whole, then its receiver fetches.

use std::{path::Path, sync::Arc};

use portolan_protocol::{Name, OfferTree, PeerReply, Received, TreeInfo};
use portolan_transport::Priority;
use tokio::time::Duration;

use super::{begun, queue, tickets::OfferedTree, wait_after};
use crate::{
    Direction, FileError, ShareError, TreePhase, TreeSummary,
    files::{Reached, Share, Tally, Walker, check_name},
    remote::{
        Host, Sessions,
        exchange::{Reader, past_hashing},
        transfer::{answer_within, ask, blocking, reply, unexpected},
        tries::Tries,
    },
};

/// Offers a directory to `who` and lets them fetch it if it is wanted.
pub(crate) async fn offer_tree(
    sessions: &Arc<Sessions>,
    who: &Name,
    path: &Path,
) -> Result<TreeSummary, FileError> {
    let host = sessions.host();
    let (share, name, info) = {
        let (path, limits) = (path.to_owned(), host.limits);
        blocking(move || count(&path, &limits)).await?
    };
    let begun = begun(host.next_id(), Direction::Send, who, &name);
    let tally = host.tally(begun, Duration::ZERO);
    tally.expect(&info);
    let tree = OfferedTree { to: who.clone(), share, tally: Arc::clone(&tally) };
    let ticket = host.tickets.issue(tree);
    let TreeInfo { files, bytes, .. } = info;
    let offer = OfferTree { name, files, bytes, tree: ticket.number() };
    match deliver(sessions, who, &offer, &tally).await {
        Ok(received) => {
            tally.conclude(received);
            tally.end(None).await;
            Ok(tally.summary(None))
        }
        Err(error) => {
            tally.failed(error.code(), error.to_string()).await;
            Err(error)
        }
    }
}

/// Offers it until it is taken, given up or cancelled.
async fn deliver(
    sessions: &Arc<Sessions>,
    who: &Name,
    offer: &OfferTree,
    tally: &Tally,
) -> Result<Received, FileError> {
    let host = sessions.host();
    let orders = tally.orders();
    let mut tries = Tries::new(host.limits.retries, host.timing.retry);
    loop {
        let trying = async {
            let _permit = queue(host, tally).await?;
            orders.unless(offer_once(sessions, who, offer.clone(), tally)).await
        };
        match trying.await {
            Ok(received) => return Ok(received),
            Err(error) => wait_after(host, &mut tries, error, tally).await?,
        }
    }
}

/// What is to be offered. Blocking.
fn count(path: &Path, limits: &crate::Limits) -> Result<(Arc<Share>, String, TreeInfo), FileError> {
    let share = Share::new(path, limits).map_err(|error| match error {
        ShareError::Io { path, source } => FileError::Io { during: "read", path, source },
        ShareError::NotADirectory(path) => FileError::NotAFile(path),
    })?;
    let name = share.root().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.to_owned();
    check_name(&name).map_err(|problem| FileError::Name { name: name.clone(), problem })?;
    let share = Arc::new(share);
    let counted = Walker::new(&share, "", None)?.count(&Reached::default());
    let info = counted.map_err(|error| FileError::Io {
        during: "read",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok((share, name, info))
}

async fn offer_once(
    sessions: &Arc<Sessions>,
    who: &Name,
    offer: OfferTree,
    tally: &Tally,
) -> Result<Received, FileError> {
    let host = sessions.host();
    let mut stream = ask(sessions, who, offer.into(), Priority::Bulk).await?;
    tally.stage(TreePhase::Waiting).await;
    // The other side's own time runs out first, so that its words arrive.
    let patience = host.timing.offer + host.timing.request;
    match answer_within(who, &mut stream.reader, patience).await? {
        PeerReply::Accepted(_) => {}
        other => return Err(unexpected(who, &other)),
    }
    tally.stage(TreePhase::Started).await;
    outcome(host, who, &mut stream.reader, tally).await
}

/// Waits for the end, for as long as the other side fetches or says that it is at it, as it does
/// every second: who is silent for longer is gone.
async fn outcome(
    host: &Host,
    who: &Name,
    reader: &mut Reader,
    tally: &Tally,
) -> Result<Received, FileError> {
    let mut moved = tally.moved();
    loop {
        match past_hashing(reader, host.timing.request).await {
            Ok(message) => match reply(who, message)? {
                PeerReply::Received(received) => return Ok(received),
                other => return Err(unexpected(who, &other)),
            },
            Err(_) if tally.moved() > moved => moved = tally.moved(),
            Err(_) => return Err(FileError::TimedOut { who: who.clone() }),
        }
    }
}
