//! What those can do who are let in and then behave badly, and those who are not let in: it is
//! refused, bounded and counted, and others go on.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use portolan_datagram_io::{RelayFrame, RelayKey, data_header};
use portolan_identity::Expect;
use portolan_peer::Peer;
use portolan_protocol::{
    Candidate, CandidateKind, Ends, Join, Meet, Opened, Opening, OpeningMessage, PeerCommand,
    PeerMessage, PeerReply, Ready, Relay, RelayChannel, RequestId, Ticket, Way,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{BindConfig, Connection, Transport};
use portolan_transport_quic::Quic;
use portolan_transport_tcp::Tcp;
use portolan_transport_udp::Udp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use self::support::{Harbour, RawPeer, identity, kind, name, open, within};

static TCP: &[&dyn Transport] = &[&Tcp];
static UDP: &[&dyn Transport] = &[&Udp];
static QUIC: &[&dyn Transport] = &[&Quic];

/// What a peer answers to one request on a stream of its own.
async fn ask(connection: &Arc<dyn Connection>, command: PeerCommand) -> Option<PeerMessage> {
    let (mut writer, mut reader) = open(connection).await;
    writer.send(&PeerMessage::Request(RequestId(1), command)).await.ok()?;
    within("an answer", reader.next_message()).await.ok()
}

fn meet(scheme: &str, ticket: Ticket, candidates: Vec<Candidate>) -> PeerCommand {
    let ends = Ends { transport: scheme.to_owned(), candidates, ..Ends::default() };
    PeerCommand::Meet(Meet { ticket, ends })
}

/// Bob's door, as he tells it to whom he has let in.
async fn door(relayed: &Arc<dyn Connection>, scheme: &str, ticket: Ticket) -> SocketAddr {
    match ask(relayed, meet(scheme, ticket, vec![])).await.unwrap() {
        PeerMessage::Answer(_, PeerReply::Ends(ends)) => {
            ends.candidates[0].address.parse().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// Bob is still there for others.
async fn assert_serves(alice: &Peer) {
    let list = within("listing", alice.files(&name("bob"))).await;
    assert_eq!(list.unwrap(), []);
}

#[tokio::test]
async fn a_ticket_counts_once_by_each_way_and_not_after_the_next_meeting() {
    for transports in [TCP, UDP, QUIC] {
        let scheme = transports[0].scheme();
        let harbour = Harbour::open_with(transports).await;
        let (bob, _events) = harbour.peer("bob").await;
        let mallory = harbour.raw("mallory").await;
        let relayed = within("calling", mallory.call("bob", bob.id())).await;
        let door = door(&relayed, scheme, Ticket([1; 32])).await;
        let local = "127.0.0.1:0".parse().unwrap();
        let config = BindConfig::new(local, identity("mallory"));
        let endpoint = transports[0].bind(config).await.unwrap();
        let show = async |ticket: u8, by| {
            let expect = Expect::Id(bob.id());
            let connection = within("knocking", endpoint.connect(door, expect)).await.unwrap();
            let join = Join { ticket: Ticket([ticket; 32]), by };
            let answer = ask(&connection, PeerCommand::Join(join)).await;
            let is_in = answer.is_some_and(|answer| kind(&answer) == "joined");
            if !is_in {
                let end = within("the end", connection.closed()).await.to_string();
                assert!(end.contains("unknown_peer"), "{scheme}: {end}");
            }
            (is_in, connection)
        };
        let (first, _kept) = show(1, Way::Direct).await;
        assert!(first, "{scheme}");
        assert!(!show(1, Way::Direct).await.0, "{scheme}: again");
        // Another meeting takes the place of the first, with what that has left over.
        ask(&relayed, meet(scheme, Ticket([2; 32]), vec![])).await.unwrap();
        assert!(!show(1, Way::Relay).await.0, "{scheme}: by the way that is left, too late");
        assert!(show(2, Way::Direct).await.0, "{scheme}: the new one");
    }
}

#[tokio::test]
async fn who_was_not_introduced_gets_no_further_than_unknown_peer_and_takes_no_place() {
    for transports in [TCP, UDP, QUIC] {
        let scheme = transports[0].scheme();
        let harbour = Harbour::open_with(transports).await;
        let mut config = harbour.config("bob");
        // Fewer than the strangers who come: one of them is for alice.
        config.limits.sessions = 8;
        let (bob, _events) = harbour.peer_with(config).await;
        let door = {
            let mallory = harbour.raw("mallory").await;
            let relayed = within("calling", mallory.call("bob", bob.id())).await;
            let door = door(&relayed, scheme, Ticket([1; 32])).await;
            relayed.close(portolan_transport::CloseCode::DONE, "seen enough");
            door
        };
        let local = "127.0.0.1:0".parse().unwrap();
        let stranger = transports[0].bind(BindConfig::new(local, identity("eve"))).await.unwrap();
        for number in 0..24_u8 {
            let connection =
                within("knocking", stranger.connect(door, Expect::Id(bob.id()))).await.unwrap();
            // Forged words of an introduction, without the server.
            let command = match number % 2 {
                0 => meet(scheme, Ticket([number; 32]), vec![]),
                _ => PeerCommand::Join(Join { ticket: Ticket([1; 32]), by: Way::Direct }),
            };
            let answered = ask(&connection, command).await;
            assert!(answered.is_none(), "{scheme}: {answered:?}");
            let end = within("the end", connection.closed()).await.to_string();
            assert!(end.contains("unknown_peer"), "{scheme}: {end}");
        }
        let (alice, _) = harbour.peer("alice").await;
        within("a place for alice", async {
            // Mallory's session is on its way out.
            while alice.files(&name("bob")).await.is_err() {}
        })
        .await;
    }
}

/// Counts what arrives at sockets that nobody has asked for anything.
struct Victims(Vec<UdpSocket>);

impl Victims {
    async fn new(count: usize) -> Self {
        let mut sockets = Vec::new();
        for _ in 0..count {
            sockets.push(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        }
        Self(sockets)
    }

    fn candidates(&self, transport: &str, count: usize) -> Vec<Candidate> {
        let addresses = self.0.iter().map(|socket| socket.local_addr().unwrap());
        let addresses: Vec<SocketAddr> = addresses.collect();
        let candidates = addresses.iter().cycle().take(count).map(|address| Candidate {
            transport: transport.to_owned(),
            address: address.to_string(),
            found: CandidateKind::Reflexive,
            priority: 1,
        });
        candidates.collect()
    }

    /// Datagrams and bytes at each that got any, when nothing has come for a while.
    async fn count(&self) -> BTreeMap<usize, (usize, usize)> {
        let mut counts = BTreeMap::<usize, (usize, usize)>::new();
        let mut buffer = [0; 2_048];
        let mut idle = 0;
        while idle < 20 && counts.values().all(|(datagrams, _)| *datagrams < 100) {
            let before = counts.clone();
            for (number, socket) in self.0.iter().enumerate() {
                while let Ok(length) = socket.try_recv(&mut buffer) {
                    let (datagrams, bytes) = counts.entry(number).or_default();
                    (*datagrams, *bytes) = (*datagrams + 1, *bytes + length);
                }
            }
            let any = async {
                let readable = self.0.iter().map(|socket| Box::pin(socket.readable()));
                futures_any(readable.collect()).await;
            };
            idle = if before == counts { idle + 1 } else { 0 };
            let _quiet = timeout(Duration::from_millis(100), any).await;
        }
        counts
    }
}

/// Waits for the first of several.
async fn futures_any<F: Future + Unpin>(mut all: Vec<F>) {
    std::future::poll_fn(|cx| {
        let is_any = all.iter_mut().any(|one| std::pin::Pin::new(one).poll(cx).is_ready());
        if is_any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn thousands_of_candidates_that_point_at_others_cost_them_a_handful_of_small_packets() {
    for transports in [UDP, QUIC] {
        let scheme = transports[0].scheme();
        let harbour = Harbour::open_with(transports).await;
        let (bob, _events) = harbour.peer("bob").await;
        let (alice, _) = harbour.peer("alice").await;
        let mallory = harbour.raw("mallory").await;
        let relayed = within("calling", mallory.call("bob", bob.id())).await;
        let victims = Victims::new(40).await;
        let candidates = victims.candidates(scheme, 2_000);
        let answer = ask(&relayed, meet(scheme, Ticket([3; 32]), candidates)).await.unwrap();
        assert_eq!(kind(&answer), "ends", "{scheme}");
        let counts = victims.count().await;
        assert!(!counts.is_empty(), "{scheme}: candidates are tried");
        assert!(counts.len() <= 8, "{scheme}: {counts:?}");
        for (datagrams, bytes) in counts.values() {
            assert!(*datagrams <= 8 && *bytes <= *datagrams * 160, "{scheme}: {counts:?}");
        }
        assert_serves(&alice).await;
    }
}

#[tokio::test]
async fn a_frame_of_candidates_beyond_the_bound_costs_its_stream_alone() {
    let harbour = Harbour::open_with(UDP).await;
    let (bob, _events) = harbour.peer("bob").await;
    let mallory = harbour.raw("mallory").await;
    let relayed = within("calling", mallory.call("bob", bob.id())).await;
    let (send, receive) =
        relayed.open_stream(portolan_transport::Priority::Interactive).await.unwrap();
    let (mut send, mut reader) = (send, FrameReader::new(receive));
    // A length of a megabyte, and as many bytes of it as are taken.
    send.write_all(&(1_u32 << 20).to_be_bytes()).await.unwrap();
    let flood = async {
        while send.write_all(&[0x91; 4_096]).await.is_ok() && send.flush().await.is_ok() {}
    };
    let answer = async {
        let answer: Result<PeerMessage, _> = reader.next_message().await;
        answer.is_err()
    };
    let refused = within("the end of the stream", async {
        tokio::select! {
            () = flood => true,
            refused = answer => refused,
        }
    });
    assert!(refused.await);
    let answer = ask(&relayed, meet("udp", Ticket([4; 32]), vec![])).await.unwrap();
    assert_eq!(kind(&answer), "ends", "the session goes on");
}

/// Opens a relay between two raw peers, up to where bytes flow, and tells both channels.
async fn channels(alice: &RawPeer, bob: &RawPeer) -> ([RelayChannel; 2], Vec<Box<dyn Send>>) {
    let (mut writer, mut reader) = open(&alice.connection).await;
    let opening = Opening::Relay(Relay { to: name("bob"), elsewhere: None });
    writer.send(&OpeningMessage::Request(RequestId(1), opening)).await.unwrap();
    let (send, receive) = within("the call", bob.connection.accept_stream()).await.unwrap();
    let (mut answers, mut questions) = (FrameWriter::new(send), FrameReader::new(receive));
    let question: OpeningMessage = within("the call", questions.next_message()).await.unwrap();
    let OpeningMessage::Request(id, Opening::Relayed(relayed)) = question else { panic!() };
    let ready = OpeningMessage::Answer(id, Opened::Ready(Ready::default()));
    answers.send(&ready).await.unwrap();
    let answer: OpeningMessage = within("the relay", reader.next_message()).await.unwrap();
    let OpeningMessage::Answer(_, Opened::Ready(ready)) = answer else { panic!("{answer:?}") };
    let kept: Vec<Box<dyn Send>> = vec![
        Box::new((writer, reader)) as Box<dyn Send>,
        Box::new((answers, questions)) as Box<dyn Send>,
    ];
    ([ready.channel.unwrap(), relayed.channel.unwrap()], kept)
}

/// The server's counters of relays' datagrams.
async fn counters(at: SocketAddr) -> BTreeMap<String, u64> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within("metrics", stream.read_to_string(&mut text)).await.unwrap();
    let of_relays = text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("portolan_relay_datagrams")?.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    of_relays.collect()
}

/// Waits until a counter says at least that.
async fn counted(at: SocketAddr, why: &str, least: u64) -> u64 {
    let name = format!("_dropped_total{{why=\"{why}\"}}");
    within(why, async {
        loop {
            if let Some(&count) = counters(at).await.get(&name).filter(|count| **count >= least) {
                return count;
            }
        }
    })
    .await
}

async fn bound(socket: &UdpSocket, relay: SocketAddr, channel: &RelayChannel, counter: u64) {
    let key = RelayKey(channel.key.0);
    let frame = RelayFrame::bind(&key, channel.number, counter);
    let mut buffer = [0; 128];
    within("a binding's answer", async {
        loop {
            socket.send_to(&frame, relay).await.unwrap();
            let answered = timeout(Duration::from_secs(5), socket.recv_from(&mut buffer)).await;
            if answered.is_ok_and(|answer| answer.is_ok_and(|(_, from)| from == relay)) {
                return;
            }
        }
    })
    .await;
    assert!(key.has_made(&buffer[..frame.len()]));
}

fn data(number: u64, text: &[u8]) -> Vec<u8> {
    [data_header(number).as_slice(), text].concat()
}

#[tokio::test]
async fn a_relay_is_of_no_use_to_whom_it_was_not_given_and_counts_them() {
    let mut config =
        portolan_server::Config::new("127.0.0.1:0".parse().unwrap(), UDP, identity("server"));
    config.metrics = Some("127.0.0.1:0".parse().unwrap());
    config.limits.relay_rate = 20_000;
    let harbour = Harbour::open_as(config).await;
    let (relay, watched) = (harbour.addr, harbour.server.metrics().unwrap());
    let (alice, bob) = (harbour.raw("alice").await, harbour.raw("bob").await);
    let ([to_bob, to_alice], kept) = channels(&alice, &bob).await;
    let [a, b, mallory] = Victims::new(3).await.0.try_into().unwrap();
    bound(&b, relay, &to_alice, 1).await;

    // Before alice has said where she is, with no introduction at all, and from elsewhere.
    a.send_to(&data(to_bob.number, b"too early"), relay).await.unwrap();
    counted(watched, "unbound", 1).await;
    mallory.send_to(&data(0x1234, b"no introduction"), relay).await.unwrap();
    counted(watched, "unknown", 1).await;
    bound(&a, relay, &to_bob, 1).await;
    mallory.send_to(&data(to_bob.number, b"from elsewhere"), relay).await.unwrap();
    counted(watched, "unbound", 2).await;

    // Bindings that are repeated or made without the key, by the thousand: no answer, no move.
    let replayed = RelayFrame::bind(&RelayKey(to_bob.key.0), to_bob.number, 1);
    mallory.send_to(&replayed, relay).await.unwrap();
    counted(watched, "forged", 1).await;
    let mut seen = 1;
    for batch in 0..10_u64 {
        for number in 0..100 {
            let guess = RelayKey([7; 32]);
            let frame = RelayFrame::bind(&guess, to_bob.number, 2 + batch * 100 + number);
            mallory.send_to(&frame, relay).await.unwrap();
        }
        // A socket's buffer may lose some: what counts is that they arrive and are refused.
        seen = counted(watched, "forged", seen + 1).await;
    }
    assert!(mallory.try_recv(&mut [0; 128]).is_err(), "nothing was answered");

    // What is genuine goes through, as long as it was and no longer; beyond the rate it does not.
    let mut buffer = [0; 2_048];
    a.send_to(&data(to_bob.number, b"hello"), relay).await.unwrap();
    let (length, _) = within("a datagram", b.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(buffer[..length], data(to_alice.number, b"hello"));
    for _ in 0..40 {
        a.send_to(&data(to_bob.number, &[9; 1_000]), relay).await.unwrap();
    }
    counted(watched, "rate", 1).await;

    // After its end there is nothing left of it.
    let before = counted(watched, "unknown", 1).await;
    drop(kept);
    within("the end of the relay", async {
        while harbour.server.load().relays > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    a.send_to(&data(to_bob.number, b"too late"), relay).await.unwrap();
    counted(watched, "unknown", before + 1).await;
}
