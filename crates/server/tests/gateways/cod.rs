//! `cod` beyond what was captured: across worlds, and without framing.

use std::collections::BTreeSet;

use portolan_protocol::{Event, ReceiptState, Receipts};

use crate::{
    client::{Harness, say},
    lines::Lines,
    old::{Old, harbour},
};

pub(crate) async fn register(harness: &Harness) -> (Old, String) {
    let mut client = Old::connect(harness, "cod").await;
    client.say("01").await;
    let id = client.hear().await.strip_prefix("02").unwrap().to_owned();
    assert!(id.len() == 13 && id.starts_with('0'), "{id}");
    client.say(&format!("03{id}")).await;
    (client, id)
}

/// Waits until the server knows that the user is there.
async fn settle(alice: &mut crate::client::Client, id: &str) {
    let name = portolan_protocol::Name::new(id).unwrap();
    while alice.ask(portolan_protocol::Lookup::online(name.clone())).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_native_user_and_an_old_client_exchange_texts_and_receipts() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let (mut ana, id) = register(&harness).await;
    settle(&mut alice, &id).await;
    alice.ask(say(&id, "oi")).await.unwrap();
    let text = ana.hear().await;
    assert!(text.starts_with("060") && text.ends_with("oi") && text.len() == 40, "{text}");
    let from = text.get(2..15).unwrap().to_owned();
    let Event::Receipt(receipt) = alice.event().await else { panic!() };
    assert_eq!((receipt.state, receipt.by.as_str()), (ReceiptState::Delivered, id.as_str()));
    ana.say(&format!("08{from}1795240146")).await;
    let Event::Receipt(receipt) = alice.event().await else { panic!() };
    assert_eq!(receipt.state, ReceiptState::Seen);

    ana.say(&format!("05{id}{from}1795240147olá")).await;
    let Event::Message(delivery) = alice.event().await else { panic!() };
    assert_eq!((delivery.from.as_str(), delivery.text.as_str()), (id.as_str(), "olá"));
    for state in [ReceiptState::Delivered, ReceiptState::Seen] {
        alice.ask(Receipts { ids: vec![delivery.id], state }).await.unwrap();
    }
    for code in ["07", "09"] {
        let notice = ana.hear().await;
        assert!(notice.starts_with(&format!("{code}{from}")) && notice.len() == 25, "{notice}");
    }
}

#[tokio::test]
async fn the_directory_answers_who_is_there() {
    let harness = harbour().await;
    let _alice = harness.login(1, "alice").await;
    let mut bia = Lines::login(&harness, "bia").await;
    let (mut ana, id) = register(&harness).await;
    let mut ask = async |text: &str| {
        ana.say(&format!("05{id}09999999999991795240147{text}")).await;
        let answer = ana.hear().await;
        assert!(answer.starts_with("060999999999999"), "{answer}");
        answer.get(38..).unwrap().to_owned()
    };
    let list = ask("list").await;
    let entries: Vec<(&str, &str)> =
        list.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let names: BTreeSet<&str> = entries.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, BTreeSet::from(["alice", "bia", id.as_str()]));
    let id_of_bia = entries.iter().find(|(_, name)| *name == "bia").unwrap().0;
    assert_eq!(ask("id bia").await, format!("{id_of_bia} bia"));
    assert_eq!(ask(&format!("who {}", entries[0].0)).await, list.lines().next().unwrap());
    assert!(ask("id nobody-here").await.contains("nobody"));
    assert!(ask("what?").await.starts_with("list:"));
    ana.say(&format!("05{id}09999999999991795240147all bom dia")).await;
    assert_eq!(bia.event("message").await["text"], "bom dia");
}

#[tokio::test]
async fn a_text_longer_than_the_client_takes_comes_in_pieces_and_apart() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let (mut ana, id) = register(&harness).await;
    settle(&mut alice, &id).await;
    let text = "ção".repeat(300);
    alice.ask(say(&id, &text)).await.unwrap();
    let mut heard = String::new();
    while heard.len() < text.len() {
        let piece = ana.hear().await;
        let piece = piece.get(38..).unwrap();
        assert!(piece.chars().count() <= 218);
        heard += piece;
    }
    assert_eq!(heard, text);
}

#[tokio::test]
async fn a_native_group_has_members_by_id() {
    let harness = harbour().await;
    let (mut ana, id) = register(&harness).await;
    let mut bia = Lines::login(&harness, "bia").await;
    while bia.ask(serde_json::json!({ "do": "who", "name": id })).await["user"]["state"] != "free" {
    }
    bia.ask(serde_json::json!({ "do": "create", "group": "team" })).await;
    bia.ask(serde_json::json!({ "do": "invite", "group": "team", "name": id })).await;
    let joined = ana.hear().await;
    assert!(
        joined.starts_with("111") && joined.len() == 25 + 26 && joined.contains(&id),
        "{joined}"
    );
    let group = joined.get(2..15).unwrap().to_owned();
    assert_eq!(bia.change().await, "joined");
    bia.ask(serde_json::json!({ "do": "send", "to": "#team", "text": "oi" })).await;
    let text = ana.hear().await;
    assert!(text.starts_with(&format!("06{group}{id}")) && text.ends_with("bia: oi"), "{text}");
    ana.say(&format!("05{id}{group}1795240147olá")).await;
    assert_eq!(bia.event("message").await["to"], "#team");
    assert!(ana.hear().await.starts_with(&format!("07{group}")));
}

#[tokio::test]
async fn a_client_that_comes_again_takes_the_place_of_its_dead_connection() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let (mut dead, id) = register(&harness).await;
    settle(&mut alice, &id).await;
    let mut ana = Old::connect(&harness, "cod").await;
    ana.say(&format!("03{id}")).await;
    dead.expect_end().await;
    settle(&mut alice, &id).await;
    alice.ask(say(&id, "oi")).await.unwrap();
    assert!(ana.hear().await.ends_with("oi"));
}

#[tokio::test]
async fn an_id_of_somebody_else_is_refused_in_the_only_words_there_are() {
    let harness = harbour().await;
    let _alice = harness.login(1, "0123456789012").await;
    let mut ana = Old::connect(&harness, "cod").await;
    ana.say("030123456789012").await;
    let refused = ana.hear().await;
    assert!(refused.starts_with("0609999999999990123456789012"), "{refused}");
}
