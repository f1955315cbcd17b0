//! A subject made slower on purpose, to see whether the statistics notice.

use std::{
    any::Any,
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use portolan_identity::{Identity, PeerId};
use portolan_subject::{Client, Link, Listener, Stream, Subject, Traits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::bench::{clock, subjects::SubjectRef};

/// The longest burn at one call; a thread that was never charged for longer is let off the rest.
const BURN_MAX: Duration = Duration::from_millis(100);

/// A subject that pays more for what it does: each call to it burns CPU for a share of the CPU
/// time that its thread has used since the call before, so that a share of 20 % makes every second
/// of work take 1.2 seconds, whichever task of the subject did it.
#[derive(Debug)]
pub(crate) struct Planted {
    original: SubjectRef,
    name: &'static str,
    share: f64,
}

impl Planted {
    pub(crate) fn new(original: SubjectRef, percent: u32) -> Self {
        let name = format!("{}-{percent}%", original.name());
        Self { original, name: Box::leak(name.into_boxed_str()), share: f64::from(percent) / 100.0 }
    }
}

/// Charged no more often than this: to ask for CPU time is a system call.
const CHARGE_EVERY: Duration = Duration::from_micros(200);

thread_local! {
    /// CPU time of this thread up to which has been paid.
    static PAID: Cell<Option<Duration>> = const { Cell::new(None) };
    static CHARGED: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn burn(share: f64) {
    let now = clock::now();
    let is_recent = CHARGED.get().is_some_and(|at| now.duration_since(at) < CHARGE_EVERY);
    if share == 0.0 || is_recent {
        return;
    }
    let used = clock::thread_cpu();
    let since = PAID.get().map_or(Duration::ZERO, |paid| used.saturating_sub(paid));
    let due = since.mul_f64(share).min(BURN_MAX);
    while clock::thread_cpu().saturating_sub(used) < due {
        std::hint::spin_loop();
    }
    PAID.set(Some(clock::thread_cpu()));
    CHARGED.set(Some(clock::now()));
}

#[async_trait]
impl Subject for Planted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn traits(&self) -> Traits {
        Traits { summary: "slowed on purpose, to check the statistics", ..self.original.traits() }
    }

    fn congestion_control(&self) -> String {
        self.original.congestion_control()
    }

    fn missing(&self) -> Option<String> {
        self.original.missing()
    }

    async fn listen(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Slowed(self.original.listen(local, identity).await?, self.share)))
    }

    async fn client(&self, local: SocketAddr, identity: Identity) -> io::Result<Box<dyn Client>> {
        Ok(Box::new(Slowed(self.original.client(local, identity).await?, self.share)))
    }
}

struct Slowed<T>(T, f64);

impl Slowed<Box<dyn Link>> {
    fn stream(&self, stream: Stream) -> Stream {
        burn(self.1);
        Stream {
            read: Box::new(Slowed(stream.read, self.1)),
            write: Box::new(Slowed(stream.write, self.1)),
            keep: stream.keep as Box<dyn Any + Send>,
        }
    }
}

#[async_trait]
impl Listener for Slowed<Box<dyn Listener>> {
    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let link = self.0.accept().await?;
        burn(self.1);
        Ok(Box::new(Slowed(link, self.1)))
    }
}

#[async_trait]
impl Client for Slowed<Box<dyn Client>> {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> io::Result<Box<dyn Link>> {
        let link = self.0.connect(server, id).await?;
        burn(self.1);
        Ok(Box::new(Slowed(link, self.1)))
    }
}

#[async_trait]
impl Link for Slowed<Box<dyn Link>> {
    async fn open(&self) -> io::Result<Stream> {
        Ok(self.stream(self.0.open().await?))
    }

    async fn open_bulk(&self) -> io::Result<Stream> {
        Ok(self.stream(self.0.open_bulk().await?))
    }

    async fn accept(&self) -> io::Result<Stream> {
        Ok(self.stream(self.0.accept().await?))
    }

    fn send_message(&self, payload: Bytes, lifetime: Option<Duration>) -> io::Result<()> {
        burn(self.1);
        self.0.send_message(payload, lifetime)
    }

    async fn recv_message(&self) -> io::Result<Bytes> {
        let message = self.0.recv_message().await?;
        burn(self.1);
        Ok(message)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Slowed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        burn(self.1);
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Slowed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        burn(self.1);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        burn(self.1);
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
