//! Time, and the ports for those who are no clients of the gateway.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_peer_id::PeerId;
use portolan_protocol::{
    Command, Delivery, Event, LoggedIn, MessageId, Name, Recipient, Timestamp,
};

use super::{Addresses, Dialect, bridge::InfBridge};
use crate::bridge::{Action, Bridge, CallNews, Now, Visitor};

struct Client {
    bridge: InfBridge,
    start: Instant,
    at: Duration,
}

impl Client {
    fn logged_in() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 5_000));
        let visitor = Visitor { address, lane: 0, seed: 1, server: PeerId::from_bytes([1; 32]) };
        let bridge = InfBridge::new(visitor, Dialect::Of2024, Arc::<Addresses>::default());
        let mut client = Self { bridge, start: crate::test_epoch(), at: Duration::ZERO };
        client.bridge.handle_bytes(client.now(), b"USER Ana:43577\r\n");
        let logged_in = LoggedIn {
            name: name("Ana"),
            transport: "inf452".into(),
            waiting: 0,
            admin: false,
            moved: false,
            beside: 0,
        };
        client.bridge.handle_entered(client.now(), Ok(logged_in));
        client.actions();
        client
    }

    fn now(&self) -> Now {
        Now { instant: self.start + self.at, wall: Timestamp(0) }
    }

    fn wait(&mut self, time: Duration) {
        self.at += time;
        if self.bridge.poll_timeout().is_some_and(|at| at <= self.now().instant) {
            self.bridge.handle_timeout(self.now());
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.bridge.poll_action()).collect()
    }

    fn deliver(&mut self, text: &str) {
        let delivery = Delivery {
            id: MessageId(7),
            from: name("alice"),
            to: Recipient::User(name("Ana")),
            text: text.into(),
            at: Timestamp(0),
        };
        self.bridge.handle_event(self.now(), Event::Message(delivery));
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn who_does_not_say_keep_for_fifteen_seconds_is_gone() {
    let mut ana = Client::logged_in();
    for _ in 0..5 {
        ana.wait(Duration::from_secs(14));
        ana.bridge.handle_bytes(ana.now(), b"KEEP\r\n");
    }
    assert_eq!(ana.actions(), []);
    ana.wait(Duration::from_secs(15));
    assert_eq!(ana.actions(), [Action::Leave, Action::Finish(Duration::ZERO)]);
}

#[test]
fn a_text_from_another_world_calls_the_client_and_is_confirmed_when_it_is_written() {
    let mut ana = Client::logged_in();
    ana.deliver("oi\nAna");
    let actions = ana.actions();
    let [Action::Dial { call, to }] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(to, SocketAddr::from(([127, 0, 0, 1], 43_577)));
    ana.bridge.handle_call(ana.now(), call, CallNews::Connected);
    let actions = ana.actions();
    let say = |text: &str| Action::Say { call, bytes: text.into() };
    assert_eq!(actions[..2], [say("USER alice\r\n"), say("oi Ana\r\n")]);
    assert!(matches!(&actions[2..], [Action::Ask(_, Command::Receipts(all))]
        if all.ids == [MessageId(7)]));
    ana.bridge.handle_call(ana.now(), call, CallNews::Said(b"tudo bem?\n"));
    let actions = ana.actions();
    assert!(matches!(&actions[..], [Action::Ask(_, Command::Send(send))]
        if send.text == "tudo bem?" && send.to == Recipient::User(name("alice"))));
}

#[test]
fn a_client_that_cannot_be_called_gets_its_texts_another_time() {
    let mut ana = Client::logged_in();
    ana.deliver("oi");
    let actions = ana.actions();
    let [Action::Dial { call, .. }] = actions[..] else { panic!("{actions:?}") };
    ana.bridge.handle_call(ana.now(), call, CallNews::Ended);
    let is_receipt = |action: &Action| matches!(action, Action::Ask(_, Command::Receipts(_)));
    assert!(!ana.actions().iter().any(is_receipt), "nothing was delivered");
}
