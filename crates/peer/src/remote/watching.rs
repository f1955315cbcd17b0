//! Ways that die without a word: while a session is used, its best way is listened to; when it has
//! fallen silent and another way answers, the session goes over to that one.
//!
//! A transport itself gives a silent connection up after a minute, and must: nobody else may
//! answer either, and a machine that sleeps, or is between two networks, is not gone. Here another
//! way vouches for the other side, so that a few seconds are enough.

use std::{net::SocketAddr, sync::Arc};

use portolan_datagram_io::is_relayed;
use portolan_transport::{Carrier, ConnectionStats};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};

use super::{
    meeting::{Meeting, Role},
    paths::{Leg, Rank},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A way that has been quiet for so long is asked for a word.
const QUIET: Duration = Duration::from_millis(1_500);
/// One that has not answered by then is left, if another does; so many round trips are added.
const SILENT: Duration = Duration::from_secs(4);
const ROUND_TRIPS: u32 = 4;
/// The called side leaves it to the caller to take a connection elsewhere, for so much longer.
const FOLLOWS: u32 = 3;
/// Without another way in the session, the server is asked whether the other side is there.
const SILENT_ALONE: Duration = Duration::from_secs(12);
/// The other way has so long to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// A connection that is to go elsewhere has so long to find out whether it is answered there.
const MOVE: Duration = Duration::from_secs(10);
/// Bytes that a TCP connection has got rid of between two looks if it lives: more than our own
/// questions are.
const MOVED: u64 = 16 << 10;

/// What was heard of a way.
struct Heard {
    leg: Arc<Leg>,
    stats: ConnectionStats,
    at: Instant,
}

impl Heard {
    fn new(leg: Arc<Leg>) -> Self {
        let stats = leg.connection.stats();
        Self { leg, stats, at: Instant::now() }
    }

    /// Looks again; since when nothing was heard.
    fn silence(&mut self, carrier: Carrier) -> Duration {
        let now = self.leg.connection.stats();
        let before = std::mem::replace(&mut self.stats, now);
        let hears = now.bytes_received > before.bytes_received;
        // What the system has taken in again the remote's system has acknowledged.
        let drains = match carrier {
            Carrier::Tcp => now.bytes_sent >= before.bytes_sent + MOVED,
            Carrier::Udp | Carrier::Memory => false,
        };
        if hears || drains {
            self.at = Instant::now();
        }
        self.at.elapsed()
    }
}

impl Meeting {
    /// Sees to it that a session does not stay on a way that is dead; for as long as it lasts.
    pub(crate) async fn watch(self: Arc<Self>, is_used: impl Fn() -> bool + Send) {
        let mut heard: Option<Heard> = None;
        let mut questions = JoinSet::new();
        while !self.paths().is_over() {
            sleep(LOOK).await;
            while questions.try_join_next().is_some() {}
            self.follow_moves();
            let best = self.paths().best();
            // Where only direct ways are used, none can take its place.
            let is_at_stake = best.rank > Rank::Stream && self.paths().least() == Rank::Stream;
            if !is_used() || !is_at_stake {
                heard = None;
                continue;
            }
            let mut of_best = match heard.take() {
                Some(heard) if heard.leg.is_of(&best.connection) => heard,
                Some(_) | None => Heard::new(Arc::clone(&best)),
            };
            let silence = of_best.silence(self.carrier().await);
            if silence >= QUIET && questions.is_empty() {
                let (this, best) = (Arc::clone(&self), Arc::clone(&best));
                questions.spawn(async move { this.is_answered_on(&best).await });
            }
            if silence >= self.patience_with(&best) {
                let answers = self.is_elsewhere(&best).await;
                if answers && of_best.silence(self.carrier().await) >= SILENT {
                    self.leave(&best).await;
                    continue;
                }
            }
            heard = Some(of_best);
        }
    }

    fn patience_with(&self, leg: &Leg) -> Duration {
        let rtt = leg.connection.stats().rtt.unwrap_or_default();
        let others = self.paths().others(leg);
        let silent = match (self.role(), leg.channel) {
            _ if others.is_empty() && leg.channel.is_none() => SILENT_ALONE,
            (Role::Callee, Some(_)) => SILENT * FOLLOWS,
            (Role::Caller, _) | (Role::Callee, None) => SILENT,
        };
        silent + rtt * ROUND_TRIPS
    }

    async fn carrier(&self) -> Carrier {
        match self.port().await {
            Ok(port) => port.transport.capabilities().carrier,
            Err(_) => Carrier::Memory,
        }
    }

    async fn is_answered_on(&self, leg: &Leg) -> bool {
        matches!(timeout(ANSWER, self.greet(leg)).await, Ok(Ok(())))
    }

    /// Whether the other side is there, as is heard by another way.
    async fn is_elsewhere(&self, leg: &Leg) -> bool {
        for other in self.paths().others(leg) {
            if self.is_answered_on(&other).await {
                return true;
            }
        }
        matches!(timeout(ANSWER, self.is_online()).await, Ok(true))
    }

    /// Leaves a way that is dead: its connection goes back to the relay if it came from there, or
    /// ends.
    async fn leave(&self, leg: &Arc<Leg>) {
        tracing::info!(who = %self.who(), rank = ?leg.rank, "a way has fallen silent");
        if let Some(channel) = leg.channel.filter(|_| leg.rank == Rank::Direct)
            && matches!(timeout(ANSWER, leg.connection.migrate(channel)).await, Ok(Ok(())))
        {
            self.paths().set_trouble("the direct path fell silent".to_owned());
            return self.take_back(leg);
        }
        self.paths().abandon(leg, "the direct path fell silent");
    }

    /// Takes the connection by the relay to another address of the other side, if there is one that
    /// can be taken.
    pub(super) async fn migrate(&self, to: SocketAddr, how: &str) -> Result<(), String> {
        let legs = self.paths().legs();
        let leg = legs.iter().find(|leg| leg.rank == Rank::Relayed && leg.channel.is_some());
        let leg = leg.ok_or("there is no connection by the relay")?;
        let moved = timeout(MOVE, leg.connection.migrate(to)).await;
        moved.map_err(|_| "it took too long")?.map_err(|error| error.to_string())?;
        self.take_moved(leg, how);
        Ok(())
    }

    /// A connection that began by the relay goes directly now.
    fn take_moved(&self, leg: &Leg, how: &str) {
        tracing::debug!(who = %self.who(), remote = %leg.connection.remote_addr(), how, "moved");
        let why = format!("nothing of ours lies between; {how}, and the connection went there");
        self.paths().restand(leg, Rank::Direct, why);
        // There is no better way to wait for.
        self.paths().settle();
    }

    /// A connection that went directly is by the relay again.
    fn take_back(&self, leg: &Leg) {
        self.paths().restand(leg, Rank::Relayed, self.why_relayed());
    }

    /// Connections may have gone elsewhere because the other side wants it so.
    fn follow_moves(&self) {
        for leg in self.paths().legs() {
            if leg.channel.is_none() {
                continue;
            }
            match (leg.rank, is_relayed(leg.connection.remote_addr())) {
                (Rank::Relayed, false) => self.take_moved(&leg, "they have found the way"),
                (Rank::Direct, true) => self.take_back(&leg),
                (Rank::Stream | Rank::Relayed | Rank::Direct, _) => {}
            }
        }
    }
}
