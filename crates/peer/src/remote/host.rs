//! What this peer is to others: what it shares, what it takes, and who decides.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use portolan_protocol::{ErrorBody, ErrorCode, Hash, Name, Offer};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::spawn_blocking,
    time::{Duration, timeout},
};

use super::{
    Sessions,
    agreements::{Agreements, Standing},
    claims::Claims,
    datagrams::Datagrams,
    transfer::remove_part,
    tree::{AgreedTrees, Tickets},
    tries::Outlook,
};
use crate::{
    Config, Direction, Event, Existing, FileError, FilePhase, FileRule, FileRules, FileUpdate,
    Keep, Limits, RuleChanges, Stop, Timing, TransferId, TreePhase, TreeUpdate, Warning,
    calls::Calls,
    files::{
        Admission, Heard, Order, OrderReached, Progress, Quota, Reporter, Share, ShareError, Tally,
        Transfers, Trees,
    },
    tree::event_of_parked,
};

/// How long a report about a transfer of others waits for the application to read its events.
pub(crate) const REPORT_PATIENCE: Duration = Duration::from_secs(15);

/// Shared by every session with another peer.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) downloads: PathBuf,
    pub(crate) existing: Existing,
    pub(crate) keep: Keep,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    /// One permit a transfer that we began.
    pub(crate) ours: Semaphore,
    /// One permit a transfer that others began; apart, so that two peers never wait for each other.
    pub(crate) theirs: Semaphore,
    /// Trees of files that were sent lately.
    pub(crate) trees: Arc<Trees>,
    /// What is heard in files that were listed lately.
    pub(crate) heard: Arc<Heard>,
    /// Offers that we agreed to and that may go on.
    pub(crate) agreements: Agreements,
    /// What comes in datagrams, and for whom.
    pub(crate) datagrams: Arc<Datagrams>,
    pub(crate) calls: Arc<Calls>,
    /// What others fetch from us and may come for again after it was stopped.
    pub(crate) lent: Agreements,
    /// All transfers that people may see and stop.
    pub(crate) transfers: Arc<Transfers>,
    /// By which stream each offered file comes.
    pub(crate) claims: Arc<Claims>,
    rules: RwLock<FileRules>,
    quota: Arc<Quota>,
    /// Knows how others are reached.
    ways: OnceLock<Weak<Sessions>>,
    /// One permit a directory that another peer walks.
    pub(crate) walks: Semaphore,
    /// Directories that we offer.
    pub(crate) tickets: Arc<Tickets>,
    /// Offered directories that we agreed to and that may go on.
    pub(crate) agreed_trees: AgreedTrees,
    share: RwLock<Option<Arc<Share>>>,
    offers: Mutex<HashMap<TransferId, oneshot::Sender<Decision>>>,
    next_transfer: AtomicU64,
    events: mpsc::Sender<Event>,
}

/// What a person, or the rule, says about an offered file.
#[derive(Debug)]
pub(crate) enum Decision {
    Accept,
    Deny { reason: String },
}

impl Host {
    pub(crate) fn new(config: &Config, events: mpsc::Sender<Event>) -> Result<Self, ShareError> {
        let share = match &config.share {
            Some(path) => Some(Arc::new(Share::new(path, &config.limits)?)),
            None => None,
        };
        let datagrams = Arc::<Datagrams>::default();
        let calls = Calls::new(config, events.clone(), Arc::clone(&datagrams));
        Ok(Self {
            downloads: config.downloads.clone(),
            existing: config.existing,
            keep: config.keep,
            limits: config.limits,
            timing: config.timing,
            ours: Semaphore::new(config.limits.own_transfers.max(1)),
            theirs: Semaphore::new(config.limits.transfers),
            trees: Arc::default(),
            heard: Arc::default(),
            agreements: Agreements::new(config.limits.offers),
            datagrams,
            calls: Arc::new(calls),
            lent: Agreements::new(config.limits.offers),
            transfers: Arc::new(Transfers::new(config.limits.offers)),
            claims: Arc::default(),
            rules: RwLock::new(FileRules {
                default: config.accept_files,
                ..config.file_rules.clone()
            }),
            quota: Arc::new(Quota::new(config.downloads.clone(), config.limits.share_entries)),
            ways: OnceLock::new(),
            walks: Semaphore::new(config.limits.transfers),
            tickets: Arc::default(),
            agreed_trees: AgreedTrees::new(config.limits.offers),
            share: RwLock::new(share),
            offers: Mutex::default(),
            next_transfer: AtomicU64::new(1),
            events,
        })
    }

    /// Learns who knows how others are reached.
    pub(crate) fn set_ways(&self, sessions: Weak<Sessions>) {
        let _ = self.ways.set(sessions);
    }

    /// What a transfer that has broken off has to expect.
    pub(crate) fn outlook(&self, who: &Name) -> Outlook {
        let ways = self.ways.get().and_then(Weak::upgrade);
        match ways.is_some_and(|ways| ways.goes_on(who)) {
            true => Outlook::OtherWay,
            false => Outlook::Unknown,
        }
    }

    /// What is shared now.
    pub(crate) fn share(&self) -> Option<Arc<Share>> {
        self.share.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_share(&self, share: Option<Arc<Share>>) {
        *self.share.write().unwrap_or_else(PoisonError::into_inner) = share;
    }

    /// Begins to report on a transfer that we began. Its outcome is an answer too, so that its
    /// reports never wait for the application.
    pub(crate) fn progress_of_ours(
        &self,
        direction: Direction,
        with: &Name,
        name: &str,
        total: u64,
    ) -> (TransferId, Progress) {
        let id = self.next_id();
        (id, self.progress(id, direction, with, (name, total), Duration::ZERO))
    }

    /// Begins to report on a transfer that another peer began.
    pub(crate) fn progress_of_theirs(
        &self,
        direction: Direction,
        with: &Name,
        name: &str,
        total: u64,
    ) -> (TransferId, Progress) {
        let id = self.next_id();
        (id, self.progress(id, direction, with, (name, total), REPORT_PATIENCE))
    }

    /// Goes on to report on a transfer that another peer began and that broke off.
    pub(crate) fn progress_again(
        &self,
        (id, direction): (TransferId, Direction),
        with: &Name,
        name: &str,
        total: u64,
    ) -> Progress {
        self.progress(id, direction, with, (name, total), REPORT_PATIENCE)
    }

    pub(crate) fn next_id(&self) -> TransferId {
        TransferId(self.next_transfer.fetch_add(1, Ordering::Relaxed))
    }

    fn progress(
        &self,
        id: TransferId,
        direction: Direction,
        with: &Name,
        (name, total): (&str, u64),
        patience: Duration,
    ) -> Progress {
        let update = FileUpdate {
            id,
            with: with.clone(),
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
        Progress::new(self.reporter(update.clone(), patience), update)
    }

    /// Begins to report on a directory; a stage waits `patience` for room.
    pub(crate) fn tally(&self, update: TreeUpdate, patience: Duration) -> Arc<Tally> {
        Tally::new(self.reporter(update.listed(), patience), update)
    }

    /// Puts a transfer on the list and tells of it.
    fn reporter(&self, listed: FileUpdate, patience: Duration) -> Reporter {
        let (ways, with) = (self.ways.get().cloned(), listed.with.clone());
        Reporter {
            ticket: self.transfers.begin(listed),
            events: self.events.clone(),
            ways: Box::new(move || ways.as_ref()?.upgrade()?.via(&with)),
            every: self.timing.progress,
            patience,
        }
    }

    /// Tells the application what it may also ask for; not waited for.
    pub(crate) fn tell(&self, event: Event) {
        let _ = self.events.try_send(event);
    }

    pub(crate) fn warn(&self, code: ErrorCode, message: String) {
        tracing::warn!(%code, "{message}");
        self.tell(Event::Warning(Warning { code, message }));
    }

    /// Whose files are taken, and how much of them.
    pub(crate) fn rules(&self) -> FileRules {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_rules(&self, changes: &RuleChanges) {
        changes.apply(&mut self.rules.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Finds room for an offered file within what people allow.
    pub(crate) async fn admit(&self, size: u64, hash: Hash) -> Result<Admission, ErrorBody> {
        let rules = self.rules();
        self.admit_within((size, hash), (rules.file_max, rules.total_max)).await
    }

    async fn admit_within(
        &self,
        what: (u64, Hash),
        bounds: (Option<u64>, Option<u64>),
    ) -> Result<Admission, ErrorBody> {
        let quota = Arc::clone(&self.quota);
        let admitted = spawn_blocking(move || quota.admit(what, bounds)).await;
        admitted.unwrap_or_else(|error| {
            tracing::error!(%error, "the directory of received files cannot be looked at");
            Err(ErrorBody::new(ErrorCode::Internal, "it could not be taken there"))
        })
    }

    /// A place for what is to come of a directory, if everything together is not too much.
    pub(crate) async fn admit_tree(&self, name: &str, bytes: u64) -> Result<Admission, ErrorBody> {
        let key = Hash(*blake3::hash(format!("{name}/").as_bytes()).as_bytes());
        self.admit_within((bytes, key), (None, self.rules().total_max)).await
    }

    /// Decides about an offered file, by the rule or by asking.
    pub(crate) async fn decide(
        &self,
        id: TransferId,
        offer: &Offer,
        progress: &mut Progress,
    ) -> Result<(), ErrorBody> {
        let denied = |reason: &str| Err(ErrorBody::new(ErrorCode::Denied, reason));
        match self.rules().rule_for(progress.with()) {
            FileRule::All => Ok(()),
            FileRule::None => denied("files are not accepted here"),
            FileRule::Ask => match self.ask(id, progress.offered(offer.size)).await? {
                Decision::Accept => Ok(()),
                Decision::Deny { reason } => denied(&reason),
            },
        }
    }

    /// Decides about an offered directory, by the rule or by asking.
    pub(crate) async fn decide_tree(&self, id: TransferId, tally: &Tally) -> Result<(), ErrorBody> {
        let denied = |reason: &str| Err(ErrorBody::new(ErrorCode::Denied, reason));
        match self.rules().rule_for(&tally.with()) {
            FileRule::All => Ok(()),
            FileRule::None => denied("files are not accepted here"),
            FileRule::Ask => match self.ask(id, tally.stage(TreePhase::Offered)).await? {
                Decision::Accept => Ok(()),
                Decision::Deny { reason } => denied(&reason),
            },
        }
    }

    /// Waits for a person, who is `told` first.
    async fn ask(
        &self,
        id: TransferId,
        told: impl Future<Output = ()>,
    ) -> Result<Decision, ErrorBody> {
        let waiting = self.wait_for_decision(id)?;
        told.await;
        let decision = timeout(self.timing.offer, waiting.decision).await;
        match decision {
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(_)) | Err(_) => {
                Err(ErrorBody::new(ErrorCode::TimedOut, "nobody decided about the file in time"))
            }
        }
    }

    fn wait_for_decision(&self, id: TransferId) -> Result<Waiting<'_>, ErrorBody> {
        let mut offers = self.offers();
        if offers.len() >= self.limits.offers {
            let message = "too many offered files wait for a decision; try later";
            return Err(ErrorBody::new(ErrorCode::Quota, message));
        }
        let (sender, decision) = oneshot::channel();
        offers.insert(id, sender);
        Ok(Waiting { decision, _offer: OfferEntry { host: self, id } })
    }

    /// Passes on what a person wants of a transfer.
    pub(crate) async fn on_order(&self, id: TransferId, order: Order) -> Result<(), FileError> {
        match self.transfers.order(id, order) {
            Some(OrderReached::UnderWay) => Ok(()),
            Some(OrderReached::Parked(update)) => self.on_parked_order(update, order).await,
            None => Err(FileError::NoSuchTransfer(id.0)),
        }
    }

    /// Who began it comes back with it, and hears then what has become of it here.
    async fn on_parked_order(&self, mut update: FileUpdate, order: Order) -> Result<(), FileError> {
        let agreed = match update.direction {
            Direction::Receive => &self.agreements,
            Direction::Send => &self.lent,
        };
        let known = agreed.order(update.id, order);
        let (standing, hash) = known.ok_or(FileError::NoSuchTransfer(update.id.0))?;
        match order {
            Order::Run if standing == Standing::Wanted => {
                return Err(FileError::stopped_by(Stop::Paused, &update.with));
            }
            Order::Run => {
                update.phase = FilePhase::Queued;
                self.transfers.note_parked(update.clone());
                self.tell(event_of_parked(update));
            }
            Order::Stop(Stop::Paused) => {}
            Order::Stop(stop @ Stop::Cancelled) => {
                self.transfers.end_parked(update.id);
                if let Some(hash) = hash {
                    // What was held a moment ago may still be putting its part aside.
                    remove_part(&self.downloads, hash).await;
                }
                let reason = FileError::Stopped { stop, by: None }.to_string();
                update.phase = FilePhase::Cancelled { reason };
                self.tell(event_of_parked(update));
            }
        }
        Ok(())
    }

    /// Passes a person's decision on.
    pub(crate) fn on_decision(&self, id: TransferId, decision: Decision) -> Result<(), FileError> {
        let waiting = self.offers().remove(&id).ok_or(FileError::NoSuchOffer(id.0))?;
        waiting.send(decision).map_err(|_| FileError::NoSuchOffer(id.0))
    }

    fn offers(&self) -> std::sync::MutexGuard<'_, HashMap<TransferId, oneshot::Sender<Decision>>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An offer that waits.
struct Waiting<'a> {
    decision: oneshot::Receiver<Decision>,
    _offer: OfferEntry<'a>,
}

/// Takes the offer off the list, however its wait ends.
struct OfferEntry<'a> {
    host: &'a Host,
    id: TransferId,
}

impl Drop for OfferEntry<'_> {
    fn drop(&mut self) {
        self.host.offers().remove(&self.id);
    }
}
