//! Handshakes of an answering side, several at once.

use std::{future::Future, io, time::Duration};

use portolan_subject::Link;
use tokio::{task::JoinSet, time::timeout};

/// Handshakes under way at once; who comes later waits in the system's queue.
const HANDSHAKES_MAX: usize = 1024;

/// How long one may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

type Outcome = io::Result<Box<dyn Link>>;

/// The handshakes under way. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(JoinSet<Option<Box<dyn Link>>>);

impl Handshakes {
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= HANDSHAKES_MAX
    }

    pub(crate) fn start(&mut self, handshake: impl Future<Output = Outcome> + Send + 'static) {
        self.0.spawn(async { timeout(HANDSHAKE_MAX, handshake).await.ok()?.ok() });
    }

    /// The next link whose handshake has succeeded; those that fail are the other side's to
    /// report. Waits for ever while there are none.
    ///
    /// Cancel safe: a link is returned or stays here.
    pub(crate) async fn next(&mut self) -> Box<dyn Link> {
        loop {
            match self.0.join_next().await {
                Some(Ok(Some(link))) => return link,
                Some(Ok(None) | Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
