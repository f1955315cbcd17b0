//! Urgent before lazy.

use std::{future::poll_fn, pin::Pin, task::Poll};

use portolan_transport::{ConnectionConfig, Priority, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    task::JoinSet,
};

use crate::{Dial, Harness, net::Pair, payload};

const LAZY_STREAMS: usize = 4;
const WINDOW: usize = 128 << 10;
const WARM: usize = 1 << 20;

/// Lazy bytes in all: many times what may overtake.
const SIZE: usize = 3 << 20;

/// Little may be under way, and much may wait to be sent.
fn saturated(config: &mut ConnectionConfig) {
    config.limits.stream_window = 64 << 10;
    config.limits.connection_window = 128 << 10;
    config.limits.send_buffer = 2 << 20;
}

/// Judged by the order of arrival, which one task sees: however much waits to be sent, only what
/// is under way already arrives before what is more urgent.
pub(super) async fn urgent_streams_overtake_the_others(harness: Harness) {
    for (index, urgent) in Priority::ALL.into_iter().enumerate() {
        if let Some(lazy) = Priority::ALL.get(index + 1) {
            overtakes(harness.clone(), urgent, *lazy).await;
        }
    }
}

/// Lazy bytes that may arrive before an urgent one that was written when they were. At most one
/// window of them is under way, and another one arrives while a limit that was raised is told.
/// Where packets are lost, the urgent byte may be, more than once, and they pass meanwhile.
fn before_max(harness: &Harness) -> usize {
    match harness.dial {
        Dial::Straight => 2 * WINDOW,
        Dial::Through(_) => 4 * WINDOW,
    }
}

async fn overtakes(harness: Harness, urgent: Priority, lazy: Priority) {
    let before_max = before_max(&harness);
    let pair = Pair::with(harness, saturated).await;
    let [(mut ask, _ask), (_hear, hear)] = pair.stream_of(urgent).await;
    let mut listener = Listener::new(hear);
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..LAZY_STREAMS {
        let [ours, (other, recv)] = pair.stream_of(lazy).await;
        near.push(ours);
        listener.lazy.push(Lazy { recv, read: 0 });
        far.push(other);
    }
    let writers = near.into_iter().enumerate().map(|(tag, stream)| write(stream, tag));
    let mut writers: JoinSet<()> = writers.collect();
    // Once this much has passed, the queues behind it are as full as they get.
    while listener.read < WARM {
        assert!(!listener.next().await, "nothing urgent was written");
    }
    let read = listener.read;
    let (written, ()) =
        tokio::join!(ask.write_all(b"!"), async { while !listener.next().await {} });
    written.expect("room for a byte");
    let before = listener.read - read;
    assert!(
        before <= before_max,
        "{before} bytes of {lazy:?} came before one of {urgent:?}, {before_max} may"
    );
    writers.shutdown().await;
}

/// One task that reads everything, so that the order in which it sees bytes is that in which they
/// arrived.
struct Listener {
    urgent: RecvStream,
    lazy: Vec<Lazy>,
    /// Lazy bytes so far.
    read: usize,
    /// Whose turn it is.
    turn: usize,
}

struct Lazy {
    recv: RecvStream,
    read: usize,
}

impl Listener {
    fn new(urgent: RecvStream) -> Self {
        Self { urgent, lazy: Vec::new(), read: 0, turn: 0 }
    }

    /// Waits for the next bytes; answers whether they are urgent.
    async fn next(&mut self) -> bool {
        let mut room = [0; 8 << 10];
        poll_fn(|cx| {
            let mut out = ReadBuf::new(&mut room);
            if let Poll::Ready(result) = Pin::new(&mut self.urgent).poll_read(cx, &mut out) {
                result.expect("the urgent stream lives");
                assert_eq!(out.filled(), b"!");
                return Poll::Ready(true);
            }
            for _ in 0..LAZY_STREAMS {
                let tag = self.turn;
                self.turn = (tag + 1) % LAZY_STREAMS;
                let lazy = &mut self.lazy[tag];
                if let Poll::Ready(result) = Pin::new(&mut lazy.recv).poll_read(cx, &mut out) {
                    result.expect("the lazy streams live");
                    let got = out.filled();
                    assert!(!got.is_empty(), "the end, and nothing urgent has come");
                    payload::compare(got, tag, lazy.read);
                    lazy.read += got.len();
                    self.read += got.len();
                    return Poll::Ready(false);
                }
            }
            Poll::Pending
        })
        .await
    }
}

async fn write((mut send, _recv): (SendStream, RecvStream), tag: usize) {
    let mut sent = 0;
    while sent < SIZE {
        let piece = payload::piece(tag, sent, SIZE - sent);
        // Refused once the reader is gone, and nothing more is to be shown then.
        let Ok(size) = send.write(piece).await else { return };
        sent += size;
    }
    let _ = send.finish();
}
