//! What a server is started with: address, identity, storage, bounds and times.

mod bus;
mod gateways;
mod registries;
mod relaying;
mod rights;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use portolan_identity::{Identity, PeerId};
use portolan_nat::ResponderLimits;
use portolan_protocol::Name;
use portolan_transport::{Shared, Transport};

pub use bus::BusKind;
pub use gateways::GatewayConfig;
pub(crate) use registries::with_heartbeat;
pub use registries::{RegistryConfig, RegistryConfigs};
pub use relaying::{RelayServer, Relaying};
pub use rights::{Right, Rights};

/// Everything that [`Server::start`](crate::Server::start) needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen, with every transport on the same port; port 0 for any that all can have.
    pub listen: SocketAddr,
    /// The transports to serve; each gets a registry of its own.
    pub transports: &'static [&'static dyn Transport],
    /// Who the server is. This key has the admin right too.
    pub identity: Identity,
    /// What the server's transports share with others of this program.
    pub shared: Shared,
    /// Where names and waiting messages are kept.
    pub storage: Storage,
    /// Keys that have the admin right.
    pub admins: Vec<PeerId>,
    /// Who may do what only some may.
    pub rights: Rights,
    /// What registries differ in.
    pub registries: RegistryConfigs,
    /// Names that nobody may take.
    pub reserved: Vec<Name>,
    /// Other relays that carry for our users; we do where there is none.
    pub relays: Vec<RelayServer>,
    /// For whom we relay besides our own users.
    pub relaying: Relaying,
    /// Which older programs' clients are let in, and where.
    pub gateways: Vec<GatewayConfig>,
    /// How news reach the clients.
    pub bus: BusKind,
    /// What it costs to try a password.
    pub password_cost: PasswordCost,
    /// Where to log who did what and when; nothing is logged without.
    pub event_log: Option<EventLog>,
    /// Another address and port at which STUN is answered too, so that clients can find out how
    /// their translators behave (RFC 5780); none without.
    pub stun_alternate: Option<SocketAddr>,
    /// As which the server announces itself on its networks by multicast DNS; not at all without.
    pub lan: Option<String>,
    /// Where metrics and health are told over HTTP; nothing is counted without.
    pub metrics: Option<SocketAddr>,
    /// How long things may take.
    pub timing: Timing,
    /// Upper bounds on what clients can make the server hold and do.
    pub limits: Limits,
}

impl Config {
    /// Listens on `listen` with `transports` as `identity`, keeps everything in memory and logs
    /// nothing; default bounds and times.
    #[must_use]
    pub fn new(
        listen: SocketAddr,
        transports: &'static [&'static dyn Transport],
        identity: Identity,
    ) -> Self {
        Self {
            listen,
            transports,
            identity,
            shared: Shared::default(),
            storage: Storage::Ephemeral,
            admins: Vec::new(),
            rights: Rights::default(),
            registries: RegistryConfigs::new(),
            reserved: Vec::new(),
            relays: Vec::new(),
            relaying: Relaying::default(),
            gateways: Vec::new(),
            bus: BusKind::default(),
            password_cost: PasswordCost::default(),
            event_log: None,
            stun_alternate: None,
            lan: None,
            metrics: None,
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

/// What it costs to try a password, for us and for those who guess (Argon2id, RFC 9106). Passwords
/// that were set before keep the cost of their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl PasswordCost {
    /// What can be asked for: less is no protection, more stops the server.
    pub(crate) const MEMORY_KIB: std::ops::RangeInclusive<u32> = 8_192..=1_048_576;
    /// As above.
    pub(crate) const PASSES: std::ops::RangeInclusive<u32> = 1..=16;
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2 }
    }
}

/// Where names and waiting messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In memory: gone with the process.
    Ephemeral,
    /// In a database in this directory, which is made if it is missing: what was answered
    /// `stored` outlives a crash.
    Directory(PathBuf),
}

/// Where the event log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventLog {
    /// To standard error.
    Stderr,
    /// To this file; older ones are kept beside it, `FILE.1` the newest of them.
    File(PathBuf),
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the connection to the login; then the connection is closed.
    pub login: Duration,
    /// A request for a conversation lapses after this time.
    pub request: Duration,
    /// A client in a conversation has vanished when nothing was heard of it for this long.
    pub attention: Duration,
    /// The called peer has this long to take a relayed stream.
    pub relay_open: Duration,
    /// A relay on which nothing moves for this long is reset.
    pub relay_idle: Duration,
    /// What another relay carries for our users ends after this time.
    pub pass_lasts: Duration,
    /// What is still queued for a client that is sent away may take this long.
    pub farewell: Duration,
    /// Relays have this long to end before a server that goes down sends its clients away.
    pub drain: Duration,
    /// Clients are asked to come back so long after the end, unless the admin says otherwise; the
    /// more there are, the more are asked to wait a little longer.
    pub restart: Duration,
    /// Marks of delivered messages, by which receipts and repeated sends are known, are forgotten
    /// after this time.
    pub retention: Duration,
    /// Handshake, heartbeat and idle times of connections.
    pub transport: portolan_transport::Timing,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(10),
            request: Duration::from_secs(30),
            attention: Duration::from_secs(20),
            relay_open: Duration::from_secs(10),
            relay_idle: Duration::from_secs(60),
            pass_lasts: Duration::from_secs(24 * 3600),
            farewell: Duration::from_secs(2),
            drain: Duration::from_secs(5),
            restart: Duration::from_secs(5),
            retention: Duration::from_secs(30 * 24 * 3600),
            transport: portolan_transport::Timing::default(),
        }
    }
}

/// Upper bounds on what clients can make the server hold and do; `docs/server.md` adds them up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Names that the server knows.
    pub users: usize,
    /// Names that one key may take.
    pub names_per_key: usize,
    /// Users logged in at once over one transport, where nothing else is said about it.
    pub users_per_registry: usize,
    /// Users to whom one user has written and of whom that is remembered: those who have written
    /// back may know when the user was last seen.
    pub acquaintances: usize,
    /// Sessions of one name beside each other, and devices for which copies are kept.
    pub devices: usize,
    /// Conversations at a time that a user may allow.
    pub conversations_per_user: u8,
    /// Open requests for a conversation, made or received by one user.
    pub requests_per_user: usize,
    /// Messages that wait for one user.
    pub mailbox_messages: u64,
    /// Bytes of text that wait for one user.
    pub mailbox_bytes: u64,
    /// Messages sent to a client that it has not yet confirmed.
    pub window_messages: usize,
    /// Bytes of text sent to a client that it has not yet confirmed; one message always may.
    pub window_bytes: u64,
    /// Frames queued for a client; with more it is too slow.
    pub outbox_frames: usize,
    /// Bytes queued for a client; with more it is too slow.
    pub outbox_bytes: usize,
    /// Answers owed to one client; with more, or with 256 times as many bytes queued for it, its
    /// requests are not read.
    pub open_requests: usize,
    /// Passwords that wait to be hashed; more are refused.
    pub hashes: usize,
    /// Keys that are kept out.
    pub bans: usize,
    /// Groups that the server knows.
    pub groups: usize,
    /// Members of one group, the invited included.
    pub group_members: usize,
    /// Groups that one user is in.
    pub groups_per_user: usize,
    /// Open invitations of one user.
    pub invitations_per_user: usize,
    /// Bytes of texts that are kept for the history alone; the oldest go first.
    pub history_bytes: u64,
    /// The same for a server that keeps all in memory.
    pub history_bytes_in_memory: u64,
    /// Relays that one user has open, called and calling counted apart.
    pub relays_per_user: u32,
    /// Bytes of the buffer that one direction of a relay is copied through.
    pub relay_buffer: usize,
    /// Bytes a second that one side of a relay may send as datagrams; a second's worth at once.
    pub relay_rate: u64,
    /// Datagrams a second of the same.
    pub relay_datagrams: u32,
    /// Bytes of the same that wait while the socket has no room.
    pub relay_queue: usize,
    /// Bytes that another relay may carry for one introduction of ours, both ways.
    pub pass_bytes: u64,
    /// STUN answers for one machine (an IPv4 address, an IPv6 /64).
    pub stun: Rate,
    /// With more users online than this, nobody is told who comes and goes.
    pub presence_users: usize,
    /// Operations that wait for the store; with more, requests are not read.
    pub store_queue: usize,
    /// Bytes of texts that wait for the store; as above.
    pub store_queue_bytes: usize,
    /// Parcels on a bus with a queue; as above.
    pub bus_parcels: usize,
    /// Bytes of them; as above.
    pub bus_bytes: usize,
    /// Frames of one client that were not even a request; with more it is sent away.
    pub garbage: u32,
    /// Bytes of the event log before it is rotated; 0: never.
    pub event_log: u64,
    /// Older files of the event log that are kept.
    pub event_log_files: usize,
    /// Keys, and addresses, whose rates are remembered.
    pub keys: usize,
    /// Connections from one address that have not logged in.
    pub strangers_per_address: usize,
    /// Connections of one gateway that have not entered; with more, the oldest goes.
    pub gateway_strangers: usize,
    /// Logins from one address, whatever the keys.
    pub address_logins: Rate,
    /// Names that are taken from one address.
    pub address_names: Rate,
    /// Passwords that are set or tried from one address.
    pub address_passwords: Rate,
    /// Requests of one session, and four times as many of one key.
    pub commands: Rate,
    /// Messages to everyone by one key.
    pub broadcasts: Rate,
    /// Requests for a conversation by one key; as often it may say that it is away or back.
    pub requests: Rate,
    /// Questions about those who are not there by one key.
    pub absent: Rate,
    /// Logins of one key.
    pub logins: Rate,
    /// Passwords of one key, set or tried.
    pub passwords: Rate,
    /// Attempts at the password of one name.
    pub guesses: Rate,
    /// Messages to groups by one key.
    pub group_messages: Rate,
    /// Changes of groups by one key.
    pub group_changes: Rate,
    /// Bounds of one connection and of one endpoint.
    pub transport: portolan_transport::Limits,
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once after a rest.
    pub burst: f64,
}

impl Limits {
    /// What strangers may ask of STUN.
    pub(crate) fn responder(&self) -> ResponderLimits {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rates are positive, and what is too great for a u32 becomes its maximum"
        )]
        let whole = |rate: f64| rate.ceil() as u32;
        let (burst, per_machine) = (whole(self.stun.burst), whole(self.stun.per_second));
        ResponderLimits { burst, per_machine, ..ResponderLimits::default() }
    }

    /// The same with a window that leaves room for other news in a client's queue.
    pub(crate) fn consistent(self) -> Self {
        Self {
            window_messages: self.window_messages.min(self.outbox_frames / 4).max(1),
            window_bytes: self.window_bytes.min(self.outbox_bytes as u64 / 4),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users: 1_000_000,
            names_per_key: 16,
            users_per_registry: 20_000,
            acquaintances: 1_024,
            requests_per_user: 16,
            devices: 8,
            conversations_per_user: 8,
            mailbox_messages: 1_000,
            mailbox_bytes: 4 << 20,
            window_messages: 256,
            window_bytes: 512 << 10,
            outbox_frames: 4_096,
            outbox_bytes: 4 << 20,
            open_requests: 64,
            hashes: 64,
            bans: 100_000,
            groups: 100_000,
            group_members: 1_000,
            groups_per_user: 64,
            invitations_per_user: 32,
            history_bytes: 1 << 30,
            history_bytes_in_memory: 16 << 20,
            relays_per_user: 16,
            relay_buffer: 64 << 10,
            relay_rate: 1 << 30,
            relay_datagrams: 1_000_000,
            relay_queue: 256 << 10,
            pass_bytes: 256 << 30,
            stun: Rate { per_second: 10.0, burst: 50.0 },
            presence_users: 1_000,
            store_queue: 4_096,
            store_queue_bytes: 16 << 20,
            bus_parcels: 4_096,
            bus_bytes: 16 << 20,
            garbage: 16,
            event_log: 64 << 20,
            event_log_files: 4,
            keys: 100_000,
            strangers_per_address: 128,
            gateway_strangers: 256,
            address_logins: Rate { per_second: 20.0, burst: 400.0 },
            address_names: Rate { per_second: 1.0 / 60.0, burst: 64.0 },
            address_passwords: Rate { per_second: 0.2, burst: 20.0 },
            commands: Rate { per_second: 1_000.0, burst: 2_000.0 },
            broadcasts: Rate { per_second: 2.0, burst: 20.0 },
            requests: Rate { per_second: 2.0, burst: 20.0 },
            absent: Rate { per_second: 5.0, burst: 50.0 },
            logins: Rate { per_second: 2.0, burst: 40.0 },
            passwords: Rate { per_second: 0.1, burst: 5.0 },
            guesses: Rate { per_second: 1.0 / 60.0, burst: 5.0 },
            group_messages: Rate { per_second: 20.0, burst: 100.0 },
            group_changes: Rate { per_second: 2.0, burst: 40.0 },
            transport: portolan_transport::Limits {
                streams: 64,
                stream_window: 512 << 10,
                connection_window: 4 << 20,
                send_buffer: 512 << 10,
                datagram_queue: 64 << 10,
                ..portolan_transport::Limits::default()
            },
        }
    }
}
