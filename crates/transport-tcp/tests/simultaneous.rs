//! Two who dial each other at the same moment, and what a listener tells by STUN.
//!
//! On loopback one call always gets through before the other one is made, so what is tried here is
//! that it does not matter which.

mod common;

use std::{io, net::SocketAddr, sync::Arc};

use common::{alice, bob, listening, run};
use portolan_identity::{Expect, Identity};
use portolan_transport::{
    BindConfig, ConnectError, Connection, Dials, Endpoint, Priority, Speaks, Transport,
};
use portolan_transport_tcp::Tcp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn dialling(identity: Identity, at: [u8; 4]) -> Arc<dyn Endpoint> {
    let mut config = BindConfig::new((at, 0).into(), identity);
    config.dials = Dials::BoundPort;
    Tcp.bind(config).await.expect("a free port")
}

async fn open(
    from: &Arc<dyn Endpoint>,
    to: SocketAddr,
    expect: Expect,
    speaks: Speaks,
) -> Result<Arc<dyn Connection>, ConnectError> {
    from.simultaneous().expect("it dials from its port").open(to, expect, speaks).await
}

async fn talks(one: &Arc<dyn Connection>, other: &Arc<dyn Connection>) {
    let (mut send, _receive) = one.open_stream(Priority::Control).await.expect("it is open");
    send.write_all(b"hello").await.expect("it is heard");
    let (_send, mut receive) = other.accept_stream().await.expect("it comes");
    let mut heard = [0; 5];
    receive.read_exact(&mut heard).await.expect("it is whole");
    assert_eq!(&heard, b"hello");
}

#[cfg(unix)]
#[test]
fn who_dial_each_other_at_once_meet_whoever_comes_first_and_whoever_speaks_first() {
    run(async {
        for alice_speaks in [Speaks::First, Speaks::Second] {
            let bob_speaks = match alice_speaks {
                Speaks::First => Speaks::Second,
                Speaks::Second => Speaks::First,
            };
            let (a, b) =
                (dialling(alice(), [127, 0, 0, 1]).await, dialling(bob(), [127, 0, 0, 1]).await);
            let (to_a, to_b) = (a.local_addr(), b.local_addr());
            let (one, other) = tokio::join!(
                open(&a, to_b, Expect::Id(bob().id()), alice_speaks),
                open(&b, to_a, Expect::Id(alice().id()), bob_speaks),
            );
            let (one, other) = (one.expect("bob answers"), other.expect("alice answers"));
            assert_eq!((one.remote_addr(), other.remote_addr()), (to_b, to_a), "from their ports");
            talks(&one, &other).await;
            talks(&other, &one).await;
        }
    });
}

#[cfg(unix)]
#[test]
fn a_call_that_comes_before_we_dial_waits_for_us() {
    run(async {
        let (a, b) =
            (dialling(alice(), [127, 0, 0, 1]).await, dialling(bob(), [127, 0, 0, 1]).await);
        let (to_a, to_b) = (a.local_addr(), b.local_addr());
        // Bob has called, waits for alice to speak, and she does not know of him yet.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_reuseport(true).expect("it may");
        socket.set_reuseaddr(true).expect("it may");
        socket.bind(to_b).expect("bob's port is shared");
        let early = socket.connect(to_a).await.expect("alice listens");
        let mut first = [0; 1];
        tokio::select! {
            biased;
            opened = open(&a, to_b, Expect::Id(bob().id()), Speaks::First) => {
                panic!("nobody answers her: {opened:?}")
            }
            peeked = early.peek(&mut first) => { peeked.expect("it is open"); }
        }
        assert_eq!(first, [22], "she has taken it and greets as TLS's client");
    });
}

#[cfg(unix)]
#[test]
fn who_has_another_key_is_not_met() {
    run(async {
        let (a, b) =
            (dialling(alice(), [127, 0, 0, 1]).await, dialling(bob(), [127, 0, 0, 1]).await);
        let (to_a, to_b) = (a.local_addr(), b.local_addr());
        let expect = Expect::Id(Identity::from_seed([9; 32]).id());
        let (one, other) = tokio::join!(
            open(&a, to_b, expect, Speaks::First),
            open(&b, to_a, Expect::Id(alice().id()), Speaks::Second),
        );
        assert!(matches!(one, Err(ConnectError::WrongPeer { .. })), "{one:?}");
        assert!(other.is_err(), "{other:?}");
    });
}

#[test]
fn nobody_there_is_said_after_a_few_tries() {
    run(async {
        let a = dialling(alice(), [127, 0, 0, 1]).await;
        let Some(simultaneous) = a.simultaneous() else { return };
        // Bound, so that nobody else gets it, and not listening.
        let bound = tokio::net::TcpSocket::new_v4().expect("a socket");
        bound.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let nobody = bound.local_addr().expect("bound");
        let opened = simultaneous.open(nobody, Expect::Any, Speaks::First).await;
        assert!(matches!(opened, Err(ConnectError::Unreachable { .. })), "{opened:?}");
    });
}

#[test]
fn a_port_that_is_bound_for_itself_dials_from_others() {
    run(async {
        assert!(listening(|_| ()).await.simultaneous().is_none());
    });
}

#[cfg(unix)]
#[test]
fn every_listener_tells_who_asks_as_which_it_sees_it() {
    run(async {
        let (a, b) = (listening(|_| ()).await, dialling(bob(), [127, 0, 0, 1]).await);
        let asking = b.simultaneous().expect("it dials from its port");
        let seen = asking.seen_by(a.local_addr()).await.expect("alice answers");
        assert_eq!(seen.address, b.local_addr());
        // Over the dual stack IPv4 is IPv4.
        let mut config = BindConfig::new("[::]:0".parse().expect("an address"), bob());
        config.dials = Dials::BoundPort;
        let Ok(both) = Tcp.bind(config).await else { return };
        let asking = both.simultaneous().expect("it dials from its port");
        let seen = asking.seen_by(a.local_addr()).await.expect("alice answers");
        assert_eq!(seen.address, ([127, 0, 0, 1], both.local_addr().port()).into());
    });
}

#[cfg(unix)]
#[test]
fn who_asks_what_is_no_question_is_not_answered() {
    run(async {
        let a = listening(|_| ()).await;
        for nonsense in [&[0; 20][..], &[0, 1, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42], &[0, 1]] {
            let mut stream = TcpStream::connect(a.local_addr()).await.expect("alice listens");
            stream.write_all(nonsense).await.expect("she takes it");
            stream.shutdown().await.expect("that is all");
            let mut heard = Vec::new();
            let end = stream.read_to_end(&mut heard).await;
            assert!(heard.is_empty(), "{heard:?}");
            let reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
            assert!(end.is_ok() || end.as_ref().is_err_and(reset), "{end:?}");
        }
    });
}
