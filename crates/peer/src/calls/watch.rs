//! Waiting for what becomes of a call.

use tokio::sync::watch;

use super::CallPhase;

/// What has become of a call so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    was_accepted: bool,
    end: Option<CallPhase>,
}

impl Standing {
    pub(crate) fn note(&mut self, phase: &CallPhase) {
        self.was_accepted |= *phase == CallPhase::Accepted;
        if phase.is_last() {
            self.end = Some(phase.clone());
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }
}

/// Waits for what becomes of a call.
#[derive(Debug, Clone)]
pub struct CallWatch {
    standing: watch::Receiver<Standing>,
}

impl CallWatch {
    pub(crate) fn new(standing: watch::Receiver<Standing>) -> Self {
        Self { standing }
    }

    /// Waits until the call is taken; `false`: it is over, and was not. Cancel safe.
    pub async fn accepted(&mut self) -> bool {
        let done = |standing: &Standing| standing.was_accepted || standing.end.is_some();
        let found = self.standing.wait_for(done).await;
        found.is_ok_and(|standing| standing.was_accepted)
    }

    /// Waits until the call is over, and says how it ended. Cancel safe.
    pub async fn over(&mut self) -> CallPhase {
        let found = self.standing.wait_for(|standing| standing.end.is_some()).await;
        let end = found.ok().and_then(|standing| standing.end.clone());
        end.unwrap_or(CallPhase::Ended { reason: None })
    }
}
