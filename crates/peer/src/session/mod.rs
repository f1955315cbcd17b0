//! The session with the server: one task that owns the control stream.

mod inbox;
mod login;
mod task;

use std::sync::{Arc, OnceLock};

use portolan_protocol::{Command, Reply};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

pub(crate) use login::log_in;
pub(crate) use task::{SessionParts, SessionTask};

use crate::{RequestError, SessionEnd, Timing};

/// One request on its way to the task.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Result<Reply, RequestError>>,
}

/// Where requests go; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    asks: mpsc::Sender<Ask>,
    end: Arc<OnceLock<SessionEnd>>,
    timing: Timing,
}

impl Requests {
    pub(crate) fn new(
        asks: mpsc::Sender<Ask>,
        end: Arc<OnceLock<SessionEnd>>,
        timing: Timing,
    ) -> Self {
        Self { asks, end, timing }
    }

    /// Sends one request and waits for its answer. Cancel safe: a late answer is dropped.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, RequestError> {
        // The task counts from the moment it sends; waiting for a place in the queue counts too.
        match timeout(self.timing.request * 2, self.ask_untimed(command)).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    async fn ask_untimed(&self, command: Command) -> Result<Reply, RequestError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.asks.send(Ask { command, answer }).await;
        sent.map_err(|_| RequestError::Closed(self.ended()))?;
        answered.await.unwrap_or_else(|_| Err(RequestError::Closed(self.ended())))
    }

    /// Waits until the session is over.
    pub(crate) async fn closed(&self) -> SessionEnd {
        self.asks.closed().await;
        self.ended()
    }

    fn ended(&self) -> SessionEnd {
        self.end.get().cloned().unwrap_or(SessionEnd::Local)
    }
}
