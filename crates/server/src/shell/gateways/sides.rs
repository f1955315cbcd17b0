//! Connections beside a client's own, for old programs that talk with each other directly: ports
//! of ours for one client, and calls to it.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use portolan_gateway::{Call, Door};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::wire::{READ_MAX, WRITE_TIME};

/// Ports, and calls, of one client at a time.
const DOORS_MAX: usize = 16;
const CALLS_MAX: usize = 16;

/// News that wait for the bridge; with more, nothing is read.
const NEWS_MAX: usize = 32;

/// Pieces that wait to be written on a call; with more, it ends.
const PIECES_MAX: usize = 128;

/// Between two pieces: the others take one read for one message.
const PACE: Duration = Duration::from_millis(50);

const DIAL_TIME: Duration = Duration::from_secs(5);

/// What happens beside a client's connection.
pub(super) enum SideNews {
    /// A port is open, or cannot be.
    Opened(Door, Result<SocketAddr, String>),
    /// The client has come to a port.
    Came(Door, TcpStream),
    /// A call of ours stands.
    Connected(Call),
    Said(Call, Bytes),
    Ended(Call),
}

/// The doors and calls of one client. Dropped, they are closed.
pub(super) struct Sides {
    /// Only this machine may come, and only it is called.
    client: IpAddr,
    doors: HashMap<Door, AbortOnDropHandle<()>>,
    calls: HashMap<Call, CallTask>,
    news: (mpsc::Sender<SideNews>, mpsc::Receiver<SideNews>),
    came: u32,
}

struct CallTask {
    /// Dropped: the call ends when all is written.
    pieces: Option<mpsc::Sender<Bytes>>,
    task: AbortOnDropHandle<()>,
}

impl Sides {
    pub(super) fn new(client: IpAddr) -> Self {
        let (doors, calls) = (HashMap::new(), HashMap::new());
        Self { client, doors, calls, news: mpsc::channel(NEWS_MAX), came: 0 }
    }

    /// What happens next. Cancel safe.
    pub(super) async fn next(&mut self) -> SideNews {
        match self.news.1.recv().await {
            Some(news) => news,
            // Cannot be: we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    pub(super) fn open_door(&mut self, door: Door) {
        let (client, news, has_room) = (self.client, self.sender(), self.doors.len() < DOORS_MAX);
        let task = tokio::spawn(async move {
            let listener = if has_room {
                listen_for(client).await.map_err(|error| error.to_string())
            } else {
                Err(format!("there are {DOORS_MAX} ports for this client already"))
            };
            match listener {
                Ok((listener, address)) => {
                    if news.send(SideNews::Opened(door, Ok(address))).await.is_ok() {
                        wait_at(&listener, client, door, &news).await;
                    }
                }
                Err(error) => drop(news.send(SideNews::Opened(door, Err(error))).await),
            }
        });
        self.doors.insert(door, AbortOnDropHandle::new(task));
    }

    pub(super) fn close_door(&mut self, door: Door) {
        self.doors.remove(&door);
    }

    /// Takes a connection of the client to a door; `None`: there are too many.
    pub(super) fn take(&mut self, stream: TcpStream) -> Option<Call> {
        self.forget_ended();
        if self.calls.len() >= CALLS_MAX {
            return None;
        }
        let call = Call(Call::CAME | self.came);
        self.came = (self.came + 1) % Call::CAME;
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let news = self.sender();
        let task = tokio::spawn(async move { carry(call, stream, pieces, news).await });
        self.keep(call, sender, task);
        Some(call)
    }

    /// Calls the client's machine; what becomes of it is news.
    pub(super) fn dial(&mut self, call: Call, to: SocketAddr) {
        self.forget_ended();
        let may_be = to.ip() == self.client && self.calls.len() < CALLS_MAX;
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let news = self.sender();
        let task = tokio::spawn(async move {
            let stream = match may_be {
                true => timeout(DIAL_TIME, TcpStream::connect(to)).await,
                false => Ok(Err(io::ErrorKind::PermissionDenied.into())),
            };
            match stream {
                Ok(Ok(stream)) => {
                    if news.send(SideNews::Connected(call)).await.is_ok() {
                        carry(call, stream, pieces, news).await;
                    }
                }
                Ok(Err(_)) | Err(_) => drop(news.send(SideNews::Ended(call)).await),
            }
        });
        self.keep(call, sender, task);
    }

    /// Writes on a call; one whose client does not read ends.
    pub(super) fn say(&mut self, call: Call, bytes: Vec<u8>) {
        let Some(task) = self.calls.get_mut(&call) else { return };
        let has_room = task.pieces.as_ref().is_some_and(|to| to.try_send(bytes.into()).is_ok());
        if !has_room {
            self.calls.remove(&call);
            let _ = self.news.0.try_send(SideNews::Ended(call));
        }
    }

    pub(super) fn hang_up(&mut self, call: Call) {
        if let Some(task) = self.calls.get_mut(&call) {
            task.pieces = None;
        }
    }

    fn keep(&mut self, call: Call, pieces: mpsc::Sender<Bytes>, task: tokio::task::JoinHandle<()>) {
        let task = CallTask { pieces: Some(pieces), task: AbortOnDropHandle::new(task) };
        self.calls.insert(call, task);
    }

    fn forget_ended(&mut self) {
        self.calls.retain(|_, call| !call.task.is_finished());
    }

    fn sender(&self) -> mpsc::Sender<SideNews> {
        self.news.0.clone()
    }
}

/// A port on the address by which the client's machine reaches us.
async fn listen_for(client: IpAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let any = if client.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = UdpSocket::bind(any)?;
    // Chooses the way, and with it our address; no packet leaves.
    probe.connect((client, 9))?;
    let listener = TcpListener::bind((probe.local_addr()?.ip(), 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn wait_at(
    listener: &TcpListener,
    client: IpAddr,
    door: Door,
    news: &mpsc::Sender<SideNews>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) if remote.ip().to_canonical() == client.to_canonical() => {
                if news.send(SideNews::Came(door, stream)).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => sleep(PACE).await,
        }
    }
}

/// Carries bytes both ways until one side ends.
async fn carry(
    call: Call,
    stream: TcpStream,
    mut pieces: mpsc::Receiver<Bytes>,
    news: mpsc::Sender<SideNews>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.into_split();
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_MAX / 16);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let said = SideNews::Said(call, buffer.split().freeze());
                    if news.send(said).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = write_all(&mut pieces, &mut writer) => {}
    }
    let _ = writer.shutdown().await;
    let _ = news.send(SideNews::Ended(call)).await;
}

/// Writes pieces one by one until there will be no more.
async fn write_all(pieces: &mut mpsc::Receiver<Bytes>, writer: &mut OwnedWriteHalf) {
    while let Some(piece) = pieces.recv().await {
        if !matches!(timeout(WRITE_TIME, writer.write_all(&piece)).await, Ok(Ok(()))) {
            return;
        }
        sleep(PACE).await;
    }
}
