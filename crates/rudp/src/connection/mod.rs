//! One connection: the machine, put together.

mod closing;
mod following;
mod handshake;
mod memory;
mod migration;
mod naming;
mod path_letter;
mod path_proof;
mod receive;
mod recovery;
mod rows;
mod timers;
mod tls;
mod transmit;
mod watch;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use handshake::params;
pub use migration::MigrationError;

use portolan_mux::{Mux, SentFrame, Side, Violation, ViolationCode};
use rustls::pki_types::CertificateDer;

use crate::{
    CloseReason, ConnectionConfig, ConnectionId, ConnectionStats, Deadline, Ecn, Event, Route,
    close::Farewell,
    event::{EndpointEvent, Notice, ResetToken},
    heartbeat::Heartbeat,
    ids::{LocalIds, RemoteId, RemoteIds},
    integrity::Integrity,
    keys::{DataKeys, HandshakeKeys},
    late::LatePackets,
    packet::Level,
    path::Path,
    secrets::Secrets,
    space::Spaces,
    timer_set::TimerSet,
    traps::Traps,
    waiting::Waiting,
};

/// One connection to one remote; see the crate's page for who drives it.
///
/// After every call the host drains [`Self::poll_event`] and the machine's events
/// ([`Self::mux`]), then [`Self::poll_transmit`], then reads [`Self::poll_timeout`].
#[derive(Debug)]
pub struct Connection {
    side: Side,
    config: Arc<ConnectionConfig>,
    integrity: Integrity,
    names: Names,
    secrets: Secrets,
    traps: Traps,
    local_ids: LocalIds,
    remote_ids: RemoteIds,
    tls: tls::Tls,
    state: State,
    /// The remote is known to have the whole handshake (RFC 9001 §4.1.2).
    is_confirmed: bool,
    handshake_keys: Option<HandshakeKeys>,
    data_keys: Option<DataKeys>,
    spaces: Spaces,
    path: Path,
    standby: Option<Box<migration::Standby>>,
    recovery: Recovery,
    mux: Mux,
    /// Frames of the packet under construction.
    frames: Vec<SentFrame>,
    remote: Remote,
    pending: Pending,
    /// Packets that came before the end of the handshake.
    early: Vec<(Option<Ecn>, Vec<u8>)>,
    timers: TimerSet,
    heartbeat: Heartbeat,
    events: VecDeque<Event>,
    stats: ConnectionStats,
    waiting: Waiting,
    created: Instant,
    /// When the last genuine packet came.
    heard: Option<Instant>,
    watch: Option<Box<watch::Watch>>,
}

/// What both sides call the connection.
#[derive(Debug)]
struct Names {
    local: ConnectionId,
    /// What the remote calls us on the path in use.
    addressed_as: ConnectionId,
    /// What we call the remote there. Until the server has named itself: what the client called
    /// it.
    remote: ConnectionId,
    /// The number by which the remote knows that name.
    remote_number: u64,
    is_remote_known: bool,
    /// What the client first called the server.
    original: ConnectionId,
    /// From a Retry; repeated in every Init packet.
    token: Vec<u8>,
    is_retried: bool,
    /// By this the remote can prove that it has forgotten that name.
    reset_token: Option<ResetToken>,
}

impl Names {
    fn remote_id(&self) -> RemoteId {
        RemoteId { number: self.remote_number, id: self.remote, token: self.reset_token }
    }
}

#[derive(Debug)]
enum State {
    /// Packets are exchanged, but nothing of the application's.
    Handshaking,
    /// The remote has proved its key.
    Established,
    /// We have said farewell, and say it again to what still comes (RFC 9000 §10.2.1).
    Closing(Closing),
    /// The remote has said farewell (RFC 9000 §10.2.2).
    Draining(Draining),
    /// Nothing is left to do.
    Gone,
}

#[derive(Debug)]
struct Closing {
    farewell: Farewell,
    is_due: bool,
    /// Datagrams that came since.
    received: u32,
    /// Times that the farewell is still said without being asked.
    repeats: u8,
    repeat_after: Duration,
}

#[derive(Debug)]
struct Draining {
    /// The remote should know that its farewell was heard.
    answer_is_due: bool,
}

/// What loss recovery remembers besides the packets.
#[derive(Debug, Default)]
struct Recovery {
    /// Probes without an answer.
    probe_count: u32,
    last_probe: Option<Instant>,
    /// The remote is known to have validated our address (clients; RFC 9002 §6.2.2.1).
    is_validated_by_remote: bool,
    /// The window was not used up when we last looked.
    is_app_limited: bool,
    /// There was a time since the last packet when the application had no more to send.
    was_app_limited: bool,
    /// The window was used up since the last acknowledgement.
    is_window_limited: bool,
    /// Packets of the Data level that were declared lost and may be late.
    late: Option<Box<LatePackets>>,
    /// Paths so far, but for the first.
    paths: u32,
}

/// What the remote's parameters say.
#[derive(Debug)]
struct Remote {
    ack_delay: Duration,
    idle: Duration,
    /// Bytes of the longest datagram that it takes.
    packet_max: u16,
}

/// Small things to be sent at the Data level.
#[derive(Debug, Default)]
struct Pending {
    done: bool,
    ping: bool,
    pong: Option<u64>,
    path_response: Option<[u8; 8]>,
    /// Something about names.
    names: bool,
    /// Packets to be as long as every path carries: what comes from an address that has not
    /// proved itself is what may be sent there.
    padded: u8,
    /// Something to be acknowledged was sent since the remote was last heard.
    has_sent_since_heard: bool,
    key_update: bool,
}

/// What a new connection is made from.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) side: Side,
    pub(crate) config: Arc<ConnectionConfig>,
    pub(crate) integrity: Integrity,
    pub(crate) route: Route,
    pub(crate) secrets: Secrets,
    pub(crate) local_id: ConnectionId,
    pub(crate) remote_id: ConnectionId,
    pub(crate) original: ConnectionId,
    /// The client has brought a valid token (server).
    pub(crate) is_retried: bool,
    pub(crate) tls: Box<rustls::quic::Connection>,
}

/// How rare heartbeats may become; zero where there are none.
fn keep_alive_max(config: &ConnectionConfig) -> Duration {
    if config.keep_alive.is_zero() { Duration::ZERO } else { config.keep_alive_max }
}

const SPENT: Violation = Violation::new(
    ViolationCode::AeadLimitReached,
    "the keys have sealed as much as they may, and the remote does not follow to new ones",
);

impl Connection {
    pub(crate) fn new(now: Instant, setup: Setup) -> Self {
        let Setup { side, config, integrity, mut secrets, .. } = setup;
        let Setup { local_id, remote_id, original, .. } = setup;
        let traps = Traps::new(secrets.draw(&integrity));
        let mut path = Path::new(now, setup.route, &config, local_id.seed());
        path.is_validated = side == Side::Client || setup.is_retried;
        let mut connection = Self {
            side,
            integrity,
            names: Names {
                local: local_id,
                addressed_as: local_id,
                remote: remote_id,
                remote_number: 0,
                is_remote_known: side == Side::Server,
                original,
                token: Vec::new(),
                is_retried: setup.is_retried,
                reset_token: None,
            },
            secrets,
            traps,
            local_ids: LocalIds::new(local_id),
            remote_ids: RemoteIds::new(),
            tls: tls::Tls::new(setup.tls),
            state: State::Handshaking,
            is_confirmed: false,
            handshake_keys: None,
            data_keys: None,
            spaces: Spaces::new(config.ack_delay),
            path,
            standby: None,
            recovery: Recovery {
                is_validated_by_remote: side == Side::Server,
                ..Recovery::default()
            },
            mux: Mux::new(side, config.mux),
            frames: Vec::new(),
            remote: Remote {
                ack_delay: config.ack_delay,
                idle: config.idle,
                packet_max: config.packet_limit,
            },
            pending: Pending::default(),
            early: Vec::new(),
            timers: TimerSet::new(),
            heartbeat: Heartbeat::new(now, side, config.keep_alive, keep_alive_max(&config)),
            events: VecDeque::new(),
            stats: ConnectionStats::default(),
            waiting: Waiting::new(now),
            created: now,
            heard: None,
            watch: None,
            config,
        };
        let overhead = crate::packet::wire_overhead(connection.path.route.remote);
        connection.mux.set_packet_overhead(overhead);
        connection.timers.set(crate::Timer::Handshake, now + connection.config.handshake);
        connection.write_handshake();
        connection.update_loss_timer(now);
        connection
    }

    /// The streams and datagrams. After calling it, poll for transmits.
    pub fn mux(&mut self) -> &mut Mux {
        &mut self.mux
    }

    /// What the host should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            // There are few, most of them at the beginning.
            self.events = VecDeque::new();
        }
        event
    }

    /// When [`Self::handle_timeout`] is to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let copies = self.mux.poll_timeout().filter(|_| self.is_connected());
        let copies = copies.map(|at| Deadline { at, why: crate::Timer::Redundancy });
        self.timers.next().into_iter().chain(copies).min_by_key(|deadline| deadline.at)
    }

    /// Which end this is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// Where the remote is.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.path.route.remote
    }

    /// The path in use.
    #[must_use]
    pub fn route(&self) -> Route {
        self.path.route
    }

    /// Whether the remote has proved its key and the connection has not ended.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Established)
    }

    /// Whether the remote is known to have the whole handshake; the last step of it.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// Whether the connection has ended, for whatever reason; farewells may still be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self.state {
            State::Handshaking | State::Established => false,
            State::Closing(_) | State::Draining(_) | State::Gone => true,
        }
    }

    /// Whether nothing is left to do: the host drops it now.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// What the remote has shown as its certificate: with raw public keys (RFC 7250), one key.
    #[must_use]
    pub fn remote_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.certificates()
    }

    /// Whether the handshake was a whole one or resumed an earlier session, once it is known.
    #[must_use]
    pub fn handshake_kind(&self) -> Option<rustls::HandshakeKind> {
        self.tls.kind()
    }

    /// Counters and estimates of this moment.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        let mut stats = self.stats;
        stats.rtt = self.path.rtt.first_sample().map(|_| self.path.rtt.smoothed());
        stats.rtt_min = self.path.rtt.first_sample().map(|_| self.path.rtt.min());
        stats.rtt_latest = self.path.rtt.first_sample().map(|_| self.path.rtt.latest());
        stats.rtt_variation = self.path.rtt.first_sample().map(|_| self.path.rtt.variation());
        stats.slow_start_threshold = self.path.congestion.slow_start_threshold();
        stats.pacing_rate = self.path.congestion.pacing_rate();
        stats.probes_unanswered = self.recovery.probe_count;
        stats.waited = self.waiting.so_far();
        stats.congestion_window = self.path.congestion.window();
        stats.in_flight = self.path.in_flight;
        stats.packet_size = self.path.packet_size();
        stats.is_ecn_capable = self.path.marking.is_capable();
        stats.key_updates = self.data_keys.as_ref().map_or(0, |keys| keys.updates);
        stats.packets_forged += self.data_keys.as_ref().map_or(0, DataKeys::forged);
        stats
    }

    /// Asks the remote to show that it is there, besides the regular heartbeat.
    pub fn ping(&mut self) {
        self.pending.ping = true;
    }

    /// Changes the keys with the next packet (RFC 9001 §6); answers whether that can be done
    /// now: the last change must have been noticed by the remote and be a while ago.
    pub fn update_keys(&mut self) -> bool {
        let can = self.is_confirmed && self.data_keys.as_ref().is_some_and(DataKeys::can_update);
        self.pending.key_update |= can;
        can
    }

    /// How long without an answer before a probe is sent.
    fn probe_delay(&self, level: Level) -> Duration {
        let held_back = match level {
            Level::Init | Level::Handshake => Duration::ZERO,
            Level::Data => self.remote.ack_delay,
        };
        self.path.rtt.probe_delay() + held_back
    }

    fn notify(&mut self, notice: Notice) {
        self.events.push_back(Event::Endpoint(EndpointEvent(notice)));
    }

    fn fail(&mut self, now: Instant, violation: Violation) {
        let farewell = Farewell::violation(violation);
        self.start_closing(now, farewell, CloseReason::Violation(violation));
    }
}
