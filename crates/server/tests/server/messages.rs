//! Messages, broadcasts, receipts and the mailbox of those who are not there.

use portolan_protocol::{
    ClearMailbox, Delivery, Echo, ErrorCode, Event, Logout, Mailbox, MessageId, ReceiptState,
    Receipts, Recipient, Reply, Send, Sent,
};

use crate::client::{Client, Harness, config, name, say};

pub(crate) async fn send(client: &mut Client, message: Send) -> Sent {
    match client.ask(message).await.unwrap() {
        Reply::Sent(sent) => sent,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn receive(client: &mut Client) -> Delivery {
    match client.event().await {
        Event::Message(delivery) => delivery,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn confirm(client: &mut Client, id: MessageId) {
    let receipts = Receipts { ids: vec![id], state: ReceiptState::Delivered };
    client.ask(receipts).await.unwrap();
}

fn to(to: Recipient, text: &str) -> Send {
    Send { to, text: text.to_owned(), reference: None }
}

#[tokio::test]
async fn a_message_reaches_its_recipient_and_its_sender_learns_of_it() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let sent = send(&mut alice, say("bob", "ahoy")).await;
    assert_eq!((sent.online, sent.waiting), (1, 0));
    let delivery = receive(&mut bob).await;
    assert_eq!((delivery.id, delivery.text.as_str()), (sent.id, "ahoy"));
    assert_eq!((delivery.from, delivery.to), (name("alice"), Recipient::User(name("bob"))));
    for state in [ReceiptState::Delivered, ReceiptState::Seen] {
        bob.ask(Receipts { ids: vec![sent.id], state }).await.unwrap();
        // Said twice, told once.
        bob.ask(Receipts { ids: vec![sent.id, MessageId(1)], state }).await.unwrap();
        let Event::Receipt(receipt) = alice.event().await else { panic!() };
        assert_eq!((receipt.id, receipt.state, receipt.by), (sent.id, state, name("bob")));
    }
    let stored = Receipts { ids: vec![sent.id], state: ReceiptState::Stored };
    assert_eq!(bob.refusal(stored).await, ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_broadcast_reaches_all_or_all_others() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let mut carol = harness.login(3, "carol").await;
    let all = send(&mut alice, to(Recipient::All, "to all")).await;
    assert_eq!(all.online, 3);
    let others = send(&mut bob, to(Recipient::Others, "to others")).await;
    assert_eq!(others.online, 2);
    for client in [&mut alice, &mut carol] {
        assert_eq!(receive(client).await.text, "to all");
        assert_eq!(receive(client).await.text, "to others");
    }
    assert_eq!(receive(&mut bob).await.text, "to all");
    // Broadcasts are rare, for one key.
    let mut refused = None;
    for _ in 0..40 {
        refused = refused.or(alice.ask(to(Recipient::All, "again")).await.err());
    }
    assert_eq!(refused.map(|error| error.code), Some(ErrorCode::RateLimited));
}

#[tokio::test]
async fn messages_for_an_absent_user_wait_in_order_until_they_are_confirmed() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    bob.ask(Logout {}).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..5 {
        let sent = send(&mut alice, say("bob", &number.to_string())).await;
        assert_eq!((sent.online, sent.waiting), (0, 1));
        ids.push(sent.id);
    }
    assert!(ids.is_sorted());

    let mut bob = harness.connect(2).await;
    assert_eq!(bob.login("bob").await.unwrap().waiting, 5);
    for id in &ids {
        assert_eq!(receive(&mut bob).await.id, *id);
    }
    confirm(&mut bob, ids[0]).await;
    confirm(&mut bob, ids[3]).await;
    drop(bob);

    let mut bob = harness.connect(2).await;
    assert_eq!(bob.login("bob").await.unwrap().waiting, 3);
    for index in [1, 2, 4] {
        assert_eq!(receive(&mut bob).await.id, ids[index]);
    }
    let Reply::Messages(page) = bob.ask(Mailbox::default()).await.unwrap() else { panic!() };
    assert_eq!(page.messages.len(), 3);
    bob.ask(ClearMailbox {}).await.unwrap();
    let Reply::Messages(page) = bob.ask(Mailbox::default()).await.unwrap() else { panic!() };
    assert!(page.messages.is_empty() && !page.more);
}

#[tokio::test]
async fn a_message_sent_again_is_stored_once() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let message = Send { reference: Some(u64::MAX), ..say("bob", "once") };
    let first = send(&mut alice, message.clone()).await;
    let mut alice = harness.login(1, "alice").await;
    let second = send(&mut alice, message).await;
    assert_eq!((first.id, first.at), (second.id, second.at));
    send(&mut alice, say("bob", "after")).await;
    assert_eq!(receive(&mut bob).await.text, "once");
    assert_eq!(receive(&mut bob).await.text, "after");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_the_reason() {
    let mut config = config();
    config.limits.mailbox_messages = 2;
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let _bob = harness.login(2, "bob").await;
    assert_eq!(alice.refusal(say("nobody1", "x")).await, ErrorCode::UnknownUser);
    let long = "x".repeat((64 << 10) + 1);
    assert_eq!(alice.refusal(say("bob", &long)).await, ErrorCode::TooLarge);
    assert_eq!(alice.refusal(Echo { text: long }).await, ErrorCode::TooLarge);
    let group = to(Recipient::Group("crew".into()), "x");
    assert_eq!(alice.refusal(group).await, ErrorCode::UnknownGroup);
    send(&mut alice, say("bob", "1")).await;
    send(&mut alice, say("bob", "2")).await;
    assert_eq!(alice.refusal(say("bob", "3")).await, ErrorCode::Quota);
    let longest = "x".repeat(64 << 10);
    let Reply::Echo(echo) = alice.ask(Echo { text: longest.clone() }).await.unwrap() else {
        panic!()
    };
    assert_eq!(echo.text, longest);
}

#[tokio::test]
async fn a_client_that_confirms_nothing_is_sent_a_window_and_the_rest_waits() {
    let mut config = config();
    config.limits.window_messages = 3;
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(send(&mut alice, say("bob", "x")).await.id);
    }
    for (index, id) in ids.iter().enumerate() {
        let delivery = receive(&mut bob).await;
        assert_eq!(delivery.id, *id);
        if index % 3 == 2 {
            // Nothing more came: the answer to the confirmation is the next frame.
            let seen = Receipts { ids: ids[index - 2..=index].to_vec(), state: ReceiptState::Seen };
            bob.ask(seen).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_sent_away_and_its_messages_wait() {
    let mut config = config();
    config.limits.outbox_frames = 8;
    config.limits.transport.stream_window = 1024;
    config.limits.transport.send_buffer = 1024;
    config.timing.farewell = std::time::Duration::from_millis(50);
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let bob = harness.login(2, "bob").await;
    let text = "x".repeat(60 << 10);
    let mut ids = Vec::new();
    let mut left = None;
    while left.is_none() {
        ids.push(send(&mut alice, say("bob", "x")).await.id);
        let carol = harness.login(3, "carol").await;
        drop(carol);
        let announcement = portolan_protocol::Announce { text: text.clone() };
        harness.connect(0).await.ask(announcement).await.unwrap();
        let lookup = portolan_protocol::Lookup::online(name("bob"));
        left = alice.ask(lookup).await.err();
    }
    assert_eq!(left.map(|error| error.code), Some(ErrorCode::Offline));
    let reason = crate::client::within(bob.connection.closed()).await.to_string();
    assert!(reason.contains("did not read"), "{reason}");

    let mut bob = harness.login(2, "bob").await;
    for id in ids {
        assert_eq!(receive(&mut bob).await.id, id);
        confirm(&mut bob, id).await;
    }
}
