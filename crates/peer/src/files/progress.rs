//! Reports about one transfer: stages always, progress a few times a second.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use portolan_protocol::{ErrorCode, Hash, Name};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{Orders, Tally, Ticket};
use crate::{Event, FileError, FilePhase, FileUpdate, Via};

/// How much the latest rate counts against those before it.
const SMOOTHING: f64 = 0.3;

/// Tells how bytes go at the moment.
type Ways = Box<dyn Fn() -> Option<Via> + Send + Sync>;

/// Reports about one transfer.
pub(crate) struct Progress {
    ways: Option<Ways>,
    events: mpsc::Sender<Event>,
    every: Duration,
    patience: Duration,
    standing: Standing,
    update: FileUpdate,
    rate: Option<f64>,
    begun: bool,
    reported_at: Instant,
    reported_bytes: u64,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("update", &self.update).finish_non_exhaustive()
    }
}

/// Whether a file stands for itself.
#[derive(Debug)]
enum Standing {
    /// It is on the list of transfers.
    Alone(Ticket),
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
    /// Reports begin with `update`; a stage waits `patience` for room, then is dropped.
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        (ticket, update): (Ticket, FileUpdate),
        every: Duration,
        patience: Duration,
    ) -> Self {
        Self::standing((events, Standing::Alone(ticket)), update, every, patience)
    }

    fn standing(
        (events, standing): (mpsc::Sender<Event>, Standing),
        update: FileUpdate,
        every: Duration,
        patience: Duration,
    ) -> Self {
        let reported_at = Instant::now();
        Self {
            ways: None,
            events,
            every,
            patience,
            standing,
            update,
            rate: None,
            begun: false,
            reported_at,
            reported_bytes: 0,
        }
    }

    /// Reports say how the bytes go.
    pub(crate) fn seen_by(
        mut self,
        ways: impl Fn() -> Option<Via> + Send + Sync + 'static,
    ) -> Self {
        self.ways = Some(Box::new(ways));
        self
    }

    fn look_at_the_way(&mut self) {
        // Where nothing is known of it any more, the last word stays.
        if let Some(via) = self.ways.as_ref().and_then(|ways| ways()) {
            self.update.via = Some(via);
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
        Self::standing((tally.events(), part), update, Duration::MAX, Duration::ZERO)
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
            Standing::Alone(ticket) => ticket.orders(),
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
        self.reported_bytes = bytes;
        self.reported_at = Instant::now();
    }

    /// Notes what is left of a broken transfer.
    pub(crate) fn fall_back_to(&mut self, bytes: u64) {
        self.update.bytes = bytes;
        self.reported_bytes = bytes;
        if let Standing::Part(part) = &mut self.standing {
            part.set(bytes);
        }
    }

    /// Counts bytes, and reports them when it is time and the application has room for it.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.update.bytes += bytes;
        if let Standing::Part(part) = &mut self.standing {
            part.counted += bytes;
            return part.tally.advance(bytes);
        }
        let now = Instant::now();
        let passed = now.duration_since(self.reported_at);
        if passed < self.every {
            return;
        }
        self.measure(passed);
        self.reported_at = now;
        self.update.phase = FilePhase::Progress;
        self.look_at_the_way();
        self.note();
        let _ = self.events.try_send(Event::File(self.update.clone()));
    }

    /// Reports a stage.
    pub(crate) async fn stage(&mut self, phase: FilePhase) {
        if let Standing::Part(_) = &self.standing {
            return;
        }
        if phase == FilePhase::Started {
            self.reported_at = Instant::now();
            self.look_at_the_way();
        }
        self.update.phase = phase;
        self.note();
        let report = self.events.send(Event::File(self.update.clone()));
        let _ = timeout(self.patience, report).await;
    }

    /// Brings the list of transfers up to date.
    fn note(&self) {
        if let Standing::Alone(ticket) = &self.standing {
            ticket.note(&self.update);
        }
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
        (self.rate, self.update.rate, self.update.eta) = (None, None, None);
        self.stage(FilePhase::Interrupted { reason }).await;
    }

    /// Reports that a person holds it, once.
    pub(crate) async fn paused(&mut self, reason: String) {
        let phase = FilePhase::Paused { reason };
        if self.update.phase != phase {
            (self.rate, self.update.rate, self.update.eta) = (None, None, None);
            self.stage(phase).await;
        }
    }

    /// Reports that a person holds it, and stays on the list until it goes on.
    pub(crate) async fn parked(&mut self, reason: String) {
        self.paused(reason).await;
        if let Standing::Alone(ticket) = &self.standing {
            ticket.park();
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

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate for people"
    )]
    fn measure(&mut self, passed: Duration) {
        let bytes = self.update.bytes.saturating_sub(self.reported_bytes);
        self.reported_bytes = self.update.bytes;
        let latest = bytes as f64 / passed.as_secs_f64().max(0.001);
        let rate = self.rate.map_or(latest, |rate| rate + SMOOTHING * (latest - rate));
        self.rate = Some(rate);
        self.update.rate = Some(rate as u64);
        let left = self.update.total.saturating_sub(self.update.bytes);
        self.update.eta =
            (rate >= 1.0).then(|| Duration::try_from_secs_f64(left as f64 / rate).ok()).flatten();
    }
}
