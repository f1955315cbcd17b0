//! Connections inside a byte stream.

mod common;

use std::{sync::Arc, time::Duration};

use common::{alice, bob, run};
use portolan_identity::{Expect, Identity};
use portolan_transport::{
    CloseCode, CloseReason, ConnectError, Connection, ConnectionConfig, Lifetime, Path, PathKind,
    Priority, Tunnel,
};
use portolan_transport_tcp::TcpTunnel;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn path() -> Path {
    let addr = ([10, 0, 0, 1], 7275).into();
    Path { kind: PathKind::Relayed, local: addr, remote: addr }
}

type Tunnelled = Result<Arc<dyn Connection>, ConnectError>;

async fn meet(
    (near, far): (DuplexStream, DuplexStream),
    (bob_is, alice_is): (Expect, Expect),
) -> (Tunnelled, Tunnelled) {
    let config = |identity: Identity| {
        let mut config = ConnectionConfig::new(identity);
        config.timing.handshake = Duration::from_secs(2);
        config
    };
    tokio::join!(
        TcpTunnel.connect(Box::new(near), path(), config(alice()), bob_is),
        TcpTunnel.accept(Box::new(far), path(), config(bob()), alice_is),
    )
}

async fn pair(size: usize) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
    let expect = (Expect::Id(bob().id()), Expect::Id(alice().id()));
    let (near, far) = meet(duplex(size), expect).await;
    (near.expect("bob's key"), far.expect("alice's key"))
}

#[test]
fn streams_and_datagrams_pass_a_narrow_pipe() {
    run(async {
        let (near, far) = pair(300).await;
        assert_eq!((near.remote_id(), far.remote_id()), (bob().id(), alice().id()));
        assert_eq!(near.path(), path());
        let echo = tokio::spawn(async move {
            let (mut send, mut recv) = far.accept_stream().await.expect("alice speaks");
            tokio::io::copy(&mut recv, &mut send).await.expect("room");
            send.finish().expect("open");
            let datagram = far.recv_datagram().await.expect("one comes");
            far.closed().await;
            datagram
        });
        let (mut send, mut recv) = near.open_stream(Priority::Bulk).await.expect("room");
        let said: Vec<u8> = (0..251).cycle().take(300_000).collect();
        let copy = said.clone();
        let writing = tokio::spawn(async move {
            send.write_all(&copy).await.expect("room");
            send.finish().expect("open");
        });
        let mut heard = Vec::new();
        recv.read_to_end(&mut heard).await.expect("an end");
        assert_eq!(heard, said);
        writing.await.expect("no panic");
        near.send_datagram("x".into(), Lifetime::Once).expect("short");
        // The last word comes after all others.
        while near.stats().send_queue > 0 {
            tokio::task::yield_now().await;
        }
        near.close(CloseCode::DONE, "done");
        assert_eq!(echo.await.expect("no panic"), "x");
    });
}

#[test]
fn the_side_that_asked_refuses_another_key() {
    run(async {
        let expect = (Expect::Id(alice().id()), Expect::Any);
        let (near, far) = meet(duplex(4096), expect).await;
        let Err(ConnectError::WrongPeer { expected, .. }) = near else { panic!("{near:?}") };
        assert_eq!(expected, alice().id());
        assert!(matches!(far, Err(ConnectError::Handshake { .. })), "{far:?}");
    });
}

#[test]
fn the_side_that_was_asked_refuses_another_key() {
    run(async {
        let expect = (Expect::Id(bob().id()), Expect::Id(bob().id()));
        let (near, far) = meet(duplex(4096), expect).await;
        assert!(matches!(far, Err(ConnectError::WrongPeer { .. })), "{far:?}");
        near.expect_err("bob does not greet alice");
    });
}

#[test]
fn a_broken_pipe_ends_both_sides() {
    run(async {
        let (near, mut cut) = duplex(4096);
        let (far, mut other) = duplex(4096);
        let (cutter, cutting) = tokio::sync::oneshot::channel::<()>();
        let carry = tokio::spawn(async move {
            tokio::select! {
                ended = tokio::io::copy_bidirectional(&mut cut, &mut other) => drop(ended),
                _ = cutting => {}
            }
        });
        let expect = (Expect::Id(bob().id()), Expect::Id(alice().id()));
        let (near, far) = meet((near, far), expect).await;
        drop(cutter);
        carry.await.expect("no panic");
        for connection in [near.expect("connected"), far.expect("connected")] {
            let reason = connection.closed().await;
            assert!(matches!(reason, CloseReason::Lost { .. }), "{reason:?}");
        }
    });
}

#[test]
fn a_pipe_that_takes_nothing_holds_up_nobody_for_ever() {
    run(async {
        let (near, _far) = duplex(64);
        let mut config = ConnectionConfig::new(alice());
        config.timing.handshake = Duration::from_millis(200);
        let tunnel = TcpTunnel.connect(Box::new(near), path(), config, Expect::Any).await;
        assert!(matches!(tunnel, Err(ConnectError::TimedOut(_))), "{tunnel:?}");
    });
}
