//! What carries one client's bytes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};

/// Bytes of one read.
pub(super) const READ_MAX: usize = 64 << 10;

/// A client that does not read for so long is gone.
pub(super) const WRITE_TIME: Duration = Duration::from_secs(10);

/// A quiet connection is asked for a sign of life after this time; silence for the other is its
/// end.
pub(in super::super) const KEEP_ALIVE: (Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(75));

/// How often it is asked then; the system gives up after nine times.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) enum Wire {
    Tcp(TcpStream),
    Udp { socket: Arc<UdpSocket>, remote: SocketAddr, received: mpsc::Receiver<Bytes> },
}

impl Wire {
    /// Small pieces go at once, and a client that is gone is noticed.
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keep_alive =
            socket2::TcpKeepalive::new().with_time(KEEP_ALIVE.0).with_interval(PROBE_INTERVAL);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
        Ok(Self::Tcp(stream))
    }

    /// The next bytes; 0: the client has closed. Cancel safe.
    pub(super) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        buffer.clear();
        match self {
            // Room is made when there is something to read: most clients are quiet.
            Self::Tcp(stream) => loop {
                stream.readable().await?;
                buffer.reserve(READ_MAX);
                match stream.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
            },
            Self::Udp { received, .. } => {
                let datagram = received.recv().await.unwrap_or_default();
                buffer.extend_from_slice(&datagram);
                Ok(datagram.len())
            }
        }
    }

    /// Writes one piece. Not cancel safe.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => timeout(WRITE_TIME, stream.write_all(bytes)).await?,
            Self::Udp { socket, remote, .. } => socket.send_to(bytes, *remote).await.map(drop),
        }
    }
}
