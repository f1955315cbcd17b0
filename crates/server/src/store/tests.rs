//! One suite over both stores, and what only a file can show.

use std::sync::Arc;

use portolan_identity::PeerId;
use portolan_protocol::{Delivery, MessageId, Name, ReceiptState, Recipient, Timestamp};

use super::{
    MemoryStore, NewMessage, Operation, Outcome, SqliteStore, Store, StoreError, StoredUser,
    UserId, Waiting,
};

const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);
const CAROL: UserId = UserId(3);

fn user(id: UserId, name: &str) -> StoredUser {
    StoredUser {
        id,
        name: Name::new(name).unwrap(),
        key: PeerId::from_bytes([u8::try_from(id.0).unwrap(); 32]),
        since: Timestamp(5),
    }
}

fn message(id: u64, owners: &[UserId], text: &str) -> NewMessage {
    NewMessage {
        id: MessageId(id),
        from: ALICE,
        to: Recipient::All,
        owners: owners.to_vec(),
        text: Arc::from(text),
        at: Timestamp(1_000 + id),
        reference: None,
    }
}

/// Runs a test over both stores, with three users in them.
fn over_both(test: impl Fn(&mut dyn Store)) {
    let directory = tempfile::tempdir().unwrap();
    let mut memory = MemoryStore::default();
    let mut sqlite = SqliteStore::open(&directory.path().join("server.db")).unwrap();
    for store in [&mut memory as &mut dyn Store, &mut sqlite] {
        let users = [user(ALICE, "alice"), user(BOB, "Bob"), user(CAROL, "carol")];
        store.apply(&users.map(Operation::AddUser)).unwrap();
        test(store);
    }
}

fn one(store: &mut dyn Store, operation: Operation) -> Outcome {
    let mut outcomes = store.apply(&[operation]).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn load(
    store: &mut dyn Store,
    owner: UserId,
    after: u64,
    most: usize,
    bytes: u64,
) -> (Vec<Delivery>, bool) {
    let operation = Operation::Load { owner, after: MessageId(after), messages: most, bytes };
    match one(store, operation) {
        Outcome::Page { messages, more } => (messages, more),
        other => panic!("{other:?}"),
    }
}

fn waiting_ids(store: &mut dyn Store, owner: UserId) -> Vec<u64> {
    load(store, owner, 0, 100, u64::MAX).0.iter().map(|delivery| delivery.id.0).collect()
}

fn receipts(
    store: &mut dyn Store,
    owner: UserId,
    ids: &[u64],
    state: ReceiptState,
) -> (Vec<u64>, Waiting) {
    let ids = ids.iter().copied().map(MessageId).collect();
    match one(store, Operation::Receipts { owner, ids, state }) {
        Outcome::Noted { receipts, freed } => {
            assert!(receipts.iter().all(|(_, writer)| *writer == ALICE));
            (receipts.iter().map(|(id, _)| id.0).collect(), freed)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_waits_for_each_owner_until_that_owner_has_it() {
    over_both(|store| {
        assert_eq!(one(store, Operation::Put(message(7, &[BOB, CAROL], "ahoy"))), Outcome::Kept);
        let (page, more) = load(store, BOB, 0, 10, 1_000);
        assert!(!more);
        assert_eq!(
            page,
            [Delivery {
                id: MessageId(7),
                from: Name::new("alice").unwrap(),
                to: Recipient::All,
                text: "ahoy".into(),
                at: Timestamp(1_007),
            }]
        );
        let freed = Waiting { messages: 1, bytes: 4 };
        let delivered = ReceiptState::Delivered;
        assert_eq!(receipts(store, BOB, &[7], delivered), (vec![7], freed));
        assert_eq!(receipts(store, BOB, &[7, 8], delivered), (vec![], Waiting::default()));
        assert!(waiting_ids(store, BOB).is_empty());
        assert_eq!(waiting_ids(store, CAROL), [7]);
        assert_eq!(load(store, CAROL, 0, 1, 1).0[0].text, "ahoy");
        assert_eq!(receipts(store, CAROL, &[7], ReceiptState::Seen), (vec![7], freed));
        assert_eq!(receipts(store, CAROL, &[7], delivered), (vec![], Waiting::default()));
    });
}

#[test]
fn recipients_come_back_as_they_were() {
    over_both(|store| {
        let recipients = [
            Recipient::User(Name::new("Bob").unwrap()),
            Recipient::Group("crew".into()),
            Recipient::All,
            Recipient::Others,
        ];
        for (id, to) in (1..).zip(recipients.clone()) {
            one(store, Operation::Put(NewMessage { to, ..message(id, &[BOB], "x") }));
        }
        let page = load(store, BOB, 0, 10, 1_000).0;
        assert_eq!(page.into_iter().map(|delivery| delivery.to).collect::<Vec<_>>(), recipients);
    });
}

#[test]
fn pages_are_in_order_and_bounded_by_count_and_bytes() {
    over_both(|store| {
        for id in 1..=5 {
            one(store, Operation::Put(message(id, &[BOB], "four")));
        }
        let rows = [
            (0, 2, 1_000, vec![1, 2], true),
            (2, 3, 1_000, vec![3, 4, 5], false),
            (0, 9, 8, vec![1, 2], true),
            (3, 9, 1, vec![4], true),
            (5, 9, 9, vec![], false),
        ];
        for (after, most, bytes, ids, more) in rows {
            let (page, had_more) = load(store, BOB, after, most, bytes);
            let found: Vec<u64> = page.iter().map(|delivery| delivery.id.0).collect();
            assert_eq!((found, had_more), (ids, more), "after {after}, {most}, {bytes} bytes");
        }
    });
}

#[test]
fn a_reference_is_known_by_its_sender_only_until_it_is_purged() {
    over_both(|store| {
        let first = NewMessage { reference: Some(u64::MAX), ..message(1, &[BOB], "x") };
        let again = NewMessage { id: MessageId(2), ..first.clone() };
        let other = NewMessage { id: MessageId(3), from: CAROL, ..first.clone() };
        let outcomes = store.apply(&[
            Operation::Put(first),
            Operation::Put(again.clone()),
            Operation::Put(other),
        ]);
        let repeated = Outcome::Repeated { id: MessageId(1), at: Timestamp(1_001) };
        assert_eq!(outcomes.unwrap(), [Outcome::Kept, repeated, Outcome::Kept]);
        assert_eq!(waiting_ids(store, BOB), [1, 3]);

        // What waits is not forgotten, however old; what was delivered is.
        let purge = Operation::Purge { before: Timestamp(9_999) };
        one(store, purge.clone());
        assert_eq!(waiting_ids(store, BOB), [1, 3]);
        receipts(store, BOB, &[1], ReceiptState::Delivered);
        one(store, purge);
        assert_eq!(one(store, Operation::Put(again)), Outcome::Kept);
    });
}

#[test]
fn a_mailbox_is_thrown_away_for_its_owner_only() {
    over_both(|store| {
        one(store, Operation::Put(message(1, &[BOB, CAROL], "four")));
        one(store, Operation::Put(message(2, &[BOB], "four")));
        let freed = Waiting { messages: 2, bytes: 8 };
        let expected = Outcome::Noted { receipts: vec![], freed };
        assert_eq!(one(store, Operation::Clear { owner: BOB }), expected);
        assert!(waiting_ids(store, BOB).is_empty());
        assert_eq!(waiting_ids(store, CAROL), [1]);
        assert!(receipts(store, BOB, &[1], ReceiptState::Seen).0.is_empty());
    });
}

#[test]
fn a_snapshot_has_every_name_and_what_waits_for_it() {
    over_both(|store| {
        one(store, Operation::Put(message(1, &[BOB, CAROL], "four")));
        one(store, Operation::Put(message(9, &[BOB], "häh")));
        receipts(store, CAROL, &[1], ReceiptState::Delivered);
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.last_message, MessageId(9));
        assert_eq!(
            snapshot.users,
            [
                (user(ALICE, "alice"), Waiting::default()),
                (user(BOB, "Bob"), Waiting { messages: 2, bytes: 8 }),
                (user(CAROL, "carol"), Waiting::default()),
            ]
        );
    });
}

#[test]
fn what_was_committed_is_there_after_the_process_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("a.db"), directory.path().join("b.db"));
    let mut store = SqliteStore::open(&path).unwrap();
    store.apply(&[Operation::AddUser(user(ALICE, "alice"))]).unwrap();
    one(&mut store, Operation::Put(message(1, &[ALICE], "kept")));
    // The files as a killed process leaves them: nothing was closed or checkpointed.
    for (from, to) in [("a.db", "b.db"), ("a.db-wal", "b.db-wal")] {
        std::fs::copy(directory.path().join(from), directory.path().join(to)).unwrap();
    }
    let mut store = SqliteStore::open(&copy).unwrap();
    assert_eq!(waiting_ids(&mut store, ALICE), [1]);
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("server.db")).unwrap();
    let twice = [Operation::AddUser(user(ALICE, "alice")), Operation::AddUser(user(BOB, "ALICE"))];
    assert!(matches!(store.apply(&twice), Err(StoreError::Database { .. })));
    assert_eq!(store.snapshot().unwrap().users, []);
    store.apply(&twice[..1]).unwrap();
}

#[test]
fn a_damaged_foreign_newer_or_used_file_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("text"), "this is no database, it only looks like a file".repeat(99))
        .unwrap();
    let foreign = rusqlite::Connection::open(path("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1;").unwrap();
    drop(foreign);
    drop(SqliteStore::open(&path("newer")).unwrap());
    let newer = rusqlite::Connection::open(path("newer")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99;").unwrap();
    drop(newer);
    let _holder = SqliteStore::open(&path("used")).unwrap();

    let rows = [
        ("text", "restore it from a backup"),
        ("foreign", "another program's database"),
        ("newer", "newer version (schema 99"),
        ("used", "stop that one"),
    ];
    for (name, advice) in rows {
        let message = SqliteStore::open(&path(name)).unwrap_err().to_string();
        assert!(message.contains(advice) && message.contains(name), "{message}");
    }
}
