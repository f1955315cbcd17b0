//! What `serve`, `transfer` and `stream` say to each other, whatever carries it.
//!
//! A stream begins with a [`Request`]. Bytes then travel in blocks, each with its length; a block
//! of length zero ends them and is followed by their BLAKE3 hash. Whoever receives an upload
//! reports every [`REPORT_EVERY`] how many bytes have come, so that the sender sees what really
//! arrived and not what its own buffers swallowed.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};

use super::Problem;

/// The port of `serve` for TCP, UDP and QUIC; a bare TCP socket has the next one.
pub(super) const PORT: u16 = 7010;

/// How often a receiver reports.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(50);

/// Bytes in a block.
const BLOCK: usize = 16 << 10;

/// Longest block that is read.
const BLOCK_MAX: u32 = 1 << 20;

/// Instead of a count: no more reports, the verdict follows.
const LAST_REPORT: u64 = u64::MAX;

/// One of the two directions.
pub(super) struct Pipe {
    pub(super) read: Box<dyn AsyncRead + Send + Sync + Unpin>,
    pub(super) write: Box<dyn AsyncWrite + Send + Sync + Unpin>,
}

/// What the asking side wants of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Everything back.
    Echo,
    /// Take this.
    Upload,
    /// Send, until one of both is reached.
    Download(Amount),
    /// Tell when which datagrams of this connection have come.
    Messages,
}

/// How much to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    /// Bytes at most.
    pub(super) bytes: u64,
    /// Time at most.
    pub(super) time: Duration,
}

/// What has been received to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Whether the hash of what came is the sender's.
    pub(super) intact: bool,
}

impl Request {
    /// Writes the request.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) async fn send(self, pipe: &mut Pipe) -> io::Result<()> {
        let (kind, amount) = match self {
            Self::Echo => (b'e', None),
            Self::Upload => (b'u', None),
            Self::Download(amount) => (b'd', Some(amount)),
            Self::Messages => (b'm', None),
        };
        pipe.write.write_u8(kind).await?;
        if let Some(amount) = amount {
            pipe.write.write_u64(amount.bytes).await?;
            let millis = u64::try_from(amount.time.as_millis()).unwrap_or(u64::MAX);
            pipe.write.write_u64(millis).await?;
        }
        pipe.write.flush().await
    }

    /// Reads a request.
    ///
    /// # Errors
    /// Those of the stream, and `InvalidData` for what is no request.
    pub(super) async fn receive(pipe: &mut Pipe) -> io::Result<Self> {
        match pipe.read.read_u8().await? {
            b'e' => Ok(Self::Echo),
            b'u' => Ok(Self::Upload),
            b'd' => {
                let bytes = pipe.read.read_u64().await?;
                let time = Duration::from_millis(pipe.read.read_u64().await?);
                Ok(Self::Download(Amount { bytes, time }))
            }
            b'm' => Ok(Self::Messages),
            other => Err(invalid(format!("{other:#04x} is no request"))),
        }
    }
}

/// Sends blocks until `amount` is reached, then the hash.
///
/// # Errors
/// Those of the stream.
pub(super) async fn send(
    write: &mut (impl AsyncWrite + Unpin + ?Sized),
    amount: Amount,
) -> io::Result<()> {
    let begun = Instant::now();
    let mut hash = blake3::Hasher::new();
    let mut left = amount.bytes;
    let mut number = 0;
    while left > 0 && begun.elapsed() < amount.time {
        let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        let block = block(number, length);
        hash.update(&block);
        write.write_u32(u32::try_from(length).unwrap_or_default()).await?;
        write.write_all(&block).await?;
        left -= length as u64;
        number += 1;
    }
    write.write_u32(0).await?;
    write.write_all(hash.finalize().as_bytes()).await?;
    write.flush().await
}

/// Bytes that no two blocks share and that do not compress.
fn block(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = Vec::with_capacity(length + 8);
    while block.len() < length {
        // Marsaglia's xorshift: enough for bytes that only have to differ.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    block.truncate(length);
    block
}

/// Receives blocks to the end, counting them into `total`.
///
/// # Errors
/// Those of the stream, and `InvalidData` for a block that is too long.
pub(super) async fn receive(
    read: &mut (impl AsyncRead + Unpin + ?Sized),
    total: &AtomicU64,
) -> io::Result<Received> {
    let mut hash = blake3::Hasher::new();
    let mut buffer = vec![0; BLOCK];
    loop {
        let mut left = read.read_u32().await?;
        if left > BLOCK_MAX {
            return Err(invalid(format!("a block of {left} bytes, {BLOCK_MAX} at most")));
        }
        if left == 0 {
            let mut sent = [0; blake3::OUT_LEN];
            read.read_exact(&mut sent).await?;
            return Ok(Received { intact: hash.finalize() == sent });
        }
        while left > 0 {
            let room = buffer.len().min(left as usize);
            let count = read.read(&mut buffer[..room]).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hash.update(&buffer[..count]);
            total.fetch_add(count as u64, Ordering::Relaxed);
            left -= u32::try_from(count).unwrap_or(left);
        }
    }
}

/// Receives an upload and reports as it grows.
///
/// # Errors
/// Those of the stream.
pub(super) async fn receive_and_report(pipe: &mut Pipe) -> io::Result<()> {
    let total = AtomicU64::new(0);
    let done = Notify::new();
    let receiving = async {
        let received = receive(&mut pipe.read, &total).await;
        done.notify_one();
        received
    };
    let (received, reported) = tokio::join!(receiving, report(&mut pipe.write, &total, &done));
    let received = received?;
    reported?;
    pipe.write.write_u64(total.load(Ordering::Relaxed)).await?;
    pipe.write.write_u64(LAST_REPORT).await?;
    pipe.write.write_u8(u8::from(received.intact)).await?;
    pipe.write.flush().await?;
    pipe.write.shutdown().await
}

/// Writes the count every so often, always whole, until `done`.
async fn report(
    write: &mut (impl AsyncWrite + Unpin + ?Sized),
    total: &AtomicU64,
    done: &Notify,
) -> io::Result<()> {
    let mut tick = interval(REPORT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = done.notified() => return Ok(()),
        }
        write.write_u64(total.load(Ordering::Relaxed)).await?;
        write.flush().await?;
    }
}

/// Reads reports into `total` until the verdict.
///
/// # Errors
/// Those of the stream.
pub(super) async fn read_reports(
    read: &mut (impl AsyncRead + Unpin + ?Sized),
    total: &AtomicU64,
) -> io::Result<Received> {
    loop {
        match read.read_u64().await? {
            LAST_REPORT => return Ok(Received { intact: read.read_u8().await? == 1 }),
            count => total.store(count, Ordering::Relaxed),
        }
    }
}

/// The first address of `HOST:PORT`.
pub(super) async fn lookup(text: &str) -> Result<SocketAddr, Problem> {
    let looked_up = tokio::net::lookup_host(text).await;
    let mut addresses = looked_up.map_err(|error| {
        Problem(format!("{text:?} is not HOST:PORT, or the host is not known: {error}"))
    })?;
    addresses.next().ok_or_else(|| Problem(format!("{text:?} has no address")))
}

/// `text` with `port` added where it names none.
pub(super) fn with_port(text: &str, port: u16) -> String {
    if text.parse::<SocketAddr>().is_ok() {
        return text.to_owned();
    }
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) if text.contains(':') => text.to_owned(),
        Err(_) => format!("{text}:{port}"),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pipes that are each other's other end.
    fn pair() -> (Pipe, Pipe) {
        let (near, far) = tokio::io::duplex(4096);
        let pipe = |end| {
            let (read, write) = tokio::io::split(end);
            Pipe { read: Box::new(read), write: Box::new(write) }
        };
        (pipe(near), pipe(far))
    }

    #[tokio::test]
    async fn an_upload_is_reported_and_found_intact() {
        let (mut alice, mut bob) = pair();
        let total = AtomicU64::new(0);
        let amount = Amount { bytes: 100_000, time: Duration::from_secs(600) };
        let (sent, verdict, served) = tokio::join!(
            send(&mut alice.write, amount),
            read_reports(&mut alice.read, &total),
            receive_and_report(&mut bob),
        );
        sent.unwrap();
        served.unwrap();
        assert!(verdict.unwrap().intact);
        assert_eq!(total.load(Ordering::Relaxed), 100_000);
    }

    #[tokio::test]
    async fn every_request_is_read_as_it_was_written() {
        let (mut alice, mut bob) = pair();
        let amount = Amount { bytes: 7, time: Duration::from_millis(9) };
        for request in [Request::Echo, Request::Upload, Request::Download(amount)] {
            request.send(&mut alice).await.unwrap();
            assert_eq!(Request::receive(&mut bob).await.unwrap(), request);
        }
    }

    #[tokio::test]
    async fn a_block_beyond_the_bound_is_refused() {
        let total = AtomicU64::new(0);
        let mut bytes: &[u8] = &[0xff; 8];
        let error = receive(&mut bytes, &total).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_port_is_added_where_there_is_none() {
        assert_eq!(with_port("10.0.0.1", 7), "10.0.0.1:7");
        assert_eq!(with_port("10.0.0.1:9", 7), "10.0.0.1:9");
        assert_eq!(with_port("fd00::1", 7), "[fd00::1]:7");
        assert_eq!(with_port("[fd00::1]:9", 7), "[fd00::1]:9");
        assert_eq!(with_port("bob", 7), "bob:7");
        assert_eq!(with_port("bob:9", 7), "bob:9");
    }
}
