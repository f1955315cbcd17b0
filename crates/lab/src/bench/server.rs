//! The answering side of a measurement.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use portolan_identity::Identity;
use portolan_subject::{Link, Listener, Stream, Subject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::JoinSet,
};

use crate::bench::{
    clock,
    control::{Control, Count, LiveLog, Order, Reply},
    machine,
    wire::{LIVE_SIZE, LiveMessage, Request},
};

/// What one read of a sink takes.
const SINK_BUFFER: usize = 256 << 10;

/// What one write of a source gives.
const SOURCE_CHUNK: usize = 64 << 10;

/// The longest question that is echoed.
const ECHO_MAX: u32 = 1 << 20;

/// Live messages that are remembered.
const LIVE_MAX: usize = 1 << 20;

/// Who answers. The seed is no secret: it lives for one measurement.
pub(crate) fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

/// Answers on `local` until the other end of `control` goes.
pub(crate) async fn serve(subject: &'static dyn Subject, local: SocketAddr, mut control: Control) {
    let listener = match subject.listen(local, identity()).await {
        Ok(listener) => listener,
        Err(error) => {
            let why = format!("cannot listen on {local}: {error}");
            let _ = control.send(&Reply::Failed { why }).await;
            return;
        }
    };
    let address = listener.local_addr();
    let state = Arc::new(State::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, Arc::clone(&state)));
    if control.send(&Reply::Ready { address }).await.is_ok() {
        while let Ok(Some(order)) = control.receive().await {
            let reply = obey(order, &state).await;
            if control.send(&reply).await.is_err() {
                break;
            }
        }
    }
}

async fn obey(order: Order, state: &State) -> Reply {
    match order {
        Order::Reset => state.reset().await,
        Order::Count => Reply::Count(state.count()),
        Order::Live => Reply::Live(state.live().values().cloned().collect()),
        Order::Memory => memory(),
    }
}

fn memory() -> Reply {
    match machine::resident_bytes() {
        Some(resident) => Reply::Memory { resident },
        None => Reply::Failed { why: "this system does not tell resident memory".into() },
    }
}

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    connections: AtomicU64,
    live: Mutex<BTreeMap<u8, LiveLog>>,
    drop_all: Notify,
    dropped: Notify,
}

impl State {
    async fn reset(&self) -> Reply {
        self.drop_all.notify_one();
        self.dropped.notified().await;
        self.bytes.store(0, Relaxed);
        self.connections.store(0, Relaxed);
        self.live().clear();
        Reply::Done
    }

    fn count(&self) -> Count {
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Count {
            at_nanos: clock::shared_nanos(),
            bytes: self.bytes.load(Relaxed),
            connections: self.connections.load(Relaxed),
            thread_cpu_nanos: nanos(clock::thread_cpu()),
            process_cpu_nanos: nanos(clock::process_cpu()),
            process: std::process::id(),
        }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<u8, LiveLog>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, bytes: &[u8]) {
        let now = clock::shared_nanos();
        let Some(message) = LiveMessage::decode(bytes) else { return };
        let mut live = self.live();
        let log = live.entry(message.flow).or_default();
        log.flow = message.flow;
        if log.arrivals.len() < LIVE_MAX {
            log.arrivals.push((message.number, now.saturating_sub(message.sent_nanos)));
        }
    }
}

async fn accept(listener: Box<dyn Listener>, state: Arc<State>) {
    let mut links = JoinSet::new();
    // Kept between turns: `Listener::accept` need not be cancel safe.
    let mut accepting = Box::pin(next_link(listener));
    loop {
        tokio::select! {
            () = state.drop_all.notified() => {
                links.shutdown().await;
                state.dropped.notify_one();
            }
            Some(_) = links.join_next() => {}
            (listener, link) = &mut accepting => {
                state.connections.fetch_add(1, Relaxed);
                links.spawn(serve_link(Arc::from(link), Arc::clone(&state)));
                accepting.set(next_link(listener));
            }
        }
    }
}

/// The next link; waits for ever once there are no more.
async fn next_link(mut listener: Box<dyn Listener>) -> (Box<dyn Listener>, Box<dyn Link>) {
    match listener.accept().await {
        Ok(link) => (listener, link),
        Err(_) => std::future::pending().await,
    }
}

async fn serve_link(link: Arc<dyn Link>, state: Arc<State>) {
    tokio::join!(serve_streams(&*link, &state), serve_messages(&*link, &state));
}

async fn serve_messages(link: &dyn Link, state: &State) {
    while let Ok(message) = link.recv_message().await {
        state.log(&message);
    }
}

async fn serve_streams(link: &dyn Link, state: &Arc<State>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = streams.join_next() => {}
            accepted = link.accept() => match accepted {
                Ok(stream) => { streams.spawn(serve_stream(stream, Arc::clone(state))); }
                // A link with one stream is done accepting, not done.
                Err(_) => break,
            }
        }
    }
    while streams.join_next().await.is_some() {}
}

async fn serve_stream(mut stream: Stream, state: Arc<State>) {
    let Ok(code) = stream.read.read_u8().await else { return };
    // An error here is the client gone, which is how every measurement ends.
    let _ = match Request::from_code(code) {
        Some(Request::Echo) => echo(&mut stream).await,
        Some(Request::Sink) => sink(&mut stream, &state).await,
        Some(Request::Confirm) => confirm(&mut stream).await,
        Some(Request::Source) => source(&mut stream).await,
        Some(Request::Answer) => answer_and_end(&mut stream).await,
        Some(Request::Live) => live(&mut stream, &state).await,
        None => Ok(()),
    };
}

async fn echo(stream: &mut Stream) -> io::Result<()> {
    let size = stream.read.read_u32().await?.min(ECHO_MAX);
    let mut question = vec![0; usize::try_from(size).unwrap_or_default()];
    loop {
        stream.read.read_exact(&mut question).await?;
        stream.write.write_all(&question).await?;
        stream.write.flush().await?;
    }
}

async fn sink(stream: &mut Stream, state: &State) -> io::Result<()> {
    let mut buffer = vec![0; SINK_BUFFER];
    loop {
        let length = stream.read.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        state.bytes.fetch_add(length as u64, Relaxed);
    }
}

async fn confirm(stream: &mut Stream) -> io::Result<()> {
    let mut buffer = vec![0; SINK_BUFFER];
    loop {
        let mut left = stream.read.read_u64().await?;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let length = stream.read.read(&mut buffer[..wanted]).await?;
            if length == 0 {
                return Ok(());
            }
            left -= length as u64;
        }
        answer(stream).await?;
    }
}

async fn source(stream: &mut Stream) -> io::Result<()> {
    let chunk = vec![0x5a; SOURCE_CHUNK];
    loop {
        stream.write.write_all(&chunk).await?;
    }
}

async fn answer(stream: &mut Stream) -> io::Result<()> {
    stream.write.write_all(&[1]).await?;
    stream.write.flush().await?;
    Ok(())
}

/// A stream that is dropped may take back what it sent, so this one waits for the client to go.
async fn answer_and_end(stream: &mut Stream) -> io::Result<()> {
    answer(stream).await?;
    while stream.read.read(&mut [0; 16]).await? > 0 {}
    Ok(())
}

async fn live(stream: &mut Stream, state: &State) -> io::Result<()> {
    let mut message = [0; LIVE_SIZE];
    loop {
        stream.read.read_exact(&mut message).await?;
        state.log(&message);
    }
}
