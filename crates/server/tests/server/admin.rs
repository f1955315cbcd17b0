//! What admins may do, and the end of a server.

use portolan_protocol::{
    Announce, AskServerInfo, Ban, ClosingReason, ErrorCode, Event, Kick, PresenceChange, Reply,
    Shutdown,
};
use portolan_server::{EventLog, Server};

use crate::client::{Harness, config, key, name, say, within};

#[tokio::test]
async fn an_admin_kicks_and_announces_without_a_name() {
    let mut config = config();
    config.admins.push(key(7).id());
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    for seed in [0, 7] {
        let mut admin = harness.connect(seed).await;
        admin.ask(Announce { text: "tea at four".into() }).await.unwrap();
        let Event::Announcement(announcement) = bob.event().await else { panic!() };
        assert_eq!(announcement.text, "tea at four");
    }
    let mut admin = harness.connect(7).await;
    admin.ask(Kick { name: name("alice"), reason: "spam".into() }).await.unwrap();
    while !matches!(alice.event().await, Event::Closing(closing)
        if closing.why == ClosingReason::Kicked && closing.text.contains("spam"))
    {}
    drop((alice.reader, alice.writer));
    assert!(within(alice.connection.closed()).await.to_string().contains("spam"));
    assert_eq!(bob.presence().await.change, PresenceChange::Kicked);
    let again = Kick { name: name("alice"), reason: String::new() };
    assert_eq!(admin.refusal(again).await, ErrorCode::Offline);
    let ban = Ban { name: None, id: Some(key(1).id()), reason: "spam".into(), until: None };
    admin.ask(ban).await.unwrap();
    let mut alice = harness.connect(1).await;
    let login = portolan_protocol::Login {
        name: "alice".into(),
        password: None,
        device: None,
        attempt: None,
    };
    let error = alice.ask(login.clone()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Banned);
    assert!(error.message.contains("for good: spam"), "{}", error.message);
    let Reply::Bans(bans) = admin.ask(portolan_protocol::ListBans::default()).await.unwrap() else {
        panic!()
    };
    assert_eq!(bans.bans.len(), 1);
    admin.ask(portolan_protocol::Unban { id: key(1).id() }).await.unwrap();
    alice.ask(login).await.unwrap();
    admin.ask(Kick { name: name("alice"), reason: String::new() }).await.unwrap();
    let backup = admin.ask(portolan_protocol::Backup {}).await.unwrap_err();
    assert!(backup.message.contains("in memory"), "{}", backup.message);

    let Reply::ServerInfo(info) = admin.ask(AskServerInfo {}).await.unwrap() else { panic!() };
    assert_eq!(info.id, key(0).id());
    let registry = &info.registries[0];
    assert_eq!((registry.transport.as_str(), registry.online, registry.logins), ("mem", 1, 3));
    assert_eq!(registry.users, [name("bob")]);
}

#[tokio::test]
async fn nobody_else_may() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let kick = Kick { name: name("alice"), reason: String::new() };
    assert_eq!(alice.refusal(kick).await, ErrorCode::Forbidden);
    assert_eq!(alice.refusal(Announce { text: String::new() }).await, ErrorCode::Forbidden);
    assert_eq!(alice.refusal(Shutdown::default()).await, ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_shutdown_tells_everyone_and_frees_the_port() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut admin = harness.connect(0).await;
    admin.ask(Shutdown { reason: "maintenance".into(), ..Shutdown::default() }).await.unwrap();
    let reason = within(harness.server.finished()).await;
    assert_eq!(reason, "maintenance");
    let ending = tokio::spawn(async move {
        let closing = alice.closing().await;
        assert_eq!((closing.why, closing.text.as_str()), (ClosingReason::Shutdown, "maintenance"));
        assert!(closing.reconnect_after_ms.is_some());
        alice.connection.closed().await.to_string()
    });
    let mut config = config();
    config.listen = harness.address;
    within(harness.server.shutdown(&reason)).await;
    assert!(within(ending).await.unwrap().contains("maintenance"));
    Server::start(config).await.unwrap();
}

#[tokio::test]
async fn the_event_log_says_who_and_what_and_never_what_was_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let mut config = config();
    config.event_log = Some(EventLog::File(path.clone()));
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    alice.ask(say("alice", "a secret")).await.unwrap();
    let mut mallory = harness.connect(2).await;
    mallory.login("alice").await.unwrap_err();
    drop((alice, mallory));
    within(harness.server.shutdown("done")).await;

    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains("a secret"));
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |event: &str, field: &str, value: &str| {
        events.iter().any(|line| line["event"] == event && line[field] == value)
    };
    assert!(has("started", "id", &key(0).id().to_string()));
    assert!(has("registered", "name", "alice"));
    assert!(has("login", "transport", "mem"));
    assert!(has("message", "to", "alice"));
    assert!(has("login_refused", "code", "name_taken"));
    assert!(has("stopped", "reason", "done"));
}
