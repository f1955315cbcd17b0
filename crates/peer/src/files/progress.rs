//! Reports about one file that goes over: alone, or as a part of a directory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use portolan_protocol::{ErrorCode, Hash, Name};
use tokio::time::Instant;

use super::{Orders, Pace, Reporter, Tally};
use crate::{Event, FileError, FilePhase, FileUpdate, Via};

/// Reports about one file.
#[derive(Debug)]
pub(crate) struct Progress {
    standing: Standing,
    update: FileUpdate,
    pace: Pace,
    begun: bool,
}

/// Whether a file stands for itself.
#[derive(Debug)]
enum Standing {
    /// It is on the list of transfers.
    Alone(Reporter),
    /// Its directory is, and reports in its place.
    Part(Part),
}

/// What a file has added to the count of its directory.
#[derive(Debug)]
struct Part {
    tally: Arc<Tally>,
    counted: u64,
}

impl Part {
    fn set(&mut self, bytes: u64) {
        self.tally.retract(self.counted);
        self.tally.resume(bytes);
        self.counted = bytes;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // The file did not arrive.
        self.tally.retract(self.counted);
    }
}

impl Progress {
    /// Reports begin with `update`.
    pub(crate) fn new(reporter: Reporter, update: FileUpdate) -> Self {
        Self::standing(Standing::Alone(reporter), update)
    }

    fn standing(standing: Standing, update: FileUpdate) -> Self {
        Self { standing, update, pace: Pace::new(Instant::now()), begun: false }
    }

    /// Reports say from now on how the bytes go by this stream.
    pub(crate) fn look_at(&mut self, ways: impl Fn() -> Option<Via> + Send + Sync + 'static) {
        if let Standing::Alone(reporter) = &mut self.standing {
            reporter.ways = Box::new(ways);
        }
    }

    /// Counts a file as a part of a directory, and reports nothing itself.
    pub(crate) fn within(tally: &Arc<Tally>, name: &str, total: u64) -> Self {
        let (id, with, direction) = tally.route();
        let update = FileUpdate {
            id,
            with,
            direction,
            name: name.to_owned(),
            phase: FilePhase::Started,
            bytes: 0,
            resumed: 0,
            total,
            via: None,
            rate: None,
            eta: None,
        };
        let part = Standing::Part(Part { tally: Arc::clone(tally), counted: 0 });
        Self::standing(part, update)
    }

    /// The file of a directory has arrived: its bytes stay counted.
    pub(crate) fn settle(&mut self) {
        if let Standing::Part(part) = &mut self.standing {
            part.counted = 0;
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.update.bytes
    }

    pub(crate) fn total(&self) -> u64 {
        self.update.total
    }

    pub(crate) fn with(&self) -> &Name {
        &self.update.with
    }

    pub(crate) fn name(&self) -> &str {
        &self.update.name
    }

    /// What people want of the transfer.
    pub(crate) fn orders(&self) -> Orders {
        match &self.standing {
            Standing::Alone(reporter) => reporter.orders(),
            Standing::Part(part) => part.tally.orders(),
        }
    }

    /// Whether it was last reported as paused.
    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.update.phase, FilePhase::Paused { .. })
    }

    /// Whether bytes were ever due: from then on a break is worth another try.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Notes the size once it is known.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.update.total = total;
    }

    /// Begins, or begins again, with so many bytes that need not go over.
    pub(crate) fn resume_with(&mut self, bytes: u64) {
        self.update.bytes = bytes;
        self.update.resumed = bytes;
        self.begun = true;
        if let Standing::Part(part) = &mut self.standing {
            part.set(bytes);
        }
        self.pace.start_at(Instant::now(), bytes);
    }

    /// Notes what is left of a broken transfer.
    pub(crate) fn fall_back_to(&mut self, bytes: u64) {
        self.update.bytes = bytes;
        self.pace.fall_back_to(bytes);
        if let Standing::Part(part) = &mut self.standing {
            part.set(bytes);
        }
    }

    /// Counts bytes, and reports them when it is time and the application has room for it.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.update.bytes += bytes;
        let reporter = match &mut self.standing {
            Standing::Part(part) => {
                part.counted += bytes;
                return part.tally.advance(bytes);
            }
            Standing::Alone(reporter) => reporter,
        };
        let left = self.update.total.saturating_sub(self.update.bytes);
        let seen = self.pace.look(Instant::now(), reporter.every(), (self.update.bytes, left));
        if let Some(seen) = seen {
            (self.update.rate, self.update.eta) = (Some(seen.rate), seen.eta);
            self.update.phase = FilePhase::Progress;
            reporter.look_at_the_way(&mut self.update.via);
            reporter.note(&self.update);
            reporter.mention(Event::File(self.update.clone()));
        }
    }

    /// Reports a stage.
    pub(crate) async fn stage(&mut self, phase: FilePhase) {
        let Standing::Alone(reporter) = &self.standing else { return };
        if phase == FilePhase::Started {
            self.pace.start_at(Instant::now(), self.update.bytes);
            reporter.look_at_the_way(&mut self.update.via);
        }
        self.update.phase = phase;
        reporter.note(&self.update);
        reporter.tell(Event::File(self.update.clone())).await;
    }

    /// Reports that a file of that size waits for a decision.
    pub(crate) async fn offered(&mut self, total: u64) {
        self.set_total(total);
        self.stage(FilePhase::Offered).await;
    }

    pub(crate) async fn done(&mut self, hash: Hash, path: Option<PathBuf>) {
        self.update.eta = Some(Duration::ZERO);
        self.stage(FilePhase::Done { hash, path }).await;
    }

    pub(crate) async fn interrupted(&mut self, reason: String) {
        self.rest();
        self.stage(FilePhase::Interrupted { reason }).await;
    }

    /// Reports that a person holds it, once.
    pub(crate) async fn paused(&mut self, reason: String) {
        let phase = FilePhase::Paused { reason };
        if self.update.phase != phase {
            self.rest();
            self.stage(phase).await;
        }
    }

    fn rest(&mut self) {
        self.pace.rest();
        (self.update.rate, self.update.eta) = (None, None);
    }

    /// Reports that a person holds it, and stays on the list until it goes on.
    pub(crate) async fn parked(&mut self, reason: String) {
        self.paused(reason).await;
        if let Standing::Alone(reporter) = &self.standing {
            reporter.park();
        }
    }

    pub(crate) async fn failed(&mut self, error: &FileError) {
        self.failed_with(error.code(), error.to_string()).await;
    }

    pub(crate) async fn failed_with(&mut self, code: ErrorCode, reason: String) {
        self.update.eta = None;
        let phase = match code {
            ErrorCode::Denied => FilePhase::Denied { reason },
            ErrorCode::Cancelled => FilePhase::Cancelled { reason },
            _ => FilePhase::Failed { code, reason },
        };
        self.stage(phase).await;
    }
}
