//! The session with a server: what is promised to the application, whatever the server does.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::Expect;
use portolan_peer::{
    Backoff, Config, ConnectError, Event, Events, Peer, ReceiptRule, Reconnect, RequestError,
    SessionEnd, Way,
};
use portolan_protocol::{
    Closing, ClosingReason, Command, ControlMessage, Conversation, ConversationState, Delivery,
    EchoReply, ErrorBody, ErrorCode, Event as ServerEvent, LoggedIn, MessageId, Opened,
    OpeningMessage, Ready, ReceiptState, Recipient, Reply, RequestId, Sent, Timestamp, Welcome,
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
    endpoint: Arc<dyn Endpoint>,
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
        config.reconnect = Reconnect::Never;
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
        let mut puppet = Self { writer, reader, connection, endpoint };
        let (id, _) = puppet.request().await;
        let limits = portolan_protocol::Limits::V1;
        let (features, software, seen_as) = (vec![], String::new(), String::new());
        let welcome = Welcome {
            version: 1,
            features,
            software,
            limits,
            heartbeat_ms,
            keep_alive_ms: 0,
            attention_ms: heartbeat_ms,
            seen_as,
        };
        puppet.answer(id, welcome.into()).await;
        let (id, _) = puppet.request().await;
        let transport = "mem".to_owned();
        let (waiting, admin, moved) = (0, false, false);
        let logged_in =
            LoggedIn { name: name("alice"), transport, waiting, admin, moved, beside: 0 };
        puppet.answer(id, logged_in.into()).await;
        puppet
    }

    /// A client that comes back as soon as it can.
    async fn with_one_who_returns() -> (Self, Peer, Events) {
        Self::with(returns, 0).await
    }

    /// Breaks the connection and lets the client in again.
    async fn let_in_again(self) -> Self {
        self.connection.close(BREAK, "broken by the test");
        within("coming back", Self::accept(self.endpoint, 0)).await
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

/// No code of the server's: it means nothing but that the connection is gone.
const BREAK: CloseCode = CloseCode(9);

fn returns(config: &mut Config) {
    let (start, cap) = (Duration::from_millis(1), Duration::from_millis(20));
    config.reconnect = Reconnect::With(Backoff { start, cap, give_up_after: None });
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

fn sent(id: u64) -> Reply {
    Reply::Sent(Sent { id: MessageId(id), at: Timestamp(1), online: 1, waiting: 0 })
}

/// The next command that is no heartbeat; heartbeats are answered.
async fn next_command(server: &mut Puppet) -> (RequestId, Command) {
    loop {
        let (id, command) = server.request().await;
        let Command::Heartbeat(heartbeat) = command else { return (id, command) };
        let reply = portolan_protocol::HeartbeatReply { nonce: heartbeat.nonce, at: Timestamp(1) };
        server.answer(id, Reply::Heartbeat(reply)).await;
    }
}

#[tokio::test]
async fn requests_without_an_answer_are_asked_again_in_order_and_messages_keep_their_references() {
    let (mut server, alice, mut events) = Puppet::with_one_who_returns().await;
    let mut asking = Vec::new();
    let mut references = Vec::new();
    for number in 0..10 {
        let alice = alice.clone();
        let to = Recipient::User(name("bob"));
        asking.push(tokio::spawn(async move { alice.send(to, number.to_string()).await }));
        let (_, command) = server.request().await;
        let Command::Send(send) = command else { panic!("{command:?}") };
        references.push(send.reference.unwrap());
    }
    let mut server = server.let_in_again().await;
    for (number, reference) in references.iter().enumerate() {
        let (id, command) = next_command(&mut server).await;
        let Command::Send(send) = command else { panic!("{command:?}") };
        assert_eq!((send.text, send.reference.unwrap()), (number.to_string(), *reference));
        server.answer(id, sent(number as u64)).await;
    }
    for (number, asked) in asking.into_iter().enumerate() {
        assert_eq!(within("an answer", asked).await.unwrap().unwrap().id.0, number as u64);
    }
    references.dedup();
    assert_eq!(references.len(), 10, "each message has a reference of its own");
    let lost = within("news", events.next()).await;
    let Some(Event::Reconnecting(attempt)) = lost else { panic!("{lost:?}") };
    assert_eq!(attempt.attempt, 1);
    assert!(attempt.why.contains("broken by the test"), "{}", attempt.why);
    let back = within("news", events.next()).await;
    let Some(Event::Reconnected(way)) = back else { panic!("{back:?}") };
    assert_eq!((way.transport, way.server), ("mem", alice.server_addr()));
}

#[tokio::test]
async fn two_runs_do_not_use_the_same_references() {
    let mut references = Vec::new();
    for _ in 0..2 {
        let (mut server, alice, _events) = Puppet::with_one_who_returns().await;
        let asking = tokio::spawn(async move { alice.send(Recipient::All, "hi").await });
        let (id, command) = server.request().await;
        let Command::Send(send) = command else { panic!("{command:?}") };
        references.push(send.reference.unwrap());
        server.answer(id, sent(1)).await;
        within("the answer", asking).await.unwrap().unwrap();
    }
    assert_ne!(references[0], references[1]);
}

#[tokio::test]
async fn after_coming_back_messages_are_recognised_and_unanswered_receipts_sent_again() {
    let (mut server, _alice, mut events) = Puppet::with_one_who_returns().await;
    server.deliver(1).await;
    assert_eq!(id_of(&within("a message", events.next()).await.unwrap()), 1);
    let (_, command) = server.request().await;
    assert!(matches!(command, Command::Receipts(_)), "{command:?}");
    let mut server = server.let_in_again().await;
    assert_eq!(server.receipt().await, [1], "the one without an answer");
    server.deliver(1).await;
    assert_eq!(server.receipt().await, [1], "known, and confirmed once more");
    server.deliver(2).await;
    let is_message = |event: &Event| matches!(event, Event::Message(_));
    let next = wait_for(&mut events, "a message", is_message).await;
    assert_eq!(id_of(&next), 2, "1 is not handed out twice");
}

#[tokio::test]
async fn what_is_asked_while_there_is_no_connection_waits_for_the_next() {
    let (server, alice, mut events) = Puppet::with_one_who_returns().await;
    server.connection.close(BREAK, "broken by the test");
    wait_for(&mut events, "the loss", |event| matches!(event, Event::Reconnecting(_))).await;
    let asking = tokio::spawn(async move { alice.echo("are you there?").await });
    let mut server = within("coming back", Puppet::accept(server.endpoint, 0)).await;
    let (id, command) = server.request().await;
    let Command::Echo(echo) = command else { panic!("{command:?}") };
    server.answer(id, Reply::Echo(EchoReply { text: echo.text })).await;
    assert_eq!(within("the echo", asking).await.unwrap().unwrap(), "are you there?");
}

#[tokio::test]
async fn what_is_not_to_be_done_twice_is_not_asked_twice() {
    let (mut server, alice, _events) = Puppet::with_one_who_returns().await;
    let asking = tokio::spawn({
        let alice = alice.clone();
        async move { alice.clear_mailbox().await }
    });
    let (_, command) = server.request().await;
    assert!(matches!(command, Command::ClearMailbox(_)), "{command:?}");
    let mut server = server.let_in_again().await;
    let result = within("the answer", asking).await.unwrap();
    assert!(matches!(result, Err(RequestError::Broken(SessionEnd::Lost(_)))), "{result:?}");
    let asking = tokio::spawn(async move { alice.echo("next").await });
    let (_, command) = server.request().await;
    assert!(matches!(command, Command::Echo(_)), "{command:?}");
    asking.abort();
}

#[tokio::test]
async fn conversations_that_did_not_outlive_the_connection_are_told_of() {
    let (mut server, alice, mut events) = Puppet::with_one_who_returns().await;
    let news = |with: &str, state| {
        ServerEvent::Conversation(Conversation {
            with: name(with),
            state,
            reason: None,
            elsewhere: false,
        })
    };
    for (with, state) in [
        ("bob", ConversationState::Accepted),
        ("carol", ConversationState::Requested),
        ("dave", ConversationState::Requested),
        ("erin", ConversationState::Requested),
        ("erin", ConversationState::Ended),
    ] {
        server.tell(news(with, state)).await;
        within("the state", events.next()).await;
    }
    let mut server = server.let_in_again().await;
    // The server knows of one request only.
    server.tell(news("carol", ConversationState::Requested)).await;
    let asking = tokio::spawn(async move { alice.echo("settled").await });
    let (id, command) = next_command(&mut server).await;
    assert!(matches!(command, Command::Echo(_)), "{command:?}");
    server.answer(id, Reply::Echo(EchoReply { text: "settled".into() })).await;
    within("the echo", asking).await.unwrap().unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::Conversation(news) = event {
            told.push((news.with.to_string(), news.state));
        }
    }
    let wanted = [
        ("carol", ConversationState::Requested),
        ("bob", ConversationState::Vanished),
        ("dave", ConversationState::Vanished),
    ];
    assert_eq!(told, wanted.map(|(with, state)| (with.to_owned(), state)));
}

#[tokio::test]
async fn requests_of_ours_that_were_lost_with_the_connection_are_told_of() {
    let (mut server, alice, mut events) = Puppet::with_one_who_returns().await;
    for with in ["bob", "carol"] {
        let asking = tokio::spawn({
            let alice = alice.clone();
            async move { alice.converse(&name(with)).await }
        });
        let (id, command) = next_command(&mut server).await;
        assert!(matches!(command, Command::Converse(_)), "{command:?}");
        let requested = portolan_protocol::Requested { expires_ms: 30_000 };
        server.answer(id, requested.into()).await;
        within("the answer", asking).await.unwrap().unwrap();
    }
    let mut server = server.let_in_again().await;
    // The server knows of one of them only.
    let (state, reason, elsewhere) = (ConversationState::Asked, None, false);
    let news = Conversation { with: name("carol"), state, reason, elsewhere };
    server.tell(ServerEvent::Conversation(news)).await;
    let asking = tokio::spawn(async move { alice.echo("settled").await });
    let (id, _) = next_command(&mut server).await;
    server.answer(id, Reply::Echo(EchoReply { text: "settled".into() })).await;
    within("the echo", asking).await.unwrap().unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::Conversation(news) = event {
            told.push((news.with.to_string(), news.state, news.reason));
        }
    }
    let lost = "the request was lost with the connection; ask again".to_owned();
    let wanted = [
        ("carol".to_owned(), ConversationState::Asked, None),
        ("bob".to_owned(), ConversationState::Vanished, Some(lost)),
    ];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn an_accepted_request_that_is_accepted_again_is_no_failure() {
    let (mut server, alice, _events) = Puppet::with_one_who_returns().await;
    let asking = tokio::spawn(async move { alice.accept(&name("bob")).await });
    let (_, command) = server.request().await;
    assert!(matches!(command, Command::Accept(_)), "{command:?}");
    let mut server = server.let_in_again().await;
    let (with, state) = (name("bob"), ConversationState::Accepted);
    let news = Conversation { with, state, reason: None, elsewhere: false };
    server.tell(ServerEvent::Conversation(news)).await;
    let (id, command) = next_command(&mut server).await;
    assert!(matches!(command, Command::Accept(_)), "{command:?}");
    let body = ErrorBody::new(ErrorCode::NoConversation, "no request from bob is open");
    server.writer.send(&ControlMessage::Error(id, body)).await.unwrap();
    within("the answer", asking).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_was_replaced_or_kicked_does_not_come_back() {
    for why in [ClosingReason::Replaced, ClosingReason::Kicked, ClosingReason::Banned] {
        let (mut server, alice, mut events) = Puppet::with_one_who_returns().await;
        let closing = Closing { why, text: "go".into(), reconnect_after_ms: None };
        server.tell(ServerEvent::Closing(closing.clone())).await;
        assert_eq!(within("the end", alice.closed()).await, SessionEnd::Server(closing));
        let closed = wait_for(&mut events, "the end", |e| matches!(e, Event::Closed(_)));
        closed.await;
    }
    // The words were lost, the code was not.
    let (server, alice, _events) = Puppet::with_one_who_returns().await;
    server.connection.close(portolan_server::close_code::REPLACED, "you logged in elsewhere");
    let end = within("the end", alice.closed()).await;
    assert!(matches!(end, SessionEnd::Lost(_)), "{end}");
}

#[tokio::test]
async fn a_server_that_reads_no_more_is_listened_to_before_we_come_back() {
    let (server, alice, mut events) = Puppet::with_one_who_returns().await;
    let Puppet { mut writer, reader, connection: _connection, endpoint: _endpoint } = server;
    drop(reader);
    let asking = tokio::spawn({
        let alice = alice.clone();
        async move { alice.echo("into the void").await }
    });
    // Time enough to find that nobody reads.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let (why, text, reconnect_after_ms) = (ClosingReason::Replaced, "elsewhere".into(), None);
    let closing = Closing { why, text, reconnect_after_ms };
    let last_words = ControlMessage::Event(ServerEvent::Closing(closing.clone()));
    within("the last words", writer.send(&last_words)).await.unwrap();
    assert_eq!(within("the end", alice.closed()).await, SessionEnd::Server(closing));
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Reconnecting(_)), "{event:?}");
    }
    asking.abort();
}

#[tokio::test]
async fn a_logout_waits_until_the_server_has_noted_what_the_application_has() {
    let (mut server, alice, mut events) = Puppet::with(|_| {}, 0).await;
    server.deliver(1).await;
    within("a message", events.next()).await.unwrap();
    let (receipt, command) = server.request().await;
    assert!(matches!(command, Command::Receipts(_)), "{command:?}");
    let leaving = tokio::spawn({
        let alice = alice.clone();
        async move { alice.logout().await }
    });
    // Asked after the logout, and on its way before it: that waits.
    let asking = tokio::spawn(async move { alice.echo("still here").await });
    let (_, command) = server.request().await;
    assert!(matches!(command, Command::Echo(_)), "{command:?}");
    asking.abort();
    server.answer(receipt, Reply::Done(portolan_protocol::Empty {})).await;
    let (id, command) = server.request().await;
    assert!(matches!(command, Command::Logout(_)), "{command:?}");
    server.answer(id, Reply::Done(portolan_protocol::Empty {})).await;
    within("leaving", leaving).await.unwrap();
}

#[tokio::test]
async fn a_session_is_given_up_in_the_time_that_was_set_or_when_the_application_leaves() {
    let hasty = |config: &mut Config| {
        let (start, cap) = (Duration::from_millis(1), Duration::from_millis(5));
        let give_up_after = Some(Duration::from_millis(20));
        config.reconnect = Reconnect::With(Backoff { start, cap, give_up_after });
    };
    let (server, alice, _events) = Puppet::with(hasty, 0).await;
    let Puppet { connection, endpoint, .. } = server;
    endpoint.close(BREAK, "gone").await;
    drop((connection, endpoint));
    let end = within("the end", alice.closed()).await;
    assert!(matches!(end, SessionEnd::Lost(_)), "{end}");

    let patient = |config: &mut Config| {
        let start = Duration::from_secs(3600);
        config.reconnect = Reconnect::With(Backoff { start, cap: start, give_up_after: None });
    };
    let (server, alice, mut events) = Puppet::with(patient, 0).await;
    server.connection.close(BREAK, "gone");
    wait_for(&mut events, "the loss", |event| matches!(event, Event::Reconnecting(_))).await;
    within("leaving", alice.logout()).await;
    assert_eq!(within("the end", alice.closed()).await, SessionEnd::Local);
}

#[tokio::test]
async fn a_session_goes_on_by_another_way_when_the_first_is_gone() {
    let shared = Shared::default();
    let mut endpoints = Vec::new();
    for _ in 0..2 {
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut bind = BindConfig::new(local, identity("server"));
        bind.shared = shared.clone();
        endpoints.push(MemTransport.bind(bind).await.unwrap());
    }
    let (second, first) = (endpoints.pop().unwrap(), endpoints.pop().unwrap());
    let second_addr = second.local_addr();
    let (transport, expect) = (&MemTransport, Expect::Id(identity("server").id()));
    let server = first.local_addr();
    let mut config =
        Config::new(name("alice"), identity("alice"), server, expect, transport, &TcpTunnel);
    config.more_ways = vec![Way { server: second_addr, transport }];
    config.shared = shared;
    returns(&mut config);
    let (alice, puppet) = tokio::join!(Peer::connect(config), Puppet::accept(first, 0));
    let (alice, mut events) = alice.unwrap();
    assert_eq!(alice.server_addr(), server);
    let Puppet { connection, endpoint, .. } = puppet;
    endpoint.close(BREAK, "gone").await;
    drop((connection, endpoint));
    let _puppet = within("coming back", Puppet::accept(second, 0)).await;
    let is_back = |event: &Event| matches!(event, Event::Reconnected(_));
    wait_for(&mut events, "the new connection", is_back).await;
    assert_eq!(alice.server_addr(), second_addr);
}

#[tokio::test]
async fn a_silent_server_is_left_for_a_new_connection_and_what_it_was_asked_is_asked_again() {
    let hasty = |config: &mut Config| {
        returns(config);
        config.timing.request = Duration::from_secs(2);
    };
    let (mut server, alice, _events) = Puppet::with(hasty, 0).await;
    let asking = tokio::spawn(async move { alice.echo("anyone?").await });
    let (_, command) = server.request().await;
    assert!(matches!(command, Command::Echo(_)), "{command:?}");
    // It says nothing at all, and its connection stays open.
    let Puppet { endpoint, connection: _silent, .. } = server;
    let mut server = within("coming back", Puppet::accept(endpoint, 0)).await;
    let (id, command) = server.request().await;
    let Command::Echo(echo) = command else { panic!("{command:?}") };
    server.answer(id, Reply::Echo(EchoReply { text: echo.text })).await;
    assert_eq!(within("the echo", asking).await.unwrap().unwrap(), "anyone?");
}

#[tokio::test]
async fn news_of_the_connection_that_nobody_reads_do_not_gather() {
    let (mut server, alice, mut events) = Puppet::with(
        |config| {
            returns(config);
            config.limits.events = 1;
        },
        0,
    )
    .await;
    server.deliver(1).await;
    for _ in 0..10 {
        server = server.let_in_again().await;
    }
    let asking = tokio::spawn(async move { alice.echo("here").await });
    let mut news = 0;
    let mut is_last = false;
    while !is_last {
        let event = within("news", events.next()).await.unwrap();
        news += usize::from(matches!(event, Event::Reconnecting(_)));
        is_last = matches!(event, Event::Reconnected(_)) && asking_is_read(&mut server).await;
    }
    assert!(news <= 4, "{news} attempts were told of");
    asking.abort();
}

/// Whether the connection is the one that stays: the client asks on it.
async fn asking_is_read(server: &mut Puppet) -> bool {
    matches!(next_command(server).await.1, Command::Echo(_) | Command::Receipts(_))
}

#[tokio::test]
async fn a_server_that_has_moved_to_another_address_is_found_by_its_name() {
    let first = Harbour::open().await;
    let second = Harbour::open().await;
    let mut config = first.config("alice");
    returns(&mut config);
    config.host = Some(("localhost".to_owned(), second.addr.port()));
    let (alice, mut events) = first.peer_with(config).await;
    assert_eq!(alice.server_addr(), first.addr);
    first.server.shutdown("moving").await;
    let is_back = |event: &Event| matches!(event, Event::Reconnected(_));
    wait_for(&mut events, "the new address", is_back).await;
    assert_eq!(alice.server_addr().port(), second.addr.port());
    assert_eq!(within("an echo", alice.echo("moved too")).await.unwrap(), "moved too");
}
