//! What one key or one address can do to the others: bounded, refused with a reason, written
//! down; and the others do not notice.

use std::time::Duration;

use portolan_protocol::{
    Accept, Announce, Backup, Ban, Converse, CreateGroup, Echo, ErrorCode, Hello, History,
    InviteToGroup, Kick, ListBans, Login, Mailbox, MessageId, Password, ReceiptState, Receipts,
    Recipient, Reply, Send, Shutdown, Unban,
};

use super::world::{World, limits, name};
use crate::{
    config::{Limits, Rate},
    core::{Input, Proof, Remote, SessionId},
    event_log::LogEntry,
};

const STRANGER: u8 = 200;

fn login(text: &str) -> Login {
    Login { name: text.to_owned(), password: None, device: None, attempt: None }
}

fn say(to: &str) -> Send {
    Send { to: Recipient::User(name(to)), text: "x".into(), reference: None }
}

/// Somebody who has nothing to do with it is served.
fn is_served(world: &mut World, session: SessionId) {
    assert_eq!(world.refusal(session, Echo { text: "here".into() }), None);
}

/// How many refused logins were written down with this code.
fn refused(world: &World, wanted: ErrorCode) -> usize {
    let is_wanted = |entry: &&LogEntry| matches!(entry, LogEntry::LoginRefused { code, .. } if *code == wanted.as_str());
    world.log.iter().filter(is_wanted).count()
}

#[test]
fn an_address_has_a_few_connections_that_have_not_logged_in() {
    let mut world = World::new(Limits { strangers_per_address: 3, ..limits() });
    let alice = world.login(1, "alice");
    let strangers: Vec<SessionId> = (0..5).map(|_| world.connect_only(STRANGER, 0)).collect();
    let closed = |world: &World, session| world.told.get(&session).and_then(|t| t.closed.clone());
    assert!(strangers[..3].iter().all(|session| closed(&world, *session).is_none()));
    for session in &strangers[3..] {
        let reason = closed(&world, *session).unwrap();
        assert!(reason.contains("from your address"), "{reason}");
    }
    assert!(world.log.iter().any(|entry| matches!(entry, LogEntry::SentAway { .. })));
    // Others come in, and there again who has logged in or left makes room.
    is_served(&mut world, alice);
    world.login(2, "bob");
    world.gone(strangers[0]);
    let newcomer = world.connect(STRANGER, 0);
    assert_eq!(world.refusal(newcomer, login("carol")), None);
    let next = world.connect_only(STRANGER, 0);
    assert!(closed(&world, next).is_none());
    // Who does not log in at all is sent away in time.
    world.advance(Duration::from_secs(11));
    assert!(closed(&world, strangers[1]).is_some());
}

#[test]
fn logins_are_counted_for_the_key_and_for_the_address() {
    let key = Rate { per_second: 1.0, burst: 3.0 };
    let address = Rate { per_second: 1.0, burst: 5.0 };
    let bounds = Limits { logins: key, address_logins: address, ..limits() };
    let mut world = World::new(bounds);
    let alice = world.login(1, "alice");
    let flood = |world: &mut World, seed: u8| -> usize {
        let attempt = |_| {
            let session = world.connect_from(seed, STRANGER);
            let refusal = world.refusal(session, login("flood"));
            world.gone(session);
            refusal
        };
        (0..4).map(attempt).filter(|code| *code == Some(ErrorCode::RateLimited)).count()
    };
    assert_eq!(flood(&mut world, 10), 1, "three for a key");
    assert_eq!(flood(&mut world, 11), 2, "five for an address, whatever the keys");
    assert_eq!(flood(&mut world, 12), 4);
    assert_eq!(refused(&world, ErrorCode::RateLimited), 7);
    is_served(&mut world, alice);
    world.login(2, "bob");
    world.advance(Duration::from_secs(1));
    assert_eq!(flood(&mut world, 13), 3, "and one a second later");
}

#[test]
fn names_cannot_be_hoarded_by_one_key_or_one_address() {
    let address_names = Rate { per_second: 1.0 / 60.0, burst: 5.0 };
    let bounds = Limits { names_per_key: 3, address_names, ..limits() };
    let mut world = World::new(bounds);
    let mut codes = Vec::new();
    for number in 0..8 {
        let session = world.connect_from(100 + number / 4, STRANGER);
        codes.push(world.refusal(session, login(&format!("squat{number}"))));
    }
    let (quota, rated) = (Some(ErrorCode::Quota), Some(ErrorCode::RateLimited));
    assert_eq!(codes, [None, None, None, quota, None, None, rated, rated]);
    // Who has a name comes in from there as before, and elsewhere names are to be had.
    let session = world.connect_from(100, STRANGER);
    assert_eq!(world.refusal(session, login("squat0")), None);
    world.login(1, "alice");
    world.advance(Duration::from_secs(60));
    let session = world.connect_from(101, STRANGER);
    assert_eq!(world.refusal(session, login("patience")), None);
}

#[test]
fn passwords_are_guessed_at_the_pace_of_the_address_too() {
    let address_passwords = Rate { per_second: 0.1, burst: 4.0 };
    let mut world = World::new(Limits { address_passwords, ..limits() });
    let mut names = Vec::new();
    for user in 1..7 {
        let name = format!("user{user}");
        let session = world.login(user, &name);
        let password = Some(Password(format!("secret of {name}")));
        assert_eq!(world.refusal(session, portolan_protocol::SetPassword { password }), None);
        names.push(name);
    }
    // One password tried on many names with many keys.
    let codes = names.iter().zip(100..).map(|(name, seed)| {
        let session = world.connect_from(seed, STRANGER);
        let password = Some(Password("123456789".into()));
        world.refusal(session, Login { password, ..login(name) })
    });
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes[..4], [Some(ErrorCode::WrongPassword); 4]);
    assert_eq!(codes[4..], [Some(ErrorCode::RateLimited); 2]);
    assert_eq!(refused(&world, ErrorCode::WrongPassword), 4);
    // The owner from a new device elsewhere is not in the way.
    let session = world.connect(50, 0);
    let password = Some(Password("secret of user6".into()));
    assert_eq!(world.refusal(session, Login { password, ..login("user6") }), None);
}

#[test]
fn one_sender_fills_half_of_a_mailbox_and_the_rest_is_for_others() {
    let mut world = World::new(Limits { mailbox_messages: 20, ..limits() });
    let bob = world.login(2, "bob");
    world.gone(bob);
    let mallory = world.login(9, "mallory");
    let stuffed = (0..40).filter(|_| world.refusal(mallory, say("bob")).is_none()).count();
    assert_eq!(stuffed, 11, "until more than half is full");
    let Some(Err(refusal)) = world.ask(mallory, say("bob")) else { panic!("it was taken") };
    assert!(refusal.message.contains("for others"), "{refusal:?}");
    let alice = world.login(1, "alice");
    for _ in 0..5 {
        assert_eq!(world.refusal(alice, say("bob")), None);
    }
    assert_eq!(world.refusal(alice, say("bob")), Some(ErrorCode::Quota), "her quarter");
    // When Bob has read, everything is as before.
    let bob = world.login(2, "bob");
    let Some(Ok(Reply::Messages(page))) = world.ask(bob, Mailbox::default()) else { panic!() };
    let ids: Vec<MessageId> = page.messages.iter().map(|message| message.id).collect();
    assert_eq!(world.refusal(bob, Receipts { ids, state: ReceiptState::Delivered }), None);
    assert_eq!(world.refusal(mallory, say("bob")), None);
}

#[test]
fn many_senders_fill_a_mailbox_to_its_bound_and_no_further() {
    let mut world = World::new(Limits { mailbox_messages: 20, ..limits() });
    let bob = world.login(2, "bob");
    world.gone(bob);
    let mut stored = 0;
    for seed in 10..30 {
        let sender = world.login(seed, &format!("sender{seed}"));
        stored += (0..10).filter(|_| world.refusal(sender, say("bob")).is_none()).count();
    }
    assert_eq!(stored, 20);
    let bob = world.connect(2, 0);
    let Some(Ok(Reply::LoggedIn(welcome))) = world.ask(bob, login("bob")) else { panic!() };
    assert_eq!(welcome.waiting, 20);
}

#[test]
fn groups_and_invitations_are_bounded_and_rated() {
    let group_changes = Rate { per_second: 1.0, burst: 12.0 };
    let bounds = Limits {
        groups_per_user: 4,
        group_members: 3,
        invitations_per_user: 2,
        group_changes,
        ..limits()
    };
    let mut world = World::new(bounds);
    let mallory = world.login(9, "mallory");
    for user in 1..5 {
        world.login(user, &format!("user{user}"));
    }
    let group = |number: u8| CreateGroup {
        group: format!("spam{number}"),
        history: false,
        reference: None,
    };
    let codes: Vec<_> = (0..5).map(|number| world.refusal(mallory, group(number))).collect();
    assert_eq!(codes, [None, None, None, None, Some(ErrorCode::Quota)]);
    let mut invite = |group: u8, user: u8| {
        let user = name(&format!("user{user}"));
        world.refusal(
            mallory,
            InviteToGroup { group: format!("spam{group}"), user, reference: None },
        )
    };
    assert_eq!([invite(0, 1), invite(0, 2)], [None, None]);
    assert_eq!(invite(0, 3), Some(ErrorCode::Quota), "the group is full");
    assert_eq!(invite(1, 1), None);
    assert_eq!(invite(2, 1), Some(ErrorCode::Quota), "user1 has enough invitations");
    assert_eq!([invite(2, 3), invite(2, 4)], [None, None]);
    assert_eq!(invite(3, 4), Some(ErrorCode::RateLimited), "the twelfth change was the last");
    let user = world.login(1, "user1");
    is_served(&mut world, user);
}

#[test]
fn requests_for_conversations_are_bounded_rated_and_do_not_keep_others_out() {
    let requests = Rate { per_second: 1.0, burst: 4.0 };
    let mut world = World::new(Limits { requests_per_user: 2, requests, ..limits() });
    let mallory = world.login(9, "mallory");
    for user in 1..6 {
        world.login(user, &format!("user{user}"));
    }
    let mut ask =
        |user: u8| world.refusal(mallory, Converse { with: name(&format!("user{user}")) });
    assert_eq!([ask(1), ask(2)], [None, None]);
    assert_eq!([ask(3), ask(4)], [Some(ErrorCode::Quota); 2]);
    assert_eq!(ask(5), Some(ErrorCode::RateLimited));
    let [one, five] = [world.login(1, "user1"), world.login(5, "user5")];
    assert_eq!(world.refusal(five, Converse { with: name("user1") }), None);
    assert_eq!(world.refusal(one, Accept { with: name("user5") }), None);
}

#[test]
fn a_flood_of_requests_costs_its_key_alone() {
    let commands = Rate { per_second: 10.0, burst: 20.0 };
    let mut world = World::new(Limits { commands, ..limits() });
    let alice = world.login(1, "alice");
    let mallory = world.login(9, "mallory");
    let history = History { with: Recipient::User(name("alice")), before: None, limit: None };
    let granted = (0..200).filter(|_| world.refusal(mallory, history.clone()).is_none()).count();
    assert_eq!(granted, 18, "the burst, less hello and login");
    let counts: Vec<u32> = world
        .log
        .iter()
        .filter_map(|entry| match entry {
            LogEntry::Refused { code: "rate_limited", count, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [10, 100], "a flood of requests is no flood of lines");
    is_served(&mut world, alice);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.refusal(mallory, history), None);
    // More sessions of the same key do not help for long.
    let hello = Hello { versions: vec![1], features: Vec::new(), software: String::new() };
    let more: usize = (0..10)
        .map(|_| {
            let session = world.connect_only(9, 0);
            (0..50).filter(|_| world.refusal(session, hello.clone()).is_none()).count()
        })
        .sum();
    assert!(more <= 80, "{more} requests of one key");
}

#[test]
fn what_admins_do_is_refused_to_everyone_else() {
    let mut world = World::new(limits());
    let mallory = world.login(9, "mallory");
    let alice = world.login(1, "alice");
    let stranger = world.connect(8, 0);
    let (reason, text) = (String::new(), String::new());
    for session in [mallory, stranger] {
        let commands: [portolan_protocol::Command; 7] = [
            Kick { name: name("alice"), reason: reason.clone() }.into(),
            Ban { name: Some(name("alice")), id: None, reason: reason.clone(), until: None }.into(),
            Unban { id: portolan_identity::PeerId::from_bytes([1; 32]) }.into(),
            ListBans::default().into(),
            Announce { text: text.clone() }.into(),
            Backup {}.into(),
            Shutdown { reason: reason.clone(), restart_after_ms: None }.into(),
        ];
        for command in commands {
            assert_eq!(world.refusal(session, command), Some(ErrorCode::Forbidden));
        }
    }
    assert!(world.shutdown.is_none());
    assert!(world.log.iter().all(|entry| !matches!(entry, LogEntry::Admin { .. })));
    let is_said = |entry: &LogEntry| matches!(entry, LogEntry::Refused { code: "forbidden", .. });
    assert_eq!(world.log.iter().filter(|entry| is_said(entry)).count(), 2, "once for each session");
    is_served(&mut world, alice);
}

#[test]
fn relays_cannot_be_hoarded() {
    let mut world = World::new(Limits { relays_per_user: 2, ..limits() });
    let mallory = world.login(9, "mallory");
    let [alice, _bob] = [world.login(1, "alice"), world.login(2, "bob")];
    let mut open =
        |session, to: &str| world.core.open_relay(session, &name(to)).err().map(|e| e.code);
    assert_eq!([open(mallory, "bob"), open(mallory, "bob")], [None, None]);
    assert_eq!(open(mallory, "alice"), Some(ErrorCode::Quota), "the caller's bound");
    assert_eq!(open(alice, "bob"), Some(ErrorCode::Quota), "the called one's bound");
    assert_eq!(open(alice, "mallory"), None, "who calls too much can still be called");
}

#[test]
fn this_machine_is_not_counted_and_a_network_of_ipv6_is_one_address() {
    let mut world = World::new(Limits { strangers_per_address: 1, ..limits() });
    let mut meet = |address: &str| {
        let session = SessionId(world.next_session());
        let id = portolan_identity::PeerId::from_bytes([77; 32]);
        let remote = Remote {
            registry: 0,
            id,
            address: format!("{address}:7").parse().unwrap(),
            proof: Proof::Key,
        };
        world.handle(Input::Connected { session, remote });
        world.told.get(&session).is_none_or(|told| told.closed.is_none())
    };
    assert!((0..10).all(|_| meet("127.0.0.1") && meet("[::1]") && meet("[::ffff:127.0.0.1]")));
    assert!(meet("[2001:db8::1]") && !meet("[2001:db8::2]") && meet("[2001:db8:0:1::1]"));
    assert!(meet("198.51.100.7") && !meet("[::ffff:198.51.100.7]"), "the same host");
}
