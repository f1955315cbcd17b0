//! Whose files are taken, how large they may be, and how much all of them.

mod support;

use std::fs;

use portolan_peer::{Event, FileError, FilePhase, FileRule};
use portolan_protocol::ErrorCode;
use portolan_transport::PathKind;

use self::support::{Harbour, entries, name, wait_for, within};

fn code(result: &Result<portolan_peer::SentFile, FileError>) -> Option<ErrorCode> {
    match result {
        Ok(_) => None,
        Err(FileError::Refused { body, .. }) => Some(body.code),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn each_user_may_have_a_rule_of_their_own_and_rules_change() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("bob");
    config.accept_files = FileRule::None;
    config.file_rules.users.insert(name("alice"), FileRule::All);
    config.file_rules.users.insert(name("carol"), FileRule::Ask);
    let (bob, mut events) = harbour.peer_with(config).await;
    let (alice, _alices) = harbour.peer("alice").await;
    let (carol, _carols) = harbour.peer("carol").await;
    let (dave, _daves) = harbour.peer("dave").await;
    let bobs = name("bob");
    let sent = within("sending", alice.send_file(&bobs, &harbour.file("a", 9))).await;
    assert_eq!(code(&sent), None);
    let refused = within("sending", dave.send_file(&bobs, &harbour.file("d", 9))).await;
    assert_eq!(code(&refused), Some(ErrorCode::Denied));
    let asking = {
        let (carol, path) = (carol.clone(), harbour.file("c", 9));
        tokio::spawn(async move { carol.send_file(&name("bob"), &path).await })
    };
    let offered = wait_for(
        &mut events,
        "an offer",
        |event| matches!(event, Event::File(update) if update.phase == FilePhase::Offered),
    );
    let Event::File(update) = offered.await else { unreachable!() };
    assert_eq!(update.with, name("carol"));
    bob.accept_file(update.id).unwrap();
    within("sending", asking).await.unwrap().unwrap();

    bob.change_file_rules(&"all,Alice=none".parse().unwrap());
    let sent = within("sending", dave.send_file(&bobs, &harbour.file("d", 9))).await;
    assert_eq!(code(&sent), None);
    let refused = within("sending", alice.send_file(&bobs, &harbour.file("e", 9))).await;
    assert_eq!(code(&refused), Some(ErrorCode::Denied));
    assert_eq!(entries(&harbour.downloads("bob")), ["a", "c", "d"]);
}

#[tokio::test]
async fn no_file_and_not_all_files_together_may_be_larger_than_allowed() {
    let harbour = Harbour::open().await;
    let mut config = harbour.config("bob");
    config.file_rules.file_max = Some(1000);
    config.file_rules.total_max = Some(2500);
    let (_bob, mut events) = harbour.peer_with(config).await;
    let (alice, mut alices) = harbour.peer("alice").await;
    let bobs = name("bob");
    let send = |of: &'static str, size| {
        let (alice, path, bobs) = (alice.clone(), harbour.file(of, size), bobs.clone());
        async move { within("sending", alice.send_file(&bobs, &path)).await }
    };
    assert_eq!(code(&send("large", 1001).await), Some(ErrorCode::TooLarge));
    assert_eq!(code(&send("one", 1000).await), None);
    assert_eq!(code(&send("two", 999).await), None);
    assert_eq!(code(&send("three", 998).await), Some(ErrorCode::Quota));
    assert_eq!(code(&send("four", 400).await), None);
    fs::remove_file(harbour.downloads("bob").join("two")).unwrap();
    assert_eq!(code(&send("three", 998).await), None);
    assert_eq!(entries(&harbour.downloads("bob")), ["four", "one", "three"]);

    // Both sides are told how the bytes go.
    for events in [&mut events, &mut alices] {
        let done = wait_for(
            events,
            "the end",
            |event| matches!(event, Event::File(update) if matches!(update.phase, FilePhase::Done { .. })),
        );
        let Event::File(update) = done.await else { unreachable!() };
        let via = update.via.unwrap();
        assert_eq!((via.kind, via.transport), (PathKind::Direct, "tcp"), "one machine");
    }
}
