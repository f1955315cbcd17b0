//! Relays: bytes between two clients, through bounded memory.

use std::{sync::Arc, time::Duration};

use portolan_protocol::{
    AskServerInfo, ErrorBody, ErrorCode, Message, Opened, Opening, OpeningMessage, Ready, Relay,
    Reply, RequestId,
};
use portolan_protocol_io::{FrameReader, FrameWriter, RawReader};
use portolan_server::close_code;
use portolan_transport::{
    Connection, Limits, Priority, ReadError, RecvStream, SendStream, StreamCode, WriteError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, Harness, config, key, name, within};

struct End {
    send: SendStream,
    recv: RawReader<RecvStream>,
}

async fn call(connection: &Arc<dyn Connection>, to: &str) -> Result<(Ready, End), ErrorBody> {
    let (send, recv) = connection.open_stream(Priority::Bulk).await.unwrap();
    let (mut reader, mut writer) = (FrameReader::new(recv), FrameWriter::new(send));
    let relay = Opening::Relay(Relay { to: name(to), elsewhere: None });
    let question: OpeningMessage = Message::Request(RequestId(5), relay);
    writer.send(&question).await.unwrap();
    let answer: OpeningMessage = within(reader.next_message()).await.unwrap();
    match answer {
        Message::Answer(RequestId(5), Opened::Ready(ready)) => {
            Ok((ready, End { send: writer.into_inner(), recv: reader.into_raw() }))
        }
        Message::Error(RequestId(5), error) => Err(error),
        other => panic!("{other:?}"),
    }
}

/// Takes the next relayed stream, or refuses it.
async fn take(connection: &Arc<dyn Connection>, refusal: Option<ErrorBody>) -> Option<End> {
    let (send, recv) = within(connection.accept_stream()).await.unwrap();
    let (mut reader, mut writer) = (FrameReader::new(recv), FrameWriter::new(send));
    let question: OpeningMessage = within(reader.next_message()).await.unwrap();
    let Message::Request(id, Opening::Relayed(relayed)) = question else { panic!() };
    assert_eq!((relayed.from, relayed.id), (name("alice"), key(1).id()));
    let answer: OpeningMessage = match &refusal {
        None => Message::Answer(id, Opened::Ready(Ready::default())),
        Some(error) => Message::Error(id, error.clone()),
    };
    writer.send(&answer).await.unwrap();
    if refusal.is_some() {
        writer.get_mut().finish().unwrap();
    }
    refusal.is_none().then(|| End { send: writer.into_inner(), recv: reader.into_raw() })
}

async fn pair(alice: &Client, bob: &Client) -> (End, End) {
    let (called, taken) = tokio::join!(call(&alice.connection, "bob"), take(&bob.connection, None));
    let (ready, caller) = called.unwrap();
    assert_eq!(ready.id, Some(key(2).id()));
    (caller, taken.unwrap())
}

/// Waits until the server counts so many relays.
async fn relays(client: &mut Client, expected: u64) {
    loop {
        let Reply::ServerInfo(info) = client.ask(AskServerInfo {}).await.unwrap() else { panic!() };
        if info.relays == expected {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_way_ends_on_its_own() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let bob = harness.login(2, "bob").await;
    let (mut caller, mut callee) = pair(&alice, &bob).await;
    relays(&mut alice, 1).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        caller.send.write_all(&sent).await.unwrap();
        caller.send.finish().unwrap();
        caller
    });
    let mut received = Vec::new();
    within(callee.recv.read_to_end(&mut received)).await.unwrap();
    assert!(received == expected);
    let mut caller = writing.await.unwrap();

    callee.send.write_all(b"and back").await.unwrap();
    callee.send.finish().unwrap();
    let mut text = String::new();
    within(caller.recv.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "and back");
    relays(&mut alice, 0).await;
}

#[tokio::test]
async fn a_reset_and_a_stop_arrive_with_their_codes() {
    let harness = Harness::start().await;
    let alice = harness.login(1, "alice").await;
    let bob = harness.login(2, "bob").await;
    let (mut caller, mut callee) = pair(&alice, &bob).await;
    caller.send.write_all(b"half of it").await.unwrap();
    caller.send.reset(StreamCode(77));
    let error = within(callee.recv.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(ReadError::from_io(&error), Some(&ReadError::Reset(StreamCode(77))));

    let (_caller, mut callee) = (caller, {
        let (caller, callee) = pair(&alice, &bob).await;
        let mut recv = caller.recv;
        recv.get_mut().stop(StreamCode(78));
        drop(caller.send);
        callee
    });
    let error = loop {
        match within(callee.send.write_all(b"unwanted")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(WriteError::from_io(&error), Some(&WriteError::Stopped(StreamCode(78))));
}

#[tokio::test]
async fn a_slow_receiver_stops_the_sender_within_the_stated_bound() {
    let mut config = config();
    config.limits.relay_buffer = 16 << 10;
    config.limits.transport.stream_window = 64 << 10;
    config.limits.transport.send_buffer = 64 << 10;
    let server = config.limits;
    let harness = Harness::with(config).await;
    let alice = harness.login(1, "alice").await;
    let bob = harness.login(2, "bob").await;
    let (mut caller, mut callee) = pair(&alice, &bob).await;

    let mut accepted = 0;
    let chunk = vec![7; 4 << 10];
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(300), caller.send.write(&chunk)).await
    {
        accepted += written.unwrap();
    }
    // What docs/server.md says that one direction of a relay holds, and what the clients hold.
    let held = server.transport.stream_window as usize
        + server.relay_buffer
        + server.transport.send_buffer as usize;
    let clients = Limits::default().send_buffer + Limits::default().stream_window;
    assert!(accepted <= held + clients as usize, "{accepted} bytes were taken");

    // Nothing is lost when the receiver reads at last.
    caller.send.finish().unwrap();
    let mut received = Vec::new();
    within(callee.recv.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received.len(), accepted);
}

#[tokio::test]
async fn a_refused_relay_says_why() {
    let mut config = config();
    config.limits.relays_per_user = 1;
    config.timing.relay_open = Duration::from_millis(50);
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let refused = |result: Result<(Ready, End), ErrorBody>| match result {
        Ok(_) => panic!("it was granted"),
        Err(error) => error.code,
    };
    let stranger = harness.connect(3).await;
    assert_eq!(refused(call(&stranger.connection, "bob").await), ErrorCode::NotLoggedIn);
    assert_eq!(refused(call(&alice.connection, "bob").await), ErrorCode::UnknownUser);

    let bob = harness.login(2, "bob").await;
    let no = ErrorBody::new(ErrorCode::UnknownPeer, "I do not know you");
    let (called, _) = tokio::join!(call(&alice.connection, "bob"), take(&bob.connection, Some(no)));
    assert_eq!(refused(called), ErrorCode::UnknownPeer);
    assert_eq!(refused(call(&alice.connection, "bob").await), ErrorCode::TimedOut);
    let (_send, _recv) = within(bob.connection.accept_stream()).await.unwrap();
    relays(&mut alice, 0).await;

    let _open = pair(&alice, &bob).await;
    assert_eq!(refused(call(&alice.connection, "bob").await), ErrorCode::Quota);
}

#[tokio::test]
async fn a_relay_ends_with_either_side_and_when_nothing_moves() {
    let mut config = config();
    config.timing.relay_idle = Duration::from_millis(100);
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let bob = harness.login(2, "bob").await;
    let (mut caller, _callee) = pair(&alice, &bob).await;
    let error = within(caller.recv.read_to_end(&mut Vec::new())).await.unwrap_err();
    let idle = ReadError::Reset(close_code::RELAY_IDLE);
    assert_eq!(ReadError::from_io(&error), Some(&idle));

    let (mut caller, callee) = pair(&alice, &bob).await;
    drop((bob, callee));
    let error = within(caller.recv.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert!(ReadError::from_io(&error).is_some());
    relays(&mut alice, 0).await;
}
