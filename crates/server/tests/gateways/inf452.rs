//! `inf452` beyond what was captured: both dialects, and native users as peers.

use portolan_protocol::{ConversationState, Event};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    client::{Client, Harness, name, say, within},
    old::{Old, harbour},
};

pub(crate) async fn login(harness: &Harness, gateway: &str, name: &str, port: u16) -> Old {
    let mut client = Old::connect(harness, gateway).await;
    client.say(&format!("USER {name}:{port}\r\n")).await;
    client
}

async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

async fn message(client: &mut Client) -> String {
    loop {
        match client.event().await {
            Event::Message(delivery) => {
                assert_eq!(delivery.from, name("ana"));
                return delivery.text;
            }
            Event::Receipt(_) => {}
            Event::Conversation(news) => assert_eq!(news.state, ConversationState::Requested),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn each_dialect_says_where_a_peer_is_in_its_own_words() {
    let harness = harbour().await;
    for (gateway, found) in
        [("inf452", "ADDR 127.0.0.1:4001"), ("inf452-2026", "ADDR ana:127.0.0.1:4001")]
    {
        let _ana = login(&harness, gateway, "ana", 4_001).await;
        let mut bia = login(&harness, gateway, "bia maria", 4_002).await;
        bia.say("LIST\r\n").await;
        bia.expect_line("LIST ana").await;
        bia.say("ADDR nobody\r\nADDR ana\r\n").await;
        if gateway == "inf452" {
            bia.expect_line("ERRO usuario nao encontrado").await;
        }
        bia.expect_line(found).await;
        bia.say("DISC\r\n").await;
        bia.expect_end().await;
    }
}

#[tokio::test]
async fn a_name_that_somebody_has_is_refused_and_the_first_stays() {
    let harness = harbour().await;
    let mut first = login(&harness, "inf452", "ana", 4_001).await;
    first.say("LIST\r\n").await;
    first.expect_line("LIST ").await;
    let mut second = login(&harness, "inf452", "ana", 4_002).await;
    second.expect_line("ERRO nome recusado, nome em uso").await;
    second.expect_end().await;
    first.say("LIST\r\n").await;
    first.expect_line("LIST ").await;
}

#[tokio::test]
async fn a_native_user_is_a_peer_with_a_port_of_ours() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "inf452", "ana", 4_001).await;
    ana.say("LIST\r\nADDR alice\r\n").await;
    ana.expect_line("LIST alice").await;
    let found = ana.hear_line().await;
    let address = found.strip_prefix("ADDR ").unwrap();
    let mut chat = TcpStream::connect(address).await.unwrap();
    chat.write_all(b"USER ana\r\noi, alice\r\n").await.unwrap();
    assert_eq!(message(&mut alice).await, "oi, alice");
    alice.ask(say("ana", "oi, ana")).await.unwrap();
    assert_eq!(read_line(&mut chat).await, "oi, ana\r\n");
    chat.write_all(b"tchau\n").await.unwrap();
    assert_eq!(message(&mut alice).await, "tchau");
    // The same port the next time.
    ana.say("ADDR alice\r\n").await;
    ana.expect_line(&found).await;
}

#[tokio::test]
async fn a_native_user_reaches_a_peer_where_it_listens() {
    let harness = harbour().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut ana = login(&harness, "inf452", "ana", port).await;
    ana.say("LIST\r\n").await;
    ana.expect_line("LIST ").await;
    let mut alice = harness.login(1, "alice").await;
    alice.ask(say("ana", "one")).await.unwrap();
    alice.ask(say("ana", "two")).await.unwrap();
    let (mut chat, _) = within(listener.accept()).await.unwrap();
    for line in ["USER alice\r\n", "one\r\n", "two\r\n"] {
        assert_eq!(read_line(&mut chat).await, line);
    }
    chat.write_all("tudo bem?".as_bytes()).await.unwrap();
    let mut text = None;
    while text.is_none() {
        match alice.event().await {
            Event::Message(delivery) => text = Some(delivery.text),
            Event::Receipt(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(text.unwrap(), "tudo bem?");
}

#[tokio::test]
async fn a_door_is_for_the_one_who_asked_and_under_its_own_name() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "inf452", "ana", 4_001).await;
    ana.say("ADDR alice\r\n").await;
    let found = ana.hear_line().await;
    let mut chat = TcpStream::connect(found.strip_prefix("ADDR ").unwrap()).await.unwrap();
    chat.write_all(b"USER somebody else\r\noi\r\n").await.unwrap();
    let mut rest = Vec::new();
    within(chat.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
    alice.ask(portolan_protocol::Echo { text: "nothing came".into() }).await.unwrap();
}
