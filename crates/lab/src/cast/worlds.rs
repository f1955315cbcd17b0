//! Many worlds at once, until they are done or a person has enough.

use std::{io, process::ExitCode, sync::Arc};

use portolan_emulator::{Launch, Missing, launch};
use tokio::{runtime, sync::Semaphore, task::JoinSet};

use crate::net::INTERRUPTED;

/// Threads beside those of the emulators: they mostly wait.
const WORKERS: usize = 2;

/// Why there are no worlds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWorlds {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("cannot wait for anything: {0}")]
    Runtime(#[from] io::Error),
}

/// Does the work where worlds can be built. When a signal comes first, everything is ended, and
/// nothing of it is left.
///
/// # Errors
/// When the system lacks something.
pub(crate) fn in_worlds(work: impl Future<Output = ExitCode>) -> Result<ExitCode, NoWorlds> {
    match launch()? {
        Launch::Finished(code) => Ok(code),
        Launch::Inside => {
            let mut builder = runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(WORKERS).enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    code = work => Ok(code),
                    stop = interrupted() => {
                        stop?;
                        Ok(ExitCode::from(INTERRUPTED))
                    }
                }
            })
        }
    }
}

/// Does all of `works`, so many at once; `tell` hears of each as it ends: how many have, which it
/// is, and what came of it. What came of all is in their order; `None`: it panicked.
pub(crate) async fn side_by_side<T: Send + 'static>(
    works: Vec<impl Future<Output = T> + Send + 'static>,
    at_once: u32,
    tell: impl Fn(usize, usize, &T),
) -> Vec<Option<T>> {
    let permits = Arc::new(Semaphore::new(at_once as usize));
    let mut outcomes: Vec<Option<T>> = works.iter().map(|_| None).collect();
    let mut tasks = JoinSet::new();
    for (number, work) in works.into_iter().enumerate() {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            (number, work.await)
        });
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        done += 1;
        let Ok((number, outcome)) = ended else { continue };
        tell(done, number, &outcome);
        if let Some(place) = outcomes.get_mut(number) {
            *place = Some(outcome);
        }
    }
    outcomes
}

/// Waits until a person or the system wants us to stop.
#[cfg(unix)]
async fn interrupted() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Waits until a person wants us to stop.
#[cfg(not(unix))]
async fn interrupted() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
