//! A connection that its maker takes to another address of the same remote.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_transport::{
    BindConfig, Connection, Endpoint, Expect, Identity, MigrateError, Priority, RecvStream,
    SendStream, Transport,
};
use portolan_transport_udp::Udp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    task::JoinHandle,
    time::timeout,
};

/// Long enough for a loaded machine; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("in time")
}

async fn bind(seed: u8) -> Arc<dyn Endpoint> {
    let local = "127.0.0.1:0".parse().unwrap();
    Udp.bind(BindConfig::new(local, Identity::from_seed([seed; 32]))).await.unwrap()
}

/// A detour to `target`; aborting the task blocks it.
async fn detour(target: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = near.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut there, mut back) = (vec![0; 65536], vec![0; 65536]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((length, from)) = near.recv_from(&mut there) => {
                    client = Some(from);
                    let _ = far.send_to(&there[..length], target).await;
                }
                Ok((length, _)) = far.recv_from(&mut back) => {
                    if let Some(client) = client {
                        let _ = near.send_to(&back[..length], client).await;
                    }
                }
            }
        }
    });
    (addr, task)
}

struct Talk {
    ours: Arc<dyn Connection>,
    theirs: Arc<dyn Connection>,
    stream: (SendStream, RecvStream),
    other: (SendStream, RecvStream),
    alice: Arc<dyn Endpoint>,
    bob: Arc<dyn Endpoint>,
}

impl Talk {
    /// Alice has reached bob at `addr`.
    async fn begin(alice: Arc<dyn Endpoint>, bob: Arc<dyn Endpoint>, addr: SocketAddr) -> Self {
        let expect = Expect::Id(Identity::from_seed([2; 32]).id());
        let (ours, theirs) =
            within(async { tokio::join!(alice.connect(addr, expect), bob.accept()) }).await;
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        let mut stream = ours.open_stream(Priority::Bulk).await.unwrap();
        stream.0.write_all(b"?").await.unwrap();
        let mut other = within(theirs.accept_stream()).await.unwrap();
        within(other.1.read_exact(&mut [0])).await.unwrap();
        Self { ours, theirs, stream, other, alice, bob }
    }

    /// Half a megabyte there and back.
    async fn exchange(&mut self) {
        let sent: Vec<u8> = (0..500_000_u32).map(|at| at.to_be_bytes()[2]).collect();
        let (mut there, mut back) = (vec![0; sent.len()], vec![0; sent.len()]);
        within(async {
            let (written, read) =
                tokio::join!(self.stream.0.write_all(&sent), self.other.1.read_exact(&mut there));
            written.and(read).unwrap();
            let (written, read) =
                tokio::join!(self.other.0.write_all(&there), self.stream.1.read_exact(&mut back));
            written.and(read).unwrap();
        })
        .await;
        assert!(sent == back);
    }
}

#[tokio::test]
async fn a_connection_goes_to_another_address_of_its_remote_and_back() {
    let (alice, bob) = (bind(1).await, bind(2).await);
    let (around, _road) = detour(bob.local_addr()).await;
    let mut talk = Talk::begin(alice, bob, around).await;
    talk.exchange().await;
    assert_ne!(talk.theirs.remote_addr(), talk.alice.local_addr());
    let straight = talk.bob.local_addr();
    for (to, from) in [(straight, Some(talk.alice.local_addr())), (around, None)] {
        within(talk.ours.migrate(to)).await.unwrap();
        assert_eq!(talk.ours.remote_addr(), to);
        talk.exchange().await;
        if let Some(from) = from {
            assert_eq!(talk.theirs.remote_addr(), from, "bob has followed");
        }
    }
    assert_eq!(talk.ours.stats().path_changes, Some(2));
}

#[tokio::test]
async fn a_connection_leaves_a_way_that_is_dead() {
    let (alice, bob) = (bind(1).await, bind(2).await);
    let (around, road) = detour(bob.local_addr()).await;
    let mut talk = Talk::begin(alice, bob, around).await;
    talk.exchange().await;
    road.abort();
    let straight = talk.bob.local_addr();
    within(talk.ours.migrate(straight)).await.unwrap();
    talk.exchange().await;
}

#[tokio::test]
async fn a_connection_stays_where_it_is_when_nobody_answers_elsewhere() {
    let (alice, bob) = (bind(1).await, bind(2).await);
    let straight = bob.local_addr();
    let mut talk = Talk::begin(alice, bob, straight).await;
    talk.exchange().await;
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let refused = within(talk.ours.migrate(deaf.local_addr().unwrap())).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NoAnswer(_)), "{refused}");
    let dropped = timeout(Duration::ZERO, talk.ours.migrate(deaf.local_addr().unwrap())).await;
    assert!(dropped.is_err(), "nobody waits any more");
    assert_eq!(talk.ours.remote_addr(), straight);
    talk.exchange().await;
    let theirs = within(talk.theirs.migrate(talk.alice.local_addr())).await.unwrap_err();
    assert!(matches!(theirs, MigrateError::NotOurs), "{theirs}");
    talk.ours.close(portolan_transport::CloseCode::DONE, "");
    let gone = within(talk.ours.migrate(straight)).await.unwrap_err();
    assert!(matches!(gone, MigrateError::TooEarly | MigrateError::Closed), "{gone}");
}
