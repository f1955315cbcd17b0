//! Endpoints of alice and bob, and connections between them.

use std::{
    future::{Future, poll_fn},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use portolan_transport::{
    BindConfig, BindError, ConnectError, Connection, ConnectionConfig, Endpoint, Expect, Identity,
    Priority, RecvStream, SendStream, Shared,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Detour, Dial, Harness};

/// The network of one check.
pub(crate) struct Net {
    pub(crate) harness: Harness,
    shared: Shared,
    ways: Mutex<Vec<Box<dyn Detour>>>,
}

/// Two connected peers; the endpoints are kept alive.
pub(crate) struct Pair {
    pub(crate) alice: Arc<dyn Connection>,
    pub(crate) bob: Arc<dyn Connection>,
    _net: Net,
    _endpoints: [Arc<dyn Endpoint>; 2],
}

pub(crate) fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

pub(crate) fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

/// A loopback address with any port.
pub(crate) fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// For a check that changes nothing.
pub(crate) fn unchanged(_config: &mut ConnectionConfig) {}

impl Net {
    pub(crate) fn new(harness: Harness) -> Self {
        Self { harness, shared: Shared::default(), ways: Mutex::default() }
    }

    pub(crate) async fn bind(
        &self,
        identity: Identity,
        change: impl FnOnce(&mut ConnectionConfig),
    ) -> Arc<dyn Endpoint> {
        let mut config = BindConfig::new(any_port(), identity);
        change(&mut config.connection);
        self.bind_at(config).await.expect("a free port")
    }

    pub(crate) async fn bind_at(
        &self,
        mut config: BindConfig,
    ) -> Result<Arc<dyn Endpoint>, BindError> {
        config.shared = self.shared.clone();
        self.harness.transport.bind(config).await
    }

    /// Where to dial to reach `to`.
    pub(crate) async fn way_to(&self, to: SocketAddr) -> SocketAddr {
        match &self.harness.dial {
            Dial::Straight => to,
            Dial::Through(detours) => {
                let way = detours.open(to).await;
                let entry = way.entry();
                self.ways.lock().unwrap_or_else(PoisonError::into_inner).push(way);
                entry
            }
        }
    }

    pub(crate) async fn dial(
        &self,
        from: &dyn Endpoint,
        to: &dyn Endpoint,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        from.connect(self.way_to(to.local_addr()).await, expect).await
    }

    /// Connects `from` to `to`, which is bob's.
    pub(crate) async fn meet(
        &self,
        from: &dyn Endpoint,
        to: &dyn Endpoint,
    ) -> (Arc<dyn Connection>, Arc<dyn Connection>) {
        let (dialled, accepted) =
            tokio::join!(self.dial(from, to, Expect::Id(bob().id())), to.accept());
        (dialled.expect("alice reaches bob"), accepted.expect("bob is open"))
    }
}

impl Pair {
    pub(crate) async fn new(harness: Harness) -> Self {
        Self::with(harness, unchanged).await
    }

    /// Both ends with the same change of configuration.
    pub(crate) async fn with(harness: Harness, change: fn(&mut ConnectionConfig)) -> Self {
        let net = Net::new(harness);
        let near = net.bind(alice(), change).await;
        let far = net.bind(bob(), change).await;
        let (alice, bob) = net.meet(&*near, &*far).await;
        Self { alice, bob, _net: net, _endpoints: [near, far] }
    }

    /// A stream that alice has opened and bob has accepted; one byte has passed.
    pub(crate) async fn stream(&self) -> [(SendStream, RecvStream); 2] {
        self.stream_of(Priority::default()).await
    }

    pub(crate) async fn stream_of(&self, priority: Priority) -> [(SendStream, RecvStream); 2] {
        stream_between(&*self.alice, &*self.bob, priority).await
    }

    /// A question and its answer on a stream of its own: whatever else is stuck, this passes.
    pub(crate) async fn round_trip(&self) {
        round_trip(&*self.alice, &*self.bob).await;
    }
}

/// A stream that `opener` has opened and `acceptor` has accepted; one byte has passed.
pub(crate) async fn stream_between(
    opener: &dyn Connection,
    acceptor: &dyn Connection,
    priority: Priority,
) -> [(SendStream, RecvStream); 2] {
    let mut near = opener.open_stream(priority).await.expect("room for a stream");
    near.0.write_all(b"!").await.expect("room for a byte");
    near.0.flush().await.expect("a byte passes");
    let mut far = acceptor.accept_stream().await.expect("a stream comes");
    assert_eq!(far.1.read_u8().await.expect("a byte comes"), b'!');
    [near, far]
}

/// A question and its answer on a stream of its own, which is gone afterwards.
pub(crate) async fn round_trip(asker: &dyn Connection, answerer: &dyn Connection) {
    // A transport that answers at once would never give the other tasks their turn.
    tokio::task::yield_now().await;
    let [(mut ask, mut hear), (mut answer, mut listen)] =
        stream_between(asker, answerer, Priority::Control).await;
    ask.finish().expect("the end passes");
    assert_eq!(listen.read(&mut [0]).await.expect("the end comes"), 0);
    answer.write_all(b"?").await.expect("room for an answer");
    answer.finish().expect("the end passes");
    assert_eq!(hear.read_u8().await.expect("an answer comes"), b'?');
    assert_eq!(hear.read(&mut [0]).await.expect("the end comes"), 0);
}

/// Asks again and again, giving others their turn, until `condition` holds.
pub(crate) async fn until(pair: &Pair, mut condition: impl FnMut() -> bool) {
    while !condition() {
        pair.round_trip().await;
    }
}

/// Polls a future once, drops it, makes it anew, and so on until it is ready at once: what a `select!` does
/// whose other branch is always faster.
pub(crate) async fn impatiently<T, F: Future<Output = T>>(mut make: impl FnMut() -> F) -> T {
    loop {
        let mut attempt = Box::pin(make());
        let once = poll_fn(|cx| match attempt.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(value) = once.await {
            return value;
        }
        drop(attempt);
        tokio::task::yield_now().await;
    }
}
