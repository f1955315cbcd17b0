//! Remotes that do not keep to the rules.

mod common;

use std::time::Duration;

use common::{Raw, alice, bob, farewell, listening, run, sessions};
use portolan_identity::Expect;
use portolan_mux::{
    Priority, StreamId, ViolationCode,
    frame::{CloseCause, Frame, Session},
};
use portolan_transport::{CloseReason, ConnectError};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

fn piece(id: u64, offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream { id: StreamId(id), priority: Priority::Bulk, offset, data, fin: false }
}

/// Says `bytes` after the greeting; how alice sees the connection end, and the code that she says.
async fn violate(bytes: &[u8]) -> (CloseReason, ViolationCode) {
    let alice = listening(|config| config.connection.limits.stream_window = 1_000).await;
    let mut bob = Raw::connect(alice.local_addr()).await;
    bob.greet().await;
    let connection = alice.accept().await.expect("open");
    bob.say(bytes).await;
    let heard = bob.hear_all().await;
    let close = farewell(&heard).expect("a farewell");
    let CloseCause::Violation(code) = close.cause else { panic!("{close:?}") };
    (connection.closed().await, ViolationCode::from_number(code).expect("a known code"))
}

#[test]
fn what_is_not_a_frame_ends_the_connection_with_a_violation() {
    run(async {
        let mut too_much = Vec::new();
        piece(0, 990, &[0; 11]).encode(&mut too_much);
        let mut not_open = Vec::new();
        piece(1, 0, b"x").encode(&mut not_open);
        let mut again = Vec::new();
        let greeting =
            portolan_mux::frame::Greeting { version: 1, idle_ms: 1, params: common::PARAMS };
        Session::Greeting(greeting).encode(&mut again);
        let rows: [(&[u8], ViolationCode); 5] = [
            (b"GET / HTTP/1.1\r\n\r\n", ViolationCode::FrameEncoding),
            (&[0x30, 0xc0, 0, 0, 1, 0, 0, 0, 0], ViolationCode::FrameEncoding),
            (&too_much, ViolationCode::FlowControl),
            (&not_open, ViolationCode::StreamState),
            (&again, ViolationCode::ProtocolViolation),
        ];
        for (bytes, expected) in rows {
            let (reason, code) = violate(bytes).await;
            assert_eq!(code, expected, "{bytes:?}");
            let CloseReason::Lost { detail } = reason else { panic!("{reason:?}") };
            assert!(detail.contains(&expected.to_string()), "{detail}");
        }
    });
}

#[test]
fn a_violation_that_the_remote_reports_is_not_taken_for_its_wish() {
    run(async {
        let alice = listening(|_| {}).await;
        let mut bob = Raw::connect(alice.local_addr()).await;
        bob.greet().await;
        let connection = alice.accept().await.expect("open");
        let cause = CloseCause::Violation(ViolationCode::FinalSize.number());
        let close = portolan_mux::frame::Close { cause, reason: b"nonsense" };
        bob.say_session(Session::Close(close)).await;
        let reason = connection.closed().await;
        let CloseReason::Lost { detail } = reason else { panic!("{reason:?}") };
        assert!(detail.contains("nonsense"), "{detail}");
    });
}

#[test]
fn silent_handshakes_are_bounded_and_given_up() {
    run(async {
        let alice = listening(|config| {
            config.connection.limits.half_open = 2;
            config.connection.timing.handshake = Duration::from_millis(300);
        });
        let alice = alice.await;
        let mut silent = Vec::new();
        for _ in 0..5 {
            silent.push(TcpStream::connect(alice.local_addr()).await.expect("the port is open"));
        }
        // Two by two they are given up; then it is bob's turn.
        let near = listening(|config| config.connection.identity = bob()).await;
        let expect = Expect::Id(common::alice().id());
        let dial = async {
            // A busy machine may need longer than alice grants.
            loop {
                if let Ok(connection) = near.connect(alice.local_addr(), expect).await {
                    break connection;
                }
            }
        };
        let (dialled, accepted) = tokio::join!(dial, alice.accept());
        assert_eq!(accepted.expect("open").remote_id(), bob().id());
        drop(dialled);
        for mut stream in silent {
            assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)), "alice says nothing");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn one_address_cannot_keep_all_others_out() {
    run(async {
        let alice = listening(|config| {
            config.connection.limits.half_open = 20;
            config.connection.timing.handshake = Duration::from_secs(600);
        });
        let alice = alice.await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind(([127, 0, 0, 2], 0).into()).expect("loopback is a whole network");
            silent.push(socket.connect(alice.local_addr()).await.expect("the port is open"));
        }
        let mut bob = Raw::connect(alice.local_addr()).await;
        bob.greet().await;
        assert_eq!(alice.accept().await.expect("open").remote_id(), common::bob().id());
    });
}

#[test]
fn who_does_not_greet_is_never_handed_out() {
    run(async {
        let alice = listening(|config| {
            config.connection.timing.handshake = Duration::from_secs(1);
        });
        let alice = alice.await;
        let mut silent = Raw::connect(alice.local_addr()).await;
        let mut endless = Raw::connect(alice.local_addr()).await;
        endless.say(&[0x3c, 1, 0x7f, 0xff]).await;
        endless.say(&[0; 8_000]).await;
        let mut rude = Raw::connect(alice.local_addr()).await;
        rude.say_session(Session::Ping(1)).await;
        for raw in [&mut silent, &mut endless, &mut rude] {
            raw.hear_all().await;
        }
        let mut polite = Raw::connect(alice.local_addr()).await;
        polite.greet().await;
        let connection = alice.accept().await.expect("open");
        polite.say_frame(piece(0, 0, b"hello")).await;
        let (_send, mut recv) = connection.accept_stream().await.expect("bob speaks");
        let mut heard = [0; 5];
        recv.read_exact(&mut heard).await.expect("five bytes");
        assert_eq!(&heard, b"hello");
    });
}

/// Connects alice to a bob who does `answer` after TLS.
async fn dial<F: Future<Output = ()>>(answer: impl FnOnce(Raw) -> F) -> ConnectError {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let alice = listening(|config| {
        config.connection.timing.handshake = Duration::from_secs(2);
    });
    let alice = alice.await;
    let bob = async { answer(Raw::accept(&listener).await).await };
    let (dialled, ()) = tokio::join!(alice.connect(addr, Expect::Id(common::bob().id())), bob);
    match dialled {
        Ok(connection) => panic!("{connection:?}"),
        Err(error) => error,
    }
}

#[test]
fn each_obstacle_to_connecting_has_its_error() {
    run(async {
        let other_version = dial(|mut bob| async move { bob.greet_as(9).await }).await;
        let ConnectError::Handshake { detail, .. } = &other_version else {
            panic!("{other_version:?}")
        };
        assert!(detail.contains("version 9"), "{detail}");

        let refused = dial(|mut bob| async move {
            let cause = CloseCause::Application(2);
            let close = portolan_mux::frame::Close { cause, reason: b"try later" };
            bob.say_session(Session::Close(close)).await;
        });
        let refused = refused.await;
        let ConnectError::Refused { reason, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(reason, "try later");

        let silent = dial(|mut bob| async move { drop(bob.hear_all().await) }).await;
        assert!(matches!(silent, ConnectError::TimedOut(_)), "{silent:?}");

        let gone = dial(|bob| async move { drop(bob) }).await;
        assert!(matches!(gone, ConnectError::Handshake { .. }), "{gone:?}");

        let garbage = dial(|mut bob| async move { bob.say(b"HTTP/1.1 400").await }).await;
        assert!(matches!(garbage, ConnectError::Handshake { .. }), "{garbage:?}");
    });
}

#[test]
fn a_listener_without_tls_is_an_error_of_the_handshake() {
    run(async {
        use tokio::io::AsyncWriteExt;

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let alice = listening(|_| {}).await;
        let answer = async {
            let (mut tcp, _) = listener.accept().await.expect("alice");
            tcp.write_all(b"220 mail.example ESMTP\r\n").await.expect("room");
            drop(tcp.read(&mut [0; 4096]).await);
        };
        let (dialled, ()) = tokio::join!(alice.connect(addr, Expect::Any), answer);
        assert!(matches!(dialled, Err(ConnectError::Handshake { .. })), "{dialled:?}");
    });
}

#[test]
fn an_address_of_the_other_ip_version_is_unusable() {
    run(async {
        let alice = listening(|_| {}).await;
        let dialled = alice.connect("[::1]:9".parse().expect("an address"), Expect::Any).await;
        assert!(matches!(dialled, Err(ConnectError::Unusable { .. })), "{dialled:?}");
    });
}

#[test]
fn an_end_without_a_farewell_is_a_loss() {
    run(async {
        let alice = listening(|_| {}).await;
        let mut bob = Raw::connect(alice.local_addr()).await;
        bob.greet().await;
        let connection = alice.accept().await.expect("open");
        drop(bob);
        let reason = connection.closed().await;
        assert!(matches!(reason, CloseReason::Lost { .. }), "{reason:?}");
    });
}

#[test]
fn a_remote_that_falls_silent_is_given_up() {
    run(async {
        let alice = listening(|config| {
            config.connection.timing.idle = Duration::from_secs(1);
            config.connection.timing.keep_alive = Duration::from_millis(100);
        });
        let alice = alice.await;
        let mut bob = Raw::connect(alice.local_addr()).await;
        bob.greet().await;
        let connection = alice.accept().await.expect("open");
        assert_eq!(connection.closed().await, CloseReason::TimedOut);
        let heard = bob.hear_all().await;
        let pings = sessions(&heard).iter().filter(|s| matches!(s, Session::Ping(_))).count();
        assert!(pings >= 2, "alice asked only {pings} times");
    });
}

#[test]
fn a_flood_of_pings_is_answered_with_few_words() {
    run(async {
        let alice = listening(|_| {}).await;
        let mut bob = Raw::connect(alice.local_addr()).await;
        bob.greet().await;
        let connection = alice.accept().await.expect("open");
        let mut flood = Vec::new();
        for number in 0..10_000 {
            Session::Ping(number).encode(&mut flood);
        }
        bob.say(&flood).await;
        let last = |bytes: &[u8]| sessions(bytes).contains(&Session::Pong(9_999));
        let heard = bob.hear_until(last).await;
        assert!(sessions(&heard).len() < 1_000);
        drop(connection);
    });
}

#[test]
fn a_tls_peer_of_another_protocol_is_refused() {
    run(async {
        use portolan_identity::Alpn;
        use tokio_rustls::TlsConnector;

        let alice_end = listening(|_| {}).await;
        let tcp = TcpStream::connect(alice_end.local_addr()).await.expect("the port is open");
        let connector = TlsConnector::from(bob().client_config(Alpn::EndToEnd));
        let name = Expect::Id(alice().id()).server_name();
        connector.connect(name, tcp).await.expect_err("another protocol");
    });
}
