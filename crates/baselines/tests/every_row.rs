//! What every yardstick keeps, so that its figures mean what they say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::Duration,
};

use bytes::Bytes;
use portolan_baselines::BASELINES;
use portolan_identity::Identity;
use portolan_subject::{Client, Link, Listener, Messages, Stream, Subject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};

/// Nothing here takes a second; a slow machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections at once of rows that share a socket.
const MANY: usize = 1000;

/// Connections at once of rows that have a socket for each: what 1,024 open files allow.
const MANY_SOCKETS: usize = 300;

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// alice asks, bob answers.
struct Sides {
    client: Box<dyn Client>,
    listener: Box<dyn Listener>,
    server: SocketAddr,
    bob: Identity,
}

struct Ends {
    alice: Box<dyn Link>,
    bob: Box<dyn Link>,
}

impl Sides {
    async fn new(subject: &dyn Subject, local: &str) -> io::Result<Self> {
        let local = local.parse().unwrap();
        let bob = Identity::from_seed([2; 32]);
        let listener = subject.listen(local, bob.clone()).await?;
        let client = subject.client(local, Identity::from_seed([1; 32])).await?;
        Ok(Self { client, server: listener.local_addr(), listener, bob })
    }

    async fn connect(&mut self) -> Ends {
        let connecting = self.client.connect(self.server, self.bob.id());
        let (alice, bob) = tokio::join!(connecting, self.listener.accept());
        Ends { alice: alice.unwrap(), bob: bob.unwrap() }
    }
}

/// Runs `check` with every row that this machine can run.
async fn for_every_row<F: Future<Output = ()>>(check: impl Fn(&'static dyn Subject) -> F) {
    for &subject in BASELINES {
        if let Some(why) = subject.missing() {
            eprintln!("{} left out: {why}", subject.name());
            continue;
        }
        eprintln!("{}", subject.name());
        timeout(PATIENCE, check(subject)).await.unwrap_or_else(|_| {
            panic!("{} did not finish within {PATIENCE:?}", subject.name());
        });
    }
}

async fn sides(subject: &dyn Subject) -> Sides {
    Sides::new(subject, LOOPBACKS[0]).await.unwrap()
}

/// Bytes that no shift leaves alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

async fn send_all(stream: &mut Stream, bytes: &[u8]) {
    stream.write.write_all(bytes).await.unwrap();
    stream.write.shutdown().await.unwrap();
}

async fn read_to_end(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn four_mebibytes_arrive_intact_up_and_down_and_end() {
    for_every_row(|subject| async move {
        let sent = &pattern(4 << 20);
        let ends = sides(subject).await.connect().await;
        let asking = async {
            let mut stream = ends.alice.open().await.unwrap();
            send_all(&mut stream, sent).await;
            assert!(read_to_end(&mut stream).await == *sent, "{} down", subject.name());
            stream
        };
        let answering = async {
            let mut stream = ends.bob.accept().await.unwrap();
            assert!(read_to_end(&mut stream).await == *sent, "{} up", subject.name());
            send_all(&mut stream, sent).await;
            // Dropping the connection here could take back what is under way.
            stream
        };
        tokio::join!(asking, answering);
    })
    .await;
}

#[tokio::test]
async fn both_ways_at_once_do_not_block_each_other() {
    for_every_row(|subject| async move {
        let sent = &pattern(4 << 20);
        let ends = sides(subject).await.connect().await;
        let mut alice = ends.alice.open().await.unwrap();
        // The other side sees a stream with its first byte.
        alice.write.write_all(b"!").await.unwrap();
        alice.write.flush().await.unwrap();
        let mut bob = ends.bob.accept().await.unwrap();
        assert_eq!(bob.read.read_u8().await.unwrap(), b'!');
        let swap = async |stream: &mut Stream| {
            let Stream { read, write, .. } = stream;
            let mut received = Vec::new();
            let writing = async {
                write.write_all(sent).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let (_, read) = tokio::join!(writing, read.read_to_end(&mut received));
            read.unwrap();
            assert!(received == *sent, "{}", subject.name());
        };
        tokio::join!(swap(&mut alice), swap(&mut bob));
    })
    .await;
}

#[tokio::test]
async fn a_thousand_small_round_trips_return() {
    for_every_row(|subject| async move {
        let ends = sides(subject).await.connect().await;
        let asking = async {
            let mut stream = ends.alice.open().await.unwrap();
            for number in 0..1000_u32 {
                stream.write.write_u32(number).await.unwrap();
                stream.write.flush().await.unwrap();
                assert_eq!(stream.read.read_u32().await.unwrap(), number, "{}", subject.name());
            }
            stream
        };
        let answering = async {
            let mut stream = ends.bob.accept().await.unwrap();
            for _ in 0..1000 {
                let number = stream.read.read_u32().await.unwrap();
                stream.write.write_u32(number).await.unwrap();
                stream.write.flush().await.unwrap();
            }
            stream
        };
        tokio::join!(asking, answering);
    })
    .await;
}

#[tokio::test]
async fn fifty_connections_at_once_keep_their_bytes_apart() {
    for_every_row(|subject| async move {
        let mut sides = sides(subject).await;
        let mut ends = Vec::new();
        for _ in 0..50 {
            ends.push(sides.connect().await);
        }
        let mut tasks = JoinSet::new();
        for (number, Ends { alice, bob }) in ends.into_iter().enumerate() {
            tasks.spawn(async move {
                let bytes = pattern(40_000 + number);
                let mut asking = alice.open().await.unwrap();
                let answering = async {
                    let mut stream = bob.accept().await.unwrap();
                    let echo = read_to_end(&mut stream).await;
                    send_all(&mut stream, &echo).await;
                    stream
                };
                let asking = async {
                    send_all(&mut asking, &bytes).await;
                    read_to_end(&mut asking).await
                };
                let (back, _) = tokio::join!(asking, answering);
                assert!(back == bytes, "connection {number}");
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_ends_at_once_is_seen_to_end() {
    for_every_row(|subject| async move {
        let ends = sides(subject).await.connect().await;
        let mut alice = ends.alice.open().await.unwrap();
        let asking = async {
            send_all(&mut alice, b"over").await;
            assert_eq!(read_to_end(&mut alice).await, b"", "{}", subject.name());
        };
        let answering = async {
            let mut bob = ends.bob.accept().await.unwrap();
            assert_eq!(read_to_end(&mut bob).await, b"over", "{}", subject.name());
            bob.write.shutdown().await.unwrap();
            bob
        };
        tokio::join!(asking, answering);
    })
    .await;
}

#[tokio::test]
async fn who_is_not_the_expected_peer_is_refused_by_rows_that_are_encrypted() {
    for_every_row(|subject| async move {
        if !subject.traits().encrypted {
            return;
        }
        let Sides { mut client, mut listener, server, .. } = sides(subject).await;
        let mallory = Identity::from_seed([3; 32]);
        let answering = async { while listener.accept().await.is_ok() {} };
        let connected = tokio::select! {
            connected = client.connect(server, mallory.id()) => connected,
            () = answering => panic!("{} stopped listening", subject.name()),
        };
        assert!(connected.is_err(), "{} took bob for mallory", subject.name());
    })
    .await;
}

#[tokio::test]
async fn messages_arrive_whole_where_they_are_carried() {
    for_every_row(|subject| async move {
        let ends = sides(subject).await.connect().await;
        let sent = Bytes::from(pattern(1000));
        if subject.traits().messages == Messages::None {
            let refused = ends.alice.send_message(sent, None).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::Unsupported, "{}", subject.name());
            return;
        }
        for _ in 0..10 {
            ends.alice.send_message(sent.clone(), None).unwrap();
            assert_eq!(ends.bob.recv_message().await.unwrap(), sent, "{}", subject.name());
            ends.bob.send_message(sent.clone(), None).unwrap();
            assert_eq!(ends.alice.recv_message().await.unwrap(), sent, "{}", subject.name());
        }
    })
    .await;
}

#[tokio::test]
async fn several_streams_share_a_connection_where_rows_multiplex() {
    for_every_row(|subject| async move {
        let ends = sides(subject).await.connect().await;
        let first = ends.alice.open().await.unwrap();
        let second = ends.alice.open().await;
        assert_eq!(second.is_ok(), subject.traits().multiplexes, "{}", subject.name());
        drop(first);
    })
    .await;
}

#[tokio::test]
async fn what_is_dropped_in_the_middle_ends_without_panic() {
    for_every_row(|subject| async move {
        let mut sides = sides(subject).await;
        let Ends { alice, bob } = sides.connect().await;
        let mut stream = alice.open().await.unwrap();
        let endless = stream.write.write_all(&[7; 64 << 20]);
        assert!(timeout(Duration::from_millis(20), endless).await.is_err(), "{}", subject.name());
        drop((stream, alice));
        drop(bob);
        // Both sides still serve others.
        sides.connect().await;
    })
    .await;
}

#[tokio::test]
async fn ipv6_works_where_the_machine_has_it() {
    for_every_row(|subject| async move {
        let Ok(mut sides) = Sides::new(subject, LOOPBACKS[1]).await else {
            eprintln!("IPv6 left out: this machine has no ::1");
            return;
        };
        let ends = sides.connect().await;
        let mut stream = ends.alice.open().await.unwrap();
        stream.write.write_all(b"six").await.unwrap();
        stream.write.flush().await.unwrap();
        let mut answering = ends.bob.accept().await.unwrap();
        let mut three = [0; 3];
        answering.read.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"six", "{}", subject.name());
    })
    .await;
}

#[test]
fn every_row_names_itself_and_its_congestion_control() {
    let mut names: Vec<_> = BASELINES.iter().map(|subject| subject.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), BASELINES.len(), "two rows share a name");
    for subject in BASELINES {
        assert!(!subject.congestion_control().is_empty(), "{}", subject.name());
        assert!(!subject.traits().summary.is_empty(), "{}", subject.name());
    }
}

/// A runtime like those that measure: one thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn sides_on_threads_of_their_own_lose_nothing() {
    for &subject in BASELINES.iter().filter(|subject| subject.missing().is_none()) {
        let (say, hear) = sync_channel(1);
        let (over, is_over) = oneshot::channel();
        let answering = thread::spawn(move || {
            runtime().block_on(answer_echoes(subject, &say, is_over));
        });
        let server = hear.recv().unwrap();
        runtime().block_on(async {
            let local = LOOPBACKS[0].parse().unwrap();
            let alice = Identity::from_seed([1; 32]);
            let mut client = subject.client(local, alice).await.unwrap();
            let mut echoes = JoinSet::new();
            for _ in 0..8 {
                let bob = Identity::from_seed([2; 32]).id();
                let link = client.connect(server, bob).await.unwrap();
                echoes.spawn(async move { echo_of_a_mebibyte(&*link).await });
            }
            let done = timeout(PATIENCE, echoes.join_all()).await;
            assert!(done.is_ok(), "{} did not finish within {PATIENCE:?}", subject.name());
        });
        drop(over);
        answering.join().unwrap();
    }
}

/// Returns to each what it says, until all of it is over.
async fn answer_echoes(
    subject: &dyn Subject,
    say: &SyncSender<SocketAddr>,
    mut is_over: oneshot::Receiver<()>,
) {
    let bob = Identity::from_seed([2; 32]);
    let mut listener = subject.listen(LOOPBACKS[0].parse().unwrap(), bob).await.unwrap();
    say.send(listener.local_addr()).unwrap();
    let mut echoes = JoinSet::new();
    loop {
        tokio::select! {
            link = listener.accept() => {
                let link = link.unwrap();
                echoes.spawn(async move {
                    let mut stream = link.accept().await.unwrap();
                    tokio::io::copy(&mut stream.read, &mut stream.write).await.unwrap();
                    // Whoever has read to the end may be gone before it is told so.
                    let _ = stream.write.shutdown().await;
                    (stream, link)
                });
            }
            _ = &mut is_over => break,
        }
    }
}

async fn echo_of_a_mebibyte(link: &dyn Link) {
    let sent = &pattern(1 << 20);
    let Stream { mut read, mut write, keep: _keep } = link.open().await.unwrap();
    let mut back = Vec::new();
    let writing = async {
        write.write_all(sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (_, reading) = tokio::join!(writing, read.read_to_end(&mut back));
    reading.unwrap();
    assert!(back == *sent);
}

#[test]
fn nothing_runs_on_when_both_sides_are_dropped() {
    for &subject in BASELINES.iter().filter(|subject| subject.missing().is_none()) {
        runtime().block_on(async {
            let mut sides = sides(subject).await;
            let ends = sides.connect().await;
            send_all(&mut ends.alice.open().await.unwrap(), b"last words").await;
            drop((sides, ends.alice, ends.bob));
            let alive = async {
                while Handle::current().metrics().num_alive_tasks() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            let ended = timeout(PATIENCE, alive).await;
            assert!(ended.is_ok(), "{} leaves tasks behind", subject.name());
        });
    }
}

#[tokio::test]
async fn hundreds_of_connections_of_one_client_live_at_once() {
    for_every_row(|subject| async move {
        let mut sides = sides(subject).await;
        let mut all = Vec::new();
        // The kernel's TCP has a socket for each connection.
        let shares_a_socket = !subject.congestion_control().contains("kernel");
        let many = if shares_a_socket { MANY } else { MANY_SOCKETS };
        while all.len() < many {
            all.push(sides.connect().await);
        }
        for Ends { alice, bob } in &all {
            let mut asking = alice.open().await.unwrap();
            asking.write.write_all(b"here").await.unwrap();
            asking.write.flush().await.unwrap();
            let mut four = [0; 4];
            let mut answering = bob.accept().await.unwrap();
            answering.read.read_exact(&mut four).await.unwrap();
            assert_eq!(&four, b"here", "{}", subject.name());
        }
    })
    .await;
}
