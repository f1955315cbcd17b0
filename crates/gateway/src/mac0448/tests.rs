//! Time, and what the two sides of a gateway do at once.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_peer_id::PeerId;
use portolan_protocol::{
    Availability, Command, Conversation, ConversationState, Event, LoggedIn, Name, Reply,
    Requested, Timestamp, UserInfo,
};

use super::{LANES, Lists, bridge::MacBridge};
use crate::bridge::{Action, Bridge, Now, Ticket, Visitor};

const SECOND: Duration = Duration::from_secs(1);

struct Client {
    bridge: MacBridge,
    start: Instant,
    at: Duration,
    /// What was asked of the server and not answered.
    asked: Vec<(Ticket, Command)>,
    written: String,
    others: Vec<Action>,
}

impl Client {
    fn new(registry: &str) -> Self {
        let lane = LANES.iter().position(|lane| lane.registry == registry).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 5_000));
        let server = PeerId::from_bytes([1; 32]);
        let bridge = MacBridge::new(Visitor { address, lane, seed: 1, server }, Lists::Separate);
        let mut client = Self {
            bridge,
            start: crate::test_epoch(),
            at: Duration::ZERO,
            asked: Vec::new(),
            written: String::new(),
            others: Vec::new(),
        };
        client.bridge.handle_connected(client.now());
        client
    }

    fn logged_in(registry: &str) -> Self {
        let mut client = Self::new(registry);
        client.say("CONNECT\r\nLOGIN ana\r\n");
        let logged_in = LoggedIn {
            name: name("ana"),
            transport: registry.into(),
            waiting: 0,
            admin: false,
            moved: false,
            beside: 0,
        };
        client.bridge.handle_entered(client.now(), Ok(logged_in));
        client.settle();
        client.written.clear();
        client.others.clear();
        client
    }

    fn now(&self) -> Now {
        let wall = Timestamp(1_795_240_144_000);
        Now { instant: self.start + self.at, wall }
    }

    fn say(&mut self, text: &str) {
        self.bridge.handle_bytes(self.now(), text.as_bytes());
        self.settle();
    }

    fn event(&mut self, with: &str, state: ConversationState) {
        let news = Conversation { with: name(with), state, reason: None, elsewhere: false };
        self.bridge.handle_event(self.now(), Event::Conversation(news));
        self.settle();
    }

    fn answer(&mut self, reply: Reply) {
        let (ticket, _) = self.asked.remove(0);
        self.bridge.handle_answer(self.now(), ticket, Ok(reply));
        self.settle();
    }

    /// Lets time pass, in steps of a second.
    fn wait(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.at += SECOND;
            if self.bridge.poll_timeout().is_some_and(|at| at <= self.now().instant) {
                self.bridge.handle_timeout(self.now());
            }
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(action) = self.bridge.poll_action() {
            match action {
                Action::Write(bytes) => self.written += std::str::from_utf8(&bytes).unwrap(),
                Action::Ask(ticket, command) => self.asked.push((ticket, command)),
                other => self.others.push(other),
            }
        }
    }

    fn heard(&mut self) -> String {
        std::mem::take(&mut self.written)
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn user(text: &str, transport: &str) -> Reply {
    Reply::User(UserInfo {
        name: name(text),
        id: PeerId::from_bytes([2; 32]),
        transport: transport.into(),
        state: Availability::Free,
        since: Timestamp(0),
        online_since: Timestamp(0),
        with: None,
        away: None,
        also: Vec::new(),
    })
}

const REJECTED: &str = "{\"state\": \"logged_in\", \"result:\": \"rejected\"}\r\n";

#[test]
fn a_caller_hears_no_before_its_patience_ends() {
    let mut ana = Client::logged_in("mac0448");
    ana.say("REQUEST_CHAT bia\r\n");
    ana.answer(user("bia", "mac0448"));
    ana.answer(Reply::Requested(Requested { expires_ms: 30_000 }));
    ana.wait(8);
    assert_eq!(ana.heard(), "");
    ana.wait(1);
    assert_eq!(ana.heard(), REJECTED);
    assert!(matches!(&ana.asked[..], [(_, Command::End(end))] if end.with == name("bia")));
    // What the client has said meanwhile is done now.
    ana.say("HEARTBEAT\r\n");
    assert_eq!(ana.heard(), "{\"state\": \"logged_in\"}\r\n");
}

#[test]
fn a_client_is_not_asked_while_it_waits_for_an_answer() {
    let mut ana = Client::logged_in("mac0448");
    ana.say("LIST_USERS\r\n");
    ana.event("bia", ConversationState::Requested);
    assert_eq!(ana.heard(), "");
    ana.answer(Reply::Users(portolan_protocol::Users::default()));
    let list = "{\"result:\": \"ok\", \"state\": \"logged_in\", \"users:\": []}\r\n";
    assert_eq!(ana.heard(), format!("{list}CHAT_REQUESTED bia\r\n"));
    // A second caller is told that she is not available.
    ana.event("caio", ConversationState::Requested);
    let denied = |(_, command): &(Ticket, Command)| {
        matches!(command, Command::Deny(deny) if deny.with == name("caio")
            && deny.reason.as_deref() == Some("USER_NOT_AVAILABLE"))
    };
    assert!(ana.asked.iter().any(denied));
}

#[test]
fn a_callee_that_says_nothing_is_denied_for_and_its_late_reply_is_no_request() {
    let mut ana = Client::logged_in("mac0448");
    ana.event("bia", ConversationState::Requested);
    assert_eq!(ana.heard(), "CHAT_REQUESTED bia\r\n");
    ana.wait(9);
    assert!(matches!(&ana.asked[..], [(_, Command::Deny(deny))] if deny.with == name("bia")));
    ana.say("{\"result\": \"confirmed\", \"port\": 55555, \"state\": \"waiting_connection\"}\r\n");
    assert_eq!(ana.heard(), "");
    assert_eq!(ana.others, []);
}

#[test]
fn a_caller_that_is_no_old_client_has_us_call_in_its_place() {
    let mut ana = Client::logged_in("mac0448");
    ana.event("alice", ConversationState::Requested);
    ana.say("{\"result\": \"confirmed\", \"port\": 55555, \"state\": \"x\"}\r\n");
    let note = Action::Note { to: name("alice"), bytes: b"127.0.0.1:55555".to_vec() };
    assert_eq!(std::mem::take(&mut ana.others), [note]);
    ana.bridge.handle_note_missed(ana.now(), &name("alice"), b"127.0.0.1:55555");
    ana.settle();
    assert_eq!(ana.others, []);
    ana.wait(1);
    assert!(matches!(&ana.others[..], [Action::Dial { to, .. }] if to.port() == 55_555));
}

#[test]
fn a_client_on_udp_that_vanishes_is_asked_and_then_gone() {
    let mut ana = Client::logged_in("mac0448-udp");
    ana.wait(19);
    assert_eq!(ana.heard(), "");
    ana.wait(1);
    assert_eq!(ana.heard(), "HEARTBEAT\r\n");
    ana.say("{\"state\": \"logged_in\"}");
    assert_eq!(ana.heard(), "");
    ana.wait(60);
    assert_eq!(ana.heard(), "HEARTBEAT\r\n".repeat(3));
    assert_eq!(ana.others, []);
    ana.wait(20);
    assert!(matches!(&ana.others[..], [Action::Leave, Action::Finish(_)]), "{:?}", ana.others);
}

#[test]
fn lists_are_separate() {
    for (registry, sees) in [("mac0448", ["tcp", "lines"]), ("mac0448-udp", ["udp", "quic"])] {
        let mut ana = Client::logged_in(registry);
        for transport in ["tcp", "udp", "quic", "lines"] {
            ana.say("REQUEST_CHAT bia\r\n");
            ana.answer(user("bia", transport));
            let is_asked = ana.asked.pop().is_some();
            assert_eq!(is_asked, sees.contains(&transport), "{transport} from {registry}");
            if is_asked {
                ana = Client::logged_in(registry);
            } else {
                assert!(ana.heard().contains("USER_NOT_LOGGED_IN"));
            }
        }
    }
}
