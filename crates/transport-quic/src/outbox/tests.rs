use std::{
    future::{Future, poll_fn},
    net::UdpSocket,
    time::Duration,
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{ConnectionConfig, Limits};
use quinn::{Endpoint, TokioRuntime};
use tokio::{runtime::Runtime, time::timeout};

use super::*;
use crate::config::Configs;

/// Alice writes through outboxes, bob reads with bare quinn.
struct Pair {
    alice: quinn::Connection,
    bob: quinn::Connection,
    courier: Arc<Courier>,
    _ends: [Endpoint; 2],
}

fn endpoint(config: &ConnectionConfig) -> Endpoint {
    let Configs { endpoint, server, client } = Configs::new(config);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut end = Endpoint::new(endpoint, Some(server), socket, Arc::new(TokioRuntime))
        .expect("the socket works");
    end.set_default_client_config(client);
    end
}

async fn pair(limits: Limits) -> Pair {
    let end = |seed| {
        let mut config = ConnectionConfig::new(Identity::from_seed([seed; 32]));
        config.limits = limits;
        endpoint(&config)
    };
    let (near, far) = (end(1), end(2));
    let name = Expect::Id(Identity::from_seed([2; 32]).id()).dns_name();
    let addr = far.local_addr().expect("bound");
    let connecting = near.connect(addr, &name).expect("a good name");
    let accepting = async { far.accept().await.expect("alice").await.expect("alice's key") };
    let (alice, bob) = tokio::join!(connecting, accepting);
    let alice = alice.expect("bob's key");
    // The socket is quinn's own, so that nobody counts what it sends: only the courier knows.
    let ahead = Ahead::new(alice.clone(), &limits);
    let courier = Courier::new(ahead, Arc::default(), limits.send_buffer);
    Pair { alice, bob, courier, _ends: [near, far] }
}

impl Pair {
    async fn open(&self, priority: Priority) -> Arc<Outbox> {
        let (send, _recv) = self.alice.open_bi().await.expect("alive");
        Outbox::new(send, priority, &self.courier)
    }

    async fn read_all(&self) -> Vec<u8> {
        let (_send, mut recv) = self.bob.accept_bi().await.expect("a stream");
        recv.read_to_end(1 << 20).await.expect("all of it")
    }
}

/// Writes without letting any other task run; answers how much was taken.
fn write_now(outbox: &Outbox, bytes: &[u8]) -> Poll<Result<usize, WriteError>> {
    outbox.poll_write(&mut Context::from_waker(Waker::noop()), bytes)
}

fn gathered(outbox: &Outbox) -> usize {
    lock(&outbox.state).gathered.len()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        timeout(Duration::from_secs(60), test).await.expect("the test ends");
    });
}

fn messages() -> Vec<u8> {
    (0..251_u8).cycle().take(60_000).collect()
}

#[test]
fn what_is_written_before_the_task_yields_leaves_in_few_frames() {
    run(async {
        let pair = pair(Limits::default()).await;
        let outbox = pair.open(Priority::Interactive).await;
        for message in messages().chunks(100) {
            assert!(matches!(write_now(&outbox, message), Poll::Ready(Ok(100))));
        }
        outbox.finish().expect("bob reads");
        outbox.leave();
        drop(outbox);
        let courier = tokio::spawn(Arc::clone(&pair.courier).run());
        assert!(pair.read_all().await == messages(), "the same bytes");
        // 600 messages; packets of 1,200 bytes at first.
        let frames = pair.alice.stats().frame_tx.stream;
        assert!(frames < 100, "{frames} frames");
        assert!(lock(&pair.courier.left).is_empty(), "nothing is kept once it is handed over");
        courier.abort();
    });
}

#[test]
fn a_lone_message_does_not_wait_for_the_courier() {
    run(async {
        let pair = pair(Limits::default()).await;
        let outbox = pair.open(Priority::Interactive).await;
        assert!(matches!(write_now(&outbox, b"one"), Poll::Ready(Ok(3))));
        assert_eq!(gathered(&outbox), 0);
        assert!(matches!(write_now(&outbox, b"two"), Poll::Ready(Ok(3))));
        assert_eq!(gathered(&outbox), 3, "nothing was sent in between");
        let courier = tokio::spawn(Arc::clone(&pair.courier).run());
        let (_send, mut recv) = pair.bob.accept_bi().await.expect("a stream");
        let mut six = [0; 6];
        recv.read_exact(&mut six).await.expect("both");
        assert_eq!(&six, b"onetwo");
        assert!(matches!(write_now(&outbox, b"three"), Poll::Ready(Ok(5))));
        assert_eq!(gathered(&outbox), 0, "the courier has been here");
        courier.abort();
    });
}

#[test]
fn what_is_gathered_is_bounded_and_its_writer_is_woken() {
    run(async {
        let limits = Limits { send_buffer: 1_000, ..Limits::default() };
        let pair = pair(limits).await;
        let outbox = pair.open(Priority::Bulk).await;
        assert!(matches!(write_now(&outbox, &[7; 10]), Poll::Ready(Ok(10))));
        assert!(matches!(write_now(&outbox, &[7; 600]), Poll::Ready(Ok(600))));
        assert!(matches!(write_now(&outbox, &[7; 600]), Poll::Ready(Ok(400))));
        assert!(write_now(&outbox, &[7; 600]).is_pending());
        let courier = tokio::spawn(Arc::clone(&pair.courier).run());
        let written = poll_fn(|cx| outbox.poll_write(cx, &[7; 600])).await;
        assert_eq!(written.expect("room"), 600);
        courier.abort();
    });
}

#[test]
fn a_reset_takes_back_what_was_gathered() {
    run(async {
        let pair = pair(Limits::default()).await;
        let outbox = pair.open(Priority::Bulk).await;
        assert!(matches!(write_now(&outbox, b"kept"), Poll::Ready(Ok(4))));
        assert!(matches!(write_now(&outbox, b"taken back"), Poll::Ready(Ok(10))));
        outbox.reset(StreamCode(5));
        outbox.leave();
        let courier = tokio::spawn(Arc::clone(&pair.courier).run());
        let (_send, mut recv) = pair.bob.accept_bi().await.expect("a stream");
        let read = recv.read_to_end(100).await.expect_err("a reset");
        let reset = quinn::ReadToEndError::Read(quinn::ReadError::Reset(VarInt::from_u32(5)));
        assert_eq!(read, reset);
        assert!(lock(&pair.courier.left).is_empty(), "nothing waits any more");
        courier.abort();
    });
}

#[test]
fn a_reader_that_stops_is_reported_to_who_gathers() {
    run(async {
        let pair = pair(Limits::default()).await;
        let outbox = pair.open(Priority::Bulk).await;
        let courier = tokio::spawn(Arc::clone(&pair.courier).run());
        assert!(matches!(write_now(&outbox, b"1"), Poll::Ready(Ok(1))));
        let (_send, mut recv) = pair.bob.accept_bi().await.expect("a stream");
        recv.stop(VarInt::from_u32(9)).expect("open");
        let error = loop {
            match poll_fn(|cx| outbox.poll_write(cx, &[7; 100])).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(error, WriteError::Stopped(VarInt::from_u32(9)));
        courier.abort();
    });
}

/// Bob's side has a runtime of its own, which stands still once he is connected.
fn silent_pair(limits: Limits) -> (Runtime, Runtime, Pair) {
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime")
    };
    let (near, far) = (runtime(), runtime());
    let config = |seed| {
        let mut config = ConnectionConfig::new(Identity::from_seed([seed; 32]));
        config.limits = limits;
        config
    };
    let bobs = far.block_on(async { endpoint(&config(2)) });
    let alices = near.block_on(async { endpoint(&config(1)) });
    let addr = bobs.local_addr().expect("bound");
    let name = Expect::Id(Identity::from_seed([2; 32]).id()).dns_name();
    let (told, hears) = tokio::sync::oneshot::channel();
    let accepting = std::thread::spawn(move || {
        let (bob, bobs) = far.block_on(async {
            let bob = bobs.accept().await.expect("alice").await.expect("alice's key");
            let told: Result<(), _> = hears.await;
            told.expect("alice is connected");
            (bob, bobs)
        });
        (far, bob, bobs)
    });
    let connecting = async { alices.connect(addr, &name).expect("a good name").await };
    let alice = near.block_on(connecting).expect("bob's key");
    told.send(()).expect("bob waits");
    let (far, bob, bobs) = accepting.join().expect("bob");
    let courier = Courier::new(Ahead::new(alice.clone(), &limits), Arc::default(), 1);
    (near, far, Pair { alice, bob, courier, _ends: [alices, bobs] })
}

#[test]
fn bulk_that_nobody_acknowledges_leaves_room_for_each_more_urgent_class() {
    let limits = Limits { connection_window: 240 << 10, ..Limits::default() };
    let (near, _far, pair) = silent_pair(limits);
    near.block_on(async {
        let bulk = pair.open(Priority::Bulk).await;
        let mut taken = 0;
        while let Poll::Ready(written) = write_now(&bulk, &[7; LARGE]) {
            taken += written.expect("alive");
        }
        assert_eq!(taken, 180 << 10, "three quarters of the window");
        for priority in [Priority::Interactive, Priority::Live, Priority::Control] {
            let urgent = pair.open(priority).await;
            assert!(matches!(write_now(&urgent, b"!"), Poll::Ready(Ok(1))), "{priority:?}");
            let more = write_now(&bulk, &[7; LARGE]);
            assert!(more.is_pending(), "and bulk gets nothing of it");
        }
    });
}

#[test]
fn who_writes_bulk_hands_over_first_what_is_more_urgent() {
    run(async {
        let window = 256 << 10;
        let limits =
            Limits { connection_window: window, stream_window: window, ..Limits::default() };
        let pair = pair(limits).await;
        let (bulk, urgent) = (pair.open(Priority::Bulk).await, pair.open(Priority::Control).await);
        // Bob acknowledges and does not read, so that bulk takes all that he lets in.
        let mut written = 0;
        while written < window as usize {
            let more = poll_fn(|cx| bulk.poll_write(cx, &[7; 16 << 10])).await;
            written += more.expect("bob reads");
        }
        assert!(matches!(write_now(&urgent, b"!"), Poll::Ready(Ok(1))));
        assert_eq!(gathered(&urgent), 1, "there is no room for it");
        let (_send, mut recv) = pair.bob.accept_bi().await.expect("a stream");
        recv.read_exact(&mut [0; 64 << 10]).await.expect("bulk");
        // There is no courier: only who writes bulk can have done it.
        poll_fn(|cx| bulk.poll_write(cx, &[7; 16 << 10])).await.expect("bob reads");
        assert_eq!(gathered(&urgent), 0);
        let (_send, mut recv) = pair.bob.accept_bi().await.expect("a stream");
        recv.read_exact(&mut [0]).await.expect("what was urgent");
    });
}
