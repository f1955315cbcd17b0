//! A running server: it binds, accepts, and ends in good order.

use std::{
    fs::DirBuilder,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use portolan_datagram_io::{Lane, SharedSockets};
use portolan_gateway::OptionsError;
use portolan_identity::PeerId;
use portolan_nat_io::{Announcement, LanError, LanRole, ServiceError, StunService};
use portolan_protocol::{RelayInfo, RelayLoad};
use portolan_transport::{Carrier, Endpoint};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    bind::{BindAllError, Bound, bind_all},
    channels::Channels,
    clock,
    elsewhere::Relays,
    gateways::{self, BoundGateway, bind_gateways},
    hasher::Hasher,
    hub::Hub,
    monitor::Monitor,
    session::{self, Context},
    sightings::SightingWriter,
};
use crate::{
    bus::{Bounds, Bus, DirectBus, Doors, QueuedBus},
    close_code,
    config::{BusKind, Config, EventLog, Storage},
    core::{Core, CoreConfig, HeartbeatPolicy, Input, Registry, RegistryPolicy, Traffic},
    event_log::{EventSink, LogEntry, Rotation},
    metrics::Meter,
    presence::{MemoryPresence, Presence, PresenceError, SqlitePresence},
    store::{MemoryStore, QueueBounds, SqliteStore, Store, StoreError, StoreWriter},
};

/// The database inside the data directory.
const DATABASE: &str = "server.db";

/// What remembers who was last seen when, beside it.
const PRESENCE: &str = "presence.db";

/// After the farewells, tasks and endpoints have this long to end.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Why a server could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be had by every transport.
    #[error(transparent)]
    Bind(#[from] BindAllError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What remembers who was last seen when cannot be used.
    #[error(transparent)]
    Presence(#[from] PresenceError),
    /// The event log cannot be written.
    #[error("cannot write the event log {}", .path.display())]
    EventLog {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The address for metrics cannot be had.
    #[error("cannot tell metrics at {address}; choose another address, or none")]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The address for a gateway cannot be had.
    #[error(
        "the gateway {name} cannot listen at {address}; choose another with --gateway {name}=ADDR"
    )]
    Gateway {
        /// Which.
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// A gateway is told what it does not understand.
    #[error("the gateway {name}")]
    GatewayOption {
        /// Which.
        name: &'static str,
        /// What is wrong.
        source: OptionsError,
    },
    /// STUN cannot be answered where it was asked for.
    #[error(transparent)]
    Stun(#[from] ServiceError),
    /// The server cannot be announced on its networks.
    #[error("cannot announce the server on its networks")]
    Lan(#[from] LanError),
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A running server. Dropped, it ends at once and without a farewell; what it has answered
/// `stored` is kept. [`Self::shutdown`] ends it in good order.
pub struct Server {
    id: PeerId,
    hub: Arc<Hub>,
    bound: Vec<Bound>,
    gateways: Vec<(&'static str, SocketAddr)>,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
    /// Says on our networks that we are here.
    announcement: Option<Announcement>,
    /// Those that watch and end last.
    watchers: JoinSet<()>,
    metrics: Option<SocketAddr>,
    drain: Duration,
    /// Transports that accept.
    listening: Arc<AtomicUsize>,
}

impl Server {
    /// Opens the store, binds every transport and serves them.
    ///
    /// Not cancel safe: a dropped call may leave ports bound until the runtime has cleaned up.
    ///
    /// # Errors
    /// [`StartError`] when the store, the event log or an address cannot be had; nothing is left
    /// running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut store = open_store(&config)?;
        let snapshot = store.snapshot()?;
        let mut presence = open_presence(&config)?;
        let sightings = presence.recall(config.identity.id())?;
        let events = open_event_log(&config)?;
        let monitor = bind_monitor(&config).await?;
        let bound = bind_all(&config).await?;
        let gateways = bind_gateways(&config.gateways).await?;
        let stun = open_stun(&config, &bound)?;
        let mut registries: Vec<Registry> =
            bound.iter().map(|bound| registry(bound, &config)).collect();
        registries.extend(gateway_registries(&gateways, &config));
        let names: Vec<&'static str> = registries.iter().map(Registry::transport).collect();
        let traffic = registries.iter().map(Registry::traffic).collect();
        let core_config = CoreConfig {
            id: config.identity.id(),
            admins: config.admins.clone(),
            rights: config.rights.clone(),
            reserved: config.reserved.clone(),
            relaying: config.relaying.clone(),
            registries,
            limits: config.limits,
            timing: config.timing,
        };
        let now = clock::now();
        let meter = match &monitor {
            Some(_) => Meter::on(names.iter().copied(), now.wall),
            None => Meter::default(),
        };
        let mut core = Core::new(now, core_config, &snapshot);
        core.recall(&sightings);
        let hub = Arc::new(Hub::new(core, events, meter.clone()));
        hub.set_bus(open_bus(&config, &hub).map_err(StartError::Thread)?);
        let outcomes: Weak<Hub> = Arc::downgrade(&hub);
        let bounds = QueueBounds {
            operations: config.limits.store_queue,
            bytes: config.limits.store_queue_bytes,
        };
        let writer = StoreWriter::start(store, bounds, meter, move |completed| {
            if let Some(hub) = outcomes.upgrade() {
                hub.complete(completed);
            }
        })
        .map_err(StartError::Thread)?;
        hub.set_store(writer);
        let sightings = SightingWriter::start(presence, config.identity.id());
        hub.set_sightings(sightings.map_err(StartError::Thread)?);
        let hashed: Weak<Hub> = Arc::downgrade(&hub);
        let hasher =
            Hasher::start(config.password_cost, config.limits.hashes, move |token, hash| {
                if let Some(hub) = hashed.upgrade() {
                    hub.handle(Input::Hashed { token, hashed: hash });
                }
            });
        hub.set_hasher(hasher.map_err(StartError::Thread)?);
        let mut server = Self::run(&config, hub, (bound, gateways), (names, traffic));
        if let Some(service) = stun {
            server.answer_stun(service);
        }
        if let Some(name) = &config.lan {
            let port = server.bound.first().map_or(0, |bound| bound.endpoint.local_addr().port());
            let announced =
                Announcement::start(name, port, &server.id.to_string(), LanRole::SetUp)?;
            server.announcement = Some(announced);
        }
        if let Some(listener) = monitor {
            server.watch(listener);
        }
        Ok(server)
    }

    fn run(
        config: &Config,
        hub: Arc<Hub>,
        (bound, gateways): (Vec<Bound>, Vec<BoundGateway>),
        (names, traffic): (Vec<&'static str>, Vec<Arc<Traffic>>),
    ) -> Self {
        let listening = Arc::new(AtomicUsize::new(bound.len()));
        let stopping = CancellationToken::new();
        let relays = Arc::new(Relays::new(config));
        let _already = hub.relays.set(Arc::clone(&relays));
        let context = Arc::new(Context {
            hub: Arc::clone(&hub),
            server: config.identity.id(),
            limits: config.limits,
            timing: config.timing,
            relays: Arc::clone(&relays),
            traffic,
        });
        let mut tasks = JoinSet::new();
        let endpoints = bound.iter().map(|bound| Arc::clone(&bound.endpoint)).collect();
        let (watching, ended) = (relays.watch(Arc::clone(&hub), endpoints), stopping.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = watching => {}
                () = ended.cancelled() => {}
            }
        });
        for (registry, bound) in bound.iter().enumerate() {
            let accepting = Accepting {
                context: Arc::clone(&context),
                registry,
                endpoint: Arc::clone(&bound.endpoint),
                stopping: stopping.clone(),
                listening: Arc::clone(&listening),
            };
            tasks.spawn(accepting.run());
        }
        if let Some(carrying) = carry_datagrams(config, &hub, &bound) {
            let ended = stopping.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = carrying => {}
                    () = ended.cancelled() => {}
                }
            });
        }
        let gateway_addresses = gateways.iter().flat_map(BoundGateway::addresses).collect();
        gateways::run(gateways, &context, &names, &stopping, &mut tasks);
        let (timers, ended) = (Arc::clone(&hub), stopping.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = timers.run_timers() => {}
                () = ended.cancelled() => {}
            }
        });
        let server = Self {
            id: config.identity.id(),
            hub,
            bound,
            gateways: gateway_addresses,
            stopping,
            tasks,
            announcement: None,
            watchers: JoinSet::new(),
            metrics: None,
            drain: config.timing.drain,
            listening,
        };
        server.hub.log(LogEntry::Started {
            id: server.id,
            addresses: server
                .addresses()
                .iter()
                .chain(server.gateways.iter())
                .map(|(scheme, address)| format!("{scheme} {address}"))
                .collect(),
        });
        server
    }

    /// Tells clients as which they are seen, until the server stops.
    fn answer_stun(&mut self, service: StunService) {
        self.hub.set_stun(service.counters());
        let ended = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = service.run() => {}
                () = ended.cancelled() => {}
            }
        });
    }

    /// Answers those who ask for metrics and health, to the very end.
    fn watch(&mut self, listener: TcpListener) {
        self.metrics = listener.local_addr().ok();
        let (hub, listening) = (Arc::clone(&self.hub), Arc::clone(&self.listening));
        let monitor = Monitor::new(Arc::clone(&hub), listening, self.bound.len());
        self.watchers.spawn(monitor.run(listener));
        self.watchers.spawn(Monitor::measure_lag(hub));
    }

    /// Where metrics and health are told.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Whether what was answered `stored` can still be kept: a server of which this is not true
    /// had better be started anew.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.hub.has_store()
    }

    /// Opens the event log's file anew, after somebody has renamed it.
    pub fn reopen_event_log(&self) {
        self.hub.reopen_log();
    }

    /// The server's key.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Where each transport listens, in the order of the table.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.bound.iter().map(|bound| (bound.scheme, bound.endpoint.local_addr())).collect()
    }

    /// How the other relays of this server fare.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayInfo> {
        self.hub.relays.get().map(|relays| relays.info()).unwrap_or_default()
    }

    /// How much this server carries for others.
    #[must_use]
    pub fn load(&self) -> RelayLoad {
        self.hub.own_load()
    }

    /// Where each gateway listens.
    #[must_use]
    pub fn gateways(&self) -> &[(&'static str, SocketAddr)] {
        &self.gateways
    }

    /// Waits until an admin asks for the end, and says why; then call [`Self::shutdown`].
    /// Cancel safe.
    pub async fn finished(&self) -> String {
        self.hub.shutdown_asked().await
    }

    /// Ends in good order: everyone is told why, what waits is written, the ports are free.
    ///
    /// Relays have the time of [`Timing::drain`](crate::Timing) to end, and no new ones are opened;
    /// the rest takes a few seconds at most. Not cancel safe: a dropped call ends the server at once.
    pub async fn shutdown(mut self, reason: &str) {
        if let Some(announcement) = self.announcement.take() {
            announcement.end().await;
        }
        self.hub.handle(Input::Drain);
        let _in_time = timeout(self.drain, self.hub.drained()).await;
        let restart_after = self.hub.restart_after();
        self.hub.handle(Input::Stop { reason: reason.to_owned(), restart_after });
        self.stopping.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _in_time = timeout(CLOSE_TIME, ended).await;
        self.tasks.abort_all();
        let closing = async {
            for bound in &self.bound {
                bound.endpoint.close(close_code::SHUTDOWN, reason).await;
            }
        };
        let _in_time = timeout(CLOSE_TIME, closing).await;
        let (hub, reason) = (Arc::clone(&self.hub), reason.to_owned());
        let _flushed = tokio::task::spawn_blocking(move || hub.close(reason)).await;
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

/// Accepts the clients of one transport.
struct Accepting {
    context: Arc<Context>,
    registry: usize,
    endpoint: Arc<dyn Endpoint>,
    stopping: CancellationToken,
    listening: Arc<AtomicUsize>,
}

impl Accepting {
    /// Accepts until the server stops, then waits for the sessions to end.
    async fn run(self) {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                connection = self.endpoint.accept() => match connection {
                    Ok(connection) => {
                        let context = Arc::clone(&self.context);
                        sessions.spawn(session::serve(context, self.registry, connection));
                    }
                    Err(_) => break,
                },
                Some(_) = sessions.join_next() => {}
                () = self.stopping.cancelled() => break,
            }
        }
        self.listening.fetch_sub(1, Ordering::Relaxed);
        while sessions.join_next().await.is_some() {}
    }
}

/// What answers STUN on the UDP port of the transports, if they have one.
fn open_stun(config: &Config, bound: &[Bound]) -> Result<Option<StunService>, ServiceError> {
    let Some(over_udp) = bound.iter().find(|bound| bound.carrier == Carrier::Udp) else {
        return Ok(None);
    };
    let local = over_udp.endpoint.local_addr();
    let sockets = config.shared.get_or_default::<SharedSockets>();
    let limits = config.limits.responder();
    StunService::open(&sockets, local, config.stun_alternate, limits).map(Some)
}

/// What carries relays' datagrams through the UDP port of the transports, if they have one.
fn carry_datagrams(
    config: &Config,
    hub: &Arc<Hub>,
    bound: &[Bound],
) -> Option<impl Future<Output = ()> + use<>> {
    let over_udp = bound.iter().find(|bound| bound.carrier == Carrier::Udp)?;
    let local = over_udp.endpoint.local_addr();
    let sockets = config.shared.get_or_default::<SharedSockets>();
    let socket = sockets
        .open(local, Lane::Relay)
        .inspect_err(|error| tracing::warn!(%local, %error, "relays carry no datagrams"))
        .ok()?;
    let channels = Arc::new(Channels::new(local.port(), &config.limits));
    hub.set_channels(Arc::clone(&channels));
    Some(channels.run(Arc::clone(hub), socket))
}

async fn bind_monitor(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.metrics else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|source| StartError::Metrics { address, source })
}

fn registry(bound: &Bound, config: &Config) -> Registry {
    let timing = config.transport_timing(bound.scheme);
    let heartbeat = HeartbeatPolicy { keep_alive: timing.keep_alive, idle: timing.idle };
    let policy = RegistryPolicy { clients: config.clients(bound.scheme), heartbeat };
    Registry::new(bound.scheme, bound.endpoint.local_addr().to_string(), policy)
}

/// Registries for the old programs' clients. Silence means nothing there: connections that are gone
/// are noticed.
fn gateway_registries(gateways: &[BoundGateway], config: &Config) -> Vec<Registry> {
    let mut lanes: Vec<(&'static str, String)> = Vec::new();
    for (name, address) in gateways.iter().flat_map(BoundGateway::addresses) {
        match lanes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, addresses)) => *addresses += &format!(", {address}"),
            None => lanes.push((name, address.to_string())),
        }
    }
    let registry = |(name, address)| {
        let (keep_alive, idle) = gateways::KEEP_ALIVE;
        let heartbeat = HeartbeatPolicy { keep_alive, idle };
        let policy = RegistryPolicy { clients: config.clients(name), heartbeat };
        Registry::new(name, address, policy)
    };
    lanes.into_iter().map(registry).collect()
}

fn open_store(config: &Config) -> Result<Box<dyn Store>, StoreError> {
    match &config.storage {
        Storage::Ephemeral => Ok(Box::new(MemoryStore::new(config.limits.history_bytes_in_memory))),
        Storage::Directory(path) => {
            make_directory(path)
                .map_err(|source| StoreError::Directory { path: path.clone(), source })?;
            Ok(Box::new(SqliteStore::open(&path.join(DATABASE), config.limits.history_bytes)?))
        }
    }
}

fn open_bus(config: &Config, hub: &Arc<Hub>) -> io::Result<Box<dyn Bus>> {
    let doors: Arc<dyn Doors> = Arc::clone(&hub.clients) as Arc<dyn Doors>;
    match config.bus {
        BusKind::Direct => Ok(Box::new(DirectBus::new(doors))),
        BusKind::Queued => {
            let (parcels, bytes) = (config.limits.bus_parcels, config.limits.bus_bytes);
            let hub: Weak<Hub> = Arc::downgrade(hub);
            let slow = move |session| {
                if let Some(hub) = hub.upgrade() {
                    hub.handle(Input::TooSlow { session });
                }
            };
            Ok(Box::new(QueuedBus::start(doors, Bounds { parcels, bytes }, slow)?))
        }
    }
}

fn open_presence(config: &Config) -> Result<Box<dyn Presence>, PresenceError> {
    match &config.storage {
        Storage::Ephemeral => Ok(Box::new(MemoryPresence::default())),
        Storage::Directory(path) => Ok(Box::new(SqlitePresence::open(&path.join(PRESENCE))?)),
    }
}

/// Makes a directory that only its owner can read.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn open_event_log(config: &Config) -> Result<EventSink, StartError> {
    let Some(target) = &config.event_log else { return Ok(EventSink::default()) };
    let rotation =
        Rotation { size_max: config.limits.event_log, kept: config.limits.event_log_files };
    EventSink::open(target, rotation).map_err(|source| StartError::EventLog {
        path: match target {
            EventLog::Stderr => PathBuf::from("stderr"),
            EventLog::File(path) => path.clone(),
        },
        source,
    })
}
