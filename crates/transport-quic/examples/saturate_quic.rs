//! Moves bytes over loopback as fast as they go, for profilers: one stream between two endpoints,
//! each on a thread of its own, of ours or of bare quinn with its own settings and the same keys.
//!
//! ```text
//! saturate_quic [ours|bare [SECONDS]]
//! perf record -e cpu-clock -g target/release/examples/saturate_quic ours 5
//! ```
//!
//! Prints goodput and what it cost: CPU seconds a GiB, both sides and the kernel on their behalf.
//! Compare both in turn, several times, by the cost; against others measures `lab bench`.

#![expect(clippy::print_stdout, reason = "a program that prints a figure")]

use std::{
    error::Error,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{BindConfig, CloseCode, ConnectionConfig, Priority, Transport};
use portolan_transport_quic::{Configs, Quic};
use quinn::{Endpoint, TokioRuntime, TransportConfig, VarInt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    runtime::Builder,
    sync::oneshot,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Time before counting begins: the packets find their length, and the control its rate.
const WARM_UP: Duration = Duration::from_millis(500);

const WRITE_CHUNK: usize = 64 << 10;
const READ_BUFFER: usize = 256 << 10;

const GIB: f64 = 1_073_741_824.0;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, Clone, Copy)]
enum Subject {
    Ours,
    Bare,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let subject = match arguments.next().as_deref() {
        None | Some("ours") => Subject::Ours,
        Some("bare") => Subject::Bare,
        Some(other) => return Err(format!("{other} is neither ours nor bare").into()),
    };
    let seconds = arguments.next().map_or(Ok(3), |word| word.parse())?;
    let (address, addressed) = oneshot::channel();
    let receiver = std::thread::spawn(move || on_one_thread(receive(subject, address, seconds)));
    on_one_thread(send(subject, addressed))?;
    receiver.join().map_err(|_| "the receiving thread failed")?
}

fn on_one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

/// quinn as it comes, but for our keys.
fn bare(seed: u8) -> Result<Endpoint, Failure> {
    let Configs { endpoint, mut server, mut client } =
        Configs::new(&ConnectionConfig::new(identity(seed)));
    let transport = Arc::new(TransportConfig::default());
    server.transport_config(Arc::clone(&transport));
    client.transport_config(transport);
    let socket = UdpSocket::bind(LOOPBACK)?;
    let mut quinn = Endpoint::new(endpoint, Some(server), socket, Arc::new(TokioRuntime))?;
    quinn.set_default_client_config(client);
    Ok(quinn)
}

/// Writes until the other side has enough.
async fn send(subject: Subject, addressed: oneshot::Receiver<SocketAddr>) -> Result<(), Failure> {
    let expect = Expect::Id(identity(2).id());
    match subject {
        Subject::Ours => {
            let endpoint = Quic.bind(BindConfig::new(LOOPBACK, identity(1))).await?;
            let connection = endpoint.connect(addressed.await?, expect).await?;
            let (mut stream, _recv) = connection.open_stream(Priority::Bulk).await?;
            write(&mut stream).await;
            let stats = connection.stats();
            let (sent, lost) = (stats.packets_sent, stats.packets_lost.unwrap_or(0));
            println!("{sent} packets, {lost} lost, round trip {:?}", stats.rtt.unwrap_or_default());
        }
        Subject::Bare => {
            let endpoint = bare(1)?;
            let connection = endpoint.connect(addressed.await?, &expect.dns_name())?.await?;
            let (mut stream, _recv) = connection.open_bi().await?;
            write(&mut stream).await;
            let path = connection.stats().path;
            let (sent, lost) = (path.sent_packets, path.lost_packets);
            println!("{sent} packets, {lost} lost, round trip {:?}", path.rtt);
        }
    }
    Ok(())
}

async fn write(stream: &mut (impl AsyncWrite + Unpin)) {
    let chunk = vec![0x5a; WRITE_CHUNK];
    while stream.write_all(&chunk).await.is_ok() {}
}

async fn receive(
    subject: Subject,
    address: oneshot::Sender<SocketAddr>,
    seconds: u64,
) -> Result<(), Failure> {
    match subject {
        Subject::Ours => {
            let endpoint = Quic.bind(BindConfig::new(LOOPBACK, identity(2))).await?;
            address.send(endpoint.local_addr()).map_err(|_| "the sending thread failed")?;
            let connection = endpoint.accept().await?;
            let (_send, mut stream) = connection.accept_stream().await?;
            read(&mut stream, seconds).await?;
            endpoint.close(CloseCode(0), "enough").await;
        }
        Subject::Bare => {
            let endpoint = bare(2)?;
            address.send(endpoint.local_addr()?).map_err(|_| "the sending thread failed")?;
            let connection = endpoint.accept().await.ok_or("closed")?.await?;
            let (_send, mut stream) = connection.accept_bi().await?;
            read(&mut stream, seconds).await?;
            connection.close(VarInt::from_u32(0), b"enough");
            endpoint.wait_idle().await;
        }
    }
    Ok(())
}

/// Reads and counts.
async fn read(stream: &mut (impl AsyncRead + Unpin), seconds: u64) -> Result<(), Failure> {
    let mut buffer = vec![0; READ_BUFFER];
    let begun = now();
    while begun.elapsed() < WARM_UP && stream.read(&mut buffer).await? > 0 {}
    let (since, cpu) = (now(), cpu());
    let mut bytes = 0;
    while since.elapsed() < Duration::from_secs(seconds) {
        bytes += stream.read(&mut buffer).await?;
    }
    let (took, cost) = (since.elapsed().as_secs_f64(), (self::cpu() - cpu).as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let gib = bytes as f64 / GIB;
    println!("{:.0} MiB/s, {:.3} CPU s/GiB", gib * 1024.0 / took, cost / gib);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// CPU time of this process.
#[cfg(unix)]
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Unknown here.
#[cfg(not(unix))]
fn cpu() -> Duration {
    Duration::ZERO
}
