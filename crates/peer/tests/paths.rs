//! Ways between peers: through the server at once, directly as soon as that works, and always
//! explained.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{fs, sync::Arc};

use portolan_identity::Expect;
use portolan_peer::{Config, Event, Events, PathInfo, PathRule, Peer};
use portolan_protocol::{
    Ends, Join, Meet, PeerCommand, PeerMessage, PeerReply, RequestId, Ticket, Way,
};
use portolan_transport::{BindConfig, Connection, Endpoint, PathKind, Transport};
use portolan_transport_quic::Quic;
use portolan_transport_tcp::Tcp;
use portolan_transport_udp::Udp;

use self::support::{Harbour, bytes, identity, name, open, wait_for, within};

static TCP: &[&dyn Transport] = &[&Tcp];
static UDP: &[&dyn Transport] = &[&Udp];
static QUIC: &[&dyn Transport] = &[&Quic];

fn ruled(mut config: Config, rule: PathRule) -> Config {
    config.paths = rule;
    config
}

/// Alice and bob, who keep to a rule.
async fn two(harbour: &Harbour, rule: PathRule) -> ((Peer, Events), (Peer, Events)) {
    let alice = harbour.peer_with(ruled(harbour.config("alice"), rule)).await;
    let bob = harbour.peer_with(ruled(harbour.config("bob"), rule)).await;
    (alice, bob)
}

/// Waits for word of a path that `wanted` likes.
async fn path(events: &mut Events, what: &str, wanted: impl Fn(&PathInfo) -> bool) -> PathInfo {
    let is_it = |event: &Event| matches!(event, Event::Path(path) if wanted(path));
    match wait_for(events, what, is_it).await {
        Event::Path(path) => path,
        _ => unreachable!(),
    }
}

async fn send(harbour: &Harbour, alice: &Peer, file: &str, size: usize) {
    let path = harbour.file(file, size);
    within("sending", alice.send_file(&name("bob"), &path)).await.unwrap();
    assert!(fs::read(harbour.downloads("bob").join(file)).unwrap() == bytes(size));
}

#[tokio::test]
async fn peers_on_one_machine_find_the_direct_path_over_every_transport() {
    for transports in [TCP, UDP, QUIC] {
        let scheme = transports[0].scheme();
        let harbour = Harbour::open_with(transports).await;
        let ((alice, mut events), (bob, mut heard)) = two(&harbour, PathRule::Any).await;
        within("listing", alice.files(&name("bob"))).await.unwrap();
        let first = path(&mut events, "the first path", |_| true).await;
        assert_eq!(first.kind, Some(PathKind::Relayed), "{scheme}: through the server at once");
        let direct = |path: &PathInfo| path.kind == Some(PathKind::Direct);
        let found = path(&mut events, "the direct path", direct).await;
        assert_eq!((found.transport, found.with), (scheme, Some(name("bob"))));
        assert!(found.why.contains("nothing of ours lies between"), "{}", found.why);
        path(&mut heard, "the other side's direct path", direct).await;
        send(&harbour, &alice, "after", 300_000).await;
        assert!(direct(&alice.path(&name("bob"))) && direct(&bob.path(&name("alice"))));
    }
}

#[tokio::test]
async fn relay_only_peers_use_datagrams_where_they_can_and_learn_no_address() {
    for transports in [UDP, QUIC] {
        let scheme = transports[0].scheme();
        let harbour = Harbour::open_with(transports).await;
        let ((alice, mut events), (bob, _heard)) = two(&harbour, PathRule::RelayOnly).await;
        within("listing", alice.files(&name("bob"))).await.unwrap();
        let packets = |path: &PathInfo| path.why.contains("packets");
        let found = path(&mut events, "datagrams through the relay", packets).await;
        assert_eq!((found.kind, found.transport), (Some(PathKind::Relayed), scheme));
        assert_eq!(found.addr, Some(harbour.addr), "the relay's address and no other");
        send(&harbour, &alice, "relayed", 3_000_000).await;
        for (one, other) in [(&alice, "bob"), (&bob, "alice")] {
            assert_eq!(one.path(&name(other)).kind, Some(PathKind::Relayed), "{scheme}");
        }
    }
}

#[tokio::test]
async fn direct_only_peers_send_nothing_through_the_server() {
    for transports in [TCP, UDP, QUIC] {
        let harbour = Harbour::open_with(transports).await;
        let ((alice, _events), (_bob, _heard)) = two(&harbour, PathRule::DirectOnly).await;
        send(&harbour, &alice, "direct", 300_000).await;
        assert_eq!(alice.path(&name("bob")).kind, Some(PathKind::Direct));
    }
}

#[tokio::test]
async fn a_direct_only_peer_and_a_relay_only_one_do_not_come_together_and_are_told_why() {
    let harbour = Harbour::open_with(UDP).await;
    let (alice, _) = harbour.peer_with(ruled(harbour.config("alice"), PathRule::DirectOnly)).await;
    let (_bob, _) = harbour.peer_with(ruled(harbour.config("bob"), PathRule::RelayOnly)).await;
    let refused = within("listing", alice.files(&name("bob"))).await.unwrap_err();
    assert!(refused.to_string().contains("no address of theirs"), "{refused}");
}

#[tokio::test]
async fn peers_of_different_transports_talk_through_the_relay() {
    static BOTH: &[&dyn Transport] = &[&Udp, &Quic];
    let harbour = Harbour::open_with(BOTH).await;
    let (alice, mut events) = harbour.peer("alice").await;
    let mut config = harbour.config("bob");
    config.transport = &Quic;
    let (_bob, _) = harbour.peer_with(config).await;
    send(&harbour, &alice, "mixed", 300_000).await;
    let told = path(&mut events, "the reason", |path| path.why.contains("--transport")).await;
    assert_eq!(told.kind, Some(PathKind::Relayed));
    assert!(told.why.contains("bob speaks quic and we udp"), "{}", told.why);
}

#[tokio::test]
async fn a_direct_path_outlives_the_server() {
    for transports in [TCP, UDP, QUIC] {
        let harbour = Harbour::open_with(transports).await;
        let ((alice, mut events), (_bob, _heard)) = two(&harbour, PathRule::Any).await;
        within("listing", alice.files(&name("bob"))).await.unwrap();
        path(&mut events, "the direct path", |path| path.kind == Some(PathKind::Direct)).await;
        let Harbour { server, directory, addr, transport } = harbour;
        within("the server's end", server.shutdown("a test")).await;
        let list = within("listing without the server", alice.files(&name("bob"))).await;
        assert_eq!(list.unwrap(), [], "{}", transport.scheme());
        drop((directory, addr));
    }
}

/// A stranger's endpoint, as an attacker has it who knows where alice's port is.
async fn stranger(transport: &dyn Transport, of: &str) -> Arc<dyn Endpoint> {
    let local = "127.0.0.1:0".parse().unwrap();
    transport.bind(BindConfig::new(local, identity(of))).await.unwrap()
}

/// The answer to a ticket, or why there is none.
async fn joined(connection: &Arc<dyn Connection>, join: Join) -> Result<PeerMessage, String> {
    let (mut writer, mut reader) = open(connection).await;
    let request = PeerMessage::Request(RequestId(1), PeerCommand::Join(join));
    let asked = async {
        if writer.send(&request).await.is_ok()
            && let Ok(answer) = reader.next_message().await
        {
            return Ok(answer);
        }
        Err(connection.closed().await.to_string())
    };
    within("the answer", asked).await
}

#[tokio::test]
async fn strangers_stolen_tickets_and_used_ones_are_unknown_peers() {
    for transports in [TCP, UDP, QUIC] {
        let harbour = Harbour::open_with(transports).await;
        let (bob, _events) = harbour.peer("bob").await;
        let mallory = harbour.raw("mallory").await;
        let relayed = within("calling", mallory.call("bob", bob.id())).await;
        let ticket = Ticket([5; 32]);
        let (mut writer, mut reader) = open(&relayed).await;
        let ends = Ends { transport: transports[0].scheme().into(), ..Ends::default() };
        let meet = PeerCommand::Meet(Meet { ticket: ticket.clone(), ends });
        writer.send(&PeerMessage::Request(RequestId(1), meet)).await.unwrap();
        let answer: PeerMessage = within("the ends", reader.next_message()).await.unwrap();
        let PeerMessage::Answer(_, PeerReply::Ends(ends)) = answer else { panic!("{answer:?}") };
        let door = ends.candidates[0].address.parse().unwrap();
        let expect = Expect::Id(bob.id());
        let join = |ticket: &Ticket| Join { ticket: ticket.clone(), by: Way::Direct };

        let eve = stranger(transports[0], "eve").await;
        let connection = within("knocking", eve.connect(door, expect)).await.unwrap();
        let end = within("the door", connection.closed()).await.to_string();
        assert!(end.contains("unknown_peer"), "nobody expects eve, whatever she has: {end}");

        let own = stranger(transports[0], "mallory").await;
        let connection = within("knocking", own.connect(door, expect)).await.unwrap();
        let refused = joined(&connection, join(&Ticket([6; 32]))).await.unwrap_err();
        assert!(refused.contains("unknown_peer"), "{refused}");
        let connection = within("knocking", own.connect(door, expect)).await.unwrap();
        let welcome = joined(&connection, join(&ticket)).await.unwrap();
        assert!(matches!(welcome, PeerMessage::Answer(_, PeerReply::Joined(_))), "{welcome:?}");
        let again = within("knocking", own.connect(door, expect)).await.unwrap();
        let refused = joined(&again, join(&ticket)).await.unwrap_err();
        assert!(refused.contains("unknown_peer"), "a ticket counts once: {refused}");
        let fake = within("knocking", own.connect(door, Expect::Id(harbour.id()))).await;
        assert!(fake.is_err(), "bob does not hold the server's key");
    }
}
