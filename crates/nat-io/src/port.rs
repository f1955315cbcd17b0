//! The STUN lane of a port, and who uses it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_datagram_io::{Batch, Lane, LaneSocket, Reading, SharedSockets, Transmit};
use portolan_nat::{
    AgentConfig, Mapping, Survey, Surveyor,
    stun::{AttributeType, Class, ErrorCode, MESSAGE_MAX, Message, TransactionId, Writer},
};
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::Punching;

/// Questions, surveys and punchings of one port at the same time.
pub const USERS_MAX: usize = 64;

/// Datagrams that wait for one user.
const WAITING_MAX: usize = 64;

/// A question is asked so often (RFC 8489 §6.2.1, quicker: somebody waits).
const TRIES: u32 = 5;
/// The same where silence is the answer that was feared.
const PROBE_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(150);

/// Why a server could not be asked as which it sees us.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nothing came back.
    #[error("{server} does not answer STUN over UDP; is UDP blocked, or does it not serve it?")]
    NoAnswer {
        /// Who.
        server: SocketAddr,
    },
    /// It says no, or nothing of use.
    #[error("{server} refuses to say as which it sees us (code {code:?})")]
    Refused {
        /// Who.
        server: SocketAddr,
        /// Its code, if it gives one.
        code: Option<u16>,
    },
    /// Too much goes on.
    #[error("more than {USERS_MAX} things are asked on this port at once")]
    Busy,
}

/// A STUN message that came.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Arc<[u8]>,
}

/// The STUN lane of a port: asks servers, surveys translators, punches holes.
///
/// Dropped, it ends its task and everything that uses it, and gives the lane back.
#[derive(Debug)]
pub struct StunPort {
    inner: Arc<Inner>,
    reader: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) lane: Arc<LaneSocket>,
    pub(crate) sockets: Arc<SharedSockets>,
    users: Mutex<Vec<mpsc::Sender<Datagram>>>,
    random: Mutex<ChaCha12Rng>,
}

impl StunPort {
    /// Takes the STUN lane of `local`, which a transport of the same `sockets` may have bound.
    /// All chance comes from `seed`: unguessable bytes. Must be called inside a runtime.
    ///
    /// # Errors
    /// As for [`SharedSockets::open`].
    pub fn open(
        sockets: &Arc<SharedSockets>,
        local: SocketAddr,
        seed: [u8; 32],
    ) -> io::Result<Self> {
        let inner = Arc::new(Inner {
            lane: sockets.open_as(local, Lane::Stun, Reading::Rare)?,
            sockets: Arc::clone(sockets),
            users: Mutex::default(),
            random: Mutex::new(ChaCha12Rng::from_seed(seed)),
        });
        let reader = tokio::spawn(read(Arc::clone(&inner)));
        Ok(Self { inner, reader })
    }

    /// The address that is bound, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.lane.local_addr()
    }

    /// Asks a server as which it sees this port. Cancel safe.
    ///
    /// # Errors
    /// [`AskError`] when it does not say.
    pub async fn reflexive(&self, server: SocketAddr) -> Result<SocketAddr, AskError> {
        let mut datagrams = self.inner.join().ok_or(AskError::Busy)?;
        let transaction = TransactionId(self.inner.random());
        let mut question = Vec::new();
        Writer::new(&mut question, Class::Request, transaction).fingerprint().finish();
        for turn in 0..TRIES {
            self.inner.send(server, &question);
            let until = Instant::now() + FIRST_WAIT * 2_u32.pow(turn);
            while let Ok(Some(datagram)) = timeout_at(until, datagrams.recv()).await {
                let Ok(message) = Message::decode(&datagram.bytes) else { continue };
                if message.transaction() == transaction && datagram.from == canonical(server) {
                    return understand(server, &message);
                }
            }
        }
        Err(AskError::NoAnswer { server })
    }

    /// Whether a datagram of so many bytes reaches a server, which answers it. Cancel safe.
    ///
    /// # Errors
    /// [`AskError::Busy`] only.
    pub async fn passes(&self, server: SocketAddr, len: usize) -> Result<bool, AskError> {
        let mut datagrams = self.inner.join().ok_or(AskError::Busy)?;
        let transaction = TransactionId(self.inner.random());
        let mut question = Vec::new();
        let writer = Writer::new(&mut question, Class::Request, transaction);
        // Header of the padding, and the fingerprint.
        let padding = vec![0; len.min(MESSAGE_MAX).saturating_sub(writer.len() + 4 + 8)];
        writer.attribute(AttributeType::PADDING, &padding).fingerprint().finish();
        for turn in 0..PROBE_TRIES {
            self.inner.send(server, &question);
            let until = Instant::now() + FIRST_WAIT * 2_u32.pow(turn);
            while let Ok(Some(datagram)) = timeout_at(until, datagrams.recv()).await {
                let found = Message::decode(&datagram.bytes);
                if found.is_ok_and(|message| message.transaction() == transaction) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Finds out how the translators between us and the server behave (RFC 5780); takes up to a
    /// quarter of a minute. Cancel safe.
    ///
    /// # Errors
    /// [`AskError::Busy`] only: what is not answered is a finding.
    pub async fn survey(&self, server: SocketAddr) -> Result<Survey, AskError> {
        self.ask_as(Surveyor::new(Instant::now().into_std(), server, self.inner.random())).await
    }

    /// Finds out how the translators between us and the server map (RFC 5780 §4.3), and nothing
    /// else; takes two or three round trips. Cancel safe.
    ///
    /// # Errors
    /// [`AskError::Busy`] only: what is not answered is not known.
    pub async fn mapping(&self, server: SocketAddr) -> Result<Mapping, AskError> {
        let now = Instant::now().into_std();
        let surveyor = Surveyor::of_mapping(now, server, self.inner.random());
        Ok(self.ask_as(surveyor).await?.mapping())
    }

    async fn ask_as(&self, mut surveyor: Surveyor) -> Result<Survey, AskError> {
        let mut datagrams = self.inner.join().ok_or(AskError::Busy)?;
        let mut buffer = Vec::new();
        loop {
            let now = Instant::now().into_std();
            surveyor.handle_timeout(now);
            while let Some(to) = surveyor.poll_transmit(now, &mut buffer) {
                self.inner.send(to, &buffer);
            }
            let Some(until) = surveyor.poll_timeout() else { break };
            let received = timeout_at(Instant::from_std(until), datagrams.recv()).await;
            if let Ok(Some(datagram)) = received
                && let Ok(message) = Message::decode(&datagram.bytes)
            {
                surveyor.handle_message(Instant::now().into_std(), &message);
            }
        }
        Ok(surveyor.finished().unwrap_or_default())
    }

    /// Begins to look for a path to a peer. The seed of `config` is replaced by one of the port.
    ///
    /// # Errors
    /// [`AskError::Busy`] when too much goes on.
    pub fn punch(&self, config: AgentConfig) -> Result<Punching, AskError> {
        let datagrams = self.inner.join().ok_or(AskError::Busy)?;
        let config = AgentConfig { seed: self.inner.random(), ..config };
        Ok(Punching::start(Arc::clone(&self.inner), datagrams, config))
    }
}

impl Drop for StunPort {
    fn drop(&mut self) {
        self.reader.abort();
        // Who still waits for something waits no longer.
        self.inner.users().clear();
    }
}

impl Inner {
    /// A new user of the lane; `None`: there are too many.
    fn join(&self) -> Option<mpsc::Receiver<Datagram>> {
        let mut users = self.users();
        users.retain(|user| !user.is_closed());
        if users.len() >= USERS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        users.push(sender);
        Some(receiver)
    }

    fn users(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Datagram>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        send(&self.lane, to, bytes);
    }

    /// Hands a datagram to everyone who waits for one; who does not keep up loses it.
    fn hand_out(&self, from: SocketAddr, bytes: &[u8]) {
        let mut users = self.users();
        users.retain(|user| !user.is_closed());
        if users.is_empty() || Message::decode(bytes).is_err() {
            return;
        }
        let datagram = Datagram { from, bytes: bytes.into() };
        for user in &*users {
            let _lost_if_full = user.try_send(datagram.clone());
        }
    }
}

async fn read(inner: Arc<Inner>) {
    let mut batch = Batch::new();
    while inner.lane.recv(&mut batch).await.is_ok() {
        batch.for_each(|train| {
            let stride = train.stride;
            train.bytes.chunks(stride).for_each(|bytes| inner.hand_out(train.from, bytes));
        });
        // A flood must not keep this thread.
        tokio::task::yield_now().await;
    }
}

/// Sends or loses a datagram.
pub(crate) fn send(lane: &LaneSocket, to: SocketAddr, bytes: &[u8]) {
    if lane.can_send_to(to) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: None,
        };
        let _lost_if_full = lane.try_send(&transmit);
    }
}

pub(crate) fn canonical(mut address: SocketAddr) -> SocketAddr {
    address.set_ip(address.ip().to_canonical());
    address
}

fn understand(server: SocketAddr, message: &Message<'_>) -> Result<SocketAddr, AskError> {
    let code = message.error_code().map(|ErrorCode(code)| code);
    let mapped = message.mapped_address().filter(|_| message.class() == Class::Success);
    mapped.map(canonical).ok_or(AskError::Refused { server, code })
}
