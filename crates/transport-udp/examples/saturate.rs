//! Moves bytes over loopback as fast as they go, for profilers: one stream between two endpoints,
//! each on a thread of its own.
//!
//! ```text
//! saturate [PACKET_LIMIT [SECONDS]]
//! perf record -e cpu-clock -g target/release/examples/saturate 1452 5
//! ```
//!
//! Prints goodput and what it cost: CPU seconds a GiB, both sides and the kernel on their behalf.
//! Compare it with itself before and after a change; against others measures `lab bench`.

#![expect(clippy::print_stdout, reason = "a program that prints a figure")]

use std::{
    error::Error,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{BindConfig, CloseCode, Endpoint, Priority, Transport};
use portolan_transport_udp::TunedUdp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    sync::oneshot,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Time before counting begins: the packets find their length, and the control its rate.
const WARM_UP: Duration = Duration::from_millis(500);

const WRITE_CHUNK: usize = 64 << 10;
const READ_BUFFER: usize = 256 << 10;

const GIB: f64 = 1_073_741_824.0;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let limit =
        arguments.next().map_or(Ok(TunedUdp::default().packet_limit), |word| word.parse())?;
    let seconds = arguments.next().map_or(Ok(3), |word| word.parse())?;
    let transport = TunedUdp { packet_limit: limit, ..TunedUdp::default() };
    let (address, addressed) = oneshot::channel();
    let receiver = std::thread::spawn(move || on_one_thread(receive(transport, address, seconds)));
    on_one_thread(send(transport, addressed))?;
    receiver.join().map_err(|_| "the receiving thread failed")?
}

fn on_one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn bind(transport: TunedUdp, seed: u8) -> Result<Arc<dyn Endpoint>, Failure> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(transport.bind(BindConfig::new(local, Identity::from_seed([seed; 32]))).await?)
}

/// Writes until the other side has enough.
async fn send(
    transport: TunedUdp,
    addressed: oneshot::Receiver<SocketAddr>,
) -> Result<(), Failure> {
    let endpoint = bind(transport, 1).await?;
    let expect = Expect::Id(Identity::from_seed([2; 32]).id());
    let connection = endpoint.connect(addressed.await?, expect).await?;
    let (mut stream, _) = connection.open_stream(Priority::Bulk).await?;
    let chunk = vec![0x5a; WRITE_CHUNK];
    while stream.write_all(&chunk).await.is_ok() {}
    Ok(())
}

/// Reads and counts.
async fn receive(
    transport: TunedUdp,
    address: oneshot::Sender<SocketAddr>,
    seconds: u64,
) -> Result<(), Failure> {
    let endpoint = bind(transport, 2).await?;
    address.send(endpoint.local_addr()).map_err(|_| "the sending thread failed")?;
    let connection = endpoint.accept().await?;
    let (_, mut stream) = connection.accept_stream().await?;
    let mut buffer = vec![0; READ_BUFFER];
    let begun = now();
    while begun.elapsed() < WARM_UP && stream.read(&mut buffer).await? > 0 {}
    let (since, cpu, before) = (now(), cpu(), connection.stats());
    let mut bytes = 0;
    while since.elapsed() < Duration::from_secs(seconds) {
        bytes += stream.read(&mut buffer).await?;
    }
    let (took, cost) = (since.elapsed().as_secs_f64(), (self::cpu() - cpu).as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let gib = bytes as f64 / GIB;
    let after = connection.stats();
    let packets = after.packets_received - before.packets_received;
    let answers = after.packets_sent - before.packets_sent;
    println!(
        "{:.0} MiB/s, {:.3} CPU s/GiB, {packets} packets, {answers} came back",
        gib * 1024.0 / took,
        cost / gib,
    );
    endpoint.close(CloseCode(0), "enough").await;
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
