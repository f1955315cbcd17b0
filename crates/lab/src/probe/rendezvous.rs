//! What `meet` and `punch` say to each other: one JSON object a line over TCP.

use std::{fmt, io, net::SocketAddr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The port of `meet`; STUN is on the two after it.
pub(super) const PORT: u16 = 7020;

/// Longest line that is read.
const LINE_MAX: u64 = 4096;

/// How a direct connection is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Over {
    /// Datagrams from both sides at once.
    Udp,
    /// Simultaneous open (RFC 9293 §3.5).
    Tcp,
}

impl Over {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Udp, Self::Tcp];
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// From a peer to the meeting place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// Who I am.
    Hello { name: String, kind: String },
    /// A socket waits for this attempt, and this is how it looks from outside; `None`: the network
    /// lets nothing out.
    Ready { attempt: u32, mapped: Option<SocketAddr> },
    /// How it ended.
    Ended { attempt: u32, direct: Option<Direct> },
}

/// A direct connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Direct {
    /// Milliseconds from the start of the attempt.
    pub(super) after_ms: u64,
    /// Where the other side's packets came from.
    pub(super) remote: SocketAddr,
}

/// From the meeting place to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Open a socket and find out how it looks from outside.
    Prepare { attempt: u32, over: Over, with: String },
    /// Both are ready: reach the other side there.
    Punch { attempt: u32, remote: SocketAddr },
    /// The other side cannot: forget it.
    Forget { attempt: u32 },
    /// All is done.
    Done,
}

/// Writes one line.
///
/// # Errors
/// Those of the stream.
pub(super) async fn write_line(
    write: &mut (impl AsyncWrite + Unpin),
    value: &(impl Serialize + Sync),
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    write.flush().await
}

/// Reads one line; `None` is the end. Not cancel safe.
///
/// # Errors
/// Those of the stream, and `InvalidData` for what is no such message.
pub(super) async fn read_line<T: DeserializeOwned>(
    read: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if read.take(LINE_MAX).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
