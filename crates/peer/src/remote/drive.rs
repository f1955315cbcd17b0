//! A transfer that we began, from the queue to its end: tries, pauses, and what people want.

use std::sync::Arc;

use tokio::{sync::SemaphorePermit, time::sleep};

use super::{Host, tries::Tries};
use crate::{FileError, FilePhase, Stop, files::Progress};

/// Pauses between two looks whether the other side has let a paused transfer go on, in units of
/// the first pause between tries.
pub(crate) const ASKING_AGAIN: u32 = 4;

/// One thing to get done in as many tries as it takes.
pub(crate) trait Attempt: Send {
    /// What comes of it.
    type Outcome: Send;

    /// Tries once. When a person stops it, it leaves its stream in good order and says so.
    fn once(
        &mut self,
        progress: &mut Progress,
    ) -> impl Future<Output = Result<Self::Outcome, FileError>> + Send;

    /// Removes what is left here of what was cancelled.
    fn discard(&mut self) -> impl Future<Output = ()> + Send;
}

/// Tries until it is done, given up or cancelled, and reports how it ended.
pub(crate) async fn drive<A: Attempt>(
    host: &Arc<Host>,
    attempt: &mut A,
    progress: &mut Progress,
) -> Result<A::Outcome, FileError> {
    let result = drive_on(host, attempt, progress).await;
    if let Err(error) = &result {
        if error.stopped_here() == Some(Stop::Cancelled) {
            attempt.discard().await;
        }
        progress.failed(error).await;
    }
    result
}

async fn drive_on<A: Attempt>(
    host: &Arc<Host>,
    attempt: &mut A,
    progress: &mut Progress,
) -> Result<A::Outcome, FileError> {
    let mut tries = Tries::new(host.limits.retries, host.timing.retry);
    let mut tried = once(host, attempt, progress).await;
    loop {
        let error = match tried {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        tried = match wait_after(host, &mut tries, error, progress).await {
            Ok(()) => once(host, attempt, progress).await,
            Err(error) if error.stopped_here() == Some(Stop::Paused) => Err(error),
            Err(error) => return Err(error),
        };
    }
}

async fn once<A: Attempt>(
    host: &Arc<Host>,
    attempt: &mut A,
    progress: &mut Progress,
) -> Result<A::Outcome, FileError> {
    let _permit = queue(host, progress).await?;
    attempt.once(progress).await
}

/// Waits for its turn, in the order in which transfers were begun or let go on.
async fn queue<'a>(
    host: &'a Host,
    progress: &mut Progress,
) -> Result<SemaphorePermit<'a>, FileError> {
    if let Ok(permit) = host.ours.try_acquire() {
        return Ok(permit);
    }
    if !progress.is_paused() {
        progress.stage(FilePhase::Queued).await;
    }
    let permit = progress.orders().unless(async { Ok(host.ours.acquire().await) }).await?;
    permit.map_err(|_| FileError::Stopped { stop: Stop::Cancelled, by: None })
}

/// Waits before the next try; an error ends the transfer, or pauses it.
async fn wait_after(
    host: &Host,
    tries: &mut Tries,
    error: FileError,
    progress: &mut Progress,
) -> Result<(), FileError> {
    let orders = progress.orders();
    let pause = match &error {
        FileError::Stopped { stop: Stop::Paused, by: None } => {
            progress.paused(error.to_string()).await;
            return orders.run().await;
        }
        FileError::Stopped { stop: Stop::Paused, by: Some(_) } => {
            progress.paused(error.to_string()).await;
            host.timing.retry * ASKING_AGAIN
        }
        _ => {
            let pause = tries.pause_after(&error, progress.bytes(), host.outlook(progress.with()));
            let Some(pause) = pause.filter(|_| progress.has_begun()) else { return Err(error) };
            progress.interrupted(error.to_string()).await;
            pause
        }
    };
    orders
        .unless(async {
            sleep(pause).await;
            Ok(())
        })
        .await
}
