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
    Candidate, CandidateKind, Ends, ErrorBody, ErrorCode, Limits as MessageLimits, Meet, Name,
    PeerCommand, PeerMessage, PeerReply, RelayChannel, RequestId, Ticket, Way,
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
    paths::{Leg, Paths, Rank},
    port::{Annex, Place, Port, canonical, is_sane, join},
    punching::own_interfaces,
};
use crate::PathRule;

/// A relay that has not answered a binding by then does not delay the meeting any further.
const BIND_PATIENCE: Duration = Duration::from_millis(400);
/// A direct path that is found so soon after the relayed one is waited for.
const DIRECT_SOON: Duration = Duration::from_millis(500);
/// From the exchange of addresses to a direct path.
const DIRECT_PATIENCE: Duration = Duration::from_secs(10);
/// Between the starts of two attempts (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(50);
/// A side that is dialled in vain over TCP has so long to reach the other.
const THEY_DIAL: Duration = Duration::from_secs(3);
/// The called side dials back if nothing has come by then.
const DIAL_BACK_AFTER: Duration = Duration::from_millis(150);
/// How long a connection is expected.
const EXPECTED: Duration = Duration::from_secs(20);
/// Addresses of the other side that are tried.
const TRIED_MAX: usize = 8;
/// Addresses of ours that are told.
const OWN_MAX: usize = 8;
/// Before the first new attempt for a direct path; doubled after each.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
/// At most.
const AGAIN_MAX: Duration = Duration::from_secs(300);

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
    /// Where the relay is.
    pub(crate) server: SocketAddr,
}

/// The search for better ways of one session.
#[derive(Debug)]
pub(crate) struct Meeting {
    introducer: Introducer,
    who: Name,
    role: Role,
    channel: Option<RelayChannel>,
    server: SocketAddr,
    paths: Arc<Paths>,
    binding: Mutex<Option<Arc<Binding>>>,
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
        let Introduced { connection, role, channel, server } = introduced;
        let rule = introducer.ports.rule();
        let paths = Paths::new(introducer.stream_leg(connection), rule.least());
        let meeting = Self {
            introducer: introducer.clone(),
            who: who.clone(),
            role,
            channel,
            server,
            paths: Arc::clone(&paths),
            binding: Mutex::default(),
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
        let mut pause = AGAIN_FIRST;
        let mut news = self.paths.news();
        while !self.paths.is_over() {
            news.mark_unchanged();
            if self.paths.has(aim) {
                pause = AGAIN_FIRST;
                if news.changed().await.is_err() {
                    return;
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

    /// Exchanges addresses and tries them; an error says why there is no direct path.
    async fn attempt(self: &Arc<Self>) -> Result<(), String> {
        let port = self.introducer.port().await?;
        let binding = self.bind(&port);
        let seen = match &binding {
            Some(binding) => binding.bound(BIND_PATIENCE).await,
            None => None,
        };
        let ticket = ticket();
        let ends = self.ends(&port, seen);
        let scheme = port.transport.scheme();
        // They may come to us, where they cannot be reached and we can.
        let place = port.expect(self.peer(), ticket.clone(), Way::Direct);
        let theirs = self.ask(Meet { ticket: ticket.clone(), ends }).await?;
        if theirs.transport != scheme {
            return Err(format!(
                "{} speaks {} and we {scheme}: choose the same --transport",
                self.who, theirs.transport
            ));
        }
        let relayed = async {
            if let Some(binding) = binding.filter(|_| theirs.relay && seen.is_some()) {
                self.dial_relayed(&port, &binding, &ticket).await;
                sleep(DIRECT_SOON).await;
                self.paths.settle();
            }
        };
        let (this, came_to) = (Arc::clone(self), Arc::clone(&port));
        self.while_expecting(async move { this.welcome(&came_to, place).await });
        let direct = async {
            let found = self.dial_direct(&port, &theirs.candidates, &ticket).await;
            if found.is_err() && port.transport.capabilities().carrier == Carrier::Tcp {
                self.direct_within(THEY_DIAL).await;
            }
            if self.paths.has(Rank::Direct) {
                self.paths.settle();
                return Ok(());
            }
            found
        };
        let ((), direct) = tokio::join!(relayed, direct);
        direct
    }

    /// The other side asks where else we can meet.
    pub(crate) async fn on_meet(self: &Arc<Self>, meet: Meet) -> Result<Ends, ErrorBody> {
        let unsupported = |why: String| ErrorBody::new(ErrorCode::Unsupported, why);
        let port = self.introducer.port().await.map_err(unsupported)?;
        let binding = self.bind(&port);
        let peer = self.peer();
        let expect = |way| port.expect(peer, meet.ticket.clone(), way);
        let (relayed, direct) = (expect(Way::Relay), expect(Way::Direct));
        let seen = match &binding {
            Some(binding) => binding.bound(BIND_PATIENCE).await,
            None => None,
        };
        let ends = self.ends(&port, seen);
        if meet.ends.transport != port.transport.scheme() {
            self.paths.settle();
            return Ok(ends);
        }
        let (this, ticket) = (Arc::clone(self), meet.ticket);
        self.while_expecting(async move {
            let theirs = meet.ends.candidates;
            tokio::join!(
                this.expect_relayed(&port, relayed, binding),
                this.welcome(&port, direct),
                this.dial_back(&port, &theirs, &ticket),
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

    /// Over TCP whoever can be reached is reached by the other.
    async fn dial_back(&self, port: &Port, theirs: &[Candidate], ticket: &Ticket) {
        if port.transport.capabilities().carrier != Carrier::Tcp {
            return;
        }
        self.direct_within(DIAL_BACK_AFTER).await;
        if !self.paths.has(Rank::Direct)
            && let Err(why) = self.dial_direct(port, theirs, ticket).await
        {
            tracing::debug!(who = %self.who, why, "dialled back in vain");
        }
    }

    /// Waits for a direct connection, but no longer than that.
    async fn direct_within(&self, patience: Duration) {
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

    /// Tries the other side's addresses side by side; the first that is let in counts.
    async fn dial_direct(
        &self,
        port: &Port,
        theirs: &[Candidate],
        ticket: &Ticket,
    ) -> Result<(), String> {
        if self.rule() == PathRule::RelayOnly {
            return Err("only the relay is used here".to_owned());
        }
        if let Some(stun) = &port.stun {
            return self.punch_and_dial((port, stun), theirs, ticket).await;
        }
        let candidates = self.usable(port, theirs);
        if candidates.is_empty() {
            return Err("there is no address of theirs to try".to_owned());
        }
        let (began, expect) = (Instant::now(), Expect::Id(self.peer()));
        let mut attempts = JoinSet::new();
        for (number, (addr, found)) in (0..).zip(candidates) {
            let (endpoint, ticket) = (Arc::clone(&port.endpoint), ticket.clone());
            attempts.spawn(async move {
                sleep(ATTEMPT_DELAY * number).await;
                let connection = endpoint.connect(addr, expect).await.ok()?;
                join(&connection, ticket, Way::Direct).await?;
                Some((connection, found))
            });
        }
        let first = async {
            while let Some(attempt) = attempts.join_next().await {
                if let Ok(Some(reached)) = attempt {
                    return Some(reached);
                }
            }
            None
        };
        match timeout(DIRECT_PATIENCE, first).await {
            Ok(Some((connection, found))) => {
                let after = began.elapsed().as_millis();
                let what = kind_word(found);
                self.take_direct(port, connection, &format!("found in {after} ms at {what}"));
                Ok(())
            }
            Ok(None) => Err("none of their addresses lets us in".to_owned()),
            Err(_) => Err(format!(
                "none of their addresses has answered within {} s",
                DIRECT_PATIENCE.as_secs()
            )),
        }
    }

    fn take_relayed(&self, port: &Port, connection: Arc<dyn Connection>, binding: Arc<Binding>) {
        self.paths.add(Leg {
            connection,
            rank: Rank::Relayed,
            transport: port.transport.scheme(),
            relay: Some(binding.channel.relay()),
            why: "the server carries the encrypted packets; it cannot read them".to_owned(),
            _kept: Some(Box::new(binding)),
        });
    }

    pub(super) fn take_direct(&self, port: &Port, connection: Arc<dyn Connection>, why: &str) {
        tracing::debug!(who = %self.who, remote = %connection.remote_addr(), why, "direct");
        self.paths.add(Leg {
            connection,
            rank: Rank::Direct,
            transport: port.transport.scheme(),
            relay: None,
            why: format!("nothing of ours lies between; {why}"),
            _kept: None,
        });
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
    fn ends(&self, port: &Port, seen: Option<SocketAddr>) -> Ends {
        let transport = port.transport.scheme().to_owned();
        if self.rule() == PathRule::RelayOnly {
            return Ends { transport, candidates: Vec::new(), relay: seen.is_some() };
        }
        let local = port.endpoint.local_addr();
        let own = self.own_addresses().into_iter();
        let own = own.filter(|ip| local.is_ipv6() || ip.is_ipv4());
        let mut found: Vec<_> =
            own.map(|ip| (SocketAddr::new(ip, local.port()), CandidateKind::Host)).collect();
        if let Some(seen) = seen
            && found.iter().all(|(addr, _)| *addr != seen)
        {
            found.push((seen, CandidateKind::Reflexive));
        }
        found.retain(|(addr, _)| self.rule().allows(addr.ip()));
        let candidates = (0..).zip(found).map(|(place, (addr, found))| Candidate {
            transport: transport.clone(),
            address: addr.to_string(),
            found,
            priority: u32::MAX - place,
        });
        Ends { candidates: candidates.collect(), relay: seen.is_some(), transport }
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

    /// Our side of the relay's channel, from the first use on.
    fn bind(&self, port: &Port) -> Option<Arc<Binding>> {
        if !self.rule().relays() {
            return None;
        }
        let (lane, channel) = (port.relay.as_ref()?, self.channel.as_ref()?);
        let mut binding = self.binding.lock().unwrap_or_else(PoisonError::into_inner);
        let bound =
            binding.get_or_insert_with(|| Arc::new(Binding::new(lane, self.server, channel)));
        Some(Arc::clone(bound))
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

fn ticket() -> Ticket {
    let mut ticket = [0; 32];
    let random = portolan_identity::provider().secure_random;
    random.fill(&mut ticket).expect("the system gives random bytes");
    Ticket(ticket)
}

fn kind_word(found: CandidateKind) -> &'static str {
    match found {
        CandidateKind::Host => "an address of their machine",
        CandidateKind::Reflexive => "their address as seen from outside",
        CandidateKind::Mapped => "a port that their router has mapped",
        CandidateKind::Lan => "their address on the LAN",
        CandidateKind::Relay => "a relay",
    }
}
