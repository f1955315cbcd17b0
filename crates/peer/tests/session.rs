//! The session with a server: what is promised to the application, whatever the server does.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::Expect;
use portolan_peer::{
    Config, ConnectError, Event, Events, Peer, ReceiptRule, RequestError, SessionEnd,
};
use portolan_protocol::{
    Closing, ClosingReason, Command, ControlMessage, Delivery, EchoReply, ErrorBody, ErrorCode,
    Event as ServerEvent, LoggedIn, MessageId, Opened, OpeningMessage, Ready, ReceiptState,
    Recipient, Reply, RequestId, Timestamp, Welcome,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{BindConfig, CloseCode, Connection, Endpoint, Shared, Transport};
use portolan_transport_mem::MemTransport;
use portolan_transport_tcp::TcpTunnel;
use tokio::io::AsyncWriteExt;

use self::support::{Harbour, Reader, Writer, identity, name, wait_for, within};

/// A server that says what the test says.
struct Puppet {
    writer: Writer,
    reader: Reader,
    connection: Arc<dyn Connection>,
    _endpoint: Arc<dyn Endpoint>,
}

impl Puppet {
    /// A client that is logged in at a puppet, in memory.
    async fn with(change: impl FnOnce(&mut Config), heartbeat_ms: u32) -> (Self, Peer, Events) {
        let shared = Shared::default();
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut bind = BindConfig::new(local, identity("server"));
        bind.shared = shared.clone();
        let endpoint = MemTransport.bind(bind).await.unwrap();
        let expect = Expect::Id(identity("server").id());
        let addr = endpoint.local_addr();
        let mut config =
            Config::new(name("alice"), identity("alice"), addr, expect, &MemTransport, &TcpTunnel);
        config.shared = shared;
        change(&mut config);
        let (client, puppet) =
            tokio::join!(Peer::connect(config), Self::accept(endpoint, heartbeat_ms));
        let (peer, events) = client.unwrap();
        (puppet, peer, events)
    }

    async fn accept(endpoint: Arc<dyn Endpoint>, heartbeat_ms: u32) -> Self {
        let connection = endpoint.accept().await.unwrap();
        let (send, receive) = connection.accept_stream().await.unwrap();
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        let opening: OpeningMessage = reader.next_message().await.unwrap();
        let OpeningMessage::Request(id, _) = opening else { panic!("{opening:?}") };
        let ready = OpeningMessage::Answer(id, Opened::Ready(Ready::default()));
        writer.send(&ready).await.unwrap();
        let mut puppet = Self { writer, reader, connection, _endpoint: endpoint };
        let (id, _) = puppet.request().await;
        let limits = portolan_protocol::Limits::V1;
        let (features, software, seen_as) = (vec![], String::new(), String::new());
        let welcome = Welcome { version: 1, features, software, limits, heartbeat_ms, seen_as };
        puppet.answer(id, welcome.into()).await;
        let (id, _) = puppet.request().await;
        let transport = "mem".to_owned();
        let (waiting, admin, moved) = (0, false, false);
        let logged_in = LoggedIn { name: name("alice"), transport, waiting, admin, moved };
        puppet.answer(id, logged_in.into()).await;
        puppet
    }

    async fn request(&mut self) -> (RequestId, Command) {
        match within("a request", self.reader.next_message()).await.unwrap() {
            ControlMessage::Request(id, command) => (id, command),
            other => panic!("not a request: {other:?}"),
        }
    }

    async fn answer(&mut self, id: RequestId, reply: Reply) {
        self.writer.send(&ControlMessage::Answer(id, reply)).await.unwrap();
    }

    async fn tell(&mut self, event: ServerEvent) {
        self.writer.send(&ControlMessage::Event(event)).await.unwrap();
    }

    async fn deliver(&mut self, id: u64) {
        self.tell(delivery(id)).await;
    }

    /// The ids of the next receipt, which is granted.
    async fn receipt(&mut self) -> Vec<u64> {
        loop {
            let (id, command) = self.request().await;
            self.answer(id, Reply::Done(portolan_protocol::Empty {})).await;
            if let Command::Receipts(receipts) = command {
                assert_eq!(receipts.state, ReceiptState::Delivered);
                return receipts.ids.into_iter().map(|id| id.0).collect();
            }
        }
    }
}

fn delivery(id: u64) -> ServerEvent {
    ServerEvent::Message(Delivery {
        id: MessageId(id),
        from: name("bob"),
        to: Recipient::User(name("alice")),
        text: format!("message {id}"),
        at: Timestamp(1),
    })
}

fn id_of(event: &Event) -> u64 {
    match event {
        Event::Message(message) => message.id.0,
        other => panic!("not a message: {other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_comes_twice_is_handed_out_once_and_confirmed_twice() {
    let (mut server, _alice, mut events) = Puppet::with(|_| {}, 0).await;
    server.deliver(7).await;
    assert_eq!(id_of(&within("a message", events.next()).await.unwrap()), 7);
    assert_eq!(server.receipt().await, [7]);
    server.deliver(7).await;
    assert_eq!(server.receipt().await, [7]);
    server.deliver(8).await;
    assert_eq!(id_of(&within("a message", events.next()).await.unwrap()), 8, "7 came once");
}

#[tokio::test]
async fn what_the_application_has_not_read_is_not_confirmed_and_stops_the_server() {
    let (mut server, alice, mut events) = Puppet::with(|config| config.limits.events = 2, 0).await;
    for id in 1..=5 {
        server.deliver(id).await;
    }
    // Two are in the queue and confirmed; the third is held, and nothing behind it is read.
    let mut confirmed = Vec::new();
    while confirmed.len() < 2 {
        confirmed.extend(server.receipt().await);
    }
    assert_eq!(confirmed, [1, 2]);
    for id in 1..=5 {
        assert_eq!(id_of(&within("a message", events.next()).await.unwrap()), id);
    }
    while confirmed.len() < 5 {
        confirmed.extend(server.receipt().await);
    }
    assert_eq!(confirmed, [1, 2, 3, 4, 5]);
    drop(alice);
}

#[tokio::test]
async fn without_a_listener_nothing_is_confirmed_and_requests_go_on() {
    let (mut server, alice, events) = Puppet::with(|_| {}, 0).await;
    drop(events);
    server.deliver(1).await;
    let asking = tokio::spawn(async move { alice.echo("hi").await });
    let (id, command) = server.request().await;
    assert!(matches!(command, Command::Echo(_)), "no receipt comes first: {command:?}");
    server.answer(id, Reply::Echo(EchoReply { text: "hi".into() })).await;
    assert_eq!(within("the echo", asking).await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn with_manual_receipts_only_the_application_confirms() {
    let manual = |config: &mut Config| config.receipts = ReceiptRule::Manual;
    let (mut server, alice, mut events) = Puppet::with(manual, 0).await;
    server.deliver(1).await;
    within("a message", events.next()).await.unwrap();
    let asking =
        tokio::spawn(async move { alice.receipts(vec![MessageId(1)], ReceiptState::Seen).await });
    let (id, command) = server.request().await;
    let Command::Receipts(receipts) = command else { panic!("{command:?}") };
    assert_eq!(receipts.state, ReceiptState::Seen);
    server.answer(id, Reply::Done(portolan_protocol::Empty {})).await;
    within("the answer", asking).await.unwrap().unwrap();
}

#[tokio::test]
async fn answers_in_any_order_find_their_requests() {
    let (mut server, alice, _events) = Puppet::with(|_| {}, 0).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..50 {
        let alice = alice.clone();
        asking.spawn(async move { (number, alice.echo(number.to_string()).await) });
    }
    let mut requests = Vec::new();
    for _ in 0..50 {
        requests.push(server.request().await);
    }
    for (id, command) in requests.into_iter().rev() {
        let Command::Echo(echo) = command else { panic!("{command:?}") };
        server.answer(id, Reply::Echo(EchoReply { text: echo.text })).await;
    }
    while let Some(result) = within("an answer", asking.join_next()).await {
        let (number, text) = result.unwrap();
        assert_eq!(text.unwrap(), number.to_string());
    }
}

#[tokio::test]
async fn requests_end_by_refusal_time_out_or_the_end_of_the_session() {
    let hasty = |config: &mut Config| config.timing.request = Duration::from_millis(300);
    let (mut server, alice, mut events) = Puppet::with(hasty, 0).await;
    let ask = |text: &'static str| {
        let alice = alice.clone();
        tokio::spawn(async move { alice.echo(text).await })
    };
    let refused = ask("refuse me");
    let (id, _) = server.request().await;
    let body = ErrorBody::new(ErrorCode::RateLimited, "slowly");
    server.writer.send(&ControlMessage::Error(id, body.clone())).await.unwrap();
    let result = within("the refusal", refused).await.unwrap();
    assert_eq!(result, Err(RequestError::Refused(body)));

    let late = ask("answer me late");
    let (id, _) = server.request().await;
    let result = within("the time-out", late).await.unwrap();
    assert_eq!(result, Err(RequestError::TimedOut));
    server.answer(id, Reply::Echo(EchoReply { text: "late".into() })).await;

    let wrong = ask("answer me wrongly");
    let (id, _) = server.request().await;
    server.answer(id, Reply::Done(portolan_protocol::Empty {})).await;
    let result = within("the answer", wrong).await.unwrap();
    assert_eq!(result, Err(RequestError::Unexpected("done")));

    let cut = ask("never mind");
    server.request().await;
    server.connection.close(CloseCode(9), "gone fishing");
    let result = within("the end", cut).await.unwrap();
    assert!(matches!(result, Err(RequestError::Closed(SessionEnd::Lost(_)))), "{result:?}");
    let closed = wait_for(&mut events, "the end", |event| matches!(event, Event::Closed(_))).await;
    let Event::Closed(end) = closed else { unreachable!() };
    assert!(end.to_string().contains("gone fishing"), "{end}");
    assert_eq!(events.next().await, None, "the end is the last event");
    let result = alice.echo("too late").await;
    assert_eq!(result, Err(RequestError::Closed(end.clone())));
    assert_eq!(within("the end", alice.closed()).await, end);
}

#[tokio::test]
async fn what_a_newer_server_says_is_skipped_and_broken_framing_ends_the_session() {
    let (mut server, alice, mut events) = Puppet::with(|_| {}, 0).await;
    // A frame whose header is no header, and one that carries nothing at all.
    for content in [&b"\xc1garbage"[..], b""] {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        server.writer.get_mut().write_all(&length).await.unwrap();
        server.writer.get_mut().write_all(content).await.unwrap();
    }
    server.deliver(1).await;
    assert_eq!(id_of(&within("a message", events.next()).await.unwrap()), 1);
    server.writer.get_mut().write_all(&[0xff; 4]).await.unwrap();
    let end = within("the end", alice.closed()).await;
    assert!(matches!(end, SessionEnd::Protocol(_)), "{end}");
}

#[tokio::test]
async fn the_session_is_kept_alive_and_a_silent_server_is_given_up() {
    let hasty = |config: &mut Config| config.timing.request = Duration::from_millis(300);
    let (mut server, alice, _events) = Puppet::with(hasty, 150).await;
    for _ in 0..3 {
        let (id, command) = server.request().await;
        let Command::Heartbeat(heartbeat) = command else { panic!("{command:?}") };
        let reply = portolan_protocol::HeartbeatReply { nonce: heartbeat.nonce, at: Timestamp(1) };
        server.answer(id, Reply::Heartbeat(reply)).await;
    }
    assert_eq!(within("the end", alice.closed()).await, SessionEnd::Silent);
}

#[tokio::test]
async fn a_server_that_closes_says_why() {
    let (mut server, alice, mut events) = Puppet::with(|_| {}, 0).await;
    let closing = Closing {
        why: ClosingReason::Shutdown,
        text: "back at noon".into(),
        reconnect_after_ms: Some(1000),
    };
    server.tell(ServerEvent::Closing(closing.clone())).await;
    // The client closes first, so that the words are not lost with the connection.
    within("the end", server.connection.closed()).await;
    let event = within("the words", events.next()).await;
    assert_eq!(event, Some(Event::Closing(closing.clone())));
    assert_eq!(within("the end", alice.closed()).await, SessionEnd::Server(closing.clone()));
    let event = within("the end", events.next()).await;
    assert_eq!(event, Some(Event::Closed(SessionEnd::Server(closing))));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_session() {
    let (mut server, alice, events) = Puppet::with(|_| {}, 0).await;
    let clone = alice.clone();
    drop(alice);
    server.deliver(1).await;
    drop((clone, events));
    within("the end", server.connection.closed()).await;
}

#[tokio::test]
async fn a_dropped_request_harms_no_other() {
    let (mut server, alice, _events) = Puppet::with(|_| {}, 0).await;
    let dropped = {
        let alice = alice.clone();
        tokio::spawn(async move { alice.echo("dropped").await })
    };
    let (first, _) = server.request().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let asking = tokio::spawn(async move { alice.echo("kept").await });
    let (second, _) = server.request().await;
    for (id, text) in [(first, "dropped"), (second, "kept")] {
        server.answer(id, Reply::Echo(EchoReply { text: text.into() })).await;
    }
    assert_eq!(within("the echo", asking).await.unwrap().unwrap(), "kept");
}

#[tokio::test]
async fn a_real_server_refuses_wrong_keys_and_taken_names_and_replaces_old_sessions() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("alice");
    config.expect = Expect::Id(identity("another").id());
    let error = within("refusing", Peer::connect(config)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Transport(_)), "{error}");

    let (alice, mut events) = harbour.peer("alice").await;
    let mut config = harbour.config("alice");
    config.identity = identity("thief");
    let error = within("refusing", Peer::connect(config)).await.unwrap_err();
    let ConnectError::Refused(body) = error else { panic!("{error}") };
    assert_eq!(body.code, ErrorCode::NameTaken);
    assert_eq!(within("an echo", alice.echo("undisturbed")).await.unwrap(), "undisturbed");

    let (again, _events) = harbour.peer("alice").await;
    let closed = wait_for(&mut events, "the end", |event| matches!(event, Event::Closed(_))).await;
    let Event::Closed(SessionEnd::Server(closing)) = closed else { panic!("{closed:?}") };
    assert_eq!(closing.why, ClosingReason::Replaced);
    assert_eq!(within("an echo", again.echo("here now")).await.unwrap(), "here now");
    within("logging out", again.logout()).await;
    assert_eq!(within("the end", again.closed()).await, SessionEnd::Local);
}

#[tokio::test]
async fn an_unconfirmed_message_comes_again_and_a_confirmed_one_does_not() {
    let harbour = Harbour::open().await;
    let (alice, _alice_events) = harbour.peer("alice").await;
    let is_message = |event: &Event| matches!(event, Event::Message(_));
    let mut manual = harbour.config("bob");
    manual.receipts = ReceiptRule::Manual;
    let (bob, mut events) = harbour.peer_with(manual).await;
    let bob_name = name("bob");
    let sent = alice.send(Recipient::User(bob_name.clone()), "one").await.unwrap();
    wait_for(&mut events, "the message", is_message).await;
    bob.logout().await;

    let (bob, mut events) = harbour.peer("bob").await;
    let again = wait_for(&mut events, "the message", is_message).await;
    assert_eq!(id_of(&again), sent.id.0);
    // Confirmed by now: the receipt went before this request on the same stream.
    within("an echo", bob.echo("settled")).await.unwrap();
    bob.logout().await;
    let (_bob, mut events) = harbour.peer("bob").await;
    alice.send(Recipient::User(bob_name), "two").await.unwrap();
    let next = wait_for(&mut events, "the message", is_message).await;
    assert!(id_of(&next) > sent.id.0, "{next:?}");
}
