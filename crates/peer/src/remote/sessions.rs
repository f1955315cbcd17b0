//! Sessions with other peers: made when needed, kept while used, closed when idle.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use portolan_protocol::Name;
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{
    CloseCode, Connection, ConnectionStats, Lifetime, Priority, RecvStream, SendStream,
};
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Host, Introducer, Meeting,
    meeting::{Introduced, Role},
    paths::{Paths, Rank},
    rate::Rate,
    serve::{answer_introductions, serve},
    way::Way,
};
use crate::{Event, PathInfo, ReachError, Via};

/// How long reports about a broken session may wait for the application.
const LAST_REPORTS: Duration = Duration::from_secs(10);

/// What takes long waits so long for the best way.
const BEST_WAY_SOON: Duration = Duration::from_secs(1);
/// Whom the server does not vouch for any more shows a sign of life within this.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// The same for one that begins another session meanwhile.
const SIGN_OF_LIFE_AT_ONCE: Duration = Duration::from_secs(1);
/// Where only a direct way is allowed, it is waited for so long.
const ONLY_WAY: Duration = Duration::from_secs(12);

/// All sessions with other peers. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Sessions {
    introducer: Introducer,
    host: Arc<Host>,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    next_driver: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    by_name: HashMap<Name, Arc<OnceCell<Arc<Session>>>>,
    drivers: HashMap<u64, Driven>,
}

/// The task of a session.
#[derive(Debug)]
struct Driven {
    who: Name,
    meeting: Arc<Meeting>,
    _task: AbortOnDropHandle<()>,
}

/// A session with one peer.
#[derive(Debug)]
pub(crate) struct Session {
    /// All its connections, as one.
    connection: Arc<dyn Connection>,
    paths: Arc<Paths>,
    usage: Arc<Usage>,
}

/// A request's stream to another peer, which keeps the session from being idle.
pub(crate) struct PeerStream {
    pub(crate) reader: FrameReader<RecvStream>,
    pub(crate) writer: FrameWriter<SendStream>,
    pub(crate) lease: Lease,
    /// By which it goes.
    pub(crate) way: Way,
}

impl Sessions {
    pub(crate) fn new(introducer: Introducer, host: Arc<Host>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(host.limits.sessions));
        let (state, next_driver) = (Mutex::default(), AtomicU64::new(0));
        let sessions = Arc::new(Self { introducer, host, permits, state, next_driver });
        sessions.host.calls.attach(Arc::downgrade(&sessions));
        sessions.host.set_ways(Arc::downgrade(&sessions));
        sessions
    }

    /// Ends all of them, with whatever they are doing; no more begin.
    pub(crate) fn end(&self) {
        self.permits.close();
        let state = std::mem::take(&mut *self.lock());
        drop(state);
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(crate) fn introducer(&self) -> &Introducer {
        &self.introducer
    }

    /// Opens a stream to `who`, with a new session if there is none. Cancel safe.
    pub(crate) async fn open(
        self: &Arc<Self>,
        who: &Name,
        priority: Priority,
    ) -> Result<PeerStream, ReachError> {
        let (session, fresh) = self.session(who).await?;
        match session.open(priority).await {
            Ok(stream) => return Ok(stream),
            Err(error) if fresh => return Err(broken(who, &error)),
            // The kept session had ended without our notice: once more with a new one.
            Err(_) => self.forget(who, &session),
        }
        let (session, _) = self.session(who).await?;
        session.open(priority).await.map_err(|error| broken(who, &error))
    }

    /// The way that bytes to and from `who` take now.
    pub(crate) fn via(&self, who: &Name) -> Option<Via> {
        let path = self.path(who);
        Some(Via { kind: path.kind?, transport: path.transport })
    }

    /// Whether a session with `who` is open and has a way left.
    pub(crate) fn goes_on(&self, who: &Name) -> bool {
        let session = self.lock().by_name.get(who).and_then(|cell| cell.get().cloned());
        session.is_some_and(|session| !session.paths.is_over())
    }

    /// Sends a datagram to `who` if a session is open; says whether one was. Never waits.
    pub(crate) fn send_datagram(&self, who: &Name, datagram: Bytes, lifetime: Lifetime) -> bool {
        let session = self.lock().by_name.get(who).and_then(|cell| cell.get().cloned());
        session.is_some_and(|session| session.connection.send_datagram(datagram, lifetime).is_ok())
    }

    /// How `who` is reached now, without opening anything.
    pub(crate) fn path(&self, who: &Name) -> PathInfo {
        let session = self.lock().by_name.get(who).and_then(|cell| cell.get().cloned());
        match session {
            Some(session) => self.introducer.describe(who, &session.paths),
            None => self.introducer.no_path(who),
        }
    }

    /// What the best connection to `who` has carried.
    pub(crate) fn path_stats(&self, who: &Name) -> Option<ConnectionStats> {
        let session = self.lock().by_name.get(who).and_then(|cell| cell.get().cloned())?;
        Some(session.paths.best().connection.stats())
    }

    async fn session(self: &Arc<Self>, who: &Name) -> Result<(Arc<Session>, bool), ReachError> {
        let cell = Arc::clone(self.lock().by_name.entry(who.clone()).or_default());
        let mut fresh = false;
        let made: Result<_, ReachError> = cell
            .get_or_try_init(|| async {
                fresh = true;
                let max = self.host.limits.sessions;
                let permit = Arc::clone(&self.permits)
                    .try_acquire_owned()
                    .map_err(|_| ReachError::TooMany { max })?;
                let introduced = self.introducer.call(who).await?;
                Ok(self.start(who, introduced, permit))
            })
            .await
            .cloned();
        if made.is_err() {
            self.forget_empty(who);
        }
        let session = made?;
        if fresh {
            self.tell_path(who, &session.paths);
        }
        Ok((session, fresh))
    }

    /// Takes over a connection that `who` has opened.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        who: &Name,
        introduced: Introduced,
        permit: OwnedSemaphorePermit,
    ) {
        let session = self.start(who, introduced, permit);
        let paths = Arc::clone(&session.paths);
        let cell = Arc::clone(self.lock().by_name.entry(who.clone()).or_default());
        // One that we opened ourselves meanwhile stays the one we use; this one serves its opener.
        let _ = cell.set(session);
        self.tell_path(who, &paths);
    }

    /// A permit for one more session.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Ends sessions with `who` that it has left without a word: it begins another one.
    pub(crate) async fn check(&self, who: &Name) {
        let meetings: Vec<_> = {
            let state = self.lock();
            let theirs = state.drivers.values().filter(|driven| driven.who == *who);
            theirs.map(|driven| Arc::clone(&driven.meeting)).collect()
        };
        for meeting in meetings {
            meeting.check(SIGN_OF_LIFE_AT_ONCE).await;
        }
    }

    fn start(
        self: &Arc<Self>,
        who: &Name,
        introduced: Introduced,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Session> {
        let usage = Arc::new(Usage::default());
        let (meeting, paths) = Meeting::new(&self.introducer, who, introduced);
        let connection: Arc<dyn Connection> = Arc::<Paths>::clone(&paths);
        let session = Arc::new(Session { connection, paths, usage });
        let driver = Driver {
            who: who.clone(),
            session: Arc::clone(&session),
            meeting: Arc::clone(&meeting),
            host: Arc::clone(&self.host),
            sessions: Arc::downgrade(self),
            number: self.next_driver.fetch_add(1, Ordering::Relaxed),
            _permit: permit,
        };
        let number = driver.number;
        // Under the lock, so that the driver cannot take itself off before it is on the list.
        let mut state = self.lock();
        let _task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        state.drivers.insert(number, Driven { who: who.clone(), meeting, _task });
        session
    }

    fn tell_path(&self, who: &Name, paths: &Paths) {
        self.host.tell(Event::Path(self.introducer.describe(who, paths)));
    }

    fn forget(&self, who: &Name, session: &Arc<Session>) {
        let mut state = self.lock();
        let same = |cell: &Arc<OnceCell<Arc<Session>>>| {
            cell.get().is_some_and(|kept| Arc::ptr_eq(kept, session))
        };
        if state.by_name.get(who).is_some_and(same) {
            state.by_name.remove(who);
        }
    }

    /// A call that failed leaves no entry, unless someone else is trying.
    fn forget_empty(&self, who: &Name) {
        let mut state = self.lock();
        let unused = |cell: &Arc<OnceCell<_>>| !cell.initialized() && Arc::strong_count(cell) <= 2;
        if state.by_name.get(who).is_some_and(unused) {
            state.by_name.remove(who);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    async fn open(&self, priority: Priority) -> Result<PeerStream, String> {
        let lease = Lease::new(&self.usage);
        match (priority, self.paths.least()) {
            // What takes long had better begin on the way that it will be glad of.
            (Priority::Bulk, Rank::Stream) => self.paths.settled(BEST_WAY_SOON).await,
            (_, Rank::Stream) => {}
            (_, Rank::Relayed | Rank::Direct) => self.paths.settled(ONLY_WAY).await,
        }
        let opened = self.paths.open(priority).await;
        let (way, (send, receive)) = opened.map_err(|error| error.to_string())?;
        let (reader, writer) = (FrameReader::new(receive), FrameWriter::new(send));
        Ok(PeerStream { reader, writer, lease, way })
    }
}

fn broken(who: &Name, detail: &str) -> ReachError {
    ReachError::Broken { who: who.clone(), detail: detail.to_owned() }
}

/// How many of our own requests are under way on a session.
#[derive(Debug, Default)]
struct Usage {
    leases: AtomicUsize,
    /// Requests of the other side.
    serving: AtomicUsize,
    /// Counts every lease ever given, so that use between two looks is seen.
    given: AtomicU64,
}

impl Usage {
    /// Whether anything is under way.
    fn is_any(&self) -> bool {
        self.leases.load(Ordering::Relaxed) > 0 || self.serving.load(Ordering::Relaxed) > 0
    }
}

/// Keeps a session from being idle.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Usage>);

impl Lease {
    fn new(usage: &Arc<Usage>) -> Self {
        usage.leases.fetch_add(1, Ordering::Relaxed);
        usage.given.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(usage))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves the other side's streams and closes the session when nobody uses it.
struct Driver {
    who: Name,
    session: Arc<Session>,
    meeting: Arc<Meeting>,
    host: Arc<Host>,
    sessions: Weak<Sessions>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Driver {
    async fn run(self) {
        self.drive().await;
        if let Some(sessions) = self.sessions.upgrade() {
            sessions.forget(&self.who, &self.session);
            // The last act: dropping our own handle aborts nothing that is still to be done.
            sessions.lock().drivers.remove(&self.number);
        }
    }

    async fn drive(&self) {
        let idle = self.host.timing.session_idle;
        let mut rate =
            Rate::new(Instant::now(), self.host.limits.requests_per_second, Duration::from_secs(1));
        let mut serving = JoinSet::new();
        let mut resume_at = Instant::now();
        let mut idle_at = Instant::now() + idle;
        let (mut given, mut hears) = (0, true);
        let seeking = match self.meeting.role() {
            Role::Caller => Some(tokio::spawn(Arc::clone(&self.meeting).seek())),
            Role::Callee => None,
        };
        let _seeking = seeking.map(AbortOnDropHandle::new);
        let introductions = answer_introductions(Arc::clone(&self.host), Arc::clone(&self.meeting));
        let _introductions = AbortOnDropHandle::new(tokio::spawn(introductions));
        let _relay = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self.meeting).watch_relay()));
        let usage = Arc::clone(&self.session.usage);
        let watching = Arc::clone(&self.meeting).watch(move || usage.is_any());
        let _watching = AbortOnDropHandle::new(tokio::spawn(watching));
        let mut news = self.session.paths.news();
        let (mut told, mut checking) = (None, None);
        loop {
            self.session.usage.serving.store(serving.len(), Ordering::Relaxed);
            let room = serving.len() < self.host.limits.streams;
            let connection = &self.session.connection;
            tokio::select! {
                stream = async { sleep_until(resume_at).await; self.session.paths.accept().await }, if room => {
                    let Ok(stream) = stream else { break };
                    let (who, host) = (self.who.clone(), Arc::clone(&self.host));
                    let (sessions, meeting) = (Weak::clone(&self.sessions), Arc::clone(&self.meeting));
                    serving.spawn(async move { serve((&host, &meeting), &sessions, &who, stream).await });
                    resume_at = rate.take(Instant::now()).err().unwrap_or_else(Instant::now);
                    idle_at = Instant::now() + idle;
                }
                Some(served) = serving.join_next(), if !serving.is_empty() => {
                    if let Err(error) = served && error.is_panic() {
                        tracing::error!(%error, "serving a peer failed");
                    }
                    idle_at = Instant::now() + idle;
                }
                datagram = connection.recv_datagram(), if hears => match datagram {
                    Ok(datagram) => self.host.datagrams.on_datagram(&self.who, datagram),
                    // The connection is gone, which the streams tell too.
                    Err(_) => hears = false,
                },
                Ok(()) = news.changed() => {
                    self.tell_news(&mut told);
                    if checking.is_none() && !self.session.paths.is_vouched_for() {
                        let meeting = Arc::clone(&self.meeting);
                        let check = async move { meeting.check(SIGN_OF_LIFE).await };
                        checking = Some(AbortOnDropHandle::new(tokio::spawn(check)));
                    }
                }
                () = sleep_until(idle_at) => {
                    if serving.is_empty() && !self.used_since(&mut given) {
                        connection.close(CloseCode::DONE, "idle");
                        return;
                    }
                    idle_at = Instant::now() + idle;
                }
            }
        }
        // The connection is gone: those who served it notice, clean up and tell the application.
        let ends = async { while serving.join_next().await.is_some() {} };
        let _ = timeout(LAST_REPORTS, ends).await;
    }

    /// Tells of another way, or of another reason.
    fn tell_news(&self, told: &mut Option<PathInfo>) {
        let paths = &self.session.paths;
        let Some(sessions) = self.sessions.upgrade().filter(|_| !paths.is_over()) else { return };
        let path = sessions.introducer.describe(&self.who, paths);
        if told.as_ref() != Some(&path) {
            self.host.tell(Event::Path(path.clone()));
            *told = Some(path);
        }
    }

    /// Whether a request of ours is under way or was made since the last look.
    fn used_since(&self, given: &mut u64) -> bool {
        let usage = &self.session.usage;
        let before = std::mem::replace(given, usage.given.load(Ordering::Relaxed));
        before != *given || usage.leases.load(Ordering::Relaxed) > 0
    }
}
