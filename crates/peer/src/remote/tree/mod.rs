//! Directories between peers.
//!
//! Whoever receives asks, whichever side began: an offered directory is one that its receiver may
//! walk and fetch from under a ticket. The owner lists lazily; small files go many to a stream,
//! larger ones as single files do, and several streams are under way at once, so that a round
//! trip costs little. What breaks off goes on behind the last page of which every file is settled.

mod agreed;
mod batch;
mod budget;
mod directories;
mod large;
mod ledger;
mod offer;
mod pull;
mod rounds;
mod serve;
mod take;
mod tickets;

use portolan_protocol::{ErrorCode, LeftOut, Name};
use tokio::{sync::SemaphorePermit, time::sleep};

use agreed::AgreedTree;
pub(crate) use agreed::AgreedTrees;
pub(crate) use offer::offer_tree;
pub(crate) use pull::{TreeRequest, get_tree};
pub(super) use serve::{on_batch, on_get_offered, on_walk};
pub(super) use take::on_offer_tree;
pub(crate) use tickets::Tickets;

use super::{Host, drive::ASKING_AGAIN, tries::Tries};
use crate::{Direction, FileError, Stop, TransferId, TreePhase, TreeUpdate, files::Tally};

/// A path below a directory, which may be none.
fn join(directory: &str, path: &str) -> String {
    match directory {
        "" => path.to_owned(),
        directory => format!("{directory}/{path}"),
    }
}

/// Whether an error concerns more than the one file on which it showed.
fn ends_all(error: &FileError) -> bool {
    use std::io::ErrorKind;

    match error {
        FileError::Reach(_)
        | FileError::TimedOut { .. }
        | FileError::Interrupted { .. }
        | FileError::Protocol { .. }
        | FileError::Outdated { .. }
        | FileError::Stopped { .. }
        | FileError::DiskFull { .. }
        | FileError::NoSpace { .. } => true,
        FileError::Io { source, .. } => {
            matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        }
        FileError::Refused { body, .. } => {
            !matches!(body.code, ErrorCode::UnknownFile | ErrorCode::Conflict | ErrorCode::TooLarge)
        }
        FileError::Integrity { .. }
        | FileError::Size { .. }
        | FileError::Corrupt { .. }
        | FileError::TooLarge { .. }
        | FileError::Name { .. }
        | FileError::Exists(_)
        | FileError::NotAFile(_)
        | FileError::Changed { .. }
        | FileError::NoOwner
        | FileError::NoSuchOffer(_)
        | FileError::NoSuchTransfer(_) => false,
    }
}

/// What is reported of a directory at first.
fn begun(id: TransferId, direction: Direction, with: &Name, name: &str) -> TreeUpdate {
    TreeUpdate {
        id,
        with: with.clone(),
        direction,
        name: name.to_owned(),
        phase: TreePhase::Started,
        files: 0,
        files_total: 0,
        bytes: 0,
        total: 0,
        same: 0,
        failed: 0,
        left_out: LeftOut::default(),
        via: None,
        rate: None,
        eta: None,
    }
}

/// Waits for its turn among the transfers that we began, or until a person stops it.
async fn queue<'a>(host: &'a Host, tally: &Tally) -> Result<SemaphorePermit<'a>, FileError> {
    if let Ok(permit) = host.ours.try_acquire() {
        return Ok(permit);
    }
    tally.stage(TreePhase::Queued).await;
    let permit = tally.orders().unless(async { Ok(host.ours.acquire().await) }).await?;
    permit.map_err(|_| FileError::Stopped { stop: Stop::Cancelled, by: None })
}

/// Waits before the next try of a transfer that we began; an error ends it.
async fn wait_after(
    host: &Host,
    tries: &mut Tries,
    error: FileError,
    tally: &Tally,
) -> Result<(), FileError> {
    let orders = tally.orders();
    let pause = match &error {
        FileError::Stopped { stop: Stop::Paused, by: None } => {
            tally.paused(error.to_string()).await;
            return orders.run().await;
        }
        FileError::Stopped { stop: Stop::Paused, by: Some(_) } => {
            tally.paused(error.to_string()).await;
            host.timing.retry * ASKING_AGAIN
        }
        _ => {
            let pause = tries.pause_after(&error, tally.moved(), host.outlook(&tally.with()));
            let Some(pause) = pause.filter(|_| tally.has_begun()) else { return Err(error) };
            tally.stage(TreePhase::Interrupted { reason: error.to_string() }).await;
            pause
        }
    };
    let slept = orders.unless(async {
        sleep(pause).await;
        Ok(())
    });
    match slept.await {
        // To be held while it waits anyway is to be held.
        Err(stopped @ FileError::Stopped { stop: Stop::Paused, by: None }) => {
            tally.paused(stopped.to_string()).await;
            orders.run().await
        }
        slept => slept,
    }
}
