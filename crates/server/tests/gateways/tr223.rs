//! `tr223` beyond what was captured: across worlds, coalesced, and without framing.

use portolan_protocol::{Event, ReceiptState, Recipient, Send};

use crate::{
    client::{Harness, say},
    lines::Lines,
    old::{Old, harbour, second_address},
};

pub(crate) async fn login(harness: &Harness, name: &str) -> Old {
    let mut client = Old::connect(harness, "tr223").await;
    client.expect("server | client | name | no data").await;
    client.say(&format!("{name} | server | name | {name}")).await;
    let confirmation = client.hear().await;
    let head = format!("server | {name} | connection_confirmation | You are now connected");
    assert!(confirmation.starts_with(&head), "{confirmation}");
    client
}

#[tokio::test]
async fn a_native_user_and_an_old_client_write_to_each_other() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "ana").await;
    ana.say("ana | server | list_clients | no data").await;
    ana.expect("server | ana | list_clients | clients connected: alice ,ana").await;
    ana.say("ana | alice | private_message | oi | alice").await;
    let Event::Message(delivery) = alice.event().await else { panic!() };
    assert_eq!((delivery.from.as_str(), delivery.text.as_str()), ("ana", "oi | alice"));
    alice.ask(say("ana", "hi | ana")).await.unwrap();
    // Bars would cut it.
    ana.expect("alice | ana | private_message | hi ¦ ana").await;
    let Event::Receipt(receipt) = alice.event().await else { panic!() };
    assert_eq!(receipt.state, ReceiptState::Delivered);
    let all = Send { to: Recipient::All, text: "server closed".into(), reference: None };
    alice.ask(all).await.unwrap();
    // Nobody but the server ends the old clients.
    ana.expect("alice | all clients | broadcast | server closed.").await;
}

#[tokio::test]
async fn a_client_that_may_not_know_private_messages_is_told_in_words_it_knows() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    let mut ana = login(&harness, "ana").await;
    alice.ask(say("ana", "hi")).await.unwrap();
    ana.expect("alice | ana | broadcast_not_me | hi").await;
    ana.say("ana | alice | list_files | no data").await;
    ana.expect("alice | ana | list_files | client: alice, files = ").await;
}

#[tokio::test]
async fn a_name_of_the_native_side_is_taken_and_odd_names_are_written_out() {
    let harness = harbour().await;
    let mut alice = harness.login(1, "alice").await;
    for name in ["alice", "server", "all clients"] {
        let mut client = Old::connect(&harness, "tr223").await;
        client.expect("server | client | name | no data").await;
        client.say(&format!("{name} | server | name | {name}")).await;
        let refused = format!(
            "server | new_client: {name} | connection_error | This username is already taken. You \
             need to connect again and use another one"
        );
        client.expect(&refused).await;
        // The client ends by itself: an end from here would crash it.
        client.expect_nothing().await;
    }
    let mut maria = login(&harness, "ana maria").await;
    alice.ask(say("x.ana.20.maria", "hi")).await.unwrap();
    maria.expect("alice | ana maria | broadcast_not_me | hi").await;
    let mut long = Old::connect(&harness, "tr223").await;
    long.expect("server | client | name | no data").await;
    let name = "n".repeat(40);
    long.say(&format!("{name} | server | name | {name}")).await;
    let refused = long.hear().await;
    assert!(refused.contains("connection_error | a name has at most 32 characters"), "{refused}");
}

#[tokio::test]
async fn clients_of_both_dialects_at_two_ports_are_one_world() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    let mut bia = Old::connect_to(second_address(&harness, "tr223")).await;
    bia.expect("server | client | name | no data").await;
    bia.say("bia | server | name | bia").await;
    bia.hear().await;
    bia.say("bia | ana | private message | oi").await;
    bia.expect("Server | bia | message received | message sent").await;
    ana.expect("bia | ana | private_message | oi").await;
    ana.say("ana | bia | list_files | no data").await;
    bia.expect("ana | bia | list_files | no data").await;
    let users = Lines::login(&harness, "caio").await.ask(serde_json::json!({ "do": "list" })).await;
    let badges = users["users"].as_array().unwrap().iter().filter(|user| user["by"] == "tr223");
    assert_eq!(badges.count(), 2);
}

#[tokio::test]
async fn messages_that_come_at_once_are_answered_one_by_one_and_apart() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    let many: String = (0..20).map(|number| format!("ana | ana | echo | {number}")).collect();
    ana.say(&many).await;
    for number in 0..20 {
        ana.expect(&format!("ana | ana | echo | {number}")).await;
    }
}

#[tokio::test]
async fn a_burst_of_messages_is_a_read_each() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    let mut alice = harness.login(1, "alice").await;
    for number in 0..20 {
        alice.request(say("ana", &format!("{number}"))).await;
    }
    for number in 0..20 {
        ana.expect(&format!("alice | ana | broadcast_not_me | {number}")).await;
    }
}

#[tokio::test]
async fn a_text_longer_than_a_read_comes_in_pieces() {
    let harness = harbour().await;
    let (mut ana, mut bia) = (login(&harness, "ana").await, login(&harness, "bia").await);
    let text = "çã".repeat(1_000);
    ana.say(&format!("ana | all clients | broadcast_not_me | {text}")).await;
    let mut heard = String::new();
    while heard.len() < text.len() {
        let piece = bia.hear().await;
        let head = "ana | all clients | broadcast_not_me | ";
        heard += piece.strip_prefix(head).unwrap_or_else(|| panic!("{piece}"));
    }
    assert_eq!(heard, text);
}

#[tokio::test]
async fn an_old_client_is_in_a_group_as_far_as_it_can() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    let mut bia = Lines::login(&harness, "bia").await;
    bia.ask(serde_json::json!({ "do": "create", "group": "team" })).await;
    bia.ask(serde_json::json!({ "do": "invite", "group": "team", "name": "ana" })).await;
    assert_eq!(bia.change().await, "joined");
    bia.ask(serde_json::json!({ "do": "send", "to": "#team", "text": "oi" })).await;
    ana.expect("bia#team | ana | broadcast_not_me | oi").await;
    ana.say("ana | #team | private_message | oi bia").await;
    let message = bia.event("message").await;
    assert_eq!((&message["to"], &message["text"]), (&"#team".into(), &"oi bia".into()));
    ana.say("ana | #team | private_message | /leave").await;
    assert_eq!(bia.change().await, "left");
}

#[tokio::test]
async fn everyone_is_told_before_the_server_ends() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    let mut nameless = Old::connect(&harness, "tr223").await;
    nameless.expect("server | client | name | no data").await;
    let ending = tokio::spawn(harness.server.shutdown("maintenance"));
    ana.expect("server | ana | broadcast_not_me | maintenance").await;
    ana.expect("server | all clients | broadcast | server closed").await;
    nameless.expect("server | all clients | broadcast | server closed").await;
    ending.await.unwrap();
}

#[tokio::test]
async fn only_whom_the_configuration_names_closes_the_gateway() {
    let harness = harbour().await;
    let mut bia = login(&harness, "bia").await;
    bia.say("bia | server | close_server | close server").await;
    bia.expect("server | bia | Unknown_operation | Operation (close_server) is not supported")
        .await;
    let mut ana = login(&harness, "ana").await;
    ana.say("ana | server | close_server | close server").await;
    for client in [&mut ana, &mut bia] {
        client.expect("server | all clients | broadcast | server closed").await;
    }
    // The rest of the server goes on.
    Lines::login(&harness, "caio").await;
}

#[tokio::test]
async fn half_messages_are_put_together_or_asked_for_again() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    ana.say("ana | ana").await;
    tokio::task::yield_now().await;
    ana.say(" | echo | half").await;
    ana.expect("ana | ana | echo | half").await;
    ana.say("ana").await;
    ana.expect("server | ana | Unknown_operation | Operation (ana) is not supported").await;
}
