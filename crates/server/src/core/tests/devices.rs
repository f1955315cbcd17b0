//! Several sessions of one name beside each other, row by row of the table in `devices`.

use std::time::Duration;

use portolan_protocol::{
    Accept, Announce, ClearMailbox, ClosingReason, ConversationState, Converse, Deny, DeviceId,
    End, ErrorCode, Event, Kick, List, Login, Logout, Lookup, Mailbox, MessageId, PresenceChange,
    ReceiptState, Receipts, Recipient, Reply, Send,
};

use super::world::{World, limits, name};
use crate::{
    config::Limits,
    core::{PURGE_INTERVAL, SessionId},
};

fn beside(world: &mut World, seed: u8, text: &str, device: u64) -> SessionId {
    let session = world.connect(seed, usize::from(device % 2 == 1));
    let login =
        Login { name: text.into(), password: None, device: Some(DeviceId(device)), attempt: None };
    let answer = world.ask(session, login);
    assert!(matches!(answer, Some(Ok(Reply::LoggedIn(_)))), "{answer:?}");
    session
}

fn say(world: &mut World, from: SessionId, to: &str, text: &str) -> MessageId {
    let send = Send { to: Recipient::User(name(to)), text: text.into(), reference: None };
    match world.ask(from, send) {
        Some(Ok(Reply::Sent(sent))) => sent.id,
        other => panic!("{other:?}"),
    }
}

fn confirm(world: &mut World, session: SessionId, ids: &[MessageId], state: ReceiptState) {
    let answer = world.ask(session, Receipts { ids: ids.to_vec(), state });
    assert!(matches!(answer, Some(Ok(Reply::Done(_)))), "{answer:?}");
}

/// The texts a session was told since it was asked last.
fn texts(world: &mut World, session: SessionId) -> Vec<String> {
    let events = world.events(session).into_iter();
    let texts = events.filter_map(|event| match event {
        Event::Message(delivery) => Some(delivery.text),
        _ => None,
    });
    texts.collect()
}

/// With whom, in what state, and whether elsewhere.
type Talk = (String, ConversationState, bool);

fn talks(world: &mut World, session: SessionId) -> Vec<Talk> {
    let events = world.events(session).into_iter();
    let talks = events.filter_map(|event| match event {
        Event::Conversation(news) => Some((news.with.to_string(), news.state, news.elsewhere)),
        _ => None,
    });
    talks.collect()
}

fn talk(with: &str, state: ConversationState, elsewhere: bool) -> Talk {
    (with.to_owned(), state, elsewhere)
}

fn is_closed(world: &World, session: SessionId) -> bool {
    world.told[&session].closed.is_some()
}

#[test]
fn a_message_reaches_every_device_and_each_one_that_was_away_gets_what_it_missed() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    assert!(!is_closed(&world, phone), "it stands beside the other");
    let first = say(&mut world, bob, "alice", "one");
    for device in [phone, laptop] {
        assert_eq!(texts(&mut world, device), ["one"]);
    }
    confirm(&mut world, phone, &[first], ReceiptState::Delivered);
    world.gone(laptop);
    let second = say(&mut world, bob, "alice", "two");
    confirm(&mut world, phone, &[second], ReceiptState::Delivered);
    world.gone(phone);
    say(&mut world, bob, "alice", "three");

    // The laptop had confirmed nothing; the phone all but the last.
    let laptop = beside(&mut world, 1, "alice", 11);
    assert_eq!(texts(&mut world, laptop), ["one", "two", "three"]);
    let phone = beside(&mut world, 1, "alice", 10);
    assert_eq!(texts(&mut world, phone), ["three"]);
}

#[test]
fn the_first_device_that_confirms_is_told_of_and_the_others_are_not() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    let id = say(&mut world, bob, "alice", "hi");
    world.events(bob);
    let states = [ReceiptState::Delivered, ReceiptState::Seen];
    for (session, state) in [(phone, states[0]), (laptop, states[0]), (laptop, states[1])] {
        confirm(&mut world, session, &[id], state);
    }
    confirm(&mut world, phone, &[id], ReceiptState::Seen);
    let told: Vec<ReceiptState> = world
        .events(bob)
        .into_iter()
        .filter_map(|event| match event {
            Event::Receipt(receipt) => Some(receipt.state),
            _ => None,
        })
        .collect();
    assert_eq!(told, states);
}

#[test]
fn what_one_device_sends_the_others_show() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    say(&mut world, phone, "bob", "from the phone");
    assert_eq!(texts(&mut world, bob), ["from the phone"]);
    assert!(texts(&mut world, phone).is_empty());
    let copy = world.events(laptop).into_iter().find_map(|event| match event {
        Event::Message(delivery) => Some(delivery),
        _ => None,
    });
    let copy = copy.unwrap();
    assert_eq!((copy.from, copy.to), (name("alice"), Recipient::User(name("bob"))));
    // Sent to everyone, it comes once to each, the sender's own device included.
    let all = Send { to: Recipient::All, text: "all".into(), reference: None };
    world.ask(laptop, all);
    for session in [bob, phone, laptop] {
        assert_eq!(texts(&mut world, session), ["all"]);
    }
}

#[test]
fn a_login_without_a_device_replaces_them_all_and_is_one_of_them_beside_others() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    let plain = world.login(1, "alice");
    for device in [phone, laptop] {
        assert!(is_closed(&world, device));
        assert!(matches!(world.events(device).last(), Some(Event::Closing(closing))
            if closing.why == ClosingReason::Replaced));
    }
    let id = say(&mut world, bob, "alice", "hi");
    confirm(&mut world, plain, &[id], ReceiptState::Delivered);
    let phone = beside(&mut world, 1, "alice", 10);
    assert!(!is_closed(&world, plain));
    assert_eq!(texts(&mut world, phone), ["hi"], "it was away, and gets what it missed");
    let id = say(&mut world, bob, "alice", "more");
    confirm(&mut world, phone, &[id], ReceiptState::Delivered);
    world.gone(plain);
    let plain = world.login(1, "alice");
    assert_eq!(texts(&mut world, plain), ["more"]);
}

#[test]
fn the_same_device_again_moves_and_the_others_stay() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    world.ask(bob, Converse { with: name("alice") });
    world.ask(phone, Accept { with: name("bob") });
    world.events(bob);
    let moved = beside(&mut world, 1, "alice", 10);
    assert!(is_closed(&world, phone) && !is_closed(&world, laptop));
    assert_eq!(talks(&mut world, moved), [talk("bob", ConversationState::Accepted, false)]);
    assert!(talks(&mut world, bob).is_empty(), "for the other nothing has changed");
    world.gone(phone);
    world.gone(moved);
    assert_eq!(talks(&mut world, bob), [talk("alice", ConversationState::Vanished, false)]);
    let end = ConversationState::Ended;
    assert_eq!(talks(&mut world, laptop).last(), Some(&talk("bob", end, true)));
}

#[test]
fn a_request_rings_everywhere_and_the_first_to_answer_has_it() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let carol = world.login(3, "carol");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    let (asked, on) = (ConversationState::Requested, ConversationState::Accepted);
    world.ask(bob, Converse { with: name("alice") });
    for device in [phone, laptop] {
        assert_eq!(talks(&mut world, device), [talk("bob", asked, false)]);
    }
    world.ask(laptop, Accept { with: name("bob") });
    assert_eq!(talks(&mut world, laptop), [talk("bob", on, false)]);
    assert_eq!(talks(&mut world, phone), [talk("bob", on, true)]);
    let gone = world.refusal(phone, Accept { with: name("bob") });
    assert_eq!(gone, Some(ErrorCode::NoConversation));
    // Busy is the name, whichever device talks.
    assert_eq!(world.refusal(carol, Converse { with: name("alice") }), Some(ErrorCode::Busy));
    // Asked for again from the phone, the conversation goes on there.
    assert!(matches!(world.ask(phone, Converse { with: name("bob") }), Some(Ok(_))));
    assert_eq!(talks(&mut world, phone), [talk("bob", on, false)]);
    assert_eq!(talks(&mut world, laptop), [talk("bob", on, true)]);
    world.ask(laptop, End { with: name("bob") });
    let over = ConversationState::Ended;
    assert_eq!(talks(&mut world, bob).last(), Some(&talk("alice", over, false)));
    assert_eq!(talks(&mut world, phone), [talk("bob", over, true)]);

    world.ask(carol, Converse { with: name("alice") });
    world.ask(phone, Deny { with: name("carol"), reason: None });
    let denied = ConversationState::Denied;
    assert_eq!(
        talks(&mut world, laptop),
        [talk("carol", asked, false), talk("carol", denied, true)]
    );
}

#[test]
fn a_request_of_one_device_is_known_on_the_others_and_goes_with_its_session() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    world.ask(phone, Converse { with: name("bob") });
    let asked = ConversationState::Asked;
    assert_eq!(talks(&mut world, laptop), [talk("bob", asked, true)]);
    let later = beside(&mut world, 1, "alice", 12);
    assert_eq!(talks(&mut world, later), [talk("bob", asked, true)]);
    world.gone(phone);
    let over = ConversationState::Ended;
    assert_eq!(talks(&mut world, laptop), [talk("bob", over, true)]);
    assert_eq!(world.refusal(bob, Accept { with: name("alice") }), Some(ErrorCode::NoConversation));
}

#[test]
fn the_list_has_the_name_once_with_its_transports_until_the_last_session_goes() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    let Some(Ok(Reply::Users(list))) = world.ask(bob, List::default()) else { panic!() };
    assert_eq!(list.users.len(), 2);
    assert_eq!(
        (list.users[0].transport.as_str(), &*list.users[0].also),
        ("two", &["one".into()][..])
    );
    for (transport, names) in [("one", 2), ("two", 1)] {
        let list = List { transport: Some(transport.into()), ..List::default() };
        let Some(Ok(Reply::Users(list))) = world.ask(bob, list) else { panic!() };
        assert_eq!(list.users.len(), names, "{transport}");
    }
    world.events(bob);
    world.ask(laptop, Logout {});
    world.gone(phone);
    let changes: Vec<PresenceChange> = world
        .events(bob)
        .into_iter()
        .filter_map(|event| match event {
            Event::Presence(presence) => Some(presence.change),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [PresenceChange::Changed, PresenceChange::Vanished]);
    assert_eq!(world.refusal(bob, Lookup::online(name("alice"))), Some(ErrorCode::Offline));
}

#[test]
fn an_admin_reaches_and_ends_every_session() {
    let mut world = World::new(limits());
    let admin = world.connect(0, 0);
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    world.ask(admin, Announce { text: "tea".into() });
    for device in [phone, laptop] {
        let heard = |event: &Event| matches!(event, Event::Announcement(_));
        assert!(world.events(device).iter().any(heard));
    }
    world.ask(admin, Kick { name: name("alice"), reason: String::new() });
    assert!(is_closed(&world, phone) && is_closed(&world, laptop));
}

#[test]
fn a_relay_goes_to_the_device_that_talks_with_the_caller() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    let callee = |world: &mut World| world.core.open_relay(bob, &name("alice")).unwrap().0.callee;
    assert_eq!(callee(&mut world), laptop, "the one that came last");
    world.ask(bob, Converse { with: name("alice") });
    world.ask(phone, Accept { with: name("bob") });
    assert_eq!(callee(&mut world), phone);
}

#[test]
fn sessions_and_devices_of_a_name_are_bounded_and_the_longest_away_makes_room() {
    let mut world = World::new(Limits { devices: 2, ..limits() });
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let _laptop = beside(&mut world, 1, "alice", 11);
    let third = world.connect(1, 0);
    let login = |device| Login {
        name: "alice".into(),
        password: None,
        device: Some(DeviceId(device)),
        attempt: None,
    };
    assert_eq!(world.refusal(third, login(12)), Some(ErrorCode::Quota));
    assert_eq!(world.refusal(third, login(0)), Some(ErrorCode::BadRequest));
    world.gone(phone);
    world.advance(Duration::from_secs(1));
    let _tablet = beside(&mut world, 1, "alice", 12);
    let id = say(&mut world, bob, "alice", "hi");
    confirm(&mut world, _tablet, &[id], ReceiptState::Delivered);
    world.gone(_tablet);
    // Four are known by now, but for the plain one, which went first and the phone after it.
    let _watch = beside(&mut world, 1, "alice", 13);
    world.gone(_watch);
    let phone = beside(&mut world, 1, "alice", 10);
    assert!(texts(&mut world, phone).is_empty(), "a device that was forgotten begins anew");
}

#[test]
fn a_device_that_stays_away_costs_senders_nothing_and_loses_its_oldest_copies() {
    let mut world = World::new(Limits { mailbox_messages: 8, ..limits() });
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    world.gone(laptop);
    for number in 0..30 {
        let id = say(&mut world, bob, "alice", &number.to_string());
        confirm(&mut world, phone, &[id], ReceiptState::Delivered);
    }
    let laptop = beside(&mut world, 1, "alice", 11);
    let got = texts(&mut world, laptop);
    assert!((7..=8).contains(&got.len()), "{got:?}");
    assert_eq!(got.last().map(String::as_str), Some("29"));
    assert!(got.is_sorted_by_key(|text| text.parse::<u32>().unwrap()));
}

#[test]
fn devices_are_forgotten_when_they_were_away_for_long() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    world.gone(laptop);
    let id = say(&mut world, bob, "alice", "hi");
    confirm(&mut world, phone, &[id], ReceiptState::Delivered);
    world.advance(Duration::from_secs(31 * 24 * 3600) + PURGE_INTERVAL);
    let laptop = beside(&mut world, 1, "alice", 11);
    assert!(texts(&mut world, laptop).is_empty());
    assert!(!is_closed(&world, phone), "a device that is there stays");
}

#[test]
fn clearing_the_mailbox_clears_it_on_every_device() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let laptop = beside(&mut world, 1, "alice", 11);
    world.gone(laptop);
    say(&mut world, bob, "alice", "hi");
    world.ask(phone, ClearMailbox {});
    let Some(Ok(Reply::Messages(page))) = world.ask(phone, Mailbox::default()) else { panic!() };
    assert!(page.messages.is_empty());
    let laptop = beside(&mut world, 1, "alice", 11);
    assert!(texts(&mut world, laptop).is_empty());
}

#[test]
fn a_device_that_the_store_cannot_keep_is_refused_and_may_try_again() {
    let mut world = World::new(limits());
    let plain = world.login(1, "alice");
    world.commits_at_once = false;
    let phone = world.connect(1, 0);
    let login = || Login {
        name: "alice".into(),
        password: None,
        device: Some(DeviceId(10)),
        attempt: None,
    };
    assert_eq!(world.ask(phone, login()), None);
    let twin = world.connect(1, 0);
    assert_eq!(world.refusal(twin, login()), Some(ErrorCode::Conflict));
    world.fail();
    let (_, refused) = world.told.get_mut(&phone).unwrap().answers.pop_first().unwrap();
    assert_eq!(refused.unwrap_err().code, ErrorCode::Internal);
    world.commits_at_once = true;
    assert!(matches!(world.ask(phone, login()), Some(Ok(Reply::LoggedIn(_)))));
    assert!(!is_closed(&world, plain));
}

#[test]
fn devices_and_what_waits_for_them_outlive_the_server() {
    let mut world = World::new(limits());
    let bob = world.login(2, "bob");
    let phone = beside(&mut world, 1, "alice", 10);
    let _laptop = beside(&mut world, 1, "alice", 11);
    let id = say(&mut world, bob, "alice", "hi");
    confirm(&mut world, phone, &[id], ReceiptState::Delivered);
    world.crash(0);
    let phone = beside(&mut world, 1, "alice", 10);
    assert!(texts(&mut world, phone).is_empty());
    let laptop = beside(&mut world, 1, "alice", 11);
    assert_eq!(texts(&mut world, laptop), ["hi"]);
}
