//! Our end for other peers: one port for direct connections and for relayed datagrams, bound at
//! the first introduction and kept, whatever becomes of the connection to the server.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use portolan_datagram_io::{Batch, Lane, LaneSocket, Reading, RelayFrame, SharedSockets};
use portolan_identity::PeerId;
use portolan_nat_io::StunPort;
use portolan_protocol::{
    Join, Joined, PeerCommand, PeerMessage, PeerReply, RequestId, Ticket, Way,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{
    BindConfig, BindError, Carrier, CloseCode, Connection, Dials, Endpoint, Priority, Transport,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{mapped::Mapped, surveyed::Surveyed};

/// Connections of others that have not said yet where they belong.
const STRANGERS_MAX: usize = 32;
/// They have so long.
const JOIN_TIME: Duration = Duration::from_secs(5);
/// Whom we do not expect.
const UNKNOWN_PEER: CloseCode = CloseCode(24);
/// Answers of a relay that wait for whom they concern.
const BOUND_WAITING: usize = 4;

/// Our end for other peers.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) transport: &'static dyn Transport,
    pub(crate) endpoint: Arc<dyn Endpoint>,
    /// What datagrams of relays come through, if we have a UDP port.
    pub(crate) relay: Option<RelayLane>,
    /// What punches holes through translators from here, if we have a UDP port.
    pub(crate) stun: Option<StunPort>,
    /// What the router forwards here, once it is asked.
    pub(super) mapped: OnceLock<Mapped>,
    /// How this network maps it, if it is a UDP port.
    pub(super) surveyed: Surveyed,
    config: BindConfig,
    guests: Arc<Guests>,
    _accepting: AbortOnDropHandle<()>,
}

/// A further port that leads here: a hole was found for it and not for ours.
#[derive(Debug)]
pub(crate) struct Annex {
    pub(crate) endpoint: Arc<dyn Endpoint>,
    _accepting: AbortOnDropHandle<()>,
}

/// What relays say to us.
#[derive(Debug)]
pub(crate) struct RelayLane {
    pub(crate) socket: Arc<LaneSocket>,
    listeners: Arc<Listeners>,
    _reading: AbortOnDropHandle<()>,
}

/// Who waits for answers on a channel. Frames as they came: their codes are checked by who waits.
#[derive(Debug, Default)]
struct Listeners(Mutex<HashMap<(SocketAddr, u64), Listener>>);

type Listener = mpsc::Sender<Vec<u8>>;

/// Those whose connections are welcome.
#[derive(Debug, Default)]
struct Guests(Mutex<HashMap<Guest, Usher>>);

/// Whose connection, with which ticket, by which way.
type Guest = (PeerId, Ticket, Way);

/// Leads a connection to where it is expected.
type Usher = mpsc::Sender<Arc<dyn Connection>>;

/// A place for one connection of another peer; dropping it withdraws it.
#[derive(Debug)]
pub(crate) struct Place {
    guests: Arc<Guests>,
    key: Guest,
    arrived: mpsc::Receiver<Arc<dyn Connection>>,
}

impl Port {
    /// Binds a port of all our addresses.
    pub(crate) async fn bind(
        transport: &'static dyn Transport,
        mut config: BindConfig,
    ) -> Result<Self, BindError> {
        config.local = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        config.dials = Dials::BoundPort;
        let endpoint = match transport.bind(config.clone()).await {
            Ok(endpoint) => endpoint,
            // A system without IPv6.
            Err(_) => {
                config.local = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
                transport.bind(config.clone()).await?
            }
        };
        let sockets = config.shared.get_or_default::<SharedSockets>();
        let local = endpoint.local_addr();
        let (relay, stun) = match transport.capabilities().carrier {
            Carrier::Udp => (RelayLane::open(&sockets, local), open_stun(&sockets, local)),
            Carrier::Tcp | Carrier::Memory => (None, None),
        };
        let guests = Arc::<Guests>::default();
        let accepting = accept(Arc::clone(&endpoint), Arc::clone(&guests));
        let _accepting = AbortOnDropHandle::new(tokio::spawn(accepting));
        let (mapped, surveyed) = (OnceLock::new(), Surveyed::default());
        Ok(Self { transport, endpoint, relay, stun, mapped, surveyed, config, guests, _accepting })
    }

    /// Binds a further port, whose connections are as welcome as those at this one.
    pub(crate) async fn annex(&self, local: SocketAddr) -> Result<Annex, BindError> {
        let config = BindConfig { local, ..self.config.clone() };
        let endpoint = self.transport.bind(config).await?;
        let accepting = accept(Arc::clone(&endpoint), Arc::clone(&self.guests));
        let _accepting = AbortOnDropHandle::new(tokio::spawn(accepting));
        Ok(Annex { endpoint, _accepting })
    }

    /// Lets a connection in that both sides have opened, as if it had come to the port.
    pub(super) async fn admit(&self, connection: &Arc<dyn Connection>) {
        welcome(&self.guests, connection).await;
    }

    /// Expects one connection of `peer`, which shows `ticket` and came by `way`.
    pub(crate) fn expect(&self, peer: PeerId, ticket: Ticket, way: Way) -> Place {
        let (arrive, arrived) = mpsc::channel(1);
        let key = (peer, ticket, way);
        self.guests.lock().insert(key.clone(), arrive);
        Place { guests: Arc::clone(&self.guests), key, arrived }
    }
}

impl Place {
    /// The connection; `None`: it will not come. Cancel safe.
    pub(crate) async fn arrived(&mut self) -> Option<Arc<dyn Connection>> {
        self.arrived.recv().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.lock().remove(&self.key);
    }
}

impl Guests {
    fn expects(&self, peer: &PeerId) -> bool {
        self.lock().keys().any(|(expected, ..)| expected == peer)
    }

    /// Whose connection it is; a ticket counts once for each way.
    fn take(&self, peer: PeerId, join: Join) -> Option<Usher> {
        self.lock().remove(&(peer, join.ticket, join.by))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Guest, Usher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets those in who are expected and say so.
async fn accept(endpoint: Arc<dyn Endpoint>, guests: Arc<Guests>) {
    let mut strangers = JoinSet::new();
    loop {
        tokio::select! {
            connection = endpoint.accept() => {
                let Ok(connection) = connection else { return };
                if !guests.expects(&connection.remote_id()) {
                    tracing::debug!(peer = %connection.remote_id(), "nobody expects this peer");
                    connection.close(UNKNOWN_PEER, "unknown_peer: no introduction");
                } else if strangers.len() >= STRANGERS_MAX {
                    connection.close(CloseCode::BUSY, "too many connections at once");
                } else {
                    let guests = Arc::clone(&guests);
                    strangers.spawn(async move { welcome(&guests, &connection).await });
                }
            }
            Some(_) = strangers.join_next(), if !strangers.is_empty() => {}
        }
    }
}

/// Lets in who shows a ticket that counts.
async fn welcome(guests: &Guests, connection: &Arc<dyn Connection>) {
    let admitted = timeout(JOIN_TIME, admit(guests, connection)).await;
    if !matches!(admitted, Ok(Some(()))) {
        connection.close(UNKNOWN_PEER, "unknown_peer: no such ticket");
    }
}

/// Reads the first words of a connection; `None`: it is not welcome.
async fn admit(guests: &Guests, connection: &Arc<dyn Connection>) -> Option<()> {
    let (send, receive) = connection.accept_stream().await.ok()?;
    let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let (id, join) = match reader.next_message().await.ok()? {
        PeerMessage::Request(id, PeerCommand::Join(join)) => (id, join),
        PeerMessage::Request(..)
        | PeerMessage::Answer(..)
        | PeerMessage::Error(..)
        | PeerMessage::Event(..) => return None,
    };
    let Some(place) = guests.take(connection.remote_id(), join) else {
        tracing::info!(peer = %connection.remote_id(), "a ticket that does not count was shown");
        return None;
    };
    writer.send(&PeerMessage::Answer(id, PeerReply::Joined(Joined {}))).await.ok()?;
    let _ = writer.get_mut().finish();
    place.try_send(Arc::clone(connection)).ok()
}

/// Says where a connection that we began belongs. `None`: it does not count there.
pub(crate) async fn join(connection: &Arc<dyn Connection>, ticket: Ticket, by: Way) -> Option<()> {
    let (send, receive) = connection.open_stream(Priority::Control).await.ok()?;
    let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let request = PeerMessage::Request(RequestId(1), PeerCommand::Join(Join { ticket, by }));
    writer.send(&request).await.ok()?;
    let _ = writer.get_mut().finish();
    match timeout(JOIN_TIME, reader.next_message()).await.ok()?.ok()? {
        PeerMessage::Answer(_, PeerReply::Joined(_)) => Some(()),
        PeerMessage::Answer(..)
        | PeerMessage::Error(..)
        | PeerMessage::Request(..)
        | PeerMessage::Event(..) => {
            connection.close(UNKNOWN_PEER, "it was not let in");
            None
        }
    }
}

fn open_stun(sockets: &Arc<SharedSockets>, local: SocketAddr) -> Option<StunPort> {
    let mut seed = [0; 32];
    portolan_identity::provider().secure_random.fill(&mut seed).ok()?;
    let opened = StunPort::open(sockets, local, seed);
    opened.inspect_err(|error| tracing::warn!(%error, "no holes can be punched")).ok()
}

impl RelayLane {
    fn open(sockets: &SharedSockets, local: SocketAddr) -> Option<Self> {
        // What relays say is little: the others read it along.
        let opened = sockets.open_as(local, Lane::Relay, Reading::Rare);
        let socket = opened
            .inspect_err(|error| tracing::warn!(%error, "no datagrams through relays"))
            .ok()?;
        let listeners = Arc::<Listeners>::default();
        let reading = read(Arc::clone(&socket), Arc::clone(&listeners));
        let _reading = AbortOnDropHandle::new(tokio::spawn(reading));
        Some(Self { socket, listeners, _reading })
    }

    /// What `relay` answers on a channel from now on; until the receiver is dropped.
    pub(super) fn listen(&self, relay: SocketAddr, number: u64) -> mpsc::Receiver<Vec<u8>> {
        let (tell, told) = mpsc::channel(BOUND_WAITING);
        let mut listeners = self.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|_, listener| !listener.is_closed());
        listeners.insert((canonical(relay), number), tell);
        told
    }
}

async fn read(socket: Arc<LaneSocket>, listeners: Arc<Listeners>) {
    let mut batch = Batch::new();
    while socket.recv(&mut batch).await.is_ok() {
        batch.for_each(|train| {
            for frame in train.bytes.chunks(train.stride) {
                let Some(RelayFrame::Bound { channel, .. }) = RelayFrame::decode(frame) else {
                    continue;
                };
                let listeners = listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(listener) = listeners.get(&(canonical(train.from), channel)) {
                    let _ = listener.try_send(frame.to_vec());
                }
            }
        });
    }
}

pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether a packet of ours may be sent there because another peer says so.
pub(super) fn is_sane(candidate: SocketAddr, is_same_host: bool) -> bool {
    let is_sane = match candidate.ip().to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.octets()[0] >= 240)
                && (is_same_host || !v4.is_loopback())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
                && (is_same_host || !v6.is_loopback())
        }
    };
    is_sane && candidate.port() != 0
}

#[cfg(test)]
mod tests {
    use super::is_sane;

    #[test]
    fn what_a_peer_names_is_sane_before_it_is_tried() {
        let sane = |addr: &str, is_same_host| is_sane(addr.parse().unwrap(), is_same_host);
        for addr in ["192.168.1.7:4000", "[2001:db8::7]:4000", "203.0.113.9:1"] {
            assert!(sane(addr, false), "{addr}");
        }
        for addr in ["127.0.0.1:4000", "[::1]:4000", "[::ffff:127.0.0.1]:4000"] {
            assert!(!sane(addr, false) && sane(addr, true), "{addr}");
        }
        let never = [
            "0.0.0.0:4000",
            "255.255.255.255:4000",
            "224.0.0.251:5353",
            "240.0.0.1:1",
            "[::ffff:240.0.0.1]:1",
            "[::]:4000",
            "[ff02::fb]:5353",
            "[fe80::1]:4000",
            "192.168.1.7:0",
        ];
        for addr in never {
            assert!(!sane(addr, true), "{addr}");
        }
    }
}
