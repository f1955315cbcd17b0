//! What is written and not read is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use portolan_transport::{ConnectionConfig, RecvStream, SendStream};
use tokio::{io::AsyncWriteExt, task::JoinHandle};

use crate::{Harness, net::Pair, payload};

const WINDOW: usize = 64 << 10;
const ALL: usize = 256 << 10;
const BUFFER: usize = 32 << 10;
const SIZE: usize = 1 << 20;

fn tight(config: &mut ConnectionConfig) {
    config.limits.stream_window = 64 << 10;
    config.limits.connection_window = 256 << 10;
    config.limits.send_buffer = 32 << 10;
}

/// A writer that goes as fast as it may, and how far it has come.
struct Writer {
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(mut send: SendStream, tag: usize) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut sent = 0;
            while sent < SIZE {
                let piece = payload::piece(tag, sent, SIZE - sent);
                sent += send.write(piece).await.expect("the stream takes bytes");
                count.store(sent, Ordering::SeqCst);
            }
            send.finish().expect("the stream takes the end");
        });
        Self { accepted, task }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Waits until no writer gets on any more, by the measure of other traffic.
async fn settle(pair: &Pair, writers: &[&Writer]) {
    let total = || writers.iter().map(|writer| writer.accepted()).sum::<usize>();
    let (mut before, mut quiet) = (0, 0);
    while quiet < 20 {
        pair.round_trip().await;
        let now = total();
        quiet = if now > 0 && now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

pub(super) async fn a_slow_reader_stops_the_writer_within_the_bound(harness: Harness) {
    let pair = Pair::with(harness, tight).await;
    let [(send, _near), (_far, mut recv)] = pair.stream().await;
    let writer = Writer::start(send, 1);
    settle(&pair, &[&writer]).await;
    assert!(writer.accepted() > 0, "something fits");
    let mut read = 0;
    while read < SIZE {
        // The byte that opened the stream counts too.
        let unread = writer.accepted().saturating_sub(read);
        assert!(unread <= WINDOW + BUFFER, "{unread} bytes are neither refused nor read");
        let size = 10_000.min(SIZE - read);
        payload::read(&mut recv, 1, read, size).await;
        read += size;
    }
    writer.task.await.expect("the writer gets to the end");
}

pub(super) async fn a_stuck_stream_holds_up_no_other(harness: Harness) {
    let pair = Pair::with(harness, tight).await;
    let [(stuck, _near), (_far, mut unread)] = pair.stream().await;
    let stuck = Writer::start(stuck, 1);
    settle(&pair, &[&stuck]).await;
    assert!(stuck.accepted() < SIZE, "it is stuck");
    let [(mut send, _near2), (_far2, mut recv)] = pair.stream().await;
    let (written, read) =
        tokio::join!(payload::write_all(&mut send, 2, SIZE), payload::read_all(&mut recv, 2));
    assert_eq!(((), SIZE), (written, read));
    assert_eq!(payload::read_all(&mut unread, 1).await, SIZE);
    stuck.task.await.expect("the writer gets to the end");
}

pub(super) async fn all_streams_together_keep_to_the_connections_window(harness: Harness) {
    const STREAMS: usize = 12;
    let pair = Pair::with(harness, tight).await;
    let mut streams: Vec<[(SendStream, RecvStream); 2]> = Vec::new();
    for _ in 0..STREAMS {
        streams.push(pair.stream().await);
    }
    let mut writers = Vec::new();
    let mut readers = Vec::new();
    let mut kept = Vec::new();
    for (tag, [(send, near), (far, recv)]) in streams.into_iter().enumerate() {
        writers.push(Writer::start(send, tag));
        readers.push(recv);
        kept.push((near, far));
    }
    // The window is full soon, so no round trip would tell when; look often instead.
    let bound = ALL + STREAMS * BUFFER;
    for _ in 0..2000 {
        let total: usize = writers.iter().map(Writer::accepted).sum();
        assert!(total <= bound, "{total} bytes were taken, {bound} are allowed");
        tokio::task::yield_now().await;
    }
    let mut reading = tokio::task::JoinSet::new();
    for (tag, mut recv) in readers.into_iter().enumerate() {
        reading.spawn(async move {
            assert_eq!(payload::read_all(&mut recv, tag).await, SIZE);
        });
    }
    reading.join_all().await;
    for writer in writers {
        writer.task.await.expect("the writer gets to the end");
    }
}
