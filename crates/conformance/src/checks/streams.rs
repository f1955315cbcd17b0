//! Streams: order, ends, limits.

use portolan_transport::{ReadError, RecvStream, SendStream, StreamCode, WriteError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    Harness,
    net::{Pair, round_trip},
    payload,
};

pub(super) async fn bytes_arrive_whole_and_in_order_both_ways(harness: Harness) {
    const SIZE: usize = 700_001;
    let pair = Pair::new(harness).await;
    let [mut near, mut far] = pair.stream().await;
    let talk = async |end: &mut (SendStream, RecvStream), ours, theirs| {
        let (written, read) = tokio::join!(
            payload::write_all(&mut end.0, ours, SIZE),
            payload::read_all(&mut end.1, theirs)
        );
        assert_eq!(((), SIZE), (written, read));
    };
    tokio::join!(talk(&mut near, 1, 2), talk(&mut far, 2, 1));
}

pub(super) async fn sixteen_mebibytes_arrive_whole(harness: Harness) {
    transfer(harness, 16 << 20).await;
}

pub(super) async fn a_gibibyte_arrives_whole(harness: Harness) {
    transfer(harness, 1 << 30).await;
}

async fn transfer(harness: Harness, size: usize) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    let writer = tokio::spawn(async move { payload::write_all(&mut send, 3, size).await });
    assert_eq!(payload::read_all(&mut recv, 3).await, size);
    writer.await.expect("the writer ends");
}

pub(super) async fn the_end_is_seen_after_all_bytes(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    payload::write_all(&mut send, 4, 100_000).await;
    // Nothing that happens to the handle afterwards takes anything back.
    drop(send);
    assert_eq!(payload::read_all(&mut recv, 4).await, 100_000);
    assert_eq!(recv.read(&mut [0; 9]).await.expect("the end stays the end"), 0);
}

pub(super) async fn one_half_may_end_while_the_other_goes_on(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut ask, mut hear), (mut answer, mut listen)] = pair.stream().await;
    payload::write_all(&mut ask, 5, 10).await;
    assert_eq!(payload::read_all(&mut listen, 5).await, 10);
    let (written, read) =
        tokio::join!(payload::write_all(&mut answer, 6, 300_000), payload::read_all(&mut hear, 6));
    assert_eq!(((), 300_000), (written, read));
}

pub(super) async fn a_reset_reaches_the_reader_with_its_code(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    payload::write(&mut send, 7, 1000).await;
    send.reset(StreamCode(4711));
    let reset = ReadError::Reset(StreamCode(4711));
    assert_eq!(read_error(&mut recv).await, reset);
    assert_eq!(read_error(&mut recv).await, reset, "a failed stream never looks finished");
    assert_eq!(write_error(&mut send).await, WriteError::Ended);
    pair.round_trip().await;
}

pub(super) async fn a_stop_reaches_the_writer_with_its_code(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    payload::write(&mut send, 7, 1000).await;
    recv.stop(StreamCode(1147));
    let stopped = WriteError::Stopped(StreamCode(1147));
    assert_eq!(write_error(&mut send).await, stopped);
    assert_eq!(write_error(&mut send).await, stopped);
    assert_eq!(send.finish().expect_err("nobody listens"), stopped);
    pair.round_trip().await;
}

pub(super) async fn a_dropped_sending_half_is_a_reset(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    payload::write(&mut send, 7, 1000).await;
    drop(send);
    assert_eq!(read_error(&mut recv).await, ReadError::Reset(StreamCode::DROPPED));
}

pub(super) async fn a_dropped_receiving_half_is_a_stop(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, recv)] = pair.stream().await;
    payload::write(&mut send, 7, 1000).await;
    drop(recv);
    assert_eq!(write_error(&mut send).await, WriteError::Stopped(StreamCode::DROPPED));
}

/// Reads until it fails; what still arrives before that is thrown away.
pub(super) async fn read_error(recv: &mut RecvStream) -> ReadError {
    let mut buffer = vec![0; 4096];
    loop {
        match recv.read(&mut buffer).await {
            Ok(0) => panic!("the end, where an error was due"),
            Ok(_) => {}
            Err(error) => return ReadError::from_io(&error).expect("our error inside").clone(),
        }
    }
}

/// Writes until it fails.
pub(super) async fn write_error(send: &mut SendStream) -> WriteError {
    loop {
        if let Err(error) = send.write(&[0; 1000]).await {
            return WriteError::from_io(&error).expect("our error inside").clone();
        }
    }
}

pub(super) async fn nothing_is_written_after_the_end(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    send.write_all(b"all").await.expect("the stream takes bytes");
    send.finish().expect("the stream takes the end");
    assert_eq!(send.finish().expect_err("it has ended"), WriteError::Ended);
    assert_eq!(write_error(&mut send).await, WriteError::Ended);
    send.shutdown().await.expect("shutting down twice is no error, as for a socket");
    send.reset(StreamCode(1));
    let mut read = Vec::new();
    recv.read_to_end(&mut read).await.expect("a reset after the end does nothing");
    assert_eq!(read, b"all");
}

pub(super) async fn an_empty_stream_is_seen_and_ends(harness: Harness) {
    let pair = Pair::new(harness).await;
    let (mut send, _near) = pair.alice.open_stream(Default::default()).await.expect("room");
    send.finish().expect("the stream takes the end");
    let (_far, mut recv) = pair.bob.accept_stream().await.expect("a stream comes");
    assert_eq!(recv.read(&mut [0]).await.expect("the end comes"), 0);
}

pub(super) async fn a_write_of_nothing_changes_nothing(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
    for tag in 0..10 {
        assert_eq!(send.write(&[]).await.expect("nothing fits"), 0);
        send.flush().await.expect("nothing is held back");
        payload::write(&mut send, tag, 100).await;
        payload::read(&mut recv, tag, 0, 100).await;
        assert_eq!(recv.read(&mut []).await.expect("nothing is read"), 0);
    }
    send.finish().expect("the stream takes the end");
    assert_eq!(payload::read_all(&mut recv, 0).await, 0);
}

pub(super) async fn a_thousand_streams_pass_in_turn(harness: Harness) {
    let pair = Pair::new(harness).await;
    for _ in 0..500 {
        round_trip(&*pair.alice, &*pair.bob).await;
        round_trip(&*pair.bob, &*pair.alice).await;
    }
}

pub(super) async fn streams_at_once_keep_their_bytes_apart(harness: Harness) {
    const STREAMS: usize = 200;
    let pair = Pair::new(harness).await;
    let mut work = tokio::task::JoinSet::new();
    for tag in 0..STREAMS {
        let [(mut send, _near), (_far, mut recv)] = pair.stream().await;
        work.spawn(async move {
            let size = 20_000 + tag;
            let _keep = (_near, _far);
            let writing = payload::write_all(&mut send, tag, size);
            let (written, read) = tokio::join!(writing, payload::read_all(&mut recv, tag));
            assert_eq!(((), size), (written, read));
        });
    }
    work.join_all().await;
}

pub(super) async fn streams_at_once_keep_to_the_limit(harness: Harness) {
    const LIMIT: usize = 6;
    let pair = Pair::with(harness, |config| config.limits.streams = 6).await;
    // One that is over counts no more, even if it was over long before the limit is reached.
    end(pair.stream().await).await;
    pair.round_trip().await;
    let mut open = Vec::new();
    for _ in 0..LIMIT {
        open.push(pair.stream().await);
    }
    for _ in 0..20 {
        let mut more = Box::pin(pair.alice.open_stream(Default::default()));
        assert!(futures_util::poll!(more.as_mut()).is_pending(), "one more than the limit");
        // The limit is for each direction; bob's streams are another matter.
        round_trip(&*pair.bob, &*pair.alice).await;
        assert!(futures_util::poll!(more.as_mut()).is_pending(), "one more than the limit");
        end(open.remove(0)).await;
        let (mut send, recv) = more.await.expect("room again");
        send.write_all(b"!").await.expect("room for a byte");
        let mut far = pair.bob.accept_stream().await.expect("a stream comes");
        assert_eq!(far.1.read_u8().await.expect("a byte comes"), b'!');
        open.push([(send, recv), far]);
    }
}

async fn end([mut near, mut far]: [(SendStream, RecvStream); 2]) {
    near.0.finish().expect("the stream takes the end");
    far.0.finish().expect("the stream takes the end");
    assert_eq!(near.1.read(&mut [0]).await.expect("the end comes"), 0);
    assert_eq!(far.1.read(&mut [0]).await.expect("the end comes"), 0);
}

pub(super) async fn streams_are_accepted_in_the_order_of_opening(harness: Harness) {
    let pair = Pair::new(harness).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(pair.alice.open_stream(Default::default()).await.expect("room for a stream"));
    }
    for (index, (send, _)) in open.iter_mut().enumerate().rev() {
        payload::write_all(send, index, 1000).await;
    }
    for index in 0..5 {
        let (_far, mut recv) = pair.bob.accept_stream().await.expect("a stream comes");
        assert_eq!(payload::read_all(&mut recv, index).await, 1000);
    }
}

pub(super) async fn both_sides_may_open_streams(harness: Harness) {
    let pair = Pair::new(harness).await;
    let many = async |a, b| {
        for _ in 0..50 {
            round_trip(a, b).await;
        }
    };
    tokio::join!(many(&*pair.alice, &*pair.bob), many(&*pair.bob, &*pair.alice));
}
