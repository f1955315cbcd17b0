//! JSON, one object a line.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    client::{Harness, name, say, within},
    old::{address, harbour},
};
use portolan_protocol::{Event, ReceiptState, Receipts, Recipient};

pub(crate) struct Lines {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Lines {
    pub(crate) async fn connect(harness: &Harness) -> Self {
        let stream = TcpStream::connect(address(harness, "lines")).await.unwrap();
        let (reader, writer) = stream.into_split();
        let mut lines = Self { reader: BufReader::new(reader), writer };
        assert_eq!(lines.hear().await["event"], "hello");
        lines
    }

    pub(crate) async fn login(harness: &Harness, name: &str) -> Self {
        let mut lines = Self::connect(harness).await;
        let answer = lines.ask(json!({ "do": "login", "name": name })).await;
        assert_eq!(answer["name"], name, "{answer}");
        lines
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.writer.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Value {
        let mut line = String::new();
        within(self.reader.read_line(&mut line)).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The next event of this kind.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            let line = self.hear().await;
            if line["event"] == kind {
                return line;
            }
        }
    }

    /// The next change of a group that others have made.
    pub(crate) async fn change(&mut self) -> Value {
        loop {
            let news = self.event("group").await;
            if news["change"] != "invited" {
                return news["change"].clone();
            }
        }
    }

    /// The answer to what is asked; events before it are passed over.
    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        self.say(&request.to_string()).await;
        loop {
            let line = self.hear().await;
            if line["re"] == request["do"] {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn a_user_of_lines_is_a_user_like_others() {
    let harness = harbour().await;
    let mut ana = Lines::login(&harness, "ana").await;
    let mut alice = harness.login(1, "alice").await;
    let users = ana.ask(json!({ "do": "list", "id": 1 })).await;
    let badges: Vec<(&str, &str)> = users["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (user["name"].as_str().unwrap(), user["by"].as_str().unwrap()))
        .collect();
    assert_eq!(badges, [("alice", "mem"), ("ana", "lines")]);
    assert_eq!(users["id"], 1);

    let sent = ana.ask(json!({ "do": "send", "to": "alice", "text": "olá\n\"x\"" })).await;
    let Event::Message(delivery) = alice.event().await else { panic!() };
    assert_eq!((delivery.from.as_str(), delivery.text.as_str()), ("ana", "olá\n\"x\""));
    assert_eq!(sent["message"], delivery.id.0);
    let seen = Receipts { ids: vec![delivery.id], state: ReceiptState::Seen };
    alice.ask(seen).await.unwrap();
    assert_eq!(ana.event("receipt").await["state"], "seen");

    alice.ask(say("ana", "hi")).await.unwrap();
    let message = ana.event("message").await;
    assert_eq!((&message["from"], &message["to"]), (&json!("alice"), &json!("ana")));
    // The gateway confirms what it has written.
    let Event::Receipt(receipt) = alice.event().await else { panic!() };
    assert_eq!(receipt.state, ReceiptState::Delivered);
    ana.ask(json!({ "do": "seen", "ids": [message["id"]] })).await;
    let Event::Receipt(receipt) = alice.event().await else { panic!() };
    assert_eq!((receipt.state, receipt.by.as_str()), (ReceiptState::Seen, "ana"));
}

#[tokio::test]
async fn groups_and_conversations_can_be_had_by_line() {
    let harness = harbour().await;
    let mut ana = Lines::login(&harness, "ana").await;
    let mut bia = Lines::login(&harness, "bia").await;
    for request in [
        json!({ "do": "create", "group": "team" }),
        json!({ "do": "invite", "group": "team", "name": "bia" }),
    ] {
        assert_eq!(ana.ask(request).await["ok"], true);
    }
    let news = bia.event("group").await;
    assert_eq!((&news["change"], &news["by"]), (&json!("invited"), &json!("ana")));
    assert_eq!(bia.ask(json!({ "do": "join", "group": "team" })).await["ok"], true);
    assert_eq!(bia.ask(json!({ "do": "send", "to": "#team", "text": "here" })).await["ok"], true);
    assert_eq!(ana.event("message").await["to"], "#team");
    let members = ana.ask(json!({ "do": "members", "group": "team" })).await;
    assert_eq!(members["members"].as_array().unwrap().len(), 2);

    ana.ask(json!({ "do": "ask", "name": "bia" })).await;
    assert_eq!(bia.event("conversation").await["state"], "requested");
    bia.ask(json!({ "do": "accept", "name": "ana" })).await;
    assert_eq!(ana.event("conversation").await["state"], "accepted");
    let history = ana.ask(json!({ "do": "history", "with": "#team" })).await;
    assert_eq!(history["messages"][0]["text"], "here");
}

#[tokio::test]
async fn everything_can_be_piped_in_at_once() {
    let harness = harbour().await;
    let mut stream = TcpStream::connect(address(&harness, "lines")).await.unwrap();
    let script = "{\"do\":\"login\",\"name\":\"ana\"}\n{\"do\":\"echo\",\"text\":\"x\"}\n\
                  {\"do\":\"send\",\"to\":\"ana\",\"text\":\"to me\"}\nnonsense\n{\"do\":\"fly\"}\n";
    stream.write_all(script.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answers: Vec<(&Value, &Value)> = lines
        .iter()
        .filter(|line| !line["re"].is_null())
        .map(|line| (&line["re"], &line["ok"]))
        .collect();
    let (yes, no) = (json!(true), json!(false));
    let expected = [("login", &yes), ("echo", &yes), ("send", &yes), ("", &no), ("fly", &no)];
    assert!(answers.iter().map(|(re, ok)| (re.as_str().unwrap(), *ok)).eq(expected), "{text}");
}

#[tokio::test]
async fn names_are_one_across_worlds() {
    let harness = harbour().await;
    let _alice = harness.login(1, "alice").await;
    let mut ana = Lines::connect(&harness).await;
    let refused = ana.ask(json!({ "do": "login", "name": "Alice" })).await;
    assert_eq!(refused["error"], "name_taken", "{refused}");
    assert_eq!(ana.ask(json!({ "do": "login", "name": "ana" })).await["ok"], true);
    let mut other = Lines::connect(&harness).await;
    let refused = other.ask(json!({ "do": "login", "name": "ANA" })).await;
    assert_eq!(refused["error"], "name_taken", "{refused}");
    // And no key can have what a gateway's user has.
    let mut mallory = harness.connect(9).await;
    assert_eq!(mallory.login("ana").await.unwrap_err().code.as_str(), "name_taken");
    assert_eq!(ana.ask(json!({ "do": "logout" })).await["ok"], true);
    let refused = ana.ask(json!({ "do": "list" })).await;
    assert_eq!(refused["error"], "not_logged_in");
    assert_eq!(other.ask(json!({ "do": "login", "name": "ana" })).await["ok"], true);
}

#[tokio::test]
async fn what_is_sent_to_the_absent_waits_for_them() {
    let harness = harbour().await;
    let mut ana = Lines::login(&harness, "ana").await;
    assert_eq!(ana.ask(json!({ "do": "quit" })).await["ok"], true);
    let mut alice = harness.login(1, "alice").await;
    alice.ask(say("ana", "later")).await.unwrap();
    drop(ana);
    let mut ana = Lines::login(&harness, "ana").await;
    assert_eq!(ana.event("message").await["text"], "later");
}

#[tokio::test]
async fn a_native_broadcast_and_an_announcement_reach_lines() {
    let harness = harbour().await;
    let mut ana = Lines::login(&harness, "ana").await;
    let mut alice = harness.login(1, "alice").await;
    let all = portolan_protocol::Send { to: Recipient::All, text: "all".into(), reference: None };
    alice.ask(all).await.unwrap();
    assert_eq!(ana.event("message").await["to"], "@all");
    // The server's own key announces.
    let mut admin = harness.connect(0).await;
    admin.ask(portolan_protocol::Announce { text: "noon".into() }).await.unwrap();
    assert_eq!(ana.event("announcement").await["text"], "noon");
    let kick = portolan_protocol::Kick { name: name("ana"), reason: "spam".into() };
    admin.ask(kick).await.unwrap();
    assert_eq!(ana.event("closing").await["why"], "kicked");
}
