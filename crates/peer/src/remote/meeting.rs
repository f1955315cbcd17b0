//! How the two sides of a session come from the relay's stream to better ways: they tell each
//! other over it where else they can be reached, and try.
//!
//! ```text
//!   caller                                                        callee
//!     │  binds its end of the relay's channel                        │
//!     │── meet {ticket, our ends} ──────────(relay's stream)────────►│ binds its own, expects the ticket
//!     │◄─────────────────────────────────────────────── ends {…} ────│
//!     │══ connection through the channel ══ join {ticket, relay} ═══►│
//!     │══ connection to one of the candidates ══ join {ticket, direct} ═►│
//! ```
//!
//! The server sees none of the addresses, and nobody but the two knows the ticket.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use portolan_identity::{Expect, PeerId};
use portolan_protocol::{
    Candidate, CandidateKind, Candidates, Ends, ErrorBody, ErrorCode, Limits as MessageLimits,
    Meet, Name, PeerCommand, PeerMessage, PeerReply, RelayChannel, RequestId, Ticket, Way,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{Carrier, CloseCode, Connection, Priority};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};

use super::{
    Introducer,
    binding::Binding,
    elsewhere::At,
    mapped::Mapped,
    outside::{Outside, View},
    paths::{Leg, Paths, Rank},
    port::{Annex, Place, Port, canonical, is_sane, join},
    punching::own_interfaces,
};
use crate::{PathRule, ReachError};

/// A direct path that is found so soon after the relayed one is waited for.
const DIRECT_SOON: Duration = Duration::from_millis(500);
/// A side that is dialled in vain over TCP has so long to reach the other.
const THEY_DIAL: Duration = Duration::from_secs(3);
/// What is nearly found out about our network is waited for.
const SURVEYED_SOON: Duration = Duration::from_millis(300);
/// How long a connection is expected.
const EXPECTED: Duration = Duration::from_secs(20);
/// Addresses of the other side that are tried.
const TRIED_MAX: usize = 8;
/// Addresses of ours that are told.
const OWN_MAX: usize = 8;
/// When the relay says nothing any more, the other side shows a sign of life within this.
const SIGN_AFTER_SILENCE: Duration = Duration::from_secs(2);
/// Before the first new attempt for a direct path; doubled after each.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
/// At most.
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// A direct way that has lasted so long is sought at once when it is lost; others after a pause
/// that grows, so that a session does not go to and fro.
const STEADY: Duration = Duration::from_secs(30);

/// Who began the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// We; we also look for better ways.
    Caller,
    /// The other side.
    Callee,
}

/// A session as it begins: the relay's stream.
#[derive(Debug)]
pub(crate) struct Introduced {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) role: Role,
    /// The way for datagrams beside the stream.
    pub(crate) channel: Option<RelayChannel>,
    /// Where the server is.
    pub(crate) server: SocketAddr,
    /// What is being asked about our port, if there is one yet.
    pub(crate) outside: Option<Arc<Outside>>,
    /// The relay, where it is not the server.
    pub(crate) relay: Option<At>,
}

/// The search for better ways of one session.
#[derive(Debug)]
pub(crate) struct Meeting {
    introducer: Introducer,
    who: Name,
    role: Role,
    channel: Option<RelayChannel>,
    server: SocketAddr,
    relay: SocketAddr,
    paths: Arc<Paths>,
    outside: Mutex<Option<Arc<Outside>>>,
    /// What the called side does meanwhile.
    expecting: Mutex<JoinSet<()>>,
    /// Further ports of ours from which a hole was found.
    pub(super) annexes: Mutex<Vec<Annex>>,
}

impl Meeting {
    pub(crate) fn new(
        introducer: &Introducer,
        who: &Name,
        introduced: Introduced,
    ) -> (Arc<Self>, Arc<Paths>) {
        let Introduced { connection, role, channel, server, outside, relay } = introduced;
        let relay_addr = relay.as_ref().map_or(server, |at| at.addr);
        let rule = introducer.ports.rule();
        let first = introducer.stream_leg(connection, relay);
        let paths = Paths::new(first, (rule.least(), rule.best()));
        let meeting = Self {
            introducer: introducer.clone(),
            who: who.clone(),
            role,
            channel,
            server,
            relay: relay_addr,
            paths: Arc::clone(&paths),
            outside: Mutex::new(outside),
            expecting: Mutex::default(),
            annexes: Mutex::default(),
        };
        (Arc::new(meeting), paths)
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Looks for better ways for as long as the session lasts.
    pub(crate) async fn seek(self: Arc<Self>) {
        let aim = self.rule().best();
        let (mut pause, mut calm) = (AGAIN_FIRST, AGAIN_FIRST);
        while !self.paths.is_over() {
            if self.paths.has(aim) {
                pause = AGAIN_FIRST;
                let since = Instant::now();
                self.outlasts(aim).await;
                if since.elapsed() < STEADY && !self.paths.is_over() {
                    sleep(calm).await;
                    calm = AGAIN_MAX.min(calm * 2);
                } else {
                    calm = AGAIN_FIRST;
                }
                continue;
            }
            if let Err(why) = self.attempt().await {
                tracing::debug!(who = %self.who, why, "no better way");
                self.paths.set_trouble(why);
            }
            self.paths.settle();
            if !self.paths.has(aim) {
                sleep(pause).await;
                pause = AGAIN_MAX.min(pause * 2);
            }
        }
    }

    /// Waits for as long as there is such a way.
    async fn outlasts(&self, rank: Rank) {
        let mut news = self.paths.news();
        while !self.paths.is_over() && self.paths.has(rank) && news.changed().await.is_ok() {}
    }

    /// Exchanges addresses and tries them; an error says why there is no direct path.
    async fn attempt(self: &Arc<Self>) -> Result<(), String> {
        let port = self.introducer.port().await?;
        // What it keeps is kept while the addresses are tried.
        let view = self.look(&port).await;
        let ticket = ticket();
        let ends = self.ends(&port, &view);
        let scheme = port.transport.scheme();
        // They may come to us, where they cannot be reached and we can.
        let place = port.expect(self.peer(), ticket.clone(), Way::Direct);
        self.introducer.vouched.forget(&self.who);
        let theirs = self.ask(Meet { ticket: ticket.clone(), ends }).await?;
        if theirs.transport != scheme {
            return Err(format!(
                "{} speaks {} and we {scheme}: choose the same --transport",
                self.who, theirs.transport
            ));
        }
        let relayed = async {
            let is_new = !self.paths.has(Rank::Relayed);
            if let Some(binding) = view.binding.as_ref().filter(|_| is_new && theirs.relay) {
                self.dial_relayed(&port, binding, &ticket).await;
                sleep(DIRECT_SOON).await;
                self.paths.settle();
            }
        };
        let (this, came_to) = (Arc::clone(self), Arc::clone(&port));
        self.while_expecting(async move { this.welcome(&came_to, place).await });
        let direct = async {
            let found = self.dial_direct(&port, &theirs, &ticket).await;
            if found.is_err() && port.transport.capabilities().carrier == Carrier::Tcp {
                self.direct_within(THEY_DIAL).await;
            }
            if self.paths.has(Rank::Direct) { Ok(()) } else { found }
        };
        let ((), direct) = tokio::join!(relayed, direct);
        direct
    }

    /// The other side asks where else we can meet.
    pub(crate) async fn on_meet(self: &Arc<Self>, meet: Meet) -> Result<Ends, ErrorBody> {
        let unsupported = |why: String| ErrorBody::new(ErrorCode::Unsupported, why);
        let port = self.introducer.port().await.map_err(unsupported)?;
        let peer = self.peer();
        let expect = |way| port.expect(peer, meet.ticket.clone(), way);
        let (relayed, direct) = (expect(Way::Relay), expect(Way::Direct));
        let view = self.look(&port).await;
        let ends = self.ends(&port, &view);
        if meet.ends.transport != port.transport.scheme() {
            self.paths.settle();
            return Ok(ends);
        }
        let (this, ticket) = (Arc::clone(self), meet.ticket);
        self.while_expecting(async move {
            let theirs = meet.ends;
            tokio::join!(
                this.expect_relayed(&port, relayed, view.binding),
                this.welcome(&port, direct),
                this.dial_back(&port, &theirs.candidates, &ticket),
                async {
                    tokio::select! {
                        () = this.punch_along(&port, &theirs, &ticket) => {}
                        () = this.direct_within(EXPECTED) => {}
                    }
                },
            );
            this.paths.settle();
        });
        Ok(ends)
    }

    async fn expect_relayed(&self, port: &Port, mut place: Place, binding: Option<Arc<Binding>>) {
        let Some(binding) = binding else { return };
        if let Some(connection) = place.arrived().await {
            self.take_relayed(port, connection, binding);
            sleep(DIRECT_SOON).await;
            self.paths.settle();
        }
    }

    /// Takes a direct connection of the other side, if one comes.
    async fn welcome(&self, port: &Port, mut place: Place) {
        if let Some(connection) = place.arrived().await {
            self.take_direct(port, connection, "they have reached us");
        }
    }

    /// Waits for a direct connection, but no longer than that.
    pub(super) async fn direct_within(&self, patience: Duration) {
        let mut news = self.paths.news();
        let found =
            async { while !self.paths.has(Rank::Direct) && news.changed().await.is_ok() {} };
        let _in_time = timeout(patience, found).await;
    }

    /// Does something beside, in place of what an earlier exchange has begun; for so long as a
    /// connection is expected.
    fn while_expecting(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _in_time = timeout(EXPECTED, work).await;
        });
        *self.expecting.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    async fn dial_relayed(&self, port: &Port, binding: &Arc<Binding>, ticket: &Ticket) {
        let expect = Expect::Id(self.peer());
        let dialled = port.endpoint.connect(binding.channel.addr(), expect).await;
        match dialled {
            Ok(connection) => {
                if join(&connection, ticket.clone(), Way::Relay).await.is_some() {
                    self.take_relayed(port, connection, Arc::clone(binding));
                }
            }
            Err(error) => {
                tracing::debug!(who = %self.who, %error, "no datagrams through the relay");
            }
        }
    }

    /// Tries the other side's addresses; the first that lets us in counts.
    async fn dial_direct(&self, port: &Port, theirs: &Ends, ticket: &Ticket) -> Result<(), String> {
        if self.rule() == PathRule::RelayOnly {
            return Err("only the relay is used here".to_owned());
        }
        match &port.stun {
            Some(stun) => self.punch_and_dial((port, stun), theirs, ticket).await,
            None => self.dial(port, &theirs.candidates, ticket).await,
        }
    }

    fn take_relayed(&self, port: &Port, connection: Arc<dyn Connection>, binding: Arc<Binding>) {
        self.paths.add(Leg {
            connection,
            rank: Rank::Relayed,
            transport: port.transport.scheme(),
            relay: Some(binding.channel.relay()),
            channel: Some(binding.channel.addr()),
            why: self.why_relayed(),
            kept: Some(binding),
        });
    }

    /// Why datagrams go by the relay, for people.
    pub(super) fn why_relayed(&self) -> String {
        let what = if self.relay == self.server { "the server" } else { "a relay" };
        format!("{what} carries the encrypted packets; it cannot read them")
    }

    pub(super) fn take_direct(&self, port: &Port, connection: Arc<dyn Connection>, why: &str) {
        tracing::debug!(who = %self.who, remote = %connection.remote_addr(), why, "direct");
        self.paths.add(Leg {
            connection,
            rank: Rank::Direct,
            transport: port.transport.scheme(),
            relay: None,
            channel: None,
            why: format!("nothing of ours lies between; {why}"),
            kept: None,
        });
        // There is no better way to wait for.
        self.paths.settle();
    }

    /// Where of what the other side names we may and can go.
    pub(super) fn usable(
        &self,
        port: &Port,
        theirs: &[Candidate],
    ) -> Vec<(SocketAddr, CandidateKind)> {
        let local = port.endpoint.local_addr();
        let is_same_host = self.is_same_host();
        let mut usable: Vec<(SocketAddr, CandidateKind)> = Vec::new();
        for candidate in theirs.iter().take(MessageLimits::V1.candidates as usize) {
            let Ok(addr) = candidate.address.parse().map(canonical) else { continue };
            let is_ours = local.is_ipv6() || addr.is_ipv4();
            let is_new = usable.iter().all(|(known, _)| *known != addr);
            if is_ours && is_new && is_sane(addr, is_same_host) && self.rule().allows(addr.ip()) {
                usable.push((addr, candidate.found));
            }
        }
        usable.truncate(TRIED_MAX);
        usable
    }

    /// Whether whoever reaches the server as we do is on this machine.
    pub(super) fn is_same_host(&self) -> bool {
        self.server.ip().to_canonical().is_loopback()
    }

    /// Where we can be reached.
    fn ends(&self, port: &Port, view: &View) -> Ends {
        let (transport, relay) = (port.transport.scheme().to_owned(), view.binding.is_some());
        if self.rule() == PathRule::RelayOnly {
            return Ends { transport, relay, ..Ends::default() };
        }
        let local = port.endpoint.local_addr();
        let own = self.own_addresses().into_iter();
        let own = own.filter(|ip| local.is_ipv6() || ip.is_ipv4());
        let mut found: Vec<_> =
            own.map(|ip| (SocketAddr::new(ip, local.port()), CandidateKind::Host)).collect();
        let mapped = port.mapped.get().and_then(Mapped::external);
        let seen = view.seen.as_ref().map(|seen| seen.address);
        let outside = [(mapped, CandidateKind::Mapped), (seen, CandidateKind::Reflexive)];
        for (addr, kind) in outside {
            found.extend(addr.filter(|addr| !is_known(&found, *addr)).map(|addr| (addr, kind)));
        }
        found.retain(|(addr, _)| self.rule().allows(addr.ip()));
        let candidates = (0..).zip(found).map(|(place, (addr, found))| Candidate {
            transport: transport.clone(),
            address: addr.to_string(),
            found,
            priority: u32::MAX - place,
        });
        let mapping = port.surveyed.mapping();
        Ends { candidates: candidates.collect(), relay, transport, mapping }
    }

    /// Those of our addresses that lead to the server, and to the rest of the world.
    fn own_addresses(&self) -> Vec<IpAddr> {
        // For documentation only (RFC 5737, RFC 3849): the default route leads there.
        let far = [
            self.server,
            SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 9),
            SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 9),
        ];
        let mut own: Vec<IpAddr> = Vec::new();
        for remote in far {
            if let Some(ip) = self.introducer.ports.towards(remote)
                && !own.contains(&ip)
            {
                own.push(ip);
            }
        }
        let others = own_interfaces().into_iter();
        let others = others.filter(|ip| is_sane(SocketAddr::new(*ip, 1), self.is_same_host()));
        own.extend(others.filter(|ip| !own.contains(ip)).collect::<Vec<_>>());
        own.truncate(OWN_MAX);
        own
    }

    /// As which our port is seen and how it is mapped, as far as that is known in time.
    async fn look(&self, port: &Arc<Port>) -> View {
        self.introducer.survey(port);
        let outside = self.outside(port);
        let (view, ()) =
            tokio::join!(outside.look(port, self.rule()), port.surveyed.settled(SURVEYED_SOON));
        view
    }

    /// What is asked about our port, from the first use on.
    fn outside(&self, port: &Arc<Port>) -> Arc<Outside> {
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (self.relay, self.channel.as_ref());
        Arc::clone(outside.get_or_insert_with(|| Outside::begin(port, self.rule(), at)))
    }

    /// Ends the session when the relay is gone without a word and no other way has been found: over
    /// UDP nobody else tells that a program has died. For as long as it is awaited.
    pub(crate) async fn watch_relay(self: Arc<Self>) {
        let mut news = self.paths.news();
        while !self.paths.is_over() {
            let outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match outside.and_then(|outside| outside.binding()) {
                Some(binding) => {
                    binding.fell_silent().await;
                    self.check(SIGN_AFTER_SILENCE).await;
                    sleep(SIGN_AFTER_SILENCE).await;
                }
                None => {
                    if news.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Sees whether the other side is still there, and ends the session if not: over UDP nobody
    /// else tells that a program has died.
    pub(crate) async fn check(&self, patience: Duration) {
        if self.paths.is_over() {
            return;
        }
        let leg = self.paths.best();
        let rtt = leg.connection.stats().rtt.unwrap_or_default();
        let greeting = self.introducer.greet(&self.who, &leg.connection);
        if timeout(patience + rtt * 3, greeting).await.is_err() {
            tracing::info!(who = %self.who, "gone without a word");
            self.paths.close(CloseCode::DROPPED, "no sign of life");
        }
    }

    async fn ask(&self, meet: Meet) -> Result<Ends, String> {
        let asking = async {
            let leg = self.paths.best();
            let opened = leg.connection.open_stream(Priority::Control).await;
            let (send, receive) = opened.map_err(|error| error.to_string())?;
            let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
            let request = PeerMessage::Request(RequestId(1), PeerCommand::Meet(meet));
            writer.send(&request).await.map_err(|error| error.to_string())?;
            let _ = writer.get_mut().finish();
            match reader.next_message().await {
                Ok(PeerMessage::Answer(_, PeerReply::Ends(ends))) => Ok(ends),
                Ok(PeerMessage::Error(_, body)) => Err(body.to_string()),
                Ok(PeerMessage::Answer(..) | PeerMessage::Request(..) | PeerMessage::Event(..)) => {
                    Err("they answered something else".to_owned())
                }
                Err(error) => Err(error.to_string()),
            }
        };
        let answered = timeout(self.introducer.request_timeout, asking).await;
        answered.unwrap_or_else(|_| Err("they did not say where they are".to_owned()))
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(super) fn who(&self) -> &Name {
        &self.who
    }

    /// Our port for other peers.
    pub(super) async fn port(&self) -> Result<Arc<Port>, String> {
        self.introducer.port().await
    }

    /// Whether the other side answers on that way.
    pub(super) async fn greet(&self, leg: &Leg) -> Result<(), ReachError> {
        self.introducer.greet(&self.who, &leg.connection).await
    }

    /// Whether the server says that the other side is there.
    pub(super) async fn is_online(&self) -> bool {
        self.introducer.is_online(&self.who).await
    }

    /// Where the server sees the other side, which has asked it to say so.
    pub(super) async fn vouched(&self) -> IpAddr {
        self.introducer.vouched.of(&self.who).await
    }

    /// Asks the server to tell the other side where it sees us.
    pub(super) fn ask_to_vouch(&self) {
        let (requests, to) = (self.introducer.requests.clone(), self.who.clone());
        tokio::spawn(async move {
            let candidates = Candidates { to, candidates: Vec::new() };
            if let Err(error) = requests.ask(candidates.into()).await {
                tracing::debug!(%error, "the server does not vouch for us");
            }
        });
    }

    fn rule(&self) -> PathRule {
        self.introducer.ports.rule()
    }

    /// Whether the way by which the two were introduced is used for nothing else.
    pub(crate) fn is_introduction_only(&self) -> bool {
        self.paths.least() > Rank::Stream
    }

    /// The way by which the two were introduced.
    pub(crate) fn first(&self) -> Arc<dyn Connection> {
        Arc::clone(&self.paths.first().connection)
    }

    pub(super) fn peer(&self) -> PeerId {
        self.paths.first().connection.remote_id()
    }
}

fn is_known(found: &[(SocketAddr, CandidateKind)], addr: SocketAddr) -> bool {
    found.iter().any(|(known, _)| *known == addr)
}

fn ticket() -> Ticket {
    let mut ticket = [0; 32];
    let random = portolan_identity::provider().secure_random;
    random.fill(&mut ticket).expect("the system gives random bytes");
    Ticket(ticket)
}
