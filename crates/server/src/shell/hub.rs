//! Where everything meets: the core behind a lock, and the hands that carry out its effects.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use portolan_nat_io::StunCounters;
use portolan_protocol::{
    ControlMessage, ErrorBody, ErrorCode, Event, Message, Name, RelayLoad, RelayPass, Reply,
    RequestId, encode,
};
use portolan_transport::Connection;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    channels::{Channels, OpenChannel, Quota},
    clients::{Client, Clients},
    clock,
    elsewhere::Relays,
    hasher::Hasher,
    lobby::{Lobby, Seat},
    sightings::SightingWriter,
};
use crate::{
    bus::{Bus, NewsKind, Parcel, Weight, wait_for_room},
    core::{Core, Deadline, Effect, Input, Now, RelayGrant, RelayId, Remote, SessionId},
    event_log::{EventSink, LogEntry},
    metrics::{Gauges, Meter, is_message},
    store::{Completed, StoreHealth, StoreWriter},
};

/// How often it is looked whether anything still moves on relays, at the end.
const DRAIN_STEP: Duration = Duration::from_secs(1);

/// Bytes that a relay moves meanwhile that is only kept alive, at most.
const RELAY_ALIVE: u64 = 1_024;

/// The core and everything that its effects touch.
pub(super) struct Hub {
    /// Locked before everything else.
    core: Mutex<Core>,
    pub(super) clients: Arc<Clients>,
    bus: OnceLock<Box<dyn Bus>>,
    store: OnceLock<StoreWriter>,
    hasher: OnceLock<Hasher>,
    sightings: OnceLock<SightingWriter>,
    events: EventSink,
    pub(super) meter: Meter,
    last_session: AtomicU64,
    deadline_changed: Notify,
    relay_ended: Notify,
    /// What carries datagrams of relays, where there is a UDP port.
    channels: OnceLock<Arc<Channels>>,
    /// Where those wait whom another server has introduced.
    lobby: Lobby,
    /// The other relays of this server.
    pub(super) relays: OnceLock<Arc<Relays>>,
    /// What answers STUN, where there is a UDP port.
    stun: OnceLock<StunCounters>,
    /// Carried by all relays, since the start.
    pub(super) relay_bytes: AtomicU64,
    shutdown: watch::Sender<Option<Ending>>,
}

/// What an admin has asked for.
#[derive(Debug, Clone)]
struct Ending {
    reason: String,
    restart_after: Option<Duration>,
}

/// What a caller is granted: the callee's connection.
pub(super) struct Callee {
    pub(super) grant: RelayGrant,
    pub(super) connection: Arc<dyn Connection>,
}

impl Hub {
    pub(super) fn new(core: Core, events: EventSink, meter: Meter) -> Self {
        Self {
            core: Mutex::new(core),
            clients: Arc::new(Clients::new(meter.clone())),
            bus: OnceLock::new(),
            store: OnceLock::new(),
            hasher: OnceLock::new(),
            sightings: OnceLock::new(),
            events,
            meter,
            last_session: AtomicU64::new(0),
            deadline_changed: Notify::new(),
            relay_ended: Notify::new(),
            channels: OnceLock::new(),
            lobby: Lobby::default(),
            relays: OnceLock::new(),
            stun: OnceLock::new(),
            relay_bytes: AtomicU64::new(0),
            shutdown: watch::Sender::new(None),
        }
    }

    /// Gives what brings news to the clients, once.
    pub(super) fn set_bus(&self, bus: Box<dyn Bus>) {
        let _already = self.bus.set(bus);
    }

    /// Gives the store, once; its outcomes go to [`Self::complete`].
    pub(super) fn set_store(&self, store: StoreWriter) {
        let _already = self.store.set(store);
    }

    /// Gives what hashes passwords, once.
    pub(super) fn set_hasher(&self, hasher: Hasher) {
        let _already = self.hasher.set(hasher);
    }

    /// Gives what carries datagrams, once.
    pub(super) fn set_stun(&self, counters: StunCounters) {
        let _already = self.stun.set(counters);
    }

    pub(super) fn set_channels(&self, channels: Arc<Channels>) {
        let _already = self.channels.set(channels);
    }

    /// Opens a way for datagrams beside a relay's stream, where there is one.
    pub(super) fn open_channel(&self) -> Option<OpenChannel> {
        self.channels.get()?.open(clock::now().instant, &Quota::none())
    }

    /// Lets somebody in who shows a pass, and finds the other side.
    pub(super) fn enter_relay(
        &self,
        session: SessionId,
        pass: &RelayPass,
    ) -> Result<Seat, ErrorBody> {
        let mut core = self.lock();
        let (now, before) = (clock::now(), core.poll_timeout());
        let (entrance, effects) = core.enter_relay(now, session, pass);
        self.carry_out(&mut core, now, effects);
        if core.poll_timeout() != before {
            self.deadline_changed.notify_one();
        }
        // Under the lock: whoever comes second finds the first.
        let open = |quota: &Quota| self.channels.get()?.open(now.instant, quota);
        let seat = entrance.and_then(|entrance| {
            let gone = || ErrorBody::new(ErrorCode::Offline, "the other side has left");
            self.lobby.seat(entrance, &pass.terms, open).ok_or_else(gone)
        });
        if let Err(error) = &seat {
            self.meter.refused(error.code);
        }
        seat
    }

    /// How much there is to do for those who relay elsewhere.
    pub(super) fn load(&self, session: SessionId) -> Result<RelayLoad, ErrorBody> {
        if self.lock().may_ask_load(session) {
            return Ok(self.own_load());
        }
        let message = "only admins and the servers that this relay serves may ask";
        Err(ErrorBody::new(ErrorCode::Forbidden, message))
    }

    pub(super) fn own_load(&self) -> RelayLoad {
        let bytes = self.relay_bytes.load(Ordering::Relaxed);
        RelayLoad { relays: self.lock().relays() as u64, bytes }
    }

    /// Gives what remembers who is where, once.
    pub(super) fn set_sightings(&self, sightings: SightingWriter) {
        let _already = self.sightings.set(sightings);
    }

    /// Begins a session over a new connection.
    pub(super) fn connect(&self, client: Client, remote: Remote) -> SessionId {
        self.meter.connected(client.registry);
        let session = SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1);
        self.clients.insert(session, client);
        self.handle(Input::Connected { session, remote });
        session
    }

    /// Ends a session whose connection is gone.
    pub(super) fn disconnect(&self, session: SessionId, reason: String) {
        self.handle(Input::Gone { session, reason });
        if let Some(client) = self.clients.remove(session) {
            self.meter.disconnected(client.registry);
        }
    }

    pub(super) fn handle(&self, input: Input) {
        self.handle_locked(&mut self.lock(), input);
    }

    /// Takes the store's outcomes of one commit.
    pub(super) fn complete(&self, completed: Completed) {
        let mut core = self.lock();
        for (token, outcome) in completed {
            self.handle_locked(&mut core, Input::Stored { token, outcome });
        }
    }

    /// Waits until store and bus have room for what another request causes. Cancel safe.
    pub(super) async fn wait_for_room(&self) {
        if let Some(store) = self.store.get() {
            store.wait_for_room().await;
        }
        if let Some(bus) = self.bus.get() {
            wait_for_room(bus.as_ref()).await;
        }
    }

    pub(super) fn open_relay(&self, session: SessionId, to: &Name) -> Result<Callee, ErrorBody> {
        let mut core = self.lock();
        let (grant, effects) = core.open_relay(session, to)?;
        let now = clock::now();
        self.carry_out(&mut core, now, effects);
        match self.clients.connection(grant.callee) {
            Some(connection) => Ok(Callee { connection, grant }),
            None => {
                let how = (0, "no connection to call".to_owned());
                let effects = core.end_relay(now, grant.relay, how);
                self.carry_out(&mut core, now, effects);
                Err(match self.clients.has(grant.callee) {
                    false => ErrorBody::new(ErrorCode::Offline, format!("{to} has just left")),
                    true => {
                        let message = format!(
                            "{to} comes by a gateway and takes texts only; send files and calls \
                             to others"
                        );
                        ErrorBody::new(ErrorCode::Unsupported, message)
                    }
                })
            }
        }
    }

    pub(super) fn end_relay(&self, relay: RelayId, bytes: u64, how: String) {
        let mut core = self.lock();
        let (now, before) = (clock::now(), core.poll_timeout());
        let effects = core.end_relay(now, relay, (bytes, how));
        self.lobby.leave(relay);
        self.carry_out(&mut core, now, effects);
        if core.poll_timeout() != before {
            self.deadline_changed.notify_one();
        }
        self.relay_ended.notify_one();
    }

    /// Acts on deadlines for as long as it is awaited.
    pub(super) async fn run_timers(&self) {
        loop {
            let changed = self.deadline_changed.notified();
            let deadline: Option<Deadline> = self.lock().poll_timeout();
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.on_deadline(),
                () = changed => {}
            }
        }
    }

    fn on_deadline(&self) {
        let mut core = self.lock();
        let now = clock::now();
        let effects = core.handle_timeout(now);
        self.carry_out(&mut core, now, effects);
    }

    /// Waits until an admin has asked for the end, and says why.
    pub(super) async fn shutdown_asked(&self) -> String {
        let mut asked = self.shutdown.subscribe();
        match asked.wait_for(Option::is_some).await {
            Ok(ending) => ending.as_ref().map(|ending| ending.reason.clone()).unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// When the admin who asked for the end wants clients back.
    pub(super) fn restart_after(&self) -> Option<Duration> {
        self.shutdown.borrow().as_ref().and_then(|ending| ending.restart_after)
    }

    /// Waits until the last relay has ended, or next to nothing moves on those that are left:
    /// clients keep them for a while, and alive. Cancel safe.
    pub(super) async fn drained(&self) {
        loop {
            let before = self.relay_bytes.load(Ordering::Relaxed);
            if timeout(DRAIN_STEP, self.relays_ended()).await.is_ok() {
                return;
            }
            let moved = self.relay_bytes.load(Ordering::Relaxed) - before;
            if moved < self.lock().relays() as u64 * RELAY_ALIVE {
                return;
            }
        }
    }

    async fn relays_ended(&self) {
        loop {
            let ended = self.relay_ended.notified();
            if self.lock().relays() == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(super) fn log(&self, entry: LogEntry) {
        self.events.log(clock::now().wall, entry);
    }

    /// What is looked up for those who watch.
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            census: self.lock().census(),
            relay_bytes: self.relay_bytes.load(Ordering::Relaxed),
            channels: self.channels.get().map(|channels| channels.counts()).unwrap_or_default(),
            relays: self.relays.get().map(|relays| relays.info()).unwrap_or_default(),
            stun: self.stun.get().map(StunCounters::read).unwrap_or_default(),
            queue: self.store.get().map(StoreWriter::length).unwrap_or_default(),
            events: self.events.health(),
        }
    }

    /// Why the server cannot serve, in a few words each; nothing: it can.
    pub(super) fn ailments(&self) -> Vec<&'static str> {
        let store = match self.store.get().map(StoreWriter::health) {
            Some(StoreHealth::Working) => None,
            Some(StoreHealth::Failing) => Some("the store fails"),
            Some(StoreHealth::Dead) | None => Some("the store is gone"),
        };
        let stopping = self.lock().is_ending().then_some("shutting down");
        [store, stopping].into_iter().flatten().collect()
    }

    /// Whether the store's thread lives.
    pub(super) fn has_store(&self) -> bool {
        self.store.get().is_some_and(|store| store.health() != StoreHealth::Dead)
    }

    /// Opens the event log's file anew.
    pub(super) fn reopen_log(&self) {
        self.events.reopen();
    }

    /// Commits and writes what waits. Blocks for as long as the disk takes.
    pub(super) fn close(&self, reason: String) {
        if let Some(bus) = self.bus.get() {
            bus.close();
        }
        if let Some(store) = self.store.get() {
            store.close();
        }
        if let Some(sightings) = self.sightings.get() {
            sightings.close();
        }
        self.log(LogEntry::Stopped { reason });
        self.events.close();
    }

    fn handle_locked(&self, core: &mut Core, input: Input) {
        let now = clock::now();
        let before = core.poll_timeout();
        let effects = core.handle(now, input);
        self.carry_out(core, now, effects);
        if core.poll_timeout() != before {
            self.deadline_changed.notify_one();
        }
    }

    /// Nothing here waits: queues are pushed to, and what overflows is told to the core.
    fn carry_out(&self, core: &mut Core, now: Now, effects: Vec<Effect>) {
        let mut slow = Vec::new();
        for effect in effects {
            self.carry_out_one(now, effect, &mut slow);
        }
        for session in slow {
            let effects = core.handle(now, Input::TooSlow { session });
            self.carry_out(core, now, effects);
        }
    }

    fn carry_out_one(&self, now: Now, effect: Effect, slow: &mut Vec<SessionId>) {
        self.meter.effect(&effect);
        match effect {
            Effect::Answer { session, id, mut reply } => {
                if let Reply::ServerInfo(info) = &mut reply {
                    info.relay_servers =
                        self.relays.get().map(|all| all.info()).unwrap_or_default();
                }
                let frame = encode_answer(id, &Message::Answer(id, reply));
                self.publish(Parcel::Answer { to: session, frame }, slow);
            }
            Effect::Refuse { session, id, error } => {
                let frame = encode_answer(id, &Message::Error(id, error));
                self.publish(Parcel::Answer { to: session, frame }, slow);
            }
            Effect::Tell { to, event } => self.tell(to, event, slow),
            Effect::Close { session, code, reason } => {
                self.publish(Parcel::End { to: session, code, reason }, slow);
            }
            Effect::Store { token, operation } => {
                if let Some(store) = self.store.get() {
                    store.push(token, operation);
                }
            }
            Effect::Hash { token, task } => {
                if let Some(hasher) = self.hasher.get() {
                    hasher.push(token, task);
                }
            }
            Effect::Sighted(sighting) => {
                if let Some(sightings) = self.sightings.get() {
                    sightings.push(sighting);
                }
            }
            Effect::Log(entry) => self.events.log(now.wall, entry),
            Effect::Shutdown { reason, restart_after } => {
                let ending = Ending { reason, restart_after };
                self.shutdown.send_if_modified(|asked| {
                    asked.is_none().then(|| *asked = Some(ending)).is_some()
                });
            }
        }
    }

    fn tell(&self, to: Vec<SessionId>, event: Event, slow: &mut Vec<SessionId>) {
        let weight = weight(&event);
        let kind = if is_message(&event) { NewsKind::Message } else { NewsKind::Other };
        if let Some(frame) = encode_event(event) {
            self.publish(Parcel::News { to, frame, weight, kind }, slow);
        }
    }

    fn publish(&self, parcel: Parcel, slow: &mut Vec<SessionId>) {
        if let Some(bus) = self.bus.get() {
            bus.publish(parcel, slow);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Encodes an answer; one that does not fit into a frame is answered with that.
pub(super) fn encode_answer(id: RequestId, message: &ControlMessage) -> Bytes {
    let mut bytes = BytesMut::new();
    if let Err(error) = encode(message, &mut bytes) {
        let too_large =
            ControlMessage::Error(id, ErrorBody::new(ErrorCode::TooLarge, error.to_string()));
        let _fits = encode(&too_large, &mut bytes);
    }
    bytes.freeze()
}

fn encode_event(event: Event) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    match encode(&ControlMessage::Event(event), &mut bytes) {
        Ok(()) => Some(bytes.freeze()),
        Err(error) => {
            tracing::error!(%error, "an event does not fit into a frame");
            None
        }
    }
}

/// What a client that lags behind can do without.
fn weight(event: &Event) -> Weight {
    match event {
        Event::Receipt(_) | Event::Presence(_) => Weight::Advisory,
        Event::Message(_)
        | Event::Conversation(_)
        | Event::Group(_)
        | Event::Settings(_)
        | Event::Candidates(_)
        | Event::Announcement(_) => Weight::Binding,
        Event::Closing(_) => Weight::Last,
    }
}
