//! The client's line to the server beside the subject: JSON lines over any byte stream.
//!
//! In one process it is a pipe in memory, in two the server's standard input and output. Nothing
//! of it touches the network that is measured.

use std::{io, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// The longest line that is read; a log of live delays is the longest there is.
const LINE_MAX: usize = 16 << 20;

/// What the client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Drop every connection and begin to count anew.
    Reset,
    /// How much has arrived?
    Count,
    /// Which live messages have arrived?
    Live,
    /// How much memory do you hold?
    Memory,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// It listens. Said once, unasked, first.
    Ready {
        /// Where.
        address: SocketAddr,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        why: String,
    },
    /// To [`Order::Reset`].
    Done,
    /// To [`Order::Count`].
    Count(Count),
    /// To [`Order::Live`].
    Live(Vec<LiveLog>),
    /// To [`Order::Memory`]: resident bytes.
    Memory {
        /// Resident bytes that no file backs.
        resident: u64,
    },
}

/// The server's counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Nanoseconds on the shared clock.
    pub(crate) at_nanos: u64,
    /// Bytes that sinks have swallowed.
    pub(crate) bytes: u64,
    /// Connections accepted.
    pub(crate) connections: u64,
    /// CPU nanoseconds of the server's thread.
    pub(crate) thread_cpu_nanos: u64,
    /// CPU nanoseconds of the server's process.
    pub(crate) process_cpu_nanos: u64,
    /// The server's process.
    pub(crate) process: u32,
}

/// What arrived of one live flow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct LiveLog {
    /// The flow.
    pub(crate) flow: u8,
    /// Number of each message and its delay in nanoseconds, in order of arrival.
    pub(crate) arrivals: Vec<(u32, u64)>,
}

/// One end of the line.
pub(crate) struct Line<R, W> {
    reader: BufReader<R>,
    writer: W,
}

/// A line over whatever carries it.
pub(crate) type Control =
    Line<Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>>;

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Line<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Self {
        Self { reader: BufReader::new(reader), writer }
    }

    /// Sends one value.
    pub(crate) async fn send<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.writer.write_all(&line).await?;
        self.writer.flush().await
    }

    /// Receives one value; `None` when the other side has gone. Not cancel safe: what was read of
    /// a line is lost with the call.
    pub(crate) async fn receive<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                return Ok(None);
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(read.len(), |end| end + 1);
            line.extend_from_slice(&read[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if line.len() > LINE_MAX {
                return Err(io::Error::other("a line of the measuring server is too long"));
            }
        }
    }
}

impl Control {
    /// Wraps a pair of halves.
    pub(crate) fn boxed(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self::new(Box::new(reader), Box::new(writer))
    }

    /// Waits until the server listens.
    pub(crate) async fn ready(&mut self) -> io::Result<SocketAddr> {
        match self.reply().await? {
            Reply::Ready { address } => Ok(address),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn reset(&mut self) -> io::Result<()> {
        self.send(&Order::Reset).await?;
        match self.reply().await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn count(&mut self) -> io::Result<Count> {
        self.send(&Order::Count).await?;
        match self.reply().await? {
            Reply::Count(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn live(&mut self) -> io::Result<Vec<LiveLog>> {
        self.send(&Order::Live).await?;
        match self.reply().await? {
            Reply::Live(logs) => Ok(logs),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn memory(&mut self) -> io::Result<u64> {
        self.send(&Order::Memory).await?;
        match self.reply().await? {
            Reply::Memory { resident } => Ok(resident),
            other => Err(unexpected(&other)),
        }
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        match self.receive().await? {
            Some(Reply::Failed { why }) => Err(io::Error::other(why)),
            Some(reply) => Ok(reply),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server side has ended")),
        }
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("the server side answered out of turn: {reply:?}"))
}

impl Count {
    /// Bytes since `before`, and how long that took.
    pub(crate) fn since(&self, before: &Self) -> (u64, Duration) {
        let took = Duration::from_nanos(self.at_nanos.saturating_sub(before.at_nanos));
        (self.bytes.saturating_sub(before.bytes), took)
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Line, Order, Reply};

    #[tokio::test]
    async fn orders_and_replies_cross_a_pipe_and_an_end_is_seen() {
        let (alice, bob) = tokio::io::duplex(64);
        let (read, write) = tokio::io::split(alice);
        let mut client = Control::boxed(read, write);
        let (read, write) = tokio::io::split(bob);
        let mut server = Line::new(read, write);
        let answering = async {
            let order = server.receive::<Order>().await.expect("a line");
            assert_eq!(order, Some(Order::Memory));
            server.send(&Reply::Memory { resident: 7 }).await.expect("a pipe");
            drop(server);
        };
        let (resident, ()) = tokio::join!(client.memory(), answering);
        assert_eq!(resident.expect("an answer"), 7);
        assert!(client.count().await.is_err(), "the server has gone");
    }
}
