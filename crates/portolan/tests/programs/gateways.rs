//! Old programs and new ones talk to each other, across three protocols.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::harness::{Harbour, Program, run};

/// Rounds of each exchange.
const ROUNDS: usize = 10;

/// A client without framing: one read is one message.
struct Old(TcpStream);

impl Old {
    fn connect(harbour: &Harbour, gateway: &str) -> Self {
        let gateways = harbour.ready["gateways"].as_array().unwrap();
        let entry = gateways.iter().find(|entry| entry["transport"] == gateway).unwrap();
        let stream = TcpStream::connect(entry["address"].as_str().unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut buffer = [0; 1_024];
        let length = self.0.read(&mut buffer).unwrap();
        assert!(length > 0, "the connection has ended");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next read that is not a notice of `cod` that something was read: a peer says so whenever
    /// its user has seen it.
    fn hear_other(&mut self) -> String {
        loop {
            let read = self.hear();
            if !(read.starts_with("09") && read.len() == 25) {
                return read;
            }
        }
    }

    /// The next read, which ends and begins like this.
    fn expect_frame(&mut self, head: &str, tail: &str) {
        let read = self.hear_other();
        assert!(read.starts_with(head) && read.ends_with(tail), "{read}, not {head}…{tail}");
    }

    fn expect(&mut self, expected: &str) {
        assert_eq!(self.hear(), expected);
    }
}

/// A `tr223` client that has entered.
fn tr223(harbour: &Harbour, name: &str) -> Old {
    let mut client = Old::connect(harbour, "tr223");
    client.expect("server | client | name | no data");
    client.say(&format!("{name} | server | name | {name}"));
    assert!(client.hear().contains("connection_confirmation"));
    client
}

/// A `cod` client that has entered, and its id.
fn cod(harbour: &Harbour, alice: &mut Program) -> (Old, String) {
    let mut client = Old::connect(harbour, "cod");
    client.say("01");
    let id = client.hear().strip_prefix("02").unwrap().to_owned();
    client.say(&format!("03{id}"));
    alice.wait_for("presence", |event| {
        event["event"] == "presence" && event["user"]["name"].as_str() == Some(&id)
    });
    (client, id)
}

/// What the directory of `cod` says.
fn directory(client: &mut Old, id: &str, question: &str) -> String {
    client.say(&format!("05{id}09999999999991795240144{question}"));
    client.hear_other().get(38..).unwrap().to_owned()
}

#[test]
fn an_old_broadcaster_an_old_messenger_and_a_peer_on_quic_talk_to_each_other() {
    let harbour = Harbour::open_with(&["--gateway", "tr223=0", "--gateway", "cod=0"]);
    let mut alice = harbour.peer("alice", "quic");
    let mut ana = tr223(&harbour, "ana");
    let (mut bia, id) = cod(&harbour, &mut alice);

    // Everyone sees everyone, with a badge.
    ana.say("ana | server | list_clients | no data");
    ana.expect(&format!("server | ana | list_clients | clients connected: alice ,ana ,{id}"));
    let list = directory(&mut bia, &id, "list");
    let id_of = |name: &str| {
        let line = list.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap();
        line.get(..13).unwrap().to_owned()
    };
    let (alice_id, ana_id) = (id_of("alice"), id_of("ana"));
    alice.say("/list");
    let users = alice.wait_event("users")["users"].clone();
    let badge = |name: &str| {
        let user = users.as_array().unwrap().iter().find(|user| user["name"] == name).unwrap();
        user["transport"].as_str().unwrap().to_owned()
    };
    assert_eq!(["alice", "ana", &id].map(badge), ["quic", "tr223", "cod"]);

    for round in 0..ROUNDS {
        exchange(round, (&mut alice, &alice_id), (&mut ana, &ana_id), (&mut bia, &id));
    }

    // A group of all three.
    alice.say("/group create crew");
    alice.wait_event("groups");
    for guest in ["ana", &id] {
        alice.say(&format!("/group invite crew {guest}"));
        alice.wait_for("joined", |event| event["change"] == "joined" && event["by"] == guest);
    }
    let joined = bia.hear_other();
    let crew = joined.get(2..15).unwrap().to_owned();
    assert!(joined.starts_with("111") && joined.contains(&alice_id), "{joined}");
    alice.say("/msg #crew ahoy");
    ana.expect("alice#crew | ana | private_message | ahoy");
    bia.expect_frame("06", "alice: ahoy");
    bia.say(&format!("05{id}{crew}1795240144oi"));
    assert_eq!(alice.wait_message("oi")["group"], "crew");
    ana.expect(&format!("{id}#crew | ana | private_message | oi"));
    bia.expect_frame(&format!("07{crew}"), "");
    ana.say("ana | #crew | private_message | eu também");
    assert_eq!(alice.wait_message("eu também")["from"], "ana");
    bia.expect_frame("06", "ana: eu também");
}

/// A message each way, a broadcast of each, and what was read.
fn exchange(
    round: usize,
    (alice, alice_id): (&mut Program, &str),
    (ana, ana_id): (&mut Old, &str),
    (bia, id): (&mut Old, &str),
) {
    ana.say(&format!("ana | alice | private_message | oi {round}"));
    assert_eq!(alice.wait_message(&format!("oi {round}"))["from"], "ana");
    ana.say(&format!("ana | {id} | private_message | olá {round}"));
    bia.expect_frame(&format!("06{ana_id}{id}"), "");
    bia.say(&format!("05{id}{ana_id}1795240144tudo {round}"));
    ana.expect(&format!("{id} | ana | private_message | tudo {round}"));
    bia.expect_frame(&format!("07{ana_id}"), "");
    bia.say(&format!("05{id}{alice_id}1795240144bom {round}"));
    assert_eq!(alice.wait_message(&format!("bom {round}"))["from"], id);
    bia.expect_frame(&format!("07{alice_id}"), "");

    alice.say(&format!("/msg ana hi {round}"));
    ana.expect(&format!("alice | ana | private_message | hi {round}"));
    alice.say(&format!("/msg {id} hello {round}"));
    bia.expect_frame("06", &format!("hello {round}"));
    alice.wait_for("delivered", |event| event["state"] == "delivered" && event["by"] == id);
    bia.say(&format!("08{alice_id}1795240146"));
    alice.wait_for("seen", |event| event["state"] == "seen" && event["by"] == id);

    ana.say(&format!("ana | all clients | broadcast | todos {round}"));
    ana.expect(&format!("ana | all clients | broadcast | todos {round}"));
    bia.expect_frame("06", &format!("todos {round}"));
    alice.wait_message(&format!("todos {round}"));
    bia.say(&format!("05{id}09999999999991795240144all gente {round}"));
    bia.expect_frame("070999999999999", "");
    ana.expect(&format!("{id} | all clients | broadcast_not_me | gente {round}"));
    alice.wait_message(&format!("gente {round}"));
}

#[test]
fn lines_can_be_piped_into_a_server_that_warns_of_what_it_opens() {
    let harbour = Harbour::open_with(&["--gateway", "lines=0"]);
    let mut alice = harbour.peer("alice", "tcp");
    let mut client = Old::connect(&harbour, "lines");
    client.say("{\"do\":\"login\",\"name\":\"ana\"}\n{\"do\":\"send\",\"to\":\"alice\",\"text\":\"piped\"}\n");
    assert_eq!(alice.wait_message("piped")["from"], "ana");
    let status = harbour.status();
    let registries = status["registries"].as_array().unwrap();
    let lines = registries.iter().find(|entry| entry["transport"] == "lines").unwrap();
    assert_eq!(lines["users"][0], "ana");
    let (code, _, words) =
        run("server", &["--ephemeral", "--listen", "127.0.0.1:0", "--gateway", "irc"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("there is no gateway \"irc\""), "{words}");
}

#[test]
fn files_for_an_old_program_are_refused_in_words() {
    let harbour = Harbour::open_with(&["--gateway", "tr223=0"]);
    let mut alice = harbour.peer("alice", "udp");
    let _ana = tr223(&harbour, "ana");
    let file = harbour.file("a.bin", 10, 1);
    alice.say(&format!("/send ana {}", file.display()));
    let failed = alice.wait_for("refusal", |event| event.to_string().contains("gateway"));
    assert!(failed.to_string().contains("texts only"), "{failed}");
}
