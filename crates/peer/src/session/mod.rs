//! The session with the server: a task for each of its connections that owns the control stream,
//! and one above them that keeps the session alive when a connection is lost.

mod backoff;
mod ending;
mod inbox;
mod lasting;
mod link;
mod login;
mod repeat;
mod supervisor;
mod task;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use portolan_protocol::{Command, Reply};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

pub(crate) use link::{Established, Link};
pub(crate) use login::log_in;
pub(crate) use supervisor::{Supervisor, SupervisorParts};

use crate::{RequestError, SessionEnd, Timing};

/// Where the answer to a request goes.
pub(crate) type Answer = oneshot::Sender<Result<Reply, RequestError>>;

/// One request on its way to the task.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    pub(crate) answer: Answer,
    /// How the connection ended on which it was asked before.
    pub(crate) broken: Option<SessionEnd>,
}

/// Where requests go; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    asks: mpsc::Sender<Ask>,
    end: Arc<OnceLock<SessionEnd>>,
    /// The reference of the next message.
    reference: Arc<AtomicU64>,
    timing: Timing,
}

impl Requests {
    pub(crate) fn new(
        asks: mpsc::Sender<Ask>,
        end: Arc<OnceLock<SessionEnd>>,
        timing: Timing,
    ) -> Self {
        // Another run with the same key must not meet the references of this one.
        Self { asks, end, reference: Arc::new(AtomicU64::new(random())), timing }
    }

    /// Sends one request and waits for its answer, also while there is no connection. Cancel
    /// safe: a late answer is dropped.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, RequestError> {
        // The task counts from the moment it sends; waiting for a place in the queue counts too.
        match timeout(self.timing.request * 2, self.ask_untimed(self.refer(command))).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    /// Gives a message, or a change of a group, the number by which the server knows it if it has to be sent again.
    fn refer(&self, mut command: Command) -> Command {
        let reference = match &mut command {
            Command::Send(send) => &mut send.reference,
            Command::CreateGroup(create) => &mut create.reference,
            Command::InviteToGroup(invite) => &mut invite.reference,
            Command::JoinGroup(join) => &mut join.reference,
            Command::LeaveGroup(leave) => &mut leave.reference,
            Command::RemoveFromGroup(remove) => &mut remove.reference,
            Command::SetRole(set) => &mut set.reference,
            Command::RenameGroup(rename) => &mut rename.reference,
            _ => return command,
        };
        if reference.is_none() {
            *reference = Some(self.reference.fetch_add(1, Ordering::Relaxed));
        }
        command
    }

    async fn ask_untimed(&self, command: Command) -> Result<Reply, RequestError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.asks.send(Ask { command, answer, broken: None }).await;
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

/// A number that nobody foresees: the standard library keys its hashes with the system's
/// randomness.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
