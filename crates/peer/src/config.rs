//! What a peer is started with.

use std::{
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_identity::{Expect, Identity};
use portolan_protocol::{DeviceId, Hash, LoginAttempt, Name, Password};
use portolan_transport::{Shared, Transport, Tunnel};

use portolan_nat_io::Router;

use crate::{
    Addresses, CallRule, FileRules, Hosting, PathRule, ServerSource, SystemAddresses,
    session::random,
};

/// The parts that the facade puts together: this crate names no concrete transport.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// The table of transports, in the order in which people see them.
    pub transports: &'static [&'static dyn Transport],
    /// What makes a connection between two peers out of a relayed stream.
    pub tunnel: &'static dyn Tunnel,
    /// What starts a server where nobody has set one up; `None`: this program never hosts.
    pub hosting: Option<&'static dyn Hosting>,
}

impl Stack {
    /// The transport called `scheme`.
    #[must_use]
    pub fn transport(&self, scheme: &str) -> Option<&'static dyn Transport> {
        self.transports.iter().copied().find(|transport| transport.scheme() == scheme)
    }
}

/// Everything that [`Peer::connect`](crate::Peer::connect) needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name to log in with.
    pub name: Name,
    /// Who we are.
    pub identity: Identity,
    /// Where the server is.
    pub server: SocketAddr,
    /// Which key the server must prove; with [`Expect::Any`] the caller compares
    /// [`Dialed::server_id`](crate::Dialed::server_id) with what it knows before it logs in.
    pub expect: Expect,
    /// How to get there.
    pub transport: &'static dyn Transport,
    /// Other ways to the same server, tried beside the first one, a quarter of a second apart.
    pub more_ways: Vec<Way>,
    /// Name and port of the server: looked up again before each attempt to come back, in case its
    /// addresses have changed. `None`: they do not.
    pub host: Option<(String, u16)>,
    /// Finds the server again before each attempt to come back, where it may be another one each
    /// time. `None`: it is always the same.
    pub source: Option<Arc<dyn ServerSource>>,
    /// Where the names of users mean something.
    pub scope: NameScope,
    /// What makes the connections between peers.
    pub tunnel: &'static dyn Tunnel,
    /// Lets the owner of a name move it to a new key.
    pub password: Option<Password>,
    /// Which device of the name this is: it stands beside the others. `None`: the session replaces
    /// them all. The same number after a restart lets the device go on where it was.
    pub device: Option<DeviceId>,
    /// The directory that others may list and fetch from.
    pub share: Option<PathBuf>,
    /// Where received files go.
    pub downloads: PathBuf,
    /// What happens to files that others offer, who are not named in `file_rules`.
    pub accept_files: FileRule,
    /// Rules of single users, and bounds of what is taken; its default is not looked at.
    pub file_rules: FileRules,
    /// What happens to calls of others.
    pub accept_calls: CallRule,
    /// What happens when a received file is there already.
    pub existing: Existing,
    /// What of received files is kept besides their content.
    pub keep: Keep,
    /// The file that remembers which key belongs to which user; `None`: nothing is remembered, and
    /// the server's word about keys is taken every time.
    pub known_peers: Option<PathBuf>,
    /// Who tells senders that their messages have arrived.
    pub receipts: ReceiptRule,
    /// What happens when the connection to the server is lost.
    pub reconnect: Reconnect,
    /// Upper bounds on what others can make us hold.
    pub limits: Limits,
    /// When to give up and when to forget.
    pub timing: Timing,
    /// What this peer shares with others of the same program.
    pub shared: Shared,
    /// Who knows this machine's addresses, which may change while a session lasts.
    pub addresses: Arc<dyn Addresses>,
    /// Which ways to other peers are used.
    pub paths: PathRule,
    /// Which router is asked to forward our port for other peers.
    pub router: RouterRule,
    /// Tells the server which of our logins came last.
    pub attempts: Attempts,
}

/// Which router is asked for a port, by PCP, NAT-PMP or UPnP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouterRule {
    /// None.
    #[default]
    Never,
    /// That of the default route, where our address is a private one and the server is elsewhere.
    Default,
    /// This one.
    This(Router),
}

/// Numbers the logins of one client, so that the server can tell one that it had given up, and
/// that a slow network delivers late, from the one that counts. Clones count together.
#[derive(Debug, Clone)]
pub struct Attempts {
    client: u64,
    number: Arc<AtomicU64>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { client: random(), number: Arc::default() }
    }
}

impl Attempts {
    pub(crate) fn next(&self) -> LoginAttempt {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        LoginAttempt { client: self.client, number }
    }
}

impl Config {
    /// The defaults: nothing shared, every offered file refused, downloads into the current
    /// directory, no memory of keys.
    #[must_use]
    pub fn new(
        name: Name,
        identity: Identity,
        server: SocketAddr,
        expect: Expect,
        transport: &'static dyn Transport,
        tunnel: &'static dyn Tunnel,
    ) -> Self {
        Self {
            name,
            identity,
            server,
            expect,
            transport,
            more_ways: Vec::new(),
            host: None,
            source: None,
            scope: NameScope::default(),
            tunnel,
            password: None,
            device: None,
            share: None,
            downloads: PathBuf::from("."),
            accept_files: FileRule::None,
            file_rules: FileRules::default(),
            accept_calls: CallRule::None,
            existing: Existing::Keep,
            keep: Keep::default(),
            known_peers: None,
            receipts: ReceiptRule::Automatic,
            reconnect: Reconnect::default(),
            limits: Limits::default(),
            timing: Timing::default(),
            shared: Shared::default(),
            addresses: Arc::new(SystemAddresses),
            paths: PathRule::default(),
            router: RouterRule::default(),
            attempts: Attempts::default(),
        }
    }

    /// Every way to the server, best first.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let first = Way { server: self.server, transport: self.transport };
        std::iter::once(first).chain(self.more_ways.iter().copied()).collect()
    }
}

/// Where the names of users mean something, and so which names are remembered with their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameScope {
    /// At one server: it keeps them for their keys.
    #[default]
    Server,
    /// On networks without a server, whoever hosts them just now.
    Lan,
}

/// A way to a server.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Where the server is.
    pub server: SocketAddr,
    /// How to get there.
    pub transport: &'static dyn Transport,
}

/// What happens when the connection to the server is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// The session is over.
    Never,
    /// The session goes on over a new connection, as soon as there is one.
    With(Backoff),
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::With(Backoff::default())
    }
}

/// How long to wait between attempts to come back: a random part of a time that doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first attempt.
    pub start: Duration,
    /// The longest wait before any attempt.
    pub cap: Duration,
    /// From the loss of the connection to the end of the session; `None`: never.
    pub give_up_after: Option<Duration>,
}

impl Default for Backoff {
    fn default() -> Self {
        let (start, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        Self { start, cap, give_up_after: None }
    }
}

/// What happens to files that others offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileRule {
    /// Every file is taken.
    All,
    /// None is.
    #[default]
    None,
    /// An event asks; [`Peer::accept_file`](crate::Peer::accept_file) or
    /// [`Peer::deny_file`](crate::Peer::deny_file) answers.
    Ask,
}

impl FileRule {
    /// Every rule with its word on the command line.
    pub const TABLE: [(Self, &'static str); 3] =
        [(Self::All, "all"), (Self::None, "none"), (Self::Ask, "ask")];
}

impl FromStr for FileRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let row = Self::TABLE.iter().find(|(_, word)| *word == text);
        row.map(|(rule, _)| *rule).ok_or_else(|| format!("{text:?} is not one of all, none, ask"))
    }
}

/// What happens when a file of the same name is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It stays, and the transfer is refused.
    #[default]
    Keep,
    /// It is replaced in one step, once the new one has arrived whole.
    Replace,
}

/// Which file to fetch from those who have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The one at this path, as the first of its owners lists it.
    Path(String),
    /// The one with this content, whatever it is called.
    Hash {
        /// BLAKE3 of the whole.
        hash: Hash,
        /// Its bytes, if they are known: owners who have not hashed it lately then find it too.
        size: Option<u64>,
    },
}

/// What of a received file is kept besides its content; otherwise it is as any new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The time of its last change.
    pub times: bool,
    /// Who may read, write and execute it; never more than these nine bits.
    pub modes: bool,
}

/// Where a received directory goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It gets its own name in this directory.
    Under(PathBuf),
    /// What is in it goes straight into this directory.
    Into(PathBuf),
}

impl Place {
    /// Whether the directory named is the one above.
    pub(crate) fn is_above(&self) -> bool {
        match self {
            Self::Under(_) => true,
            Self::Into(_) => false,
        }
    }
}

/// Who tells senders that their messages have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReceiptRule {
    /// `delivered` goes back as soon as the application's event stream has the message.
    #[default]
    Automatic,
    /// The application calls [`Peer::receipts`](crate::Peer::receipts); until then the message
    /// waits at the server.
    Manual,
}

/// Upper bounds on what others can make a peer hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests to the server without an answer; more wait.
    pub requests: usize,
    /// Events that wait for the application; then the control stream is read no further.
    pub events: usize,
    /// Ids of messages remembered to recognise the same message again.
    pub seen_messages: usize,
    /// Sessions with other peers at once.
    pub sessions: usize,
    /// Sessions that others may open in a minute.
    pub sessions_per_minute: u32,
    /// Requests of one other peer under way at once; more wait.
    pub streams: usize,
    /// Requests that one other peer may make in a second; more wait.
    pub requests_per_second: u32,
    /// Files on their way at once that we began; more wait in a queue, in order.
    pub own_transfers: usize,
    /// Files on their way at once that others began; more wait, and are refused when that takes
    /// too long.
    pub transfers: usize,
    /// Offered files that wait for our decision, and those agreed to that may go on unasked after
    /// they broke off.
    pub offers: usize,
    /// Tries in a row, without a byte, after which a broken transfer that we began is given up.
    pub retries: u32,
    /// Calls at once, those to whom we play counted too.
    pub calls: usize,
    /// Depth of a shared directory that is walked.
    pub share_depth: usize,
    /// Entries of one directory that are looked at.
    pub share_entries: usize,
    /// Files of a directory that is sent or received at once.
    pub tree_files: u64,
    /// Files that [`Peer::files`](crate::Peer::files) collects.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 64,
            events: 256,
            seen_messages: 4096,
            sessions: 64,
            sessions_per_minute: 120,
            streams: 16,
            requests_per_second: 200,
            own_transfers: 4,
            transfers: 32,
            offers: 32,
            retries: 8,
            calls: 16,
            share_depth: 32,
            share_entries: 100_000,
            tree_files: 1_000_000,
            files: 100_000,
        }
    }
}

/// When a peer gives up and when it forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From a request to its answer.
    pub request: Duration,
    /// From an offered file to the decision about it.
    pub offer: Duration,
    /// A transfer on which not a byte moves is given up after this.
    pub stall: Duration,
    /// From the breaking of a transfer that we began to its first new try; doubled for each that
    /// fails, up to sixteen times that.
    pub retry: Duration,
    /// How long a call rings before nobody takes it.
    pub ring: Duration,
    /// How long a call whose connection broke waits for another one.
    pub call_resume: Duration,
    /// A session with a peer that nobody uses is closed after this.
    pub session_idle: Duration,
    /// Between two reports about one transfer.
    pub progress: Duration,
    /// Between two looks at which of our addresses leads to the server; `None`: nobody looks, and
    /// a change is noticed when the connection is lost.
    pub network: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(15),
            offer: Duration::from_secs(120),
            stall: Duration::from_secs(60),
            retry: Duration::from_millis(500),
            ring: Duration::from_secs(45),
            call_resume: Duration::from_secs(20),
            session_idle: Duration::from_secs(60),
            progress: Duration::from_millis(250),
            network: Some(Duration::from_secs(2)),
        }
    }
}
