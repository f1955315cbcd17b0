//! Futures that are dropped half-way lose nothing.

use std::sync::Arc;

use bytes::Bytes;
use portolan_transport::{Endpoint, Expect, Lifetime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    Harness,
    net::{Net, Pair, alice, bob, impatiently, round_trip, unchanged},
    payload,
};

pub(super) async fn cancelled_accepts_lose_no_stream(harness: Harness) {
    const STREAMS: usize = 100;
    let pair = Pair::new(harness).await;
    let open = async {
        for tag in 0..STREAMS {
            let (mut send, _) = pair.alice.open_stream(Default::default()).await.expect("room");
            payload::write_all(&mut send, tag, 10).await;
            tokio::task::yield_now().await;
        }
    };
    let accept = async {
        for tag in 0..STREAMS {
            let accepted = impatiently(|| pair.bob.accept_stream()).await;
            let (_send, mut recv) = accepted.expect("a stream comes");
            assert_eq!(payload::read_all(&mut recv, tag).await, 10);
        }
    };
    tokio::join!(open, accept);
}

pub(super) async fn cancelled_reads_lose_no_byte(harness: Harness) {
    const SIZE: usize = 300_000;
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    let writer = tokio::spawn(async move {
        let mut sent = 0;
        while sent < SIZE {
            let piece = payload::piece(1, sent, 777.min(SIZE - sent));
            sent += send.write(piece).await.expect("the stream takes bytes");
            tokio::task::yield_now().await;
        }
        send.finish().expect("the stream takes the end");
    });
    let mut buffer = [0; 1000];
    let mut read = 0;
    loop {
        let got = tokio::select! {
            biased;
            got = recv.read(&mut buffer) => got.expect("the stream gives bytes"),
            () = tokio::task::yield_now() => continue,
        };
        assert!(buffer[..got] == *payload::piece(1, read, got), "wrong bytes after {read}");
        read += got;
        if got == 0 {
            break;
        }
    }
    assert_eq!(read, SIZE);
    writer.await.expect("the writer ends");
}

pub(super) async fn cancelled_writes_keep_count(harness: Harness) {
    const SIZE: usize = 1 << 20;
    let pair = Pair::with(harness, |config| {
        config.limits.stream_window = 16 << 10;
        config.limits.send_buffer = 16 << 10;
    })
    .await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    let reader = tokio::spawn(async move { payload::read_all(&mut recv, 1).await });
    let mut sent = 0;
    while sent < SIZE {
        let piece = payload::piece(1, sent, SIZE - sent);
        tokio::select! {
            biased;
            size = send.write(piece) => sent += size.expect("the stream takes bytes"),
            () = tokio::task::yield_now() => {}
        }
    }
    send.finish().expect("the stream takes the end");
    assert_eq!(reader.await.expect("the reader ends"), SIZE);
}

pub(super) async fn cancelled_waits_lose_no_datagram(harness: Harness) {
    let pair = Pair::new(harness).await;
    for tag in 0..200 {
        let message = Bytes::from(payload::bytes(tag, 100));
        pair.alice.send_datagram(message.clone(), Lifetime::Once).expect("it fits");
        let got = impatiently(|| pair.bob.recv_datagram()).await.expect("it comes");
        assert!(got == message, "another message than number {tag}");
    }
}

pub(super) async fn cancelled_opens_use_up_no_stream(harness: Harness) {
    let pair = Pair::with(harness, |config| config.limits.streams = 3).await;
    for _ in 0..10 {
        let full = [pair.stream().await, pair.stream().await, pair.stream().await];
        for _ in 0..20 {
            let mut more = Box::pin(pair.alice.open_stream(Default::default()));
            assert!(futures_util::poll!(more.as_mut()).is_pending(), "one more than the limit");
            tokio::task::yield_now().await;
        }
        // Dropped halves end a stream on both sides.
        drop(full);
        round_trip(&*pair.bob, &*pair.alice).await;
    }
    let opened = impatiently(|| pair.alice.open_stream(Default::default())).await;
    let (mut send, _recv) = opened.expect("room again");
    send.write_all(b"!").await.expect("room for a byte");
    let (_far, mut recv) = pair.bob.accept_stream().await.expect("a stream comes");
    assert_eq!(recv.read_u8().await.expect("a byte comes"), b'!');
}

pub(super) async fn a_cancelled_connect_leaves_the_endpoint_fine(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let way = net.way_to(far.local_addr()).await;
    for polls in 0..12 {
        let mut attempt = near.connect(way, Expect::Id(bob().id()));
        for _ in 0..=polls {
            // An attempt that is over must not be polled again.
            if futures_util::poll!(attempt.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let serve = serve(Arc::clone(&far));
    let (dialled, ()) = tokio::join!(near.connect(way, Expect::Id(bob().id())), async {});
    let dialled = dialled.expect("alice reaches bob");
    let (mut send, mut recv) = dialled.open_stream(Default::default()).await.expect("room");
    send.write_all(b"!").await.expect("room for a byte");
    assert_eq!(recv.read_u8().await.expect("the echo comes"), b'!');
    serve.abort();
}

/// Answers one byte on one stream of each connection, whichever of them live.
fn serve(endpoint: Arc<dyn Endpoint>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok(connection) = endpoint.accept().await {
            connections.spawn(async move {
                let Ok((mut send, mut recv)) = connection.accept_stream().await else { return };
                let Ok(byte) = recv.read_u8().await else { return };
                if send.write_u8(byte).await.is_ok() {
                    connection.closed().await;
                }
            });
        }
    })
}

pub(super) async fn cancelled_accepts_lose_no_connection(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    for _ in 0..10 {
        let (dialled, accepted) = tokio::join!(
            net.dial(&*near, &*far, Expect::Id(bob().id())),
            impatiently(|| far.accept())
        );
        let dialled = dialled.expect("alice reaches bob");
        round_trip(&*dialled, &*accepted.expect("bob is open")).await;
    }
}
