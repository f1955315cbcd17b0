//! Urgent before lazy.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use portolan_transport::{ConnectionConfig, Priority, RecvStream, SendStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::{Harness, net::Pair, payload};

const LAZY_STREAMS: usize = 4;
const SIZE: usize = 3 << 20;
const WINDOW: usize = 128 << 10;
const WARM: usize = 1 << 20;

/// Little may be under way, and much may wait to be sent.
fn saturated(config: &mut ConnectionConfig) {
    config.limits.stream_window = 64 << 10;
    config.limits.connection_window = 128 << 10;
    config.limits.send_buffer = 2 << 20;
}

/// Times that the system may stop the task that listens for the urgent byte while the others read
/// on: then the order in which the tasks see their bytes is not that of their arrival.
const ATTEMPTS: usize = 5;

/// Judged by the order of arrival: of the lazy bytes that wait when the urgent ones are written,
/// most arrive after them.
pub(super) async fn urgent_streams_overtake_the_others(harness: Harness) {
    for (index, urgent) in Priority::ALL.into_iter().enumerate() {
        if let Some(lazy) = Priority::ALL.get(index + 1) {
            overtakes(&harness, urgent, *lazy).await;
        }
    }
}

async fn overtakes(harness: &Harness, urgent: Priority, lazy: Priority) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (waiting, before) = overtake(harness.clone(), urgent, lazy).await;
        if before <= waiting / 2 + 4 * WINDOW {
            return;
        }
        seen.push((waiting, before));
    }
    panic!("bytes of {lazy:?} that waited, and that came before {urgent:?}, each time: {seen:?}");
}

#[derive(Default)]
struct Progress {
    written: AtomicUsize,
    read: AtomicUsize,
}

/// How many lazy bytes waited when an urgent one was written, and how many came before it.
async fn overtake(harness: Harness, urgent: Priority, lazy: Priority) -> (usize, usize) {
    let pair = Pair::with(harness, saturated).await;
    let [(mut ask, _ask), (_hear, mut hear)] = pair.stream_of(urgent).await;
    let progress = Arc::new(Progress::default());
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for tag in 0..LAZY_STREAMS {
        let [(send, near), (far, recv)] = pair.stream_of(lazy).await;
        writers.spawn(write(send, near, tag, Arc::clone(&progress)));
        readers.spawn(read(recv, far, tag, Arc::clone(&progress)));
    }
    // Once this much has passed, the queues behind it are as full as they get.
    while progress.read.load(Ordering::SeqCst) < WARM {
        tokio::task::yield_now().await;
    }
    ask.write_all(b"!").await.expect("room for a byte");
    let read_before = progress.read.load(Ordering::SeqCst);
    let waiting = progress.written.load(Ordering::SeqCst).saturating_sub(read_before);
    assert_eq!(hear.read_u8().await.expect("a byte comes"), b'!');
    let overtaken_by = progress.read.load(Ordering::SeqCst) - read_before;
    // What is still waiting has shown what it was for.
    readers.shutdown().await;
    writers.shutdown().await;
    (waiting, overtaken_by)
}

async fn write(mut send: SendStream, near: RecvStream, tag: usize, progress: Arc<Progress>) {
    let _keep = near;
    let mut sent = 0;
    while sent < SIZE {
        let piece = payload::piece(tag, sent, SIZE - sent);
        // Refused once the readers are gone, and nothing more is to be shown then.
        let Ok(size) = send.write(piece).await else { return };
        sent += size;
        progress.written.fetch_add(size, Ordering::SeqCst);
    }
    let _ = send.finish();
}

async fn read(mut recv: RecvStream, far: SendStream, tag: usize, progress: Arc<Progress>) {
    let _keep = far;
    let mut read = 0;
    while read < SIZE {
        let size = 8192.min(SIZE - read);
        payload::read(&mut recv, tag, read, size).await;
        read += size;
        progress.read.fetch_add(size, Ordering::SeqCst);
    }
    assert_eq!(recv.read(&mut [0]).await.expect("the end comes"), 0);
}
