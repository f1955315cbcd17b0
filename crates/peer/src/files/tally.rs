//! Reports about a directory that goes over.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_protocol::{ErrorCode, MISSES_MAX, Miss, Name, Received, TreeInfo};
use tokio::time::Instant;

use super::{Orders, Pace, Reporter};
use crate::{Direction, Event, TransferId, TreePhase, TreeSummary, TreeUpdate};

/// Counts what becomes of the files of a directory, for those who move them, and reports it.
#[derive(Debug)]
pub(crate) struct Tally {
    reporter: Reporter,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    update: TreeUpdate,
    misses: Vec<Miss>,
    begun: bool,
    /// Bytes that ever came, also those of files that were given up.
    moved: u64,
    pace: Pace,
}

impl Tally {
    /// Reports begin with `update`.
    pub(crate) fn new(reporter: Reporter, update: TreeUpdate) -> Arc<Self> {
        let (misses, begun, moved, pace) = (Vec::new(), false, 0, Pace::new(Instant::now()));
        let state = Mutex::new(State { update, misses, begun, moved, pace });
        Arc::new(Self { reporter, state })
    }

    /// Notes how much there is, once it is known.
    pub(crate) fn expect(&self, info: &TreeInfo) {
        let mut state = self.lock();
        state.update.files_total = info.files;
        state.update.total = info.bytes;
        state.update.left_out = info.left_out;
    }

    /// Bytes in all, as far as is known.
    pub(crate) fn total(&self) -> u64 {
        self.lock().update.total
    }

    /// With whom and which way.
    pub(super) fn route(&self) -> (TransferId, Name, Direction) {
        let state = self.lock();
        (state.update.id, state.update.with.clone(), state.update.direction)
    }

    pub(crate) fn with(&self) -> Name {
        self.lock().update.with.clone()
    }

    /// What people want of the transfer.
    pub(crate) fn orders(&self) -> Orders {
        self.reporter.orders()
    }

    /// Whether a transfer has begun: from then on a break is worth another try.
    pub(crate) fn has_begun(&self) -> bool {
        self.lock().begun
    }

    /// Whatever changes while anything goes on; never less.
    pub(crate) fn moved(&self) -> u64 {
        let state = self.lock();
        state.moved + state.update.files + state.update.failed
    }

    /// Counts bytes that came or went.
    pub(crate) fn advance(&self, bytes: u64) {
        self.change(|state| {
            state.update.bytes += bytes;
            state.moved += bytes;
        });
    }

    /// Counts bytes that are there and did not come now.
    pub(crate) fn resume(&self, bytes: u64) {
        self.change(|state| state.update.bytes += bytes);
    }

    /// Takes back bytes of a file that did not arrive.
    pub(crate) fn retract(&self, bytes: u64) {
        self.change(|state| state.update.bytes = state.update.bytes.saturating_sub(bytes));
    }

    /// Counts files that have arrived; their bytes are counted apart.
    pub(crate) fn arrived(&self, files: u64) {
        self.change(|state| state.update.files += files);
    }

    /// Counts a file that was there already.
    pub(crate) fn same(&self, bytes: u64) {
        self.change(|state| {
            state.update.files += 1;
            state.update.same += 1;
            state.update.bytes += bytes;
        });
    }

    /// Counts and reports a file that does not arrive.
    pub(crate) fn missed(&self, path: &str, code: ErrorCode, reason: &str) {
        let mut state = self.lock();
        state.update.failed += 1;
        if state.misses.len() < MISSES_MAX {
            let (code, message) = (code.as_str().to_owned(), reason.to_owned());
            state.misses.push(Miss { path: path.to_owned(), code, message });
        }
        let (file, reason) = (path.to_owned(), reason.to_owned());
        state.update.phase = TreePhase::Missed { file, code, reason };
        self.reporter.mention(Event::Tree(state.update.clone()));
    }

    /// Takes over what the receiver says of it at the end.
    pub(crate) fn conclude(&self, received: Received) {
        let mut state = self.lock();
        for miss in received.misses.into_iter().take(MISSES_MAX) {
            let code = ErrorCode::from_word(&miss.code);
            let (file, reason) = (miss.path.clone(), miss.message.clone());
            state.update.phase = TreePhase::Missed { file, code, reason };
            state.update.failed = (state.misses.len() as u64).saturating_add(1);
            state.misses.push(miss);
            self.reporter.mention(Event::Tree(state.update.clone()));
        }
        state.update.files = received.files.saturating_add(received.same);
        state.update.same = received.same;
        state.update.failed = received.failed;
        if received.failed == 0 {
            state.update.bytes = state.update.total;
        }
    }

    /// What has become of it so far, for the other side.
    pub(crate) fn received(&self) -> Received {
        let state = self.lock();
        let TreeUpdate { files, same, failed, .. } = state.update;
        Received { files: files - same, same, failed, misses: state.misses.clone() }
    }

    pub(crate) fn summary(&self, path: Option<PathBuf>) -> TreeSummary {
        let state = self.lock();
        let TreeUpdate { files, same, failed, bytes, left_out, .. } = state.update;
        let misses = state.misses.clone();
        TreeSummary { files, same, failed, bytes, left_out, misses, path }
    }

    /// Reports a stage.
    pub(crate) async fn stage(&self, phase: TreePhase) {
        let update = {
            let mut state = self.lock();
            match &phase {
                TreePhase::Started => {
                    state.begun = true;
                    let moved = state.moved;
                    state.pace.start_at(Instant::now(), moved);
                    self.reporter.look_at_the_way(&mut state.update.via);
                }
                TreePhase::Interrupted { .. } | TreePhase::Paused { .. } | TreePhase::Queued => {
                    state.pace.rest();
                    (state.update.rate, state.update.eta) = (None, None);
                }
                TreePhase::Done { .. } | TreePhase::Partial { .. } => {
                    state.update.eta = Some(Duration::ZERO);
                }
                TreePhase::Denied { .. }
                | TreePhase::Cancelled { .. }
                | TreePhase::Failed { .. } => {
                    state.update.eta = None;
                }
                TreePhase::Offered
                | TreePhase::Waiting
                | TreePhase::Progress
                | TreePhase::Missed { .. } => {}
            }
            state.update.phase = phase;
            self.reporter.note(&state.update.listed());
            state.update.clone()
        };
        self.reporter.tell(Event::Tree(update)).await;
    }

    /// Reports how it ended: whole, in part, or not at all.
    pub(crate) async fn end(&self, path: Option<PathBuf>) {
        let phase = match self.lock().update.failed {
            0 => TreePhase::Done { path },
            _ => TreePhase::Partial { path },
        };
        self.stage(phase).await;
    }

    /// Reports that a person holds it, once.
    pub(crate) async fn paused(&self, reason: String) {
        let phase = TreePhase::Paused { reason };
        if !self.is(&phase) {
            self.stage(phase).await;
        }
    }

    /// Reports that a person holds it, and stays on the list until it goes on.
    pub(crate) async fn parked(&self, reason: String) {
        self.paused(reason).await;
        self.reporter.park();
    }

    /// Whether that was last reported of the whole.
    fn is(&self, phase: &TreePhase) -> bool {
        self.lock().update.phase == *phase
    }

    /// Reports that it ended early.
    pub(crate) async fn failed(&self, code: ErrorCode, reason: String) {
        let phase = match code {
            ErrorCode::Denied => TreePhase::Denied { reason },
            ErrorCode::Cancelled => TreePhase::Cancelled { reason },
            _ => TreePhase::Failed { code, reason },
        };
        self.stage(phase).await;
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if !state.begun {
            return;
        }
        let State { update, pace, moved, .. } = &mut *state;
        let left = update.total.saturating_sub(update.bytes);
        let seen = pace.look(Instant::now(), self.reporter.every(), (*moved, left));
        let Some(seen) = seen else { return };
        (update.rate, update.eta) = (Some(seen.rate), seen.eta);
        update.phase = TreePhase::Progress;
        self.reporter.look_at_the_way(&mut update.via);
        self.reporter.note(&update.listed());
        self.reporter.mention(Event::Tree(update.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
