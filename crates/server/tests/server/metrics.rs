//! What those who watch the server are told.

use std::net::SocketAddr;

use portolan_protocol::ErrorCode;
use prometheus_parse::{Scrape, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{Harness, config, say, within};

/// A whole answer to a raw question.
async fn ask_raw(address: SocketAddr, question: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(question.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Who asks too much is cut off, with or without a word.
    let _cut = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let question = format!("{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n");
    let answer = ask_raw(address, &question).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

async fn watched() -> (Harness, SocketAddr) {
    let mut config = config();
    config.metrics = Some("127.0.0.1:0".parse().unwrap());
    let harness = Harness::with(config).await;
    let address = harness.server.metrics().unwrap();
    (harness, address)
}

#[tokio::test]
async fn metrics_tell_what_has_happened() {
    let (harness, address) = watched().await;
    let mut alice = harness.login(1, "alice").await;
    let _bob = harness.login(2, "bob").await;
    alice.ask(say("bob", "hello")).await.unwrap();
    assert_eq!(alice.refusal(say("carol", "hello")).await, ErrorCode::UnknownUser);
    let (code, text) = ask(address, "GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(!text.contains("alice") && !text.contains("hello"));
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let find = |name: &str| {
        let sample = scrape.samples.iter().find(|sample| sample.metric == name);
        match sample.unwrap_or_else(|| panic!("no {name} in\n{text}")).value {
            Value::Counter(value) | Value::Gauge(value) => value,
            _ => panic!("{name} is no number"),
        }
    };
    for (name, value) in [
        ("portolan_clients", 2.0),
        ("portolan_connections", 2.0),
        ("portolan_connections_accepted_total", 2.0),
        ("portolan_logins_total", 2.0),
        ("portolan_messages_received_total", 2.0),
        ("portolan_messages_stored_total", 1.0),
        ("portolan_message_bytes_total", 5.0),
        ("portolan_messages_delivered_total", 1.0),
        ("portolan_requests_refused_total", 1.0),
        ("portolan_users", 2.0),
        ("portolan_mailbox_messages", 1.0),
        ("portolan_store_failures_total", 0.0),
    ] {
        assert_eq!(find(name), value, "{name}");
    }
    for name in [
        "portolan_requests_total",
        "portolan_control_bytes_received_total",
        "portolan_control_bytes_sent_total",
        "process_resident_memory_bytes",
    ] {
        assert!(find(name) > 0.0, "{name}");
    }
}

#[tokio::test]
async fn nothing_else_is_answered_and_nothing_is_taken() {
    let (_harness, address) = watched().await;
    for (method, path, expected) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/../healthz", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
    ] {
        assert_eq!(ask(address, method, path).await.0, expected, "{method} {path}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(20_000));
    let answer = ask_raw(address, &long).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    let garbage = ask_raw(address, "\u{1}\u{2}\r\n\r\n").await;
    assert!(!garbage.contains("200 OK"), "{garbage}");
    assert_eq!(ask(address, "GET", "/healthz").await, (200, r#"{"status":"ok"}"#.into()));
}

#[tokio::test]
async fn those_who_connect_and_say_nothing_keep_nobody_out() {
    let (_harness, address) = watched().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(ask(address, "GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_server_that_goes_down_says_so() {
    let (harness, address) = watched().await;
    // A client that reads nothing holds the end up for a moment.
    let alice = harness.login(1, "alice").await;
    let server = harness.server;
    let ending = tokio::spawn(async move { server.shutdown("maintenance").await });
    let (code, body) = loop {
        let answer = ask(address, "GET", "/healthz").await;
        if answer.0 != 200 {
            break answer;
        }
    };
    assert_eq!(code, 503);
    assert!(body.contains("shutting down"), "{body}");
    drop(alice);
    within(ending).await.unwrap();
}
