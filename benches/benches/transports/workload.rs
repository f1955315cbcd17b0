//! What the subjects are made to do.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Identity, PeerId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use crate::subject::{Client, Session, Subject};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) bulk_mib: u64,
    pub(crate) round_trips: usize,
    pub(crate) messages: u64,
    pub(crate) handshakes: u32,
}

impl Default for Workload {
    fn default() -> Self {
        Self { bulk_mib: 512, round_trips: 4_000, messages: 200_000, handshakes: 200 }
    }
}

/// What one round measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) bulk_mib_per_s: f64,
    pub(crate) bulk_cpu_s_per_gib: f64,
    pub(crate) rtt_p50_us: f64,
    pub(crate) rtt_p99_us: f64,
    pub(crate) messages_per_s: f64,
    pub(crate) handshakes_per_s: f64,
}

const PING: u8 = b'P';
const SINK: u8 = b'S';
const PING_SIZE: usize = 64;
const MESSAGE_SIZE: usize = 100;
const CHUNK: usize = 64 << 10;

/// Runs every workload of one round on one subject.
pub(crate) fn run(subject: Arc<dyn Subject>, workload: Workload) -> Sample {
    let server = Identity::from_seed([1; 32]);
    let id = server.id();
    let (address, bound) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let listening = Arc::clone(&subject);
    let server_thread = std::thread::spawn(move || {
        runtime().block_on(async move {
            let serve = serve(listening, server, address);
            tokio::select! { () = serve => {}, _ = stopped => {} }
        });
    });
    let sample = runtime().block_on(async move {
        let address = bound.await.expect("the server binds");
        let client = subject.client(Identity::from_seed([2; 32])).await;
        Bench { client, address, id }.measure(workload).await
    });
    drop(stop);
    server_thread.join().expect("the server ends in good order");
    sample
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn serve(
    subject: Arc<dyn Subject>,
    identity: Identity,
    address: oneshot::Sender<SocketAddr>,
) {
    let mut listener = subject.listen(identity).await;
    address.send(listener.local_addr()).expect("the client waits");
    loop {
        let session = listener.accept().await;
        tokio::spawn(answer(session));
    }
}

/// Does what the first byte of a stream asks for, until the client goes.
async fn answer(mut session: Session) {
    match session.read.read_u8().await {
        Ok(PING) => pong(&mut session).await,
        Ok(SINK) => sink(&mut session).await,
        Ok(_) | Err(_) => {}
    }
    drop(session.connection);
}

async fn pong(session: &mut Session) {
    let mut buffer = [0; PING_SIZE];
    while session.read.read_exact(&mut buffer).await.is_ok() {
        if session.write.write_all(&buffer).await.is_err() || session.write.flush().await.is_err() {
            return;
        }
    }
}

async fn sink(session: &mut Session) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(mut left) = session.read.read_u64().await {
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match session.read.read(&mut buffer[..wanted]).await {
                Ok(0) | Err(_) => return,
                Ok(length) => left -= length as u64,
            }
        }
        if session.write.write_all(&[1]).await.is_err() || session.write.flush().await.is_err() {
            return;
        }
    }
}

struct Bench {
    client: Box<dyn Client>,
    address: SocketAddr,
    id: PeerId,
}

impl Bench {
    async fn measure(mut self, workload: Workload) -> Sample {
        // First touch of memory and caches is not what is compared.
        self.bulk(8).await;
        let (bulk_mib_per_s, bulk_cpu_s_per_gib) = self.bulk(workload.bulk_mib).await;
        let (rtt_p50_us, rtt_p99_us) = self.round_trips(workload.round_trips).await;
        let messages_per_s = self.messages(workload.messages).await;
        let handshakes_per_s = self.handshakes(workload.handshakes).await;
        Sample {
            bulk_mib_per_s,
            bulk_cpu_s_per_gib,
            rtt_p50_us,
            rtt_p99_us,
            messages_per_s,
            handshakes_per_s,
        }
    }

    async fn open(&mut self, what: u8) -> Session {
        let mut session = self.client.connect(self.address, self.id).await;
        session.write.write_all(&[what]).await.expect("a stream");
        session
    }

    async fn bulk(&mut self, mib: u64) -> (f64, f64) {
        let mut session = self.open(SINK).await;
        let total = mib << 20;
        let chunk = vec![0x5a; CHUNK];
        let (start, cpu) = (now(), cpu_time());
        session.write.write_u64(total).await.expect("a stream");
        for _ in 0..total / CHUNK as u64 {
            session.write.write_all(&chunk).await.expect("a stream");
        }
        session.write.flush().await.expect("a stream");
        session.read.read_u8().await.expect("the receiver confirms");
        let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
        (per_second(mib as f64, elapsed), cpu.as_secs_f64() * 1024.0 / mib as f64)
    }

    async fn round_trips(&mut self, count: usize) -> (f64, f64) {
        let mut session = self.open(PING).await;
        let mut buffer = [0; PING_SIZE];
        let mut micros = Vec::with_capacity(count);
        for _ in 0..count + count / 10 {
            let start = now();
            session.write.write_all(&buffer).await.expect("a stream");
            session.write.flush().await.expect("a stream");
            session.read.read_exact(&mut buffer).await.expect("an answer");
            micros.push(start.elapsed().as_secs_f64() * 1e6);
        }
        let mut micros = micros.split_off(count / 10);
        micros.sort_by(f64::total_cmp);
        (micros[count / 2], micros[count * 99 / 100])
    }

    async fn messages(&mut self, count: u64) -> f64 {
        let mut session = self.open(SINK).await;
        let message = [0x5a; MESSAGE_SIZE];
        let start = now();
        session.write.write_u64(count * MESSAGE_SIZE as u64).await.expect("a stream");
        for _ in 0..count {
            session.write.write_all(&message).await.expect("a stream");
            session.write.flush().await.expect("a stream");
        }
        session.read.read_u8().await.expect("the receiver confirms");
        per_second(count as f64, start.elapsed())
    }

    async fn handshakes(&mut self, count: u32) -> f64 {
        let start = now();
        for _ in 0..count {
            let mut session = self.open(PING).await;
            let mut buffer = [0; PING_SIZE];
            session.write.write_all(&buffer).await.expect("a stream");
            session.write.flush().await.expect("a stream");
            session.read.read_exact(&mut buffer).await.expect("an answer");
        }
        per_second(f64::from(count), start.elapsed())
    }
}

fn per_second(amount: f64, elapsed: Duration) -> f64 {
    amount / elapsed.as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// CPU time of the whole process: both sides.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
