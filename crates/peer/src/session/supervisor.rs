//! What keeps a session alive when its connection is lost: waits, dials, logs in, goes on.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use portolan_identity::Expect;
use portolan_protocol::{LoggedIn, Welcome};
use portolan_transport::{CloseCode, Transport};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Ask, Established, Link,
    backoff::Waits,
    ending::{end_of_attempts, is_for_good, rest},
    inbox::Inbox,
    lasting::Lasting,
    log_in,
    login::Control,
    random,
    task::{Heartbeats, Rules, SessionTask},
};
use crate::{
    Backoff, Config, ConnectError, Event, Reconnect, Reconnected, Reconnecting, RequestError,
    SessionEnd, Way,
    dial::{Connected, dial, look_up, ways},
    network::{NetworkWatch, Roaming},
    remote::{Sessions, accept_openings},
};

/// A connection on which we have just logged in.
struct Arrived {
    connected: Connected,
    control: Control,
    welcome: Welcome,
    logged_in: LoggedIn,
}

/// What the task is made with.
pub(crate) struct SupervisorParts {
    pub(crate) config: Config,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) end: Arc<OnceLock<SessionEnd>>,
    pub(crate) link: Arc<Link>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) leaving: CancellationToken,
}

/// Owns the session through all its connections.
pub(crate) struct Supervisor {
    config: Config,
    ways: Vec<Way>,
    asks: mpsc::Receiver<Ask>,
    lasting: Lasting,
    end: Arc<OnceLock<SessionEnd>>,
    link: Arc<Link>,
    sessions: Arc<Sessions>,
    leaving: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new(parts: SupervisorParts) -> Self {
        let mut config = parts.config;
        config.expect = Expect::Id(parts.link.current().connected.connection.remote_id());
        // The name belongs to our key by now; if it does not any more, that is for good.
        config.password = None;
        let inbox = Inbox::new(config.limits.seen_messages);
        Self {
            ways: config.ways(),
            lasting: Lasting::new(parts.events, inbox, config.receipts)
                .with_vouched(Arc::clone(&parts.sessions.introducer().vouched)),
            asks: parts.asks,
            config,
            end: parts.end,
            link: parts.link,
            sessions: parts.sessions,
            leaving: parts.leaving,
        }
    }

    /// Runs until the session is over, then tells everyone who waits.
    pub(crate) async fn run(mut self, control: Control) {
        let mut waits = match self.config.reconnect {
            Reconnect::Never => None,
            Reconnect::With(backoff) => Some((backoff, Waits::new(backoff))),
        };
        let mut control = control;
        let end = loop {
            let since = Instant::now();
            let end = self.serve(control).await;
            let Some((backoff, waits)) = &mut waits else { break end };
            if self.leaving.is_cancelled() {
                break SessionEnd::Local;
            }
            if is_for_good(&end) {
                break end;
            }
            waits.on_session(since.elapsed());
            match self.come_back(end, *backoff, waits).await {
                Ok(next) => control = next,
                Err(end) => break end,
            }
        };
        self.finish(end).await;
    }

    /// Serves one connection until it ends.
    async fn serve(&mut self, control: Control) -> SessionEnd {
        let current = self.link.current();
        let connection = &current.connected.connection;
        let openings = accept_openings(Arc::clone(&self.sessions), Arc::clone(connection));
        let _openings = AbortOnDropHandle::new(tokio::spawn(openings));
        let Config { reconnect, limits, timing, .. } = self.config;
        let rules = Rules { reconnect, limits, timing };
        let heartbeats = Heartbeats::new(&current.welcome);
        let roaming = Roaming::new(&self.config, &current.connected);
        let end = SessionTask::new(
            control,
            heartbeats,
            (&mut self.asks, &mut self.lasting),
            rules,
            roaming,
        )
        .run()
        .await;
        connection.close(CloseCode::DONE, "the session is over");
        end
    }

    /// Tries until we are logged in again; fails with the end of the session.
    async fn come_back(
        &mut self,
        end: SessionEnd,
        backoff: Backoff,
        waits: &mut Waits,
    ) -> Result<Control, SessionEnd> {
        let lost_at = Instant::now();
        let (mut why, mut rest) = (end.to_string(), rest(&end));
        for attempt in 1_u32.. {
            let is_asked_to_rest = rest.is_some();
            let after = waits.next(random(), rest.take());
            let waited = lost_at.elapsed() + after;
            if backoff.give_up_after.is_some_and(|patience| waited > patience) {
                return Err(end);
            }
            tracing::info!(%why, attempt, ?after, "the connection to the server is lost");
            let news = Reconnecting { attempt, after, why: why.clone() };
            self.lasting.hold_attempt(news);
            if is_asked_to_rest {
                self.meanwhile(sleep(after)).await?;
            } else {
                let first = Way { server: self.config.server, transport: self.config.transport };
                let now = self.config.addresses.towards(first.server);
                let network = NetworkWatch::new(&self.config, first, now);
                self.meanwhile(pause(after, network)).await?;
            }
            if !self.find_server().await? {
                "nobody is there".clone_into(&mut why);
                continue;
            }
            let attempt = arrive(self.config.clone(), self.ways.clone());
            match self.meanwhile(attempt).await? {
                (_, Ok(arrived)) => return Ok(self.arrived(arrived)),
                (way, Err(error)) => {
                    if let Some(end) = self.end_of_attempts(&error) {
                        return Err(end);
                    }
                    self.prefer_others_to(way);
                    why = error.to_string();
                }
            }
        }
        Err(end)
    }

    /// Finds the server again; `false`: there is none now.
    async fn find_server(&mut self) -> Result<bool, SessionEnd> {
        let Some(source) = self.config.source.clone() else {
            self.look_server_up().await?;
            return Ok(true);
        };
        let Some(found) = self.meanwhile(source.find()).await? else { return Ok(false) };
        let mut ways = ways(&found.addresses, &self.transports());
        ways.retain(|way| self.config.paths.allows_server(way.server.ip()));
        let Some(first) = ways.first() else { return Ok(false) };
        (self.config.server, self.config.expect) = (first.server, Expect::Id(found.id));
        self.ways = ways;
        Ok(true)
    }

    /// Looks the server up again. A network that is away has no answer: the old ways stay.
    async fn look_server_up(&mut self) -> Result<(), SessionEnd> {
        let Some((host, port)) = self.config.host.clone() else { return Ok(()) };
        let found = self.meanwhile(look_up(&host, port)).await?.unwrap_or_default();
        let is_known = |addr: &SocketAddr| self.ways.iter().any(|way| way.server == *addr);
        if !found.is_empty() && !found.iter().all(is_known) {
            self.ways = ways(&found, &self.transports());
        }
        Ok(())
    }

    /// The transports of all ways, each once.
    fn transports(&self) -> Vec<&'static dyn Transport> {
        let mut transports: Vec<&'static dyn Transport> = Vec::new();
        for way in &self.ways {
            if transports.iter().all(|known| known.scheme() != way.transport.scheme()) {
                transports.push(way.transport);
            }
        }
        transports
    }

    /// The end that a failed attempt means. Where servers come and go, another key at an address
    /// is only another server, and the right one is looked for.
    fn end_of_attempts(&self, error: &ConnectError) -> Option<SessionEnd> {
        let end = end_of_attempts(error)?;
        let may_move = self.config.source.is_some();
        (!may_move || !matches!(end, SessionEnd::WrongServer(_))).then_some(end)
    }

    /// Does something while the application takes its events and may leave.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, SessionEnd> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return Ok(result),
                () = self.leaving.cancelled() => return Err(SessionEnd::Local),
                () = self.lasting.hand_over(), if self.lasting.holds() => {}
            }
        }
    }

    fn arrived(&mut self, arrived: Arrived) -> Control {
        let Arrived { connected, control, welcome, logged_in } = arrived;
        let Way { transport, .. } = connected.way;
        let server = connected.connection.remote_addr();
        let id = connected.connection.remote_id();
        if id != self.link.current().connected.connection.remote_id() {
            // Its numbers of messages are its own.
            self.lasting.inbox = Inbox::new(self.config.limits.seen_messages);
        }
        if let Some(source) = &self.config.source {
            source.reached(id);
        }
        self.link.replace(Arc::new(Established { connected, welcome, logged_in }));
        let news = Reconnected { transport: transport.scheme(), server };
        self.lasting.hold(Event::Reconnected(news));
        control
    }

    /// A way that got through, but to no login, is tried last from now on.
    fn prefer_others_to(&mut self, way: Option<usize>) {
        if let Some(place) = way.filter(|&place| place < self.ways.len()) {
            let way = self.ways.remove(place);
            self.ways.push(way);
        }
    }

    async fn finish(mut self, end: SessionEnd) {
        let _ = self.end.set(end.clone());
        self.asks.close();
        let closed = || Err(RequestError::Closed(end.clone()));
        for ask in self.lasting.carried.drain(..) {
            let _ = ask.answer.send(closed());
        }
        while let Ok(ask) = self.asks.try_recv() {
            let _ = ask.answer.send(closed());
        }
        self.lasting.finish(Event::Closed(end)).await;
    }
}

/// Waits so long, but not once there is another network than before, which may lead there.
async fn pause(after: Duration, mut network: NetworkWatch) {
    tokio::select! {
        () = sleep(after) => {}
        () = network.reachable_anew() => {}
    }
}

/// Dials and logs in; says by which way it got through, if it did.
async fn arrive(config: Config, ways: Vec<Way>) -> (Option<usize>, Result<Arrived, ConnectError>) {
    let (place, connected) = match dial(&config, &ways).await {
        Ok(dialed) => dialed,
        Err(error) => return (None, Err(error)),
    };
    let arrived = log_in(&connected.connection, &config).await;
    let arrived = arrived.map(|(control, welcome, logged_in)| Arrived {
        connected,
        control,
        welcome,
        logged_in,
    });
    (Some(place), arrived)
}
