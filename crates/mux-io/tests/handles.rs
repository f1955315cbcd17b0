//! What programs see of a machine behind a lock.

mod common;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use common::{Pair, pair, run};
use portolan_mux::Config;
use portolan_transport::{
    AcceptStreamError, CloseCode, CloseReason, Lifetime, OpenStreamError, Priority, ReadError,
    RecvDatagramError, RecvStream, SendDatagramError, SendStream, WriteError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

const SMALL: Config = Config {
    streams: 3,
    stream_window: 2_000,
    connection_window: 6_000,
    send_buffer: 1_000,
    datagram_queue: 100_000,
    datagram_max: 500,
    redundancy_percent: 70,
    stream_frame_max: 700,
};

fn gone() -> CloseReason {
    CloseReason::Remote { code: CloseCode(7), reason: "enough".to_owned() }
}

async fn stream(pair: &Pair) -> [(SendStream, RecvStream); 2] {
    let mut near = pair.alice.open_stream(Priority::Bulk).await.expect("room");
    near.0.write_all(b"!").await.expect("room");
    let mut far = pair.bob.accept_stream().await.expect("it comes");
    assert_eq!(far.1.read_u8().await.expect("a byte"), b'!');
    [near, far]
}

/// Polls `future` once and drops it; answers whether it was ready.
async fn glance<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

#[test]
fn more_than_any_buffer_holds_passes_whole() {
    run(async {
        let pair = pair(SMALL);
        let [(mut send, _), (_, mut recv)] = stream(&pair).await;
        let said: Vec<u8> = (0..251).cycle().take(50_000).collect();
        let copy = said.clone();
        let writing = tokio::spawn(async move {
            send.write_all(&copy).await.expect("room");
            send.finish().expect("open");
        });
        let mut heard = Vec::new();
        recv.read_to_end(&mut heard).await.expect("an end");
        assert_eq!(heard, said);
        writing.await.expect("no panic");
    });
}

#[test]
fn every_pending_operation_ends_with_the_same_reason() {
    run(async {
        let pair = pair(SMALL);
        let [(mut send, mut recv), _far] = stream(&pair).await;
        let (_a, _b) = (stream(&pair).await, stream(&pair).await);
        let mut pending = JoinSet::new();
        let alice = pair.alice.clone();
        pending.spawn(async move {
            let error = alice.open_stream(Priority::Bulk).await.expect_err("the limit is reached");
            assert_eq!(error, OpenStreamError::Closed(gone()));
        });
        let alice = pair.alice.clone();
        pending.spawn(async move {
            let error = alice.accept_stream().await.expect_err("bob opens none");
            assert_eq!(error, AcceptStreamError::Closed(gone()));
        });
        let alice = pair.alice.clone();
        pending.spawn(async move {
            let error = alice.recv_datagram().await.expect_err("none comes");
            assert_eq!(error, RecvDatagramError::Closed(gone()));
        });
        let alice = pair.alice.clone();
        pending.spawn(async move { assert_eq!(alice.closed().await, gone()) });
        pending.spawn(async move {
            let error = send.write_all(&[0; 50_000]).await.expect_err("nobody reads");
            assert_eq!(WriteError::from_io(&error), Some(&WriteError::Closed(gone())));
            assert_eq!(send.finish(), Err(WriteError::Closed(gone())));
        });
        pending.spawn(async move {
            let error = recv.read_u8().await.expect_err("bob writes nothing");
            assert_eq!(ReadError::from_io(&error), Some(&ReadError::Closed(gone())));
        });
        tokio::task::yield_now().await;
        assert!(pending.try_join_next().is_none(), "something ended early");
        pair.alice.host().end(gone());
        pair.alice.host().end(CloseReason::TimedOut);
        while let Some(ended) = pending.join_next().await {
            ended.expect("the reason is the first");
        }
        let refused = pair.alice.send_datagram("x".into(), Lifetime::Once);
        assert_eq!(refused, Err(SendDatagramError::Closed(gone())));
    });
}

#[test]
fn what_came_before_the_end_can_be_read() {
    run(async {
        let pair = pair(SMALL);
        let [(mut send, _near), (_far, mut recv)] = stream(&pair).await;
        send.write_all(b"last words").await.expect("room");
        pair.alice.send_datagram("one".into(), Lifetime::Once).expect("short");
        while pair.alice.host().is_sending() {
            tokio::task::yield_now().await;
        }
        pair.bob.host().end(gone());
        let mut heard = [0; 10];
        recv.read_exact(&mut heard).await.expect("it came before");
        assert_eq!(&heard, b"last words");
        let error = recv.read_u8().await.expect_err("no more");
        assert_eq!(ReadError::from_io(&error), Some(&ReadError::Closed(gone())));
        assert_eq!(pair.bob.recv_datagram().await.expect("it came before"), "one");
        pair.bob.recv_datagram().await.expect_err("no more");
    });
}

#[test]
fn dropped_waits_take_nothing() {
    run(async {
        let pair = pair(SMALL);
        assert!(!glance(pair.bob.accept_stream()).await);
        assert!(!glance(pair.bob.recv_datagram()).await);
        let waiting = tokio::spawn({
            let bob = pair.bob.clone();
            async move { bob.accept_stream().await.expect("one comes") }
        });
        {
            // Woken together with the other, and dropped before it looks.
            let mut dropped = pin!(pair.bob.accept_stream());
            assert!(poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx).is_pending())).await);
            let (mut send, _recv) = pair.alice.open_stream(Priority::Bulk).await.expect("room");
            send.write_all(b"?").await.expect("room");
            std::mem::forget((send, _recv));
            tokio::task::yield_now().await;
        }
        waiting.await.expect("the stream is not lost");
    });
}

#[test]
fn several_waiters_each_get_one() {
    run(async {
        let pair = pair(SMALL);
        let mut waiting = JoinSet::new();
        for _ in 0..20 {
            let bob = pair.bob.clone();
            waiting.spawn(async move { bob.recv_datagram().await.expect("one each")[0] });
        }
        tokio::task::yield_now().await;
        for number in 0..20_u8 {
            pair.alice.send_datagram(vec![number].into(), Lifetime::Once).expect("short");
        }
        let mut got = waiting.join_all().await;
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn the_host_learns_when_the_last_handle_goes() {
    run(async {
        let pair = pair(SMALL);
        let [near, far] = stream(&pair).await;
        let host = std::sync::Arc::clone(pair.alice.host());
        drop(pair);
        assert!(!host.is_abandoned(), "a stream is a handle");
        drop(near.0);
        assert!(!host.is_abandoned(), "half a stream is a handle");
        drop(near.1);
        assert!(host.is_abandoned());
        drop(far);
    });
}

#[test]
fn dropped_halves_leave_no_waker_behind() {
    run(async {
        let pair = pair(SMALL);
        let [mut near, far] = stream(&pair).await;
        assert!(!glance(near.1.read_u8()).await);
        assert!(!glance(near.0.write_all(&[0; 50_000])).await);
        assert!(pair.alice.host().wakers() > 0);
        drop(near);
        assert_eq!(pair.alice.host().wakers(), 0);
        drop(far);
    });
}

#[test]
fn an_opener_waits_for_a_place() {
    run(async {
        let pair = pair(SMALL);
        let [first, _second, _third] =
            [stream(&pair).await, stream(&pair).await, stream(&pair).await];
        let opening = tokio::spawn({
            let alice = pair.alice.clone();
            async move { alice.open_stream(Priority::Control).await.expect("in the end") }
        });
        tokio::task::yield_now().await;
        assert!(!opening.is_finished());
        drop(first);
        opening.await.expect("a place is free");
    });
}

#[test]
fn a_code_passes_each_way() {
    run(async {
        use portolan_transport::StreamCode;

        let pair = pair(SMALL);
        let [(mut send, _near), (mut answer, mut recv)] = stream(&pair).await;
        send.reset(StreamCode(5));
        let error = recv.read_u8().await.expect_err("it was abandoned");
        assert_eq!(ReadError::from_io(&error), Some(&ReadError::Reset(StreamCode(5))));
        drop(_near);
        let error = loop {
            match answer.write_all(&[0; 100]).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        let stopped = WriteError::Stopped(StreamCode::DROPPED);
        assert_eq!(WriteError::from_io(&error), Some(&stopped));
    });
}
