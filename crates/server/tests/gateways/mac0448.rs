//! `mac0448` beyond what was captured: native users, and UDP.

use std::net::SocketAddr;

use portolan_protocol::{Accept, ConversationState, Converse, Deny, Event};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::{
    client::{Client, Harness, name, say, within},
    old::{Old, address, harbour},
};

pub(crate) async fn login(harness: &Harness, name: &str) -> Old {
    let mut client = Old::connect(harness, "mac0448").await;
    client.say("CONNECT\r\n").await;
    client.expect_line("{\"state\": \"waiting_login\"}").await;
    client.say(&format!("LOGIN {name}\r\n")).await;
    let reply = client.hear_line().await;
    assert!(reply.starts_with("{\"state\": \"logged_in\", \"user\": {\"host\": \"127.0.0.1\""));
    client
}

async fn conversation(client: &mut Client) -> (String, ConversationState) {
    let Event::Conversation(news) = client.event().await else { panic!("another event") };
    (news.with.to_string(), news.state)
}

async fn message(client: &mut Client) -> String {
    let Event::Message(delivery) = client.event().await else { panic!("another event") };
    assert_eq!(delivery.from, name("ana"));
    delivery.text
}

/// Asks alice for a chat, who wants one; answers where the client is to connect.
async fn chat_with_alice(ana: &mut Old, alice: &mut Client) -> SocketAddr {
    ana.say("REQUEST_CHAT alice\r\n").await;
    assert_eq!(conversation(alice).await, ("ana".into(), ConversationState::Requested));
    alice.ask(Accept { with: name("ana") }).await.unwrap();
    assert_eq!(conversation(alice).await, ("ana".into(), ConversationState::Accepted));
    let reply: serde_json::Value = serde_json::from_str(&ana.hear_line().await).unwrap();
    assert_eq!((&reply["result:"], &reply["state"]), (&"confirmed".into(), &"chatting".into()));
    let port = u16::try_from(reply["port"].as_u64().unwrap()).unwrap();
    SocketAddr::new(reply["host"].as_str().unwrap().parse().unwrap(), port)
}

async fn read(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1_024];
    let length = within(stream.read(&mut buffer)).await.unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn the_original_caller_hears_its_hello_back_from_a_native_user() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "ana").await;
    let door = chat_with_alice(&mut ana, &mut alice).await;
    let mut chat = TcpStream::connect(door).await.unwrap();
    chat.write_all(b"hello, world!").await.unwrap();
    assert_eq!(read(&mut chat).await, "hello, world!");
    assert_eq!(message(&mut alice).await, "hello, world!");
}

#[tokio::test]
async fn old_and_native_users_chat_until_one_of_them_ends_it() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "ana").await;
    alice.ask(say("ana", "before the chat")).await.unwrap();
    let door = chat_with_alice(&mut ana, &mut alice).await;
    let mut chat = TcpStream::connect(door).await.unwrap();
    chat.write_all("CONNECT\r\n".as_bytes()).await.unwrap();
    let mut heard = read(&mut chat).await;
    while !heard.ends_with("SEND_CHAT before the chat\r\n") {
        heard += &read(&mut chat).await;
    }
    assert!(heard.starts_with("{\"state\": \"connected\"}\r\n"), "{heard}");
    chat.write_all("{\"state\": \"connected\"}\r\nSEND_CHAT olá\r\n".as_bytes()).await.unwrap();
    assert_eq!(read(&mut chat).await, "{\"state\": \"connected\"}\r\n");
    let Event::Receipt(_) = alice.event().await else { panic!("what was said was delivered") };
    assert_eq!(message(&mut alice).await, "olá");
    ana.say("END_CHAT alice\r\n").await;
    ana.expect_line("{\"state\": \"logged_in\"}").await;
    assert_eq!(conversation(&mut alice).await, ("ana".into(), ConversationState::Ended));
    assert_eq!(read(&mut chat).await, "", "the chat is over");
}

#[tokio::test]
async fn a_native_user_who_does_not_want_to_is_a_rejection() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "ana").await;
    ana.say("REQUEST_CHAT alice\r\n").await;
    assert_eq!(conversation(&mut alice).await, ("ana".into(), ConversationState::Requested));
    alice.ask(Deny { with: name("ana"), reason: None }).await.unwrap();
    ana.expect_line("{\"state\": \"logged_in\", \"result:\": \"rejected\"}").await;
}

#[tokio::test]
async fn a_native_user_calls_an_old_client_where_it_listens() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "ana").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    alice.ask(Converse { with: name("ana") }).await.unwrap();
    ana.expect_line("CHAT_REQUESTED alice").await;
    let port = listener.local_addr().unwrap().port();
    let confirmed = format!("{{\"result\": \"confirmed\", \"port\": {port}, \"state\": \"x\"}}");
    ana.say(&format!("{confirmed}\r\n")).await;
    assert_eq!(conversation(&mut alice).await, ("ana".into(), ConversationState::Accepted));
    let (mut chat, _) = within(listener.accept()).await.unwrap();
    assert_eq!(read(&mut chat).await, "CONNECT\r\n");
    chat.write_all(b"{\"state\": \"connected\"}\r\n").await.unwrap();
    alice.ask(say("ana", "oi")).await.unwrap();
    assert_eq!(read(&mut chat).await, "SEND_CHAT oi\r\n");
}

#[tokio::test]
async fn clients_on_udp_have_the_same_words_and_a_list_of_their_own() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    let server = address(&harness, "mac0448-udp");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    let mut buffer = [0; 2_048];
    let mut heard = Vec::new();
    for line in ["CONNECT\r\n", "LOGIN bia", "LIST_USERS\r\n", "HEARTBEAT"] {
        socket.send(line.as_bytes()).await.unwrap();
        let length = within(socket.recv(&mut buffer)).await.unwrap();
        heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    assert_eq!(heard[0], "{\"state\": \"waiting_login\"}\r\n");
    assert!(heard[1].contains("\"name\": \"bia\""), "{heard:?}");
    assert!(heard[2].contains("bia") && !heard[2].contains("ana"), "{heard:?}");
    assert_eq!(heard[3], "{\"state\": \"logged_in\"}\r\n");
    ana.say("LIST_USERS\r\n").await;
    let list = ana.hear_line().await;
    assert!(list.contains("ana") && !list.contains("bia"), "{list}");
    // A name is one person's, however they come.
    ana.say("LOGOUT\r\nLOGIN bia\r\n").await;
    ana.expect_line("{\"state\": \"waiting_login\"}").await;
    assert!(ana.hear_line().await.contains("LOGIN_FAILED_USER_NAME_TAKEN"));
}
