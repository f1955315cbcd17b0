//! Endpoints that are bound to another address while they talk.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{
    BindConfig, BindError, CloseCode, Connection, Endpoint, Priority, RebindError, RecvStream,
    SendStream, Transport,
};
use portolan_transport_quic::Quic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

async fn bind(seed: u8) -> (Arc<dyn Endpoint>, Identity) {
    let identity = Identity::from_seed([seed; 32]);
    let config = BindConfig::new(LOOPBACK, identity.clone());
    (Quic.bind(config).await.expect("a free port"), identity)
}

/// Two ends of a connection with a stream between them.
struct Talk {
    alice: Arc<dyn Endpoint>,
    bob: Arc<dyn Endpoint>,
    ours: Arc<dyn Connection>,
    theirs: Arc<dyn Connection>,
    stream: (SendStream, RecvStream),
    other: (SendStream, RecvStream),
}

impl Talk {
    async fn begin() -> Self {
        let ((alice, _), (bob, of_bob)) = (bind(1).await, bind(2).await);
        let dial = alice.connect(bob.local_addr(), Expect::Id(of_bob.id()));
        let (ours, theirs) = within(async { tokio::join!(dial, bob.accept()) }).await;
        let (ours, theirs) = (ours.expect("connected"), theirs.expect("accepted"));
        let mut stream = ours.open_stream(Priority::Bulk).await.expect("a stream is free");
        stream.0.write_all(b"?").await.expect("it is open");
        let mut other = within(theirs.accept_stream()).await.expect("alice has opened one");
        let mut first = [0];
        within(other.1.read_exact(&mut first)).await.expect("a byte");
        Self { alice, bob, ours, theirs, stream, other }
    }

    /// Half a megabyte there and back.
    async fn exchange(&mut self) {
        let sent: Vec<u8> = (0..500_000_u32).map(|at| at.to_be_bytes()[3]).collect();
        let (mut there, mut back) = (vec![0; sent.len()], vec![0; sent.len()]);
        within(async {
            let (written, read) =
                tokio::join!(self.stream.0.write_all(&sent), self.other.1.read_exact(&mut there));
            written.and(read).expect("it arrives");
            let (written, read) =
                tokio::join!(self.other.0.write_all(&there), self.stream.1.read_exact(&mut back));
            written.and(read).expect("it comes back");
        })
        .await;
        assert!(sent == back);
    }
}

#[tokio::test]
async fn a_connection_goes_on_from_another_address() {
    let mut talk = Talk::begin().await;
    for _ in 0..3 {
        talk.exchange().await;
        let before = talk.alice.local_addr();
        let bound = talk.alice.rebind(LOOPBACK).await.expect("a free port");
        assert_ne!(bound, before);
        talk.exchange().await;
        assert_eq!(talk.alice.local_addr(), bound);
        assert_eq!(talk.ours.path().local, bound);
        assert_eq!(talk.theirs.remote_addr(), bound);
    }
    // The old ports are free again, and new connections come from the new one.
    let (carol, of_carol) = bind(3).await;
    let dial = talk.alice.connect(carol.local_addr(), Expect::Id(of_carol.id()));
    let (dialled, accepted) = within(async { tokio::join!(dial, carol.accept()) }).await;
    assert!(dialled.is_ok());
    assert_eq!(accepted.expect("accepted").remote_addr(), talk.alice.local_addr());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_changes_nothing() {
    let mut talk = Talk::begin().await;
    let before = talk.alice.local_addr();
    let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = talk.alice.rebind(foreign).await.expect_err("it is nobody's");
    assert!(matches!(error, RebindError::Bind(BindError::NotLocal(_))), "{error:?}");
    assert_eq!(talk.alice.local_addr(), before);
    talk.exchange().await;
}

#[tokio::test]
async fn a_closed_endpoint_is_not_bound_again() {
    let talk = Talk::begin().await;
    talk.alice.close(CloseCode(0), "").await;
    let error = talk.alice.rebind(LOOPBACK).await.expect_err("it is closed");
    assert!(matches!(error, RebindError::Closed), "{error:?}");
    drop(talk.bob);
}
