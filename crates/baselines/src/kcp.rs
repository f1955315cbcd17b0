//! KCP by tokio_kcp.
//!
//! KCP has no handshake and no end of a stream. Here each side sends one byte before a connection
//! counts, and ends its stream with a message of no bytes; so the rows of KCP travel in messages,
//! not in KCP's own stream mode, which cannot send one.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use portolan_identity::{Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split},
    net::UdpSocket,
    select,
    time::{Sleep, sleep, timeout},
};
use tokio_kcp::{KcpConfig, KcpListener, KcpNoDelayConfig, KcpStream};

use crate::{handshakes::Handshakes, one_stream::OneStream};

/// Segments in flight, each way.
const WINDOW: u16 = 1024;

/// The most bytes of one KCP message, which arrives as a whole; well under its 128 fragments.
const MESSAGE_MAX: usize = 16 * 1024;

/// What the system may hold for a socket: two windows, with what it adds to each packet.
const SOCKET_BUFFER: usize = 4 << 20;

/// How often a stream that ends looks whether all of it has been acknowledged: KCP's own tick.
const TICK: Duration = Duration::from_millis(10);

/// How often at most, lest one wait for ever for a remote that is gone.
const TICKS_MAX: u32 = 1000;

/// How often when the remote has ended too: it may be gone, and its last word lost.
const LAST_TICKS_MAX: u32 = 200;

/// How long the first byte may take to come back.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What each side says first.
const HELLO: u8 = b'k';

/// KCP in the setting that its users call turbo: fast, unfair to others, without encryption.
#[derive(Debug)]
pub struct Kcp;

#[async_trait]
impl Subject for Kcp {
    fn name(&self) -> &'static str {
        "kcp"
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: "tokio_kcp 0.9 turbo (nodelay 1,10,2,1), window 1024, acks at once, no crypto",
            encrypted: false,
            repairs: true,
            multiplexes: false,
            messages: Messages::None,
        }
    }

    fn congestion_control(&self) -> String {
        "none (KCP turbo, fixed window)".into()
    }

    async fn listen(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Listener>> {
        let socket = open(local)?;
        let listener =
            KcpListener::from_socket(config(), socket).await.map_err(io::Error::other)?;
        let local = listener.local_addr()?;
        let listener = Arc::new(Mutex::new(listener));
        Ok(Box::new(Incoming { listener, local, handshakes: Handshakes::default() }))
    }

    async fn client(&self, local: SocketAddr, _: Identity) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(Outgoing { local }))
    }
}

fn config() -> KcpConfig {
    KcpConfig {
        nodelay: KcpNoDelayConfig::fastest(),
        wnd_size: (WINDOW, WINDOW),
        flush_acks_input: true,
        allow_recv_empty_packet: true,
        ..KcpConfig::default()
    }
}

/// A socket that holds a whole window, as far as the system allows.
fn open(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(local)?;
    socket.set_nonblocking(true)?;
    SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER)?;
    UdpSocket::from_std(socket)
}

/// Reads the socket for every connection that it has accepted, so that these keep it alive.
type Shared = Arc<Mutex<KcpListener>>;

struct Incoming {
    listener: Shared,
    local: SocketAddr,
    handshakes: Handshakes,
}

#[async_trait]
impl Listener for Incoming {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        loop {
            select! {
                link = self.handshakes.next() => return Ok(link),
                stream = next(&self.listener), if !self.handshakes.is_full() => {
                    self.handshakes.start(answer(stream?, Arc::clone(&self.listener)));
                }
            }
        }
    }
}

async fn next(listener: &Shared) -> io::Result<KcpStream> {
    let accepted =
        poll_fn(|cx| listener.lock().unwrap_or_else(PoisonError::into_inner).poll_accept(cx));
    accepted.await.map(|(stream, _)| stream).map_err(io::Error::other)
}

/// What remains of a finished connection looks like a new one, but says no hello.
async fn answer(mut stream: KcpStream, listener: Shared) -> io::Result<Box<dyn Link>> {
    expect_hello(&mut stream).await?;
    say_hello(&mut stream).await?;
    Ok(link(stream, Some(listener)))
}

/// KCP tells clients apart by their address, so that each has a socket.
struct Outgoing {
    local: SocketAddr,
}

#[async_trait]
impl Client for Outgoing {
    async fn connect(&mut self, server: SocketAddr, _: PeerId) -> io::Result<Box<dyn Link>> {
        let socket = open(self.local)?;
        let stream = KcpStream::connect_with_socket(&config(), socket, server).await;
        let mut stream = stream.map_err(io::Error::other)?;
        say_hello(&mut stream).await?;
        timeout(HANDSHAKE_MAX, expect_hello(&mut stream)).await??;
        Ok(link(stream, None))
    }
}

async fn say_hello(stream: &mut KcpStream) -> io::Result<()> {
    stream.write_all(&[HELLO]).await?;
    stream.flush().await
}

async fn expect_hello(stream: &mut KcpStream) -> io::Result<()> {
    match stream.read_u8().await? {
        HELLO => Ok(()),
        other => {
            let what = format!("the other side began with byte {other}, not with {HELLO}");
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
    }
}

fn link(stream: KcpStream, listener: Option<Shared>) -> Box<dyn Link> {
    let (read, write) = split(Ending { stream, state: Writing::Open, ended: false });
    let keep = Box::new(listener);
    OneStream::link(Stream { read: Box::new(read), write: Box::new(write), keep })
}

/// A KCP stream whose ends see the end.
struct Ending {
    stream: KcpStream,
    state: Writing,
    /// The other side has ended its half.
    ended: bool,
}

/// How far our half is.
enum Writing {
    Open,
    /// The end is queued, something of it may be unacknowledged.
    Ended {
        tick: Pin<Box<Sleep>>,
        ticks: u32,
    },
}

impl Ending {
    fn is_acknowledged(&self) -> bool {
        self.stream.session().kcp_socket().lock().can_close()
    }
}

impl AsyncRead for Ending {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.ended = buf.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ending {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let part = &buf[..buf.len().min(MESSAGE_MAX)];
        match &this.state {
            Writing::Ended { .. } => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            // A message of no bytes would be the end.
            Writing::Open if part.is_empty() => Poll::Ready(Ok(0)),
            Writing::Open => Pin::new(&mut this.stream).poll_write(cx, part),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// KCP forgets what it has not delivered when a stream is dropped; so this waits until all of
    /// it is acknowledged.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.state, Writing::Open) {
            ready!(Pin::new(&mut this.stream).poll_write(cx, &[]))?;
            ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
            this.state = Writing::Ended { tick: Box::pin(sleep(TICK)), ticks: 0 };
        }
        while !this.is_acknowledged() {
            let Writing::Ended { tick, ticks } = &mut this.state else { break };
            ready!(tick.as_mut().poll(cx));
            tick.set(sleep(TICK));
            *ticks += 1;
            if this.ended && *ticks > LAST_TICKS_MAX {
                break;
            }
            if *ticks > TICKS_MAX {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}
