//! `upc`, as its description has it.

use portolan_protocol::{Event, ReceiptState};

use crate::{
    client::{Harness, say},
    old::{Old, harbour},
};

pub(crate) async fn login(harness: &Harness, name: &str) -> Old {
    let mut client = Old::connect(harness, "upc").await;
    client.say(&format!("username: {name}")).await;
    client
}

/// In the list, and so logged in.
async fn settled(client: &mut Old, others: &str) {
    client.say("::menu").await;
    client.expect(&format!("Servidor[m]: {others}")).await;
}

#[tokio::test]
async fn two_users_connect_talk_and_end() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    settled(&mut ana, "nobody else is here").await;
    let mut bia = login(&harness, "bia").await;
    settled(&mut bia, "ana").await;
    ana.say("connect: bia").await;
    bia.expect("connect: ana").await;
    ana.say("oi").await;
    bia.expect("ana: oi").await;
    bia.say("tudo bem?").await;
    ana.expect("bia: tudo bem?").await;
    ana.say("::end").await;
    ana.expect("Servidor[i]: the conversation with bia is over").await;
    bia.expect("Servidor[i]: ana has ended the conversation").await;
    bia.say("are you there?").await;
    bia.expect("Servidor[e]: nobody would hear that: say connect: USER first, or ::menu").await;
    ana.say("::exit").await;
    ana.expect("Servidor[c]: goodbye").await;
}

#[tokio::test]
async fn who_has_not_said_who_they_are_is_asked() {
    let harness = harbour().await;
    let mut client = Old::connect(&harness, "upc").await;
    client.say("connect: ana").await;
    client.expect("Servidor[u]: who are you? say username: NAME").await;
    client.say("username:").await;
    assert!(client.hear().await.starts_with("Servidor[e]: username: "));
    client.say("username:ana").await;
    settled(&mut client, "nobody else is here").await;
    client.say("connect: ghost").await;
    assert!(client.hear().await.starts_with("Servidor[e]: "));
    client.say("::dance").await;
    assert!(client.hear().await.starts_with("Servidor[e]: there is no ::dance; there are "));
}

#[tokio::test]
async fn lines_are_answered_with_lines() {
    let harness = harbour().await;
    let mut ana = Old::connect(&harness, "upc").await;
    ana.say("username: ana\r\n::me").await;
    ana.say("nu\r\n").await;
    ana.expect("Servidor[m]: nobody else is here\r\n").await;
}

#[tokio::test]
async fn what_is_said_to_those_who_are_away_is_kept() {
    let harness = harbour().await;
    let mut bia = login(&harness, "bia").await;
    settled(&mut bia, "nobody else is here").await;
    bia.say("::exit").await;
    bia.expect("Servidor[c]: goodbye").await;
    bia.expect_end().await;
    let mut alice = harness.login(1, "alice").await;
    alice.ask(say("bia", "for later")).await.unwrap();
    let mut ana = login(&harness, "ana").await;
    ana.say("connect: bia").await;
    ana.expect("Servidor[i]: bia is not here; what you say is kept").await;
    ana.say("me too").await;
    // Words are never cut: what came at once with them would be theirs.
    ana.expect_nothing().await;
    settled(&mut ana, "alice").await;
    let mut bia = login(&harness, "bia").await;
    bia.expect("alice: for later").await;
    bia.expect("ana: me too").await;
    let Event::Receipt(receipt) = alice.event().await else { panic!("no receipt") };
    assert_eq!(receipt.state, ReceiptState::Delivered);
}

#[tokio::test]
async fn the_same_name_again_takes_the_place_of_the_first() {
    let harness = harbour().await;
    let mut first = login(&harness, "ana").await;
    settled(&mut first, "nobody else is here").await;
    let mut second = login(&harness, "ana").await;
    assert!(first.hear().await.starts_with("Servidor[c]: "));
    settled(&mut second, "nobody else is here").await;
}

#[tokio::test]
async fn a_name_with_a_password_is_only_for_those_who_know_it() {
    let harness = harbour().await;
    let mut ana = login(&harness, "ana").await;
    ana.say("::password").await;
    ana.expect("Servidor[i]: there is no password now").await;
    ana.say("::password open sesame").await;
    ana.expect("Servidor[i]: the password is set").await;
    let mut thief = login(&harness, "ana").await;
    thief.expect("Servidor[e]: this name has a password: say password: WORD").await;
    thief.say("password: let me in").await;
    thief.expect("Servidor[e]: this name has a password: say password: WORD").await;
    ana.say("::menu").await;
    ana.expect("Servidor[m]: nobody else is here").await;
    let mut owner = login(&harness, "ana").await;
    owner.expect("Servidor[e]: this name has a password: say password: WORD").await;
    owner.say("password: open sesame").await;
    assert!(ana.hear().await.starts_with("Servidor[c]: "));
    settled(&mut owner, "nobody else is here").await;
}
