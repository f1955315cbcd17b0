//! What the log says of connections, over each transport.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use portolan::{
    ALL_TRANSPORTS, BindConfig, CloseCode, Connection, Endpoint, Expect, Identity, Priority,
    Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// What no log may contain.
const WORDS: &str = "for your eyes only";

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Pages {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Connects, says a few words, closes; answers what was logged with these directives.
fn log_of(transport: &'static dyn Transport, directives: &str) -> String {
    let pages = Pages::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_writer(pages.clone())
        .with_ansi(false)
        .finish();
    // Holds for this thread, and so for everything in a runtime of one thread.
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(talk(transport));
    });
    let bytes = pages.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("a log is text")
}

async fn talk(transport: &'static dyn Transport) {
    let (alice, bob) = (bind(transport, 1).await, bind(transport, 2).await);
    let expect = Expect::Id(Identity::from_seed([2; 32]).id());
    let (to_bob, to_alice) = tokio::join!(alice.connect(bob.local_addr(), expect), bob.accept());
    let (to_bob, to_alice) = (to_bob.expect("connected"), to_alice.expect("accepted"));
    say(&to_bob, &to_alice).await;
    to_bob.close(CloseCode(3), "that is all");
    to_alice.closed().await;
    drop((to_bob, to_alice));
    alice.close(CloseCode(0), "").await;
    bob.close(CloseCode(0), "").await;
}

async fn say(from: &Arc<dyn Connection>, to: &Arc<dyn Connection>) {
    let (mut send, _receive) = from.open_stream(Priority::Interactive).await.expect("open");
    send.write_all(WORDS.as_bytes()).await.expect("write");
    send.finish().expect("finish");
    let (_send, mut receive) = to.accept_stream().await.expect("accept");
    let mut heard = String::new();
    receive.read_to_string(&mut heard).await.expect("read");
    assert_eq!(heard, WORDS);
}

async fn bind(transport: &dyn Transport, seed: u8) -> Arc<dyn Endpoint> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = BindConfig::new(local, Identity::from_seed([seed; 32]));
    transport.bind(config).await.expect("a free port")
}

#[test]
fn a_connection_is_one_span_with_its_peer_its_beginning_and_its_end() {
    let bob = Identity::from_seed([2; 32]).id().to_string();
    for transport in ALL_TRANSPORTS {
        let scheme = transport.scheme();
        let target = format!("portolan_transport_{scheme}::connection");
        let log = log_of(*transport, &format!("{target}=debug"));
        let client = log.lines().filter(|line| line.contains(&bob) && line.contains(&target));
        let client: Vec<&str> = client.collect();
        assert!(
            client.iter().all(|line| line.contains(&format!("transport=\"{scheme}\""))),
            "{scheme}: {log}"
        );
        let position = |word: &str| client.iter().position(|line| line.contains(word));
        let (connected, closed) = (position(": connected"), position(": closed"));
        assert!(connected.is_some() && connected < closed, "{scheme}: {log}");
        let end = client[closed.unwrap_or_default()];
        assert!(end.contains("that is all"), "{scheme}: the end has its reason: {end}");
        assert!(!log.contains(WORDS), "{scheme}");
    }
}

#[test]
fn packets_of_our_udp_are_said_to_who_wants_each() {
    let udp = portolan::transport("udp").expect("it is in the table");
    let log = log_of(udp, "portolan_transport_udp::packets=trace");
    for words in ["sent kind=Init", "received kind=Handshake", "Stream {", "stage=Confirmed"] {
        assert!(log.contains(words), "no {words} in {log}");
    }
    assert!(!log.contains(WORDS));
    assert!(!log_of(udp, "debug").contains("sent kind="));
}
