//! Finds the host of a network without a server, and becomes it where there is none.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use portolan_identity::{Expect, Identity, PeerId};
use portolan_nat_io::{LanBrowser, LanRole, LanServer};
use portolan_protocol::Name;
use portolan_transport::{CloseCode, Transport};
use thiserror::Error;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    FoundServer, Hosting, ServerSource,
    gathering::{Action, Gathering, MayHost},
    host::{Hosted, Watch},
    sightings::{Change, Sightings},
};
use crate::{
    Config, Stack,
    dial::{dial, ways},
    session::random,
};

/// Who is on the same network has answered by then.
const CHECK_TIME: Duration = Duration::from_secs(4);

/// Why a network has no server and gets none.
#[derive(Debug, Error)]
pub(crate) enum LanError {
    /// Multicast DNS cannot be used.
    #[error(transparent)]
    Multicast(#[from] portolan_nat_io::LanError),
    /// Nobody is there, and we do not host.
    #[error("nobody is there")]
    Nobody,
    /// There are several servers, and a person has to choose.
    #[error("several servers are on this network")]
    Several(Vec<LanServer>),
    /// Nobody is there, and our own server did not start.
    #[error("nobody is there, and no server could be started here: {0}")]
    Hosting(String),
}

/// What a person may want to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LanNews {
    /// Nobody was there: we host.
    Hosting(FoundServer, Turn),
    /// We go to the host with this key.
    Joining(FoundServer, LanRole, Turn),
    /// A host that counts more is there, and ours ends.
    GivingWay { to: PeerId },
}

/// Whether there was another host before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    Again,
}

/// Where to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A server that somebody has set up.
    SetUp(LanServer),
    /// A host, which may be ourselves.
    Passing(FoundServer),
}

/// Who is told.
pub(crate) type Tell = Arc<dyn Fn(LanNews) + Send + Sync>;

/// What holds for all searches of a program.
pub(crate) struct Rules {
    /// Only this server counts.
    pub(crate) pinned: Option<PeerId>,
    /// How we come to a server when nobody is there.
    pub(crate) hosting: Option<&'static dyn Hosting>,
    /// How others are reached.
    pub(crate) transports: Vec<&'static dyn Transport>,
    pub(crate) tell: Tell,
}

/// Finds the host of this network each time there may be another one.
pub(crate) struct LanFinder {
    rules: Rules,
    check: Arc<Check>,
    state: Mutex<State>,
    /// Cancelled when this program leaves.
    leaving: CancellationToken,
    /// The host that was given out last and not reached yet.
    tried: std::sync::Mutex<Option<PeerId>>,
    /// There was a host before.
    has_met: AtomicBool,
}

#[derive(Default)]
struct State {
    hosted: Option<Hosted>,
    /// Hosts that were not reached, for the next searches.
    unreached: BTreeMap<PeerId, Instant>,
    /// The servers among those that the last search has found.
    set_up: Vec<LanServer>,
}

impl State {
    fn role(&self, id: PeerId) -> LanRole {
        let key = id.to_string();
        match self.set_up.iter().any(|server| server.key == key) {
            true => LanRole::SetUp,
            false => LanRole::Passing,
        }
    }
}

impl fmt::Debug for LanFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanFinder").field("pinned", &self.rules.pinned).finish_non_exhaustive()
    }
}

impl LanFinder {
    pub(crate) fn new(rules: Rules, name: Name, stack: &Stack) -> Self {
        let check = Check { name, stack: *stack, transports: rules.transports.clone() };
        Self {
            rules,
            check: Arc::new(check),
            state: Mutex::default(),
            leaving: CancellationToken::new(),
            tried: std::sync::Mutex::default(),
            has_met: AtomicBool::new(false),
        }
    }

    /// Looks where to begin: a server that was set up is gone to as to any other.
    ///
    /// # Errors
    /// [`LanError`] says why there is nowhere to go.
    pub(crate) async fn begin(&self) -> Result<Target, LanError> {
        let found = self.look().await?;
        let mut set_up = std::mem::take(&mut self.state.lock().await.set_up);
        match set_up.len() {
            0 => Ok(Target::Passing(found)),
            1 => Ok(Target::SetUp(set_up.remove(0))),
            _ => Err(LanError::Several(set_up)),
        }
    }

    /// Looks for the host of this network; may become it.
    pub(crate) async fn look(&self) -> Result<FoundServer, LanError> {
        let mut state = self.state.lock().await;
        if let Some(found) = state.hosted.as_ref().and_then(Hosted::found) {
            return Ok(found);
        }
        if let Some(hosted) = state.hosted.take() {
            // It has given way: its guests, and we among them, go on when it has ended.
            hosted.leave().await;
        }
        if let Some(id) = self.tried().take() {
            state.unreached.insert(id, Instant::now());
        }
        let found = self.search(&mut state).await?;
        if state.hosted.is_none() {
            *self.tried() = Some(found.id);
        }
        let turn = match self.has_met.load(Ordering::Relaxed) {
            true => Turn::Again,
            false => Turn::First,
        };
        let news = match &state.hosted {
            Some(_) => LanNews::Hosting(found.clone(), turn),
            None => LanNews::Joining(found.clone(), state.role(found.id), turn),
        };
        if state.set_up.is_empty() || turn == Turn::Again {
            (self.rules.tell)(news);
        }
        Ok(found)
    }

    /// Whether a host was given out that was not reached yet.
    pub(crate) fn has_tried(&self) -> bool {
        self.tried().is_some()
    }

    /// Ends the server that we host, if we do. Nothing is found after that.
    pub(crate) async fn leave(&self) {
        self.leaving.cancel();
        let hosted = self.state.lock().await.hosted.take();
        if let Some(hosted) = hosted {
            hosted.leave().await;
        }
    }

    async fn search(&self, state: &mut State) -> Result<FoundServer, LanError> {
        let mut browser = LanBrowser::start()?;
        state.set_up.clear();
        let may_host = match (self.rules.hosting, self.rules.pinned) {
            (Some(_), None) => MayHost::Yes,
            (None, _) | (_, Some(_)) => MayHost::No,
        };
        let mut gathering = Gathering::new(may_host);
        for (id, when) in std::mem::take(&mut state.unreached) {
            if let Some(at) = gathering.shun(when, id, Instant::now()) {
                state.unreached.insert(id, at);
            }
        }
        let mut sightings = Sightings::new(self.rules.pinned);
        gathering.handle_search(Instant::now(), random());
        loop {
            gathering.handle_timeout(Instant::now());
            match gathering.poll_action() {
                Some(Action::Join(id)) => {
                    if let Some(found) = sightings.find(id) {
                        state.set_up = sightings.set_up();
                        return Ok(found);
                    }
                }
                Some(Action::Host) => {
                    return self.host(state, (browser, sightings, gathering)).await;
                }
                Some(Action::Nobody) => return Err(LanError::Nobody),
                // A search does not check.
                Some(Action::Check(_) | Action::GiveWay(_)) | None => {}
            }
            let Some(deadline) = gathering.poll_timeout() else { return Err(LanError::Nobody) };
            tokio::select! {
                () = self.leaving.cancelled() => return Err(LanError::Nobody),
                Some(sighting) = browser.next() => match sightings.note(sighting) {
                    Some(Change::Seen(id, role)) => {
                        gathering.handle_seen(Instant::now(), id, role);
                    }
                    Some(Change::Gone(id)) => gathering.handle_gone(id),
                    None => {}
                },
                () = sleep_until(deadline) => {}
            }
        }
    }

    async fn host(
        &self,
        state: &mut State,
        (browser, sightings, mut gathering): (LanBrowser, Sightings, Gathering),
    ) -> Result<FoundServer, LanError> {
        let hosting = self.rules.hosting.ok_or(LanError::Nobody)?;
        let host = hosting.start().await.map_err(LanError::Hosting)?;
        let id = host.id();
        gathering.handle_hosting(id);
        let watch = Watch {
            browser,
            sightings,
            gathering,
            check: Arc::clone(&self.check),
            tell: Arc::clone(&self.rules.tell),
            over: CancellationToken::new(),
            leaving: CancellationToken::new(),
        };
        let hosted = state.hosted.insert(Hosted::start(host, watch));
        hosted.found().ok_or(LanError::Nobody)
    }

    fn tried(&self) -> std::sync::MutexGuard<'_, Option<PeerId>> {
        self.tried.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl ServerSource for LanFinder {
    async fn find(&self) -> Option<FoundServer> {
        self.look().await.inspect_err(|error| tracing::info!(%error, "no host was found")).ok()
    }

    fn reached(&self, id: PeerId) {
        self.has_met.store(true, Ordering::Relaxed);
        let mut tried = self.tried();
        if *tried == Some(id) {
            *tried = None;
        }
    }
}

/// Finds out whether a host is where it says it is, and has the key that it claims.
pub(super) struct Check {
    name: Name,
    stack: Stack,
    transports: Vec<&'static dyn Transport>,
}

impl Check {
    pub(super) async fn is_there(&self, found: &FoundServer) -> bool {
        let ways = ways(&found.addresses, &self.transports);
        let Some(first) = ways.first() else { return false };
        // Who asks is nobody's business, and logs in nowhere.
        let config = Config::new(
            self.name.clone(),
            Identity::generate(),
            first.server,
            Expect::Id(found.id),
            first.transport,
            self.stack.tunnel,
        );
        match timeout(CHECK_TIME, dial(&config, &ways)).await {
            Ok(Ok((_, connected))) => {
                connected.connection.close(CloseCode::DONE, "it is there");
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
