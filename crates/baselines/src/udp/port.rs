//! One UDP socket and the task that reads it.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket, sync::mpsc, task::JoinHandle};

use super::{
    connection::{Connection, Train},
    protection::{Protection, Side},
    wire::{Header, Kind, integer},
};

/// Bytes of UDP payload: what fits into 1,500 bytes with IPv6 (RFC 8200 §3) and UDP.
pub(crate) const DATAGRAM_MAX: usize = 1452;

/// Bytes of one train of datagrams: the most that UDP over IPv4 can say.
const TRAIN_MAX: usize = 65_507;

/// Bytes of a receive buffer: a whole train.
const BUFFER: usize = 65_536;

/// Trains read at once.
const BATCH: usize = 8;

/// Receive buffers kept for later.
const SPARE_MAX: usize = 64;

/// What arrives in less is copied, so that a small datagram does not hold a large buffer.
const COPIED_BELOW: usize = 4096;

/// What the system is asked to hold for a socket; it may grant less.
const SOCKET_BUFFER: usize = 4 << 20;

/// Bytes that one connection may have under way.
const SHARE_MAX: u64 = 1 << 20;

/// However many connections there are, each may have this many bytes under way.
const SHARE_MIN: u64 = 4 << 10;

/// The least that a connection begins with: more than one datagram.
const FIRST_MIN: u64 = 2 << 10;

/// How many connections may spend what they begin with at once.
const FIRST_SHARES: u64 = 64;

/// Connections of one socket.
const CONNECTIONS_MAX: usize = 16_384;

/// Connections that nobody has accepted yet.
pub(crate) const ACCEPT_MAX: usize = 4096;

type Key = (SocketAddr, u32);

/// A socket with the connections on it.
pub(crate) struct Port {
    io: UdpSocket,
    state: UdpSocketState,
    /// Where outgoing trains are built.
    scratch: Mutex<Vec<u8>>,
    connections: Mutex<HashMap<Key, Arc<Connection>>>,
    spare: Mutex<Vec<Vec<u8>>>,
    /// Bytes that all connections together may have under way towards us.
    window: u64,
    next_connection: AtomicU32,
}

/// A [`Port`] that is read. Dropping it closes the socket.
pub(crate) struct Endpoint {
    pub(crate) port: Arc<Port>,
    pub(crate) local: SocketAddr,
    reader: JoinHandle<()>,
}

/// What a server needs to answer.
pub(crate) struct Answering {
    pub(crate) protection: Arc<Protection>,
    pub(crate) accepted: mpsc::Sender<Arc<Connection>>,
}

impl Endpoint {
    pub(crate) async fn open(local: SocketAddr, answering: Option<Answering>) -> io::Result<Self> {
        let port = Arc::new(Port::bind(local)?);
        // Until tokio has been told so once, it takes a socket for full.
        port.io.writable().await?;
        let local = port.io.local_addr()?;
        let reader = tokio::spawn(read(Arc::clone(&port), answering));
        Ok(Self { port, local, reader })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Port {
    fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        // Some systems refuse more than they grant, instead of granting what they can.
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
        let held = state.recv_buffer_size((&socket).into())?;
        let random = RandomState::new().hash_one(local).to_be_bytes();
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            state,
            scratch: Mutex::default(),
            connections: Mutex::default(),
            spare: Mutex::default(),
            // The system counts what it adds to a packet, up to twice its size and more.
            window: held as u64 / 4,
            next_connection: AtomicU32::new(u32::from_be_bytes([
                0, random[0], random[1], random[2],
            ])),
        })
    }

    /// How much each connection may have under way towards us.
    pub(crate) fn share(&self) -> u64 {
        let connections = lock(&self.connections).len().max(1) as u64;
        (self.window / connections).clamp(SHARE_MIN, SHARE_MAX)
    }

    /// What a connection begins with, so that many that begin at once do not overflow the socket;
    /// it learns of more as it spends this.
    pub(crate) fn first_share(&self) -> u64 {
        self.share().min((self.window / FIRST_SHARES).max(FIRST_MIN))
    }

    /// A number that no other connection of this socket has.
    pub(crate) fn next_connection(&self) -> u32 {
        self.next_connection.fetch_add(1, Ordering::Relaxed) & (u32::MAX >> 1)
    }

    /// Takes `connection` in.
    pub(crate) fn insert(&self, connection: &Arc<Connection>) -> io::Result<()> {
        let mut connections = lock(&self.connections);
        if connections.len() >= CONNECTIONS_MAX {
            let what = format!("this socket has its {CONNECTIONS_MAX} connections already");
            return Err(io::Error::other(what));
        }
        connections.insert(connection.key(), Arc::clone(connection));
        Ok(())
    }

    pub(crate) fn remove(&self, connection: &Connection) {
        lock(&self.connections).remove(&connection.key());
    }

    fn find(&self, key: Key) -> Option<Arc<Connection>> {
        lock(&self.connections).get(&key).cloned()
    }

    /// How many datagrams of full size one call can send.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments().min(TRAIN_MAX / DATAGRAM_MAX)
    }

    /// Sends what `build` writes: one datagram, or a train of `segment` bytes each.
    pub(crate) fn send(
        &self,
        remote: SocketAddr,
        segment: Option<usize>,
        build: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let mut scratch = lock(&self.scratch);
        scratch.clear();
        build(&mut scratch);
        let transmit = Transmit {
            destination: remote,
            ecn: None,
            contents: &scratch,
            segment_size: segment,
            src_ip: None,
        };
        let send = || self.state.try_send((&self.io).into(), &transmit);
        self.io.try_io(Interest::WRITABLE, send)
    }

    /// Resolves when the socket takes datagrams again.
    pub(crate) fn writable(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let port = Arc::clone(self);
        async move {
            // An error shows again when something is sent.
            let _ = port.io.writable().await;
        }
    }

    fn buffer(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_else(|| vec![0; BUFFER])
    }

    /// Takes back the buffer of a train that has been read.
    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        let mut spare = lock(&self.spare);
        if buffer.len() == BUFFER && spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }

    fn receive(&self, buffers: &mut [Vec<u8>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let mut slices = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
        let mut slices: [_; BATCH] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        self.io
            .try_io(Interest::READABLE, || self.state.recv((&self.io).into(), &mut slices, metas))
    }
}

async fn read(port: Arc<Port>, answering: Option<Answering>) {
    let mut buffers: Vec<_> = (0..BATCH).map(|_| port.buffer()).collect();
    let mut metas = [RecvMeta::default(); BATCH];
    while port.io.readable().await.is_ok() {
        let Ok(received) = port.receive(&mut buffers, &mut metas) else { continue };
        for (buffer, meta) in buffers.iter_mut().zip(&metas).take(received) {
            split(&port, answering.as_ref(), buffer, meta);
        }
        let_others_run().await;
    }
}

/// Lets the readers of what has arrived run while it is in the processor's cache.
async fn let_others_run() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Hands the datagrams of `buffer` to their connections. What is all one connection's, and much,
/// is handed over without a copy.
fn split(port: &Port, answering: Option<&Answering>, buffer: &mut Vec<u8>, meta: &RecvMeta) {
    let stride = meta.stride.max(1);
    let mut at = 0;
    while at < meta.len {
        let end = run_end(&buffer[..meta.len], at, stride);
        let Some(header) = Header::decode(&buffer[at..end]) else {
            at = end;
            continue;
        };
        let known = port.find((meta.addr, header.connection));
        match (known, header.kind) {
            (Some(connection), Kind::Data)
                if end - at >= COPIED_BELOW && at == 0 && end == meta.len =>
            {
                let whole = std::mem::replace(buffer, port.buffer());
                return connection.on_data(Train::new(whole, end, stride));
            }
            (Some(connection), Kind::Data) => {
                connection.on_data(Train::new(buffer[at..end].to_vec(), end - at, stride));
            }
            (Some(connection), _) => connection.on_control(port, header, &mut buffer[at..end]),
            (None, Kind::Hello) => answer(port, answering, meta.addr, header, &mut buffer[at..end]),
            (None, _) => {}
        }
        at = end;
    }
}

/// Where the datagrams end that begin at `at` and belong together: data of one connection, or any
/// other single datagram.
fn run_end(buffer: &[u8], at: usize, stride: usize) -> usize {
    let mut segments = buffer[at..].chunks(stride);
    let first = segments.next().unwrap_or_default();
    let Some(header) = Header::decode(first).filter(|header| header.kind == Kind::Data) else {
        return at + first.len();
    };
    let same = |next: &Header| next.kind == Kind::Data && next.connection == header.connection;
    let more = segments.take_while(|segment| Header::decode(segment).as_ref().is_some_and(same));
    at + first.len() + more.map(<[u8]>::len).sum::<usize>()
}

/// Begins a connection, where there is anyone to take it.
fn answer(
    port: &Port,
    answering: Option<&Answering>,
    remote: SocketAddr,
    header: Header,
    datagram: &mut [u8],
) {
    let Some(Answering { protection, accepted }) = answering else { return };
    let Some(body) = protection.open(Side::Client, header, datagram) else { return };
    let Some(credit) = integer(&datagram[body]) else { return };
    let Ok(permit) = accepted.try_reserve() else { return };
    let protection = Arc::clone(protection);
    let connection = Connection::new(remote, header.connection, Side::Server, protection);
    let connection = Arc::new(connection);
    if port.insert(&connection).is_ok() {
        connection.on_credit(credit);
        connection.greet(port);
        permit.send(connection);
    }
}
