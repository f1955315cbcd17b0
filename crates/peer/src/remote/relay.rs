//! Introductions: a relayed stream, and the end-to-end encrypted connection inside it.

use std::{net::SocketAddr, sync::Arc};

use portolan_identity::{Expect, Identity, KnownHostsError, PeerId};
use portolan_protocol::{
    Elsewhere, ErrorBody, ErrorCode, Hello, Lookup, Message, Name, Opened, Opening, OpeningMessage,
    PLACES_MAX, PeerCommand, PeerMessage, PeerReply, Ready, Relay, RelayChannel, RelayPlace,
    Relayed, Reply, RequestId, UserInfo, VERSIONS,
};
use portolan_protocol_io::{FrameReader, FrameWriter, RawReader, ReadMessageError};
use portolan_transport::{
    ByteStream, Connection, ConnectionConfig, Path, PathKind, Priority, RecvStream, SendStream,
    Tunnel,
};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, timeout},
};

use super::{
    KnownPeers, Ports, Sessions, Vouched,
    elsewhere::{At, Entered, enter, enter_any},
    meeting::{Introduced, Role},
    outside::Outside,
    paths::{Leg, Paths, Rank},
    port::Port,
    rate::Rate,
};
use crate::{
    PathInfo, ReachError, RequestError,
    session::{Link, Requests},
    software,
};

/// Streams from the server that are being read at once; more wait with the server.
const OPENINGS_MAX: usize = 32;

/// A relay's stream, the way for datagrams beside it, and the relay if it is not the server.
type Carried = (Box<dyn ByteStream>, Option<RelayChannel>, Option<At>);

/// Where the called side is met.
enum Met {
    /// On the stream that we have asked on.
    Here(Box<dyn ByteStream>, Option<RelayChannel>),
    /// At another relay.
    There(Box<RelayPlace>),
}

/// Brings us together with other peers: asks the server, and proves keys on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Introducer {
    pub(crate) name: Name,
    pub(crate) identity: Identity,
    /// What carries the session with the server at the moment.
    pub(crate) link: Arc<Link>,
    pub(crate) tunnel: &'static dyn Tunnel,
    pub(crate) requests: Requests,
    pub(crate) known: KnownPeers,
    pub(crate) streams: usize,
    pub(crate) request_timeout: Duration,
    /// Where we and others find each other directly.
    pub(crate) ports: Arc<Ports>,
    /// Where the server sees others.
    pub(crate) vouched: Arc<Vouched>,
}

impl Introducer {
    /// Calls `who`: the key comes from the directory and from memory, never from the relay alone.
    pub(crate) async fn call(&self, who: &Name) -> Result<Introduced, ReachError> {
        if *who == self.name {
            return Err(ReachError::Ourselves { who: who.clone() });
        }
        let user = self.lookup(who).await?;
        self.known.check(who, user.id).await.map_err(ReachError::KeyChanged)?;
        let server = self.server().remote_addr();
        let (carrier, channel, relay) = Box::pin(self.timed(who, self.reach(who, user.id))).await?;
        let relay_addr = relay.as_ref().map_or(server, |at| at.addr);
        let outside = self.look_outside(relay_addr, channel.as_ref()).await;
        let config = self.connection_config();
        let path = self.relayed_path(relay.as_ref());
        let connection = self
            .tunnel
            .connect(carrier, path, config, Expect::Id(user.id))
            .await
            .map_err(|source| ReachError::Tunnel { who: who.clone(), source })?;
        self.timed(who, self.greet(who, &connection)).await?;
        if let Err(error) = self.known.remember(who, user.id).await {
            match error {
                KnownHostsError::Changed { .. } => return Err(ReachError::KeyChanged(error)),
                // The session is as good without the memory.
                error => tracing::warn!(%error, "the key of {who} could not be remembered"),
            }
        }
        Ok(Introduced { connection, role: Role::Caller, channel, server, outside, relay })
    }

    /// Our port for other peers.
    pub(crate) async fn port(&self) -> Result<Arc<Port>, String> {
        self.ports.port(self.link.current().connected.way.transport).await
    }

    /// Begins to find out how this network maps our port.
    pub(super) fn survey(&self, port: &Arc<Port>) {
        self.ports.survey(port, self.server().remote_addr());
    }

    /// Begins to ask as which we are seen; `None`: there is no port, and later it is said why.
    async fn look_outside(
        &self,
        server: SocketAddr,
        channel: Option<&RelayChannel>,
    ) -> Option<Arc<Outside>> {
        let port = self.port().await.ok()?;
        self.ports.map(&port, server);
        self.survey(&port);
        Some(Outside::begin(&port, self.ports.rule(), (server, channel)))
    }

    /// A session's first way.
    pub(crate) fn stream_leg(&self, connection: Arc<dyn Connection>, at: Option<At>) -> Leg {
        let relay = Some(connection.path().remote);
        let why = match (connection.path().kind, &at) {
            (PathKind::Relayed | PathKind::Direct, None) => {
                "the server carries the encrypted bytes; it cannot read them".to_owned()
            }
            (PathKind::Relayed | PathKind::Direct, Some(_)) => {
                "a relay carries the encrypted bytes; it cannot read them".to_owned()
            }
            (PathKind::Memory, _) => "both are in one process".to_owned(),
        };
        let transport = at.as_ref().map_or_else(|| self.scheme(), |at| at.scheme);
        let kept = at.map(|at| -> Arc<dyn std::any::Any + Send + Sync> { Arc::new(at) });
        Leg { connection, rank: Rank::Stream, transport, relay, channel: None, why, kept }
    }

    fn server(&self) -> Arc<dyn Connection> {
        Arc::clone(&self.link.current().connected.connection)
    }

    fn scheme(&self) -> &'static str {
        self.link.current().connected.way.transport.scheme()
    }

    /// How `who` is reached now.
    pub(crate) fn describe(&self, who: &Name, paths: &Paths) -> PathInfo {
        let (leg, path) = (paths.best(), paths.path());
        let why = match (leg.rank, paths.trouble()) {
            (Rank::Stream | Rank::Relayed, Some(trouble)) => {
                format!("{}; not directly: {trouble}", leg.why)
            }
            (Rank::Direct, _) | (Rank::Stream | Rank::Relayed, None) => leg.why.clone(),
        };
        PathInfo {
            with: Some(who.clone()),
            kind: Some(path.kind),
            transport: leg.transport,
            addr: Some(path.remote),
            why,
        }
    }

    /// What there is to say when no session is open.
    pub(crate) fn no_path(&self, who: &Name) -> PathInfo {
        let why = "no session is open; the next file request opens one through the server";
        let (with, transport) = (Some(who.clone()), self.scheme());
        PathInfo { with, kind: None, transport, addr: None, why: why.to_owned() }
    }

    /// Whether the server says that `who` is there.
    pub(super) async fn is_online(&self, who: &Name) -> bool {
        self.lookup(who).await.is_ok()
    }

    async fn lookup(&self, who: &Name) -> Result<UserInfo, ReachError> {
        match self.requests.ask(Lookup::online(who.clone()).into()).await? {
            Reply::User(user) => Ok(user),
            other => {
                use portolan_protocol::Table;
                Err(RequestError::Unexpected(other.kind()).into())
            }
        }
    }

    /// A stream to `who`: by a relay that the server names, or by the server itself.
    async fn reach(&self, who: &Name, listed: PeerId) -> Result<Carried, ReachError> {
        let mut without = Vec::new();
        // Without a port of ours, and when several relays were of no use, only the server is left.
        let port = self.port().await.ok();
        loop {
            let wish = port.as_ref().filter(|_| without.len() < PLACES_MAX);
            let elsewhere = wish.map(|_| Elsewhere { without: without.clone() });
            let place = match self.relay(who, listed, elsewhere).await? {
                Met::Here(carrier, channel) => return Ok((carrier, channel, None)),
                Met::There(place) => place,
            };
            let Some(port) = &port else {
                return Err(broken(who, &"the server named a relay that was not asked for"));
            };
            let id = place.id;
            match Box::pin(enter(Arc::clone(port), *place, self.is_same_host())).await {
                Ok(Entered { at, carrier, channel }) => return Ok((carrier, channel, Some(at))),
                Err(why) => {
                    tracing::info!(relay = %id, why, "a relay is of no use; asking for another");
                    without.push(id);
                }
            }
        }
    }

    /// Whether the server is on this machine.
    fn is_same_host(&self) -> bool {
        self.server().remote_addr().ip().to_canonical().is_loopback()
    }

    async fn relay(
        &self,
        who: &Name,
        listed: PeerId,
        elsewhere: Option<Elsewhere>,
    ) -> Result<Met, ReachError> {
        let opened = self.server().open_stream(Priority::Bulk).await;
        let (send, receive) = opened.map_err(|error| broken(who, &error))?;
        let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
        let opening = Opening::Relay(Relay { to: who.clone(), elsewhere });
        let request = OpeningMessage::Request(RequestId(1), opening);
        writer.send(&request).await.map_err(|error| broken(who, &error))?;
        match reader.next_message().await {
            Ok(OpeningMessage::Answer(_, Opened::Ready(ready))) => {
                let relayed = ready.id.unwrap_or(listed);
                if relayed != listed {
                    return Err(ReachError::TwoKeys { who: who.clone(), listed, relayed });
                }
                Ok(match ready.place {
                    Some(place) => Met::There(place),
                    None => {
                        let carrier = carrier(reader.into_raw(), writer.into_inner());
                        Met::Here(carrier, ready.channel)
                    }
                })
            }
            Ok(OpeningMessage::Error(_, body)) => {
                Err(ReachError::Refused { who: who.clone(), body })
            }
            Ok(OpeningMessage::Request(..) | OpeningMessage::Answer(_, Opened::Load(_))) => {
                Err(broken(who, &"the server answered something else"))
            }
            Ok(OpeningMessage::Event(never)) => match never {},
            Err(error) => Err(broken(who, &error)),
        }
    }

    /// Hello and welcome on the first stream: the session is up when both have gone over.
    pub(super) async fn greet(
        &self,
        who: &Name,
        connection: &Arc<dyn Connection>,
    ) -> Result<(), ReachError> {
        let opened = connection.open_stream(Priority::Control).await;
        let (send, receive) = opened.map_err(|error| broken(who, &error))?;
        let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
        let hello =
            Hello { versions: VERSIONS.to_vec(), features: Vec::new(), software: software() };
        let request = PeerMessage::Request(RequestId(1), PeerCommand::Hello(hello));
        writer.send(&request).await.map_err(|error| broken(who, &error))?;
        let _ = writer.get_mut().finish();
        match reader.next_message().await {
            Ok(PeerMessage::Answer(_, PeerReply::Welcome(welcome)))
                if VERSIONS.contains(&welcome.version) =>
            {
                Ok(())
            }
            Ok(PeerMessage::Error(_, body)) => Err(ReachError::Refused { who: who.clone(), body }),
            Ok(Message::Answer(..) | Message::Request(..) | Message::Event(..)) => {
                Err(broken(who, &"it did not welcome us"))
            }
            Err(error) => Err(broken(who, &error)),
        }
    }

    /// Lets a peer in that the server has announced and whose key it has named.
    async fn answer(
        &self,
        relayed: &Relayed,
        reader: FrameReader<RecvStream>,
        mut writer: FrameWriter<SendStream>,
        id: RequestId,
    ) -> Result<Introduced, ReachError> {
        let who = &relayed.from;
        let server = self.server().remote_addr();
        let entered = match self.port().await {
            Ok(port) if !relayed.places.is_empty() => {
                Box::pin(enter_any(&port, &relayed.places, self.is_same_host())).await
            }
            Ok(_) | Err(_) => None,
        };
        let waits_at = entered.as_ref().map(|entered| entered.at.id);
        let ready = Ready { entered: waits_at, ..Ready::default() };
        let ready = OpeningMessage::Answer(id, Opened::Ready(ready));
        writer.send(&ready).await.map_err(|error| broken(who, &error))?;
        let (carrier, channel, relay) = match entered {
            Some(Entered { at, carrier, channel }) => (carrier, channel, Some(at)),
            None => {
                let carrier = carrier(reader.into_raw(), writer.into_inner());
                (carrier, relayed.channel.clone(), None)
            }
        };
        let relay_addr = relay.as_ref().map_or(server, |at| at.addr);
        let outside = self.look_outside(relay_addr, channel.as_ref()).await;
        let config = self.connection_config();
        let path = self.relayed_path(relay.as_ref());
        let connection = self
            .tunnel
            .accept(carrier, path, config, Expect::Id(relayed.id))
            .await
            .map_err(|source| ReachError::Tunnel { who: who.clone(), source })?;
        if let Err(error) = self.known.remember(who, relayed.id).await {
            tracing::warn!(%error, "the key of {who} could not be remembered");
        }
        Ok(Introduced { connection, role: Role::Callee, channel, server, outside, relay })
    }

    fn connection_config(&self) -> ConnectionConfig {
        let mut config = ConnectionConfig::new(self.identity.clone());
        config.limits.streams = u32::try_from(self.streams).unwrap_or(u32::MAX).max(1);
        config
    }

    fn relayed_path(&self, relay: Option<&At>) -> Path {
        let carried = relay.map_or_else(|| self.server().path(), |at| at.connection.path());
        Path { kind: PathKind::Relayed, local: carried.local, remote: carried.remote }
    }

    async fn timed<T>(
        &self,
        who: &Name,
        step: impl Future<Output = Result<T, ReachError>>,
    ) -> Result<T, ReachError> {
        let result = timeout(self.request_timeout, step).await;
        result.unwrap_or_else(|_| Err(ReachError::TimedOut { who: who.clone() }))
    }
}

/// Accepts the streams that the server opens, for as long as the connection lasts.
pub(crate) async fn accept_openings(sessions: Arc<Sessions>, server: Arc<dyn Connection>) {
    let per_minute = sessions.host().limits.sessions_per_minute;
    let mut rate = Rate::new(Instant::now(), per_minute, Duration::from_secs(60));
    let mut openings = JoinSet::new();
    loop {
        tokio::select! {
            stream = server.accept_stream(), if openings.len() < OPENINGS_MAX => {
                let Ok((send, receive)) = stream else { return };
                let in_time = rate.take(Instant::now()).is_ok();
                let sessions = Arc::clone(&sessions);
                openings.spawn(async move {
                    let limit = sessions.introducer().request_timeout * 2;
                    let opening = on_opening(&sessions, send, receive, in_time);
                    if timeout(limit, opening).await.is_err() {
                        tracing::debug!("an introduction took too long");
                    }
                });
            }
            Some(_) = openings.join_next(), if !openings.is_empty() => {}
        }
    }
}

async fn on_opening(
    sessions: &Arc<Sessions>,
    send: SendStream,
    receive: RecvStream,
    in_time: bool,
) {
    let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let (id, opening) = match reader.next_message().await {
        Ok(OpeningMessage::Request(id, opening)) => (id, opening),
        Ok(Message::Answer(..) | Message::Error(..)) => return,
        Ok(Message::Event(never)) => match never {},
        Err(ReadMessageError::Decode(error)) => {
            if let Some((id, body)) = error.answer() {
                refuse(&mut writer, id, body).await;
            }
            return;
        }
        Err(_) => return,
    };
    match opening {
        Opening::Relayed(relayed) => {
            let stream = (id, reader, writer);
            if let Err(body) = on_relayed(sessions, &relayed, stream, in_time).await {
                tracing::debug!(from = %relayed.from, %body, "an introduction failed");
            }
        }
        Opening::Control(_) | Opening::Relay(_) | Opening::Enter(_) | Opening::Load(_) => {
            let body = ErrorBody::new(ErrorCode::Unsupported, "a client serves no such stream");
            refuse(&mut writer, id, body).await;
        }
    }
}

async fn on_relayed(
    sessions: &Arc<Sessions>,
    relayed: &Relayed,
    (id, reader, mut writer): (RequestId, FrameReader<RecvStream>, FrameWriter<SendStream>),
    in_time: bool,
) -> Result<(), ErrorBody> {
    let introducer = sessions.introducer();
    let permit = match admit(sessions, relayed, in_time).await {
        Ok(permit) => permit,
        Err(body) => {
            refuse(&mut writer, id, body.clone()).await;
            return Err(body);
        }
    };
    sessions.check(&relayed.from).await;
    let introduced = introducer
        .answer(relayed, reader, writer, id)
        .await
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))?;
    sessions.adopt(&relayed.from, introduced, permit);
    Ok(())
}

async fn admit(
    sessions: &Arc<Sessions>,
    relayed: &Relayed,
    in_time: bool,
) -> Result<tokio::sync::OwnedSemaphorePermit, ErrorBody> {
    if !in_time {
        let message = "too many introductions in too short a time; try later";
        return Err(ErrorBody::new(ErrorCode::RateLimited, message));
    }
    let known = &sessions.introducer().known;
    if let Err(error) = known.check(&relayed.from, relayed.id).await {
        sessions.host().warn(ErrorCode::UnknownPeer, error.to_string());
        let message = "the key is not the one that this peer remembers";
        return Err(ErrorBody::new(ErrorCode::UnknownPeer, message));
    }
    sessions
        .permit()
        .ok_or_else(|| ErrorBody::new(ErrorCode::Quota, "too many sessions are open; try later"))
}

async fn refuse(writer: &mut FrameWriter<SendStream>, id: RequestId, body: ErrorBody) {
    if writer.send(&OpeningMessage::Error(id, body)).await.is_ok() {
        let _ = writer.get_mut().finish();
    }
}

fn carrier(reader: RawReader<RecvStream>, writer: SendStream) -> Box<dyn ByteStream> {
    Box::new(tokio::io::join(reader, writer))
}

fn broken(who: &Name, detail: &dyn std::fmt::Display) -> ReachError {
    ReachError::Broken { who: who.clone(), detail: detail.to_string() }
}
