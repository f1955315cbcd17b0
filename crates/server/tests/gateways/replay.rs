//! What the original servers were seen to say, replayed: our answers are the same but for ids,
//! ports and times.
//!
//! A capture has a line for each thing that happened: `c1 connects`, `c1 > what it sent`,
//! `c1 < what one read gave it`, `c1 hears nothing`, `c1 leaves`. In texts `{c1}` stands for the
//! address of c1 as the old programs print it, `{id:c1}` for an id that is the same everywhere,
//! `{time}` for ten digits. `\n` is a new line.

use std::collections::HashMap;

use crate::{
    old::{Old, harbour},
    rounds::captures,
};

#[derive(Default)]
struct Replay {
    clients: HashMap<String, Old>,
    addresses: HashMap<String, String>,
    ids: HashMap<String, String>,
}

impl Replay {
    /// The text with everything that is known put in.
    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("\\n", "\n").replace("{time}", "1795240144");
        for (name, address) in &self.addresses {
            text = text.replace(&format!("{{{name}}}"), address);
        }
        for (name, id) in &self.ids {
            text = text.replace(&format!("{{id:{name}}}"), id);
        }
        text
    }

    /// Compares, and learns ids.
    fn check(&mut self, line: &str, pattern: &str, heard: &str) {
        let mut pattern = pattern.replace("\\n", "\n");
        for (name, address) in &self.addresses {
            pattern = pattern.replace(&format!("{{{name}}}"), address);
        }
        let (mut rest, mut expected) = (heard, pattern.as_str());
        while let Some((before, after)) = expected.split_once('{') {
            let (what, after) = after.split_once('}').unwrap();
            rest = rest.strip_prefix(before).unwrap_or_else(|| panic!("{line}\nheard {heard:?}"));
            let length = if what == "time" { 10 } else { 13 };
            let (digits, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            assert!(
                digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()),
                "{line}\nheard {heard:?}"
            );
            if let Some(name) = what.strip_prefix("id:") {
                let known = self.ids.entry(name.to_owned()).or_insert_with(|| digits.to_owned());
                assert_eq!(known, digits, "{line}\nheard {heard:?}");
            }
            (rest, expected) = (behind, after);
        }
        assert_eq!(rest, expected, "{line}\nheard {heard:?}");
    }
}

async fn replay(gateway: &'static str, capture: &'static str) {
    let mut place = Place(gateway, String::new());
    let harness = harbour().await;
    let mut replay = Replay::default();
    for line in capture.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        line.clone_into(&mut place.1);
        let (name, what) = line.split_once(' ').unwrap();
        if what == "connects" {
            let client = Old::connect(&harness, gateway).await;
            let address = format!("('{}', {})", client.address.ip(), client.address.port());
            replay.addresses.insert(name.to_owned(), address);
            replay.clients.insert(name.to_owned(), client);
            continue;
        }
        if what == "leaves" {
            replay.clients.remove(name);
            continue;
        }
        let said = what.strip_prefix("> ").map(|text| replay.fill(text));
        let client = replay.clients.get_mut(name).unwrap();
        match (what.strip_prefix("< "), said) {
            (Some(pattern), _) => {
                let heard = client.hear().await;
                replay.check(line, pattern, &heard);
            }
            (None, Some(text)) => client.say(&text).await,
            (None, None) => {
                assert_eq!(what, "hears nothing", "{line}");
                client.expect_nothing().await;
            }
        }
    }
}

/// Says where a replay was when it failed.
struct Place(&'static str, String);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}", self.0, self.1);
        }
    }
}

captures! {
    tr223_answers_as_the_first_server_did: "tr223", "tr223_first.txt";
    tr223_answers_private_messages_as_the_first_server_did: "tr223", "tr223_first_private.txt";
    tr223_refuses_a_name_in_use_as_the_first_server_did: "tr223", "tr223_first_duplicate.txt";
    tr223_forgets_a_client_that_was_killed: "tr223", "tr223_first_killed.txt";
    tr223_answers_as_the_second_server_did: "tr223", "tr223_second.txt";
    cod_answers_as_the_old_server_did: "cod", "cod_messages.txt";
    cod_makes_groups: "cod", "cod_groups.txt";
}
