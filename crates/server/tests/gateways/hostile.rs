//! Bad input: answered in the old way where there is one, and nobody else notices.

use serde_json::json;

use crate::{
    client::Harness,
    lines::Lines,
    old::{Old, harbour},
    tr223,
};

#[tokio::test]
async fn a_megabyte_without_an_end_ends_at_most_its_own_connection() {
    let harness = harbour().await;
    let mut witness = tr223::login(&harness, "witness").await;
    for gateway in ["lines", "tr223", "cod", "inf452", "inf452-2026", "mac0448", "upc"] {
        let mut client = Old::connect(&harness, gateway).await;
        for _ in 0..16 {
            if !client.try_say(&[b'a'; 64 << 10]).await {
                break;
            }
        }
        drop(client);
        let mut client = Old::connect(&harness, gateway).await;
        for _ in 0..40 {
            let _ended = client.try_say(b"\xff\xfe | \x00 | \xff | \xc3\n05\n\n").await;
        }
    }
    witness.say("witness | witness | echo | still here").await;
    witness.expect("witness | witness | echo | still here").await;
}

#[tokio::test]
async fn those_who_only_talk_nonsense_are_sent_away_with_a_word() {
    let harness = harbour().await;
    let mut lines = Lines::connect(&harness).await;
    for _ in 0..17 {
        lines.say("nonsense").await;
    }
    let closing = lines.event("closing").await;
    assert_eq!(closing["why"], "abuse");
    let mut old = tr223::login(&harness, "ana").await;
    let mut heard = String::new();
    for number in 0..17 {
        // Each waits to be seen as no beginning of a message.
        old.say(&format!("nonsense {number}")).await;
        heard = old.hear().await;
    }
    assert_eq!(heard, "server | all clients | broadcast | server closed");
}

#[tokio::test]
async fn the_wrong_state_is_answered() {
    let harness = harbour().await;
    let mut lines = Lines::connect(&harness).await;
    let refused = lines.ask(json!({ "do": "send", "to": "ana", "text": "x" })).await;
    assert_eq!(refused["error"], "not_logged_in");
    let mut old = Old::connect(&harness, "tr223").await;
    old.expect("server | client | name | no data").await;
    old.say("ana | server | list_clients | no data").await;
    old.expect("server | client | name | no data").await;
    let mut cod = Old::connect(&harness, "cod").await;
    // There is no word for it.
    cod.say("05012345678901201234567890121795240147x").await;
    cod.expect_nothing().await;
    cod.say("01").await;
    assert!(cod.hear().await.starts_with("020"));
}

async fn expect_answer(harness: &Harness, gateway: &str, said: &str, answer: &str) {
    let mut client = Old::connect(harness, gateway).await;
    client.say(said).await;
    let heard = client.hear().await;
    assert!(heard.starts_with(answer), "{gateway}: {heard}");
}

#[tokio::test]
async fn a_thousand_who_say_nothing_keep_nobody_out() {
    let harness = harbour().await;
    let mut native = harness.login(1, "alice").await;
    for gateway in ["tr223", "cod", "lines", "inf452", "mac0448", "upc"] {
        let mut silent = Vec::new();
        for _ in 0..167 {
            silent.push(Old::connect(&harness, gateway).await);
        }
        match gateway {
            "tr223" => drop(tr223::login(&harness, "ana").await),
            "cod" => drop(crate::cod::register(&harness).await),
            "inf452" => expect_answer(&harness, gateway, "USER eva:1\r\nLIST\r\n", "LIST ").await,
            "mac0448" => expect_answer(&harness, gateway, "CONNECT\r\n", "{\"state\"").await,
            "upc" => expect_answer(&harness, gateway, "username: gil\n::menu\n", "Servidor").await,
            _ => drop(Lines::login(&harness, "bia").await),
        }
        // So many are borne; the first ones are gone.
        silent.first_mut().unwrap().expect_end().await;
    }
    native.ask(portolan_protocol::Echo { text: "here".into() }).await.unwrap();
}
