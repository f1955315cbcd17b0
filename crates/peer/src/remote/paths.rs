//! Several connections with one peer, used as one.
//!
//! A session begins on the relay's stream; better ways join it when they are found, and leave it
//! when they die. New streams and datagrams take the best way there is; those that are under way
//! stay on theirs. What the other side begins is taken from all.

use std::{
    any::Any,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::PeerId;
use portolan_transport::{
    AcceptStreamError, CloseCode, CloseReason, Connection, ConnectionStats, Lifetime,
    OpenStreamError, Path, PathKind, Priority, RecvDatagramError, RecvStream, SendDatagramError,
    SendStream,
};
use tokio::{
    sync::watch,
    time::{Duration, timeout},
};

use super::way::Way;

/// Connections of one session at once.
const LEGS_MAX: usize = 6;

/// How good a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// A stream through the relay: every loss on the way delays everything.
    Stream,
    /// Datagrams through the relay.
    Relayed,
    /// Nothing of ours lies between.
    Direct,
}

/// One connection of a session.
pub(crate) struct Leg {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) rank: Rank,
    /// What carries it.
    pub(crate) transport: &'static str,
    /// The relay's address, where there is one.
    pub(crate) relay: Option<SocketAddr>,
    /// What stands for the relay's channel by which it began.
    pub(crate) channel: Option<SocketAddr>,
    /// Why this way and no other, for people.
    pub(crate) why: String,
    /// What must last as long as the connection.
    pub(crate) kept: Option<Arc<dyn Any + Send + Sync>>,
}

/// All connections of a session, as one.
pub(crate) struct Paths {
    peer: PeerId,
    /// Ways below this are for introductions only.
    least: Rank,
    /// The best way that is sought.
    aim: Rank,
    state: Mutex<State>,
    news: watch::Sender<u64>,
    settled: watch::Sender<bool>,
}

struct State {
    /// Best first.
    legs: Vec<Arc<Leg>>,
    end: Option<CloseReason>,
    /// Why the last direct connection ended, or none came.
    trouble: Option<String>,
    first: Arc<Leg>,
}

/// Both sides of a stream.
pub(crate) type Streams = (SendStream, RecvStream);

impl State {
    /// The newest of its rank is the best of them.
    fn insert(&mut self, leg: Leg) {
        let place = self.legs.partition_point(|other| other.rank > leg.rank);
        self.legs.insert(place, Arc::new(leg));
    }
}

type Asked<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

impl Paths {
    /// A session that has one connection; `least` says which ways it may use.
    /// and `best` which is the best that is sought.
    pub(crate) fn new(first: Leg, (least, best): (Rank, Rank)) -> Arc<Self> {
        let first = Arc::new(first);
        let peer = first.connection.remote_id();
        let legs = vec![Arc::clone(&first)];
        let state = Mutex::new(State { legs, end: None, trouble: None, first });
        let (news, settled) = (watch::Sender::new(0), watch::Sender::new(false));
        Arc::new(Self { peer, least, aim: best, state, news, settled })
    }

    /// Takes another connection in. False: the session is over, or has too many.
    pub(crate) fn add(&self, leg: Leg) -> bool {
        let mut state = self.lock();
        if state.end.is_some() || state.legs.len() >= LEGS_MAX {
            drop(state);
            leg.connection.close(CloseCode::BUSY, "the session has no use for it");
            return false;
        }
        state.insert(leg);
        drop(state);
        self.tell();
        true
    }

    /// The connection of a leg goes by another way now.
    pub(crate) fn restand(&self, leg: &Leg, rank: Rank, why: String) {
        let mut state = self.lock();
        let Some(place) = state.legs.iter().position(|other| other.is_of(&leg.connection)) else {
            return;
        };
        state.legs.remove(place);
        state.insert(Leg {
            connection: Arc::clone(&leg.connection),
            rank,
            transport: leg.transport,
            relay: leg.relay,
            channel: leg.channel,
            why,
            kept: leg.kept.clone(),
        });
        drop(state);
        self.tell();
    }

    /// Gives a way up, for that reason.
    pub(crate) fn abandon(&self, leg: &Leg, why: &str) {
        let mut state = self.lock();
        state.legs.retain(|other| !other.is_of(&leg.connection));
        state.trouble = Some(why.to_owned());
        if state.legs.is_empty() {
            state.end.get_or_insert(CloseReason::Lost { detail: why.to_owned() });
        }
        drop(state);
        leg.connection.close(CloseCode::DROPPED, why);
        self.tell();
    }

    /// All connections, best first.
    pub(crate) fn legs(&self) -> Vec<Arc<Leg>> {
        self.lock().legs.clone()
    }

    /// All but that one.
    pub(crate) fn others(&self, leg: &Leg) -> Vec<Arc<Leg>> {
        let legs = self.legs().into_iter();
        legs.filter(|other| !other.is_of(&leg.connection)).collect()
    }

    /// Says that the search for better ways has come to a rest, for now.
    pub(crate) fn settle(&self) {
        self.settled.send_replace(true);
    }

    /// Waits until it has, but no longer than `patience`. Cancel safe.
    pub(crate) async fn settled(&self, patience: Duration) {
        let mut settled = self.settled.subscribe();
        let _in_time = timeout(patience, settled.wait_for(|settled| *settled)).await;
    }

    /// Says why there is no direct way.
    pub(crate) fn set_trouble(&self, why: String) {
        self.lock().trouble = Some(why);
        self.tell();
    }

    /// Why there is no direct way, if that is known.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// The best connection, or the first one where there is none any more.
    pub(crate) fn best(&self) -> Arc<Leg> {
        let state = self.lock();
        Arc::clone(state.legs.first().unwrap_or(&state.first))
    }

    /// The connection by which the two were introduced.
    pub(crate) fn first(&self) -> Arc<Leg> {
        Arc::clone(&self.lock().first)
    }

    /// Whether there is a way as good as this.
    pub(crate) fn has(&self, rank: Rank) -> bool {
        self.lock().legs.iter().any(|leg| leg.rank >= rank)
    }

    /// Whether the way by which the two were introduced is still there: while it is, the server
    /// vouches for the other side.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.lock().legs.iter().any(|leg| leg.rank == Rank::Stream)
    }

    /// Whether the session is over.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Tells of ways that come and go.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Ways below it are for introductions only.
    pub(crate) fn least(&self) -> Rank {
        self.least
    }

    /// The best way that is sought.
    pub(crate) fn aim(&self) -> Rank {
        self.aim
    }

    /// The leg of a connection, while it is one.
    pub(crate) fn leg_of(&self, connection: &Arc<dyn Connection>) -> Option<Arc<Leg>> {
        self.lock().legs.iter().find(|leg| leg.is_of(connection)).cloned()
    }

    /// Opens a stream on the best way, and says which it is.
    pub(crate) async fn open(
        self: &Arc<Self>,
        priority: Priority,
    ) -> Result<(Way, Streams), OpenStreamError> {
        let (leg, streams) = self.open_on_best(priority).await?;
        Ok((Way::new(self, &leg), streams))
    }

    /// Waits for the next stream that the other side opens on any way, and says on which. Cancel
    /// safe.
    pub(crate) async fn accept(self: &Arc<Self>) -> Result<(Way, Streams), CloseReason> {
        let (leg, streams) = self.begun_on_any(|connection| connection.accept_stream()).await?;
        Ok((Way::new(self, &leg), streams))
    }

    async fn open_on_best(
        &self,
        priority: Priority,
    ) -> Result<(Arc<Leg>, Streams), OpenStreamError> {
        while let Some(leg) = self.best_usable() {
            match leg.connection.open_stream(priority).await {
                Ok(streams) => return Ok((leg, streams)),
                Err(OpenStreamError::Closed(_)) => self.on_ended(&leg).await,
            }
        }
        Err(OpenStreamError::Closed(self.reason()))
    }

    fn tell(&self) {
        self.news.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Vec<Arc<Leg>> {
        let state = self.lock();
        state.legs.iter().filter(|leg| leg.rank >= self.least).cloned().collect()
    }

    fn best_usable(&self) -> Option<Arc<Leg>> {
        let state = self.lock();
        state.legs.first().filter(|leg| leg.rank >= self.least).cloned()
    }

    /// Why nothing can be sent now.
    fn reason(&self) -> CloseReason {
        let state = self.lock();
        state.end.clone().unwrap_or_else(|| CloseReason::Lost {
            detail: state.trouble.clone().unwrap_or_else(|| "there is no direct path yet".into()),
        })
    }

    /// A connection has ended: the others go on.
    async fn on_ended(&self, leg: &Arc<Leg>) {
        let reason = leg.connection.closed().await;
        let mut orphans = Vec::new();
        {
            let mut state = self.lock();
            let before = state.legs.len();
            state.legs.retain(|other| !other.is_of(&leg.connection));
            if state.legs.len() == before {
                return;
            }
            match leg.rank {
                Rank::Direct => state.trouble = Some(format!("the direct path ended: {reason}")),
                // The server ends the channel with its stream.
                Rank::Stream => {
                    let (gone, legs) =
                        state.legs.drain(..).partition(|leg| leg.rank == Rank::Relayed);
                    (orphans, state.legs) = (gone, legs);
                }
                Rank::Relayed => {}
            }
            if state.legs.is_empty() {
                state.end.get_or_insert(reason);
            }
        }
        for orphan in orphans {
            orphan.connection.close(CloseCode::DONE, "the relay is gone");
        }
        self.tell();
    }

    /// Asks every usable connection for something that the other side begins; the first answer
    /// counts. As cancel safe as the asking is.
    async fn begun_on_any<T, E>(
        &self,
        ask: impl for<'a> Fn(&'a dyn Connection) -> Asked<'a, T, E>,
    ) -> Result<(Arc<Leg>, T), CloseReason> {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            let legs = self.usable();
            if legs.is_empty() && self.is_over() {
                return Err(self.reason());
            }
            let asked = legs.iter().map(|leg| ask(&*leg.connection)).collect();
            let answer = tokio::select! {
                biased;
                answer = first_of(asked) => answer,
                _ = news.changed() => continue,
            };
            let (place, answer) = answer;
            let Some(leg) = legs.get(place) else { continue };
            match answer {
                Ok(answer) => return Ok((Arc::clone(leg), answer)),
                Err(_) => self.on_ended(leg).await,
            }
        }
    }
}

/// Waits for the first of several, and says which it is; for ever, where there is none.
async fn first_of<T, E>(mut asked: Vec<Asked<'_, T, E>>) -> (usize, Result<T, E>) {
    std::future::poll_fn(|cx| {
        for (place, one) in asked.iter_mut().enumerate() {
            if let Poll::Ready(answer) = one.as_mut().poll(cx) {
                return Poll::Ready((place, answer));
            }
        }
        Poll::Pending
    })
    .await
}

#[async_trait]
impl Connection for Paths {
    async fn open_stream(
        &self,
        priority: Priority,
    ) -> Result<(SendStream, RecvStream), OpenStreamError> {
        Ok(self.open_on_best(priority).await?.1)
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), AcceptStreamError> {
        let accepted = self.begun_on_any(|connection| connection.accept_stream()).await;
        accepted.map(|(_, streams)| streams).map_err(AcceptStreamError::Closed)
    }

    fn send_datagram(&self, payload: Bytes, lifetime: Lifetime) -> Result<(), SendDatagramError> {
        let best = self.best_usable();
        let leg = best.ok_or_else(|| SendDatagramError::Closed(self.reason()))?;
        leg.connection.send_datagram(payload, lifetime)
    }

    async fn recv_datagram(&self) -> Result<Bytes, RecvDatagramError> {
        let received = self.begun_on_any(|connection| connection.recv_datagram()).await;
        received.map(|(_, datagram)| datagram).map_err(RecvDatagramError::Closed)
    }

    fn max_datagram_size(&self) -> usize {
        self.best().connection.max_datagram_size()
    }

    fn remote_id(&self) -> PeerId {
        self.peer
    }

    fn remote_addr(&self) -> SocketAddr {
        self.path().remote
    }

    fn path(&self) -> Path {
        self.best().path()
    }

    fn stats(&self) -> ConnectionStats {
        self.best().connection.stats()
    }

    fn close(&self, code: CloseCode, reason: &str) {
        let legs = {
            let mut state = self.lock();
            let reason = CloseReason::cut(reason).to_owned();
            state.end.get_or_insert(CloseReason::Local { code, reason });
            std::mem::take(&mut state.legs)
        };
        for leg in &legs {
            leg.connection.close(code, reason);
        }
        self.tell();
    }

    async fn closed(&self) -> CloseReason {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            let legs = self.lock().legs.clone();
            if self.is_over() {
                return self.reason();
            }
            let asked = legs.iter().map(|leg| -> Asked<'_, (), ()> {
                Box::pin(async {
                    leg.connection.closed().await;
                    Ok(())
                })
            });
            let (place, _) = tokio::select! {
                biased;
                ended = first_of(asked.collect()) => ended,
                _ = news.changed() => continue,
            };
            if let Some(leg) = legs.get(place) {
                self.on_ended(leg).await;
            }
        }
    }
}

impl Leg {
    /// Whether that is its connection.
    pub(crate) fn is_of(&self, connection: &Arc<dyn Connection>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.connection), Arc::as_ptr(connection))
    }

    /// What lies between.
    pub(crate) fn path(&self) -> Path {
        let path = self.connection.path();
        match (self.rank, self.relay) {
            (Rank::Direct, _) | (Rank::Stream | Rank::Relayed, None) => path,
            (Rank::Stream | Rank::Relayed, Some(remote)) => {
                Path { kind: PathKind::Relayed, remote, ..path }
            }
        }
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranks: Vec<Rank> = self.lock().legs.iter().map(|leg| leg.rank).collect();
        f.debug_struct("Paths").field("peer", &self.peer).field("legs", &ranks).finish()
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg").field("rank", &self.rank).field("why", &self.why).finish()
    }
}
