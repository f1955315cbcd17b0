//! Endpoints that are bound to another address while they talk.

use std::{net::SocketAddr, sync::Arc};

use portolan::{
    BindError, CloseCode, Connection, Endpoint, Expect, Identity, Priority, RebindError,
    RecvStream, SendStream, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{LOOPBACK, alice, bind, bob, config, meet, over_udp, within};

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
    async fn begin(transport: &dyn Transport) -> Self {
        let near = bind(transport, config(alice())).await;
        let far = bind(transport, config(bob())).await;
        let (ours, theirs) = meet(&near, &far).await;
        let mut stream = ours.open_stream(Priority::Bulk).await.expect("a stream is free");
        stream.0.write_all(b"?").await.expect("it is open");
        let mut other = within(theirs.accept_stream()).await.expect("alice has opened one");
        let mut first = [0];
        within(other.1.read_exact(&mut first)).await.expect("a byte");
        Self { alice: near, bob: far, ours, theirs, stream, other }
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
    for transport in over_udp() {
        let mut talk = Talk::begin(transport).await;
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
        let of_carol = Identity::from_seed([3; 32]);
        let carol = bind(transport, config(of_carol.clone())).await;
        let dial = talk.alice.connect(carol.local_addr(), Expect::Id(of_carol.id()));
        let (dialled, accepted) = within(async { tokio::join!(dial, carol.accept()) }).await;
        assert!(dialled.is_ok());
        assert_eq!(accepted.expect("accepted").remote_addr(), talk.alice.local_addr());
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_had_changes_nothing() {
    for transport in over_udp() {
        let mut talk = Talk::begin(transport).await;
        let before = talk.alice.local_addr();
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = talk.alice.rebind(foreign).await.expect_err("it is nobody's");
        assert!(matches!(error, RebindError::Bind(BindError::NotLocal(_))), "{error:?}");
        assert_eq!(talk.alice.local_addr(), before);
        talk.exchange().await;
    }
}

#[tokio::test]
async fn a_closed_endpoint_is_not_bound_again() {
    for transport in over_udp() {
        let talk = Talk::begin(transport).await;
        talk.alice.close(CloseCode(0), "").await;
        let error = talk.alice.rebind(LOOPBACK).await.expect_err("it is closed");
        assert!(matches!(error, RebindError::Closed), "{error:?}");
        drop(talk.bob);
    }
}
