//! yamux over TLS over TCP.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{AsyncRead, AsyncWrite, future::poll_fn};
use portolan_identity::{Alpn, Expect, Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject, Traits, no_messages};
use tokio::{
    io::split,
    select,
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

use crate::{
    handshakes::Handshakes,
    tcp::{self, Incoming, kernel_congestion},
};

/// Streams that wait for `accept`; yamux itself has no more open without an acknowledgement.
const ACCEPT_QUEUE: usize = 256;

/// Requests to open a stream that wait for the connection's task.
const OPEN_QUEUE: usize = 16;

/// yamux as it comes over TLS 1.3 by tokio-rustls with our keys.
#[derive(Debug)]
pub struct Yamux;

#[async_trait]
impl Subject for Yamux {
    fn name(&self) -> &'static str {
        "yamux"
    }

    fn traits(&self) -> Traits {
        Traits {
            summary: "yamux 0.13 as it comes over tokio-rustls 0.26: streams on one TLS connection",
            encrypted: true,
            repairs: true,
            multiplexes: true,
            messages: Messages::None,
        }
    }

    fn congestion_control(&self) -> String {
        kernel_congestion()
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        let incoming = tcp::listen(local, None)?;
        let acceptor = TlsAcceptor::from(identity.server_config(Alpn::Tcp));
        Ok(Box::new(YamuxListener { incoming, acceptor, handshakes: Handshakes::default() }))
    }

    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>> {
        let connector = TlsConnector::from(identity.client_config(Alpn::Tcp));
        Ok(Box::new(YamuxClient { local, connector }))
    }
}

struct YamuxListener {
    incoming: Incoming,
    acceptor: TlsAcceptor,
    handshakes: Handshakes,
}

#[async_trait]
impl Listener for YamuxListener {
    fn local_addr(&self) -> SocketAddr {
        self.incoming.local
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        loop {
            select! {
                link = self.handshakes.next() => return Ok(link),
                stream = self.incoming.accept(), if !self.handshakes.is_full() => {
                    let handshake = self.acceptor.accept(stream?);
                    self.handshakes.start(async {
                        Ok(YamuxLink::start(handshake.await?.compat(), Mode::Server))
                    });
                }
            }
        }
    }
}

struct YamuxClient {
    local: SocketAddr,
    connector: TlsConnector,
}

#[async_trait]
impl Client for YamuxClient {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let stream = tcp::connect(self.local, server, None).await?;
        let tls = self.connector.connect(Expect::Id(id).server_name(), stream).await?;
        Ok(YamuxLink::start(tls.compat(), Mode::Client))
    }
}

type Answer = oneshot::Sender<io::Result<yamux::Stream>>;

/// A connection is polled by a task of its own, which ends with the last handle.
struct YamuxLink {
    task: Arc<JoinSet<()>>,
    open: mpsc::Sender<Answer>,
    accepted: Mutex<mpsc::Receiver<yamux::Stream>>,
}

impl YamuxLink {
    fn start<T>(carrier: T, mode: Mode) -> Box<dyn Link>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (open, requests) = mpsc::channel(OPEN_QUEUE);
        let (sender, accepted) = mpsc::channel(ACCEPT_QUEUE);
        let connection = Connection::new(carrier, Config::default(), mode);
        let mut driver = Driver { connection, requests, request: None, accepted: sender };
        let mut task = JoinSet::new();
        task.spawn(async move { poll_fn(|cx| driver.poll(cx)).await });
        Box::new(Self { task: Arc::new(task), open, accepted: Mutex::new(accepted) })
    }

    fn stream(&self, stream: yamux::Stream) -> Stream {
        let (read, write) = split(stream.compat());
        let keep = Box::new(Arc::clone(&self.task));
        Stream { read: Box::new(read), write: Box::new(write), keep }
    }
}

#[async_trait]
impl Link for YamuxLink {
    async fn open(&self) -> io::Result<Stream> {
        let (answer, opened) = oneshot::channel();
        self.open.send(answer).await.map_err(|_| io::ErrorKind::NotConnected)?;
        let opened = opened.await.map_err(|_| io::ErrorKind::NotConnected)?;
        Ok(self.stream(opened?))
    }

    async fn accept(&self) -> io::Result<Stream> {
        let accepted = self.accepted.lock().await.recv().await;
        Ok(self.stream(accepted.ok_or(io::ErrorKind::NotConnected)?))
    }

    fn send_message(&self, _: Bytes, _: Option<Duration>) -> io::Result<()> {
        Err(no_messages())
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        Err(no_messages())
    }
}

/// What the connection's task owns.
struct Driver<T> {
    connection: Connection<T>,
    requests: mpsc::Receiver<Answer>,
    /// The request that is being served.
    request: Option<Answer>,
    accepted: mpsc::Sender<yamux::Stream>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Ready when the connection is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_requests(cx);
        loop {
            match self.connection.poll_next_inbound(cx) {
                // One too many for who does not accept is dropped, and so reset.
                Poll::Ready(Some(Ok(stream))) => drop(self.accepted.try_send(stream)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.request.is_none() {
                let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) else { return };
                self.request = Some(request);
            }
            let Poll::Ready(opened) = self.connection.poll_new_outbound(cx) else { return };
            if let Some(request) = self.request.take() {
                // Who asked may be gone.
                drop(request.send(opened.map_err(io::Error::other)));
            }
        }
    }
}
