//! Names, logins, lists.

use portolan_protocol::{
    Availability, ErrorCode, Heartbeat, List, Login, Logout, Lookup, Password, PresenceChange,
    Reply,
};
use portolan_server::{Limits, Rate};

use crate::client::{Harness, config, key, name};

#[tokio::test]
async fn who_logs_in_is_listed_in_the_registry_of_the_transport() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let _bob = harness.login(2, "Bob").await;

    for transport in [None, Some("mem".to_owned())] {
        let list = List { transport, ..List::default() };
        let Reply::Users(users) = alice.ask(list).await.unwrap() else { panic!() };
        let names: Vec<&str> = users.users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["alice", "Bob"]);
        assert!(!users.more);
        assert_eq!(users.users[1].id, key(2).id());
        assert_eq!(users.users[1].transport, "mem");
        assert_eq!(users.users[1].state, Availability::Free);
    }
    let unknown = List { transport: Some("pigeon".into()), ..List::default() };
    assert_eq!(alice.refusal(unknown).await, ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let _bob = harness.login(2, "bob").await;
    let _carol = harness.login(3, "carol").await;
    let first = List { limit: Some(2), ..List::default() };
    let Reply::Users(page) = alice.ask(first).await.unwrap() else { panic!() };
    assert!(page.more && page.users.len() == 2);
    let rest = List { after: Some(page.users[1].name.clone()), ..List::default() };
    let Reply::Users(page) = alice.ask(rest).await.unwrap() else { panic!() };
    assert_eq!(page.users[0].name, name("carol"));
    assert!(!page.more && page.users.len() == 1);
}

#[tokio::test]
async fn a_taken_name_is_refused_whoever_is_there() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut mallory = harness.connect(9).await;
    let error = mallory.login("ALICE").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NameTaken);
    assert!(error.message.contains("another key"), "{error}");
    alice.ask(Logout {}).await.unwrap();
    assert_eq!(mallory.login("alice").await.unwrap_err().code, ErrorCode::NameTaken);
    mallory.login("mallory").await.unwrap();
}

#[tokio::test]
async fn a_bad_name_is_refused_with_the_rule() {
    let harness = Harness::start().await;
    let mut alice = harness.connect(1).await;
    let long = "n".repeat(10_000);
    for (text, rule) in [("", "empty"), (&long, "32"), ("a b", "' '"), ("all", "reserved")] {
        let error = alice.login(text).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NameInvalid);
        assert!(error.message.contains(rule), "{error}");
        assert!(error.message.len() < 200);
    }
    alice.login("alice").await.unwrap();
}

#[tokio::test]
async fn candidates_are_passed_on_to_nobody_who_is_not_introduced() {
    let harness = Harness::start().await;
    let mut alice = harness.connect(1).await;
    alice.login("alice").await.unwrap();
    let candidates = |to| portolan_protocol::Candidates {
        to: portolan_protocol::Name::new(to).unwrap(),
        candidates: Vec::new(),
    };
    let error = alice.ask(candidates("bob")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownUser);
    let mut bob = harness.connect(2).await;
    bob.login("bob").await.unwrap();
    let error = alice.ask(candidates("bob")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownPeer, "{error}");
}

#[tokio::test]
async fn a_name_moves_to_a_new_key_with_its_password_and_not_without() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let secret = || Some(Password("correct horse".into()));
    let set = portolan_protocol::SetPassword { password: secret() };
    assert!(matches!(alice.ask(set).await.unwrap(), Reply::Done(_)));
    let mut newer = harness.connect(2).await;
    let login = |password| Login { name: "alice".into(), password, device: None, attempt: None };
    let wrong = Some(Password("incorrect horse".into()));
    assert_eq!(newer.refusal(login(None)).await, ErrorCode::NameTaken);
    assert_eq!(newer.refusal(login(wrong)).await, ErrorCode::WrongPassword);
    let Reply::LoggedIn(welcome) = newer.ask(login(secret())).await.unwrap() else { panic!() };
    assert!(welcome.moved);
}

#[tokio::test]
async fn nothing_is_granted_before_hello_and_little_before_login() {
    let harness = Harness::start().await;
    let mut alice = harness.connect_silently(1).await;
    assert_eq!(alice.refusal(Heartbeat { nonce: 1 }).await, ErrorCode::Version);
    alice.hello().await;
    let Reply::Heartbeat(heartbeat) = alice.ask(Heartbeat { nonce: 7 }).await.unwrap() else {
        panic!()
    };
    assert_eq!(heartbeat.nonce, 7);
    assert_eq!(alice.refusal(List::default()).await, ErrorCode::NotLoggedIn);
    assert_eq!(alice.refusal(Lookup::online(name("bob"))).await, ErrorCode::NotLoggedIn);
}

#[tokio::test]
async fn others_are_told_who_comes_and_how_they_go() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let presence = alice.presence().await;
    assert_eq!((presence.user.name, presence.change), (name("bob"), PresenceChange::Online));
    bob.ask(Logout {}).await.unwrap();
    assert_eq!(alice.presence().await.change, PresenceChange::LoggedOut);

    let carol = harness.login(3, "carol").await;
    assert_eq!(alice.presence().await.change, PresenceChange::Online);
    drop(carol);
    assert_eq!(alice.presence().await.change, PresenceChange::Vanished);
    assert_eq!(alice.refusal(Lookup::online(name("carol"))).await, ErrorCode::Offline);
    assert_eq!(alice.refusal(Lookup::online(name("nobody1"))).await, ErrorCode::UnknownUser);
}

#[tokio::test]
async fn a_second_login_with_the_same_key_replaces_the_first() {
    let harness = Harness::start().await;
    let mut older = harness.login(1, "alice").await;
    let mut newer = harness.login(1, "alice").await;
    assert_eq!(older.closing().await.why, portolan_protocol::ClosingReason::Replaced);
    let Reply::User(user) = newer.ask(Lookup::online(name("alice"))).await.unwrap() else {
        panic!()
    };
    assert_eq!(user.id, key(1).id());
}

#[tokio::test]
async fn who_never_logs_in_is_sent_away() {
    let mut config = config();
    config.timing.login = std::time::Duration::from_millis(50);
    let harness = Harness::with(config).await;
    let (_endpoint, silent) = harness.dial(1).await;
    let hello_only = harness.connect(2).await;
    for connection in [silent, hello_only.connection] {
        let reason = crate::client::within(connection.closed()).await.to_string();
        assert!(reason.contains("no login in time"), "{reason}");
    }
}

#[tokio::test]
async fn too_many_requests_are_refused_until_some_time_has_passed() {
    let rate = Rate { per_second: 0.001, burst: 3.0 };
    let mut config = config();
    config.limits = Limits { commands: rate, ..config.limits };
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    alice.ask(Heartbeat { nonce: 1 }).await.unwrap();
    assert_eq!(alice.refusal(Heartbeat { nonce: 2 }).await, ErrorCode::RateLimited);
}
