//! How connections end.

use std::time::Duration;

use portolan_transport::{
    AcceptStreamError, CloseCode, CloseReason, ConnectionConfig, Expect, Lifetime, OpenStreamError,
    ReadError, RecvDatagramError, SendDatagramError, WriteError,
};

use super::streams::{read_error, write_error};
use crate::{
    Harness,
    net::{Net, Pair, alice, bob, round_trip},
};

fn local(code: u32, reason: &str) -> CloseReason {
    CloseReason::Local { code: CloseCode(code), reason: reason.to_owned() }
}

fn remote(code: u32, reason: &str) -> CloseReason {
    CloseReason::Remote { code: CloseCode(code), reason: reason.to_owned() }
}

pub(super) async fn code_and_reason_reach_the_other_side(harness: Harness) {
    for code in [0, 77, u32::MAX] {
        let pair = Pair::new(harness.clone()).await;
        pair.alice.close(CloseCode(code), "enough for today");
        assert_eq!(pair.alice.closed().await, local(code, "enough for today"));
        assert_eq!(pair.bob.closed().await, remote(code, "enough for today"));
        let pair = Pair::new(harness.clone()).await;
        pair.bob.close(CloseCode(code), "");
        assert_eq!(pair.alice.closed().await, remote(code, ""));
        assert_eq!(pair.bob.closed().await, local(code, ""));
    }
}

pub(super) async fn a_long_reason_is_cut(harness: Harness) {
    let pair = Pair::new(harness).await;
    let long = "é".repeat(400);
    pair.alice.close(CloseCode(3), &long);
    match pair.bob.closed().await {
        CloseReason::Remote { code, reason } => {
            assert_eq!(code, CloseCode(3));
            assert!(reason.len() <= 256 && reason.len() >= 200, "{} bytes", reason.len());
            assert!(long.starts_with(&reason), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

pub(super) async fn the_first_close_counts(harness: Harness) {
    let pair = Pair::new(harness).await;
    pair.alice.close(CloseCode(1), "first");
    pair.alice.close(CloseCode(2), "second");
    assert_eq!(pair.alice.closed().await, local(1, "first"));
    assert_eq!(pair.bob.closed().await, remote(1, "first"));
    pair.bob.close(CloseCode(3), "third");
    assert_eq!(pair.bob.closed().await, remote(1, "first"));
}

fn tight(config: &mut ConnectionConfig) {
    config.limits.streams = 2;
    config.limits.stream_window = 16 << 10;
    config.limits.send_buffer = 16 << 10;
}

pub(super) async fn what_waits_ends_with_the_connection(harness: Harness) {
    let pair = Pair::with(harness, tight).await;
    let [mut reading, _far] = pair.stream().await;
    let [mut writing, _far2] = pair.stream().await;
    let waits = async {
        tokio::join!(
            read_error(&mut reading.1),
            write_error(&mut writing.0),
            async { pair.alice.open_stream(Default::default()).await.map(drop) },
            async { pair.alice.accept_stream().await.map(drop) },
            pair.alice.recv_datagram(),
            pair.alice.closed(),
        )
    };
    let close = async {
        // Bob's streams pass, so what waits at alice's has had its turn.
        round_trip_of_datagrams(&pair).await;
        pair.bob.close(CloseCode(5), "now");
    };
    let ((read, write, open, accept, datagram, closed), ()) = tokio::join!(waits, close);
    let reason = remote(5, "now");
    assert_eq!(read, ReadError::Closed(reason.clone()));
    assert_eq!(write, WriteError::Closed(reason.clone()));
    assert_eq!(open, Err(OpenStreamError::Closed(reason.clone())));
    assert_eq!(accept, Err(AcceptStreamError::Closed(reason.clone())));
    assert_eq!(datagram, Err(RecvDatagramError::Closed(reason.clone())));
    assert_eq!(closed, reason);
}

/// Datagrams from alice to bob until one has come; alice's own queue stays empty.
async fn round_trip_of_datagrams(pair: &Pair) {
    loop {
        pair.alice.send_datagram("!".into(), Lifetime::Once).expect("it fits");
        let wait = tokio::time::timeout(Duration::from_millis(200), pair.bob.recv_datagram());
        if let Ok(got) = wait.await {
            assert_eq!(got.expect("it comes"), "!");
            return;
        }
    }
}

pub(super) async fn nothing_works_after_the_end(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [mut near, mut far] = pair.stream().await;
    pair.alice.close(CloseCode(6), "over");
    pair.bob.closed().await;
    for (connection, stream, reason) in
        [(&pair.alice, &mut near, local(6, "over")), (&pair.bob, &mut far, remote(6, "over"))]
    {
        assert_eq!(
            connection.open_stream(Default::default()).await.expect_err("it is over"),
            OpenStreamError::Closed(reason.clone())
        );
        assert_eq!(
            connection.accept_stream().await.expect_err("it is over"),
            AcceptStreamError::Closed(reason.clone())
        );
        assert_eq!(
            connection.send_datagram("x".into(), Lifetime::Once).expect_err("it is over"),
            SendDatagramError::Closed(reason.clone())
        );
        assert_eq!(write_error(&mut stream.0).await, WriteError::Closed(reason.clone()));
        assert_eq!(stream.0.finish().expect_err("it is over"), WriteError::Closed(reason.clone()));
        assert_eq!(read_error(&mut stream.1).await, ReadError::Closed(reason.clone()));
        assert_eq!(connection.closed().await, reason);
    }
}

fn short_lived(config: &mut ConnectionConfig) {
    config.timing.idle = Duration::from_secs(2);
    config.timing.keep_alive = Duration::from_millis(400);
}

/// The one check that is about time itself.
pub(super) async fn a_quiet_connection_stays(harness: Harness) {
    let pair = Pair::with(harness, short_lived).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    pair.round_trip().await;
}

pub(super) async fn a_vanished_peer_is_noticed(harness: Harness) {
    let Some(detours) = harness.dark.clone() else { return };
    let net = Net::new(harness);
    let near = net.bind(alice(), short_lived).await;
    let far = net.bind(bob(), short_lived).await;
    let way = detours.open(far.local_addr()).await;
    let (dialled, accepted) =
        tokio::join!(near.connect(way.entry(), Expect::Id(bob().id())), far.accept());
    let (dialled, accepted) = (dialled.expect("reached"), accepted.expect("open"));
    round_trip(&*dialled, &*accepted).await;
    way.go_dark();
    let (seen_by_alice, seen_by_bob) = tokio::join!(dialled.closed(), accepted.closed());
    assert_eq!(seen_by_alice, CloseReason::TimedOut);
    assert_eq!(seen_by_bob, CloseReason::TimedOut);
}
