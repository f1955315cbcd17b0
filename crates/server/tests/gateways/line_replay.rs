//! What the original servers of line protocols were seen to say, replayed.
//!
//! A capture has a line for each thing that happened: `c1 connects`, `c1 > what it sent`,
//! `c1 < a line that it got, without its end`, `c1 enters NAME` (seen by the server), `c1 leaves NAME`. `\r` and `\n` are the ends of
//! lines; `<time>` stands for a date and time, `<port of c1>` for the port of c1.

use std::collections::HashMap;

use crate::{
    client::{Harness, name, within},
    old::{Old, harbour},
    rounds::captures,
};
use portolan_protocol::{Logout, Lookup, Whom};

/// Characters of a date and time, as Python prints it.
const TIME: usize = "2026-11-21T05:58:44.799495".len();

async fn replay(gateway: &'static str, capture: &'static str) {
    let harness = harbour().await;
    let mut clients: HashMap<&str, Old> = HashMap::new();
    for line in capture.lines().filter(|line| !line.starts_with('#')) {
        let (client, what) = line.split_once(' ').unwrap();
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        match verb {
            "connects" => drop(clients.insert(client, Old::connect(&harness, gateway).await)),
            "leaves" => {
                clients.remove(client);
                wait_until(&harness, rest, Stand::Gone).await;
            }
            "enters" => wait_until(&harness, rest, Stand::There).await,
            ">" => {
                let text = rest.replace("\\r", "\r").replace("\\n", "\n");
                clients.get_mut(client).unwrap().say(&text).await;
            }
            "<" => {
                let ports = |pattern: String, (name, client): (&&str, &Old)| {
                    pattern
                        .replace(&format!("<port of {name}>"), &client.address.port().to_string())
                };
                let pattern = clients.iter().fold(rest.to_owned(), ports);
                let heard = clients.get_mut(client).unwrap().hear_line().await;
                check(line, &pattern, &heard);
            }
            other => panic!("{other} in {line}"),
        }
    }
}

/// Compares; every time is as long as another.
fn check(line: &str, pattern: &str, heard: &str) {
    let mut rest = heard;
    let mut parts = pattern.split("<time>");
    let first = parts.next().unwrap_or_default();
    rest = rest.strip_prefix(first).unwrap_or_else(|| panic!("{line}\nheard {heard}"));
    for part in parts {
        let (time, after) = rest.split_at_checked(TIME).unwrap_or((rest, ""));
        let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || b"-T:.".contains(&byte));
        assert!(is_time && time.len() == TIME, "{line}\nheard {heard}");
        rest = after.strip_prefix(part).unwrap_or_else(|| panic!("{line}\nheard {heard}"));
    }
    assert_eq!(rest, "", "{line}\nheard {heard}");
}

/// Whether a client is in the server's lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    There,
    Gone,
}

/// The server has seen a client come or go, for which the old protocol has no word.
async fn wait_until(harness: &Harness, who: &str, wanted: Stand) {
    let mut witness = harness.login(99, "witness").await;
    within(async {
        let question = Lookup { name: name(who), whom: Whom::Online };
        while witness.ask(question.clone()).await.is_ok() != (wanted == Stand::There) {
            witness.presence().await;
        }
    })
    .await;
    witness.ask(Logout {}).await.unwrap();
}

captures! {
    mac0448_lets_two_clients_chat: "mac0448", "mac0448_chat.txt";
    mac0448_refuses_chats_as_the_old_server_did: "mac0448", "mac0448_refused.txt";
    mac0448_answers_every_command_in_every_state: "mac0448", "mac0448_states.txt";
    inf452_lets_peers_find_each_other: "inf452-2026", "inf452_peers.txt";
    inf452_takes_several_instructions_at_once: "inf452", "inf452_segment.txt";
}
