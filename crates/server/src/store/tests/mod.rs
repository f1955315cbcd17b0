//! One suite over both stores, and what only a file can show.

mod devices;

use std::{ops::Range, sync::Arc};

use portolan_identity::PeerId;
use portolan_protocol::{Delivery, MessageId, Name, ReceiptState, Recipient, Role, Timestamp};

use super::{
    GroupId, GroupWrite, MemoryStore, NewMessage, Operation, Outcome, PasswordHash, SqliteStore,
    Store, StoreError, StoredBan, StoredGroup, StoredMember, StoredUser, Talk, UserId, Waiting,
};

const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);
const CAROL: UserId = UserId(3);

/// Bytes of history that the stores of these tests keep.
const HISTORY: u64 = 100;

fn user(id: UserId, name: &str) -> StoredUser {
    StoredUser {
        id,
        name: Name::new(name).unwrap(),
        key: PeerId::from_bytes([u8::try_from(id.0).unwrap(); 32]),
        since: Timestamp(5),
        password: None,
    }
}

fn message(id: u64, owners: &[UserId], text: &str) -> NewMessage {
    NewMessage {
        id: MessageId(id),
        from: ALICE,
        to: Recipient::All,
        owners: owners.to_vec(),
        copies: Vec::new(),
        text: Arc::from(text),
        at: Timestamp(1_000 + id),
        reference: None,
        talk: None,
    }
}

/// Runs a test over both stores, with three users in them.
fn over_both(test: impl Fn(&mut dyn Store)) {
    let directory = tempfile::tempdir().unwrap();
    let mut memory = MemoryStore::new(HISTORY);
    let mut sqlite = SqliteStore::open(&directory.path().join("server.db"), HISTORY).unwrap();
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
    let operation =
        Operation::Load { owner, device: None, after: MessageId(after), messages: most, bytes };
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
    match one(store, Operation::Receipts { owner, device: None, ids, state }) {
        Outcome::Noted { receipts, freed, .. } => {
            assert!(receipts.iter().all(|noted| noted.writer == ALICE));
            (receipts.iter().map(|noted| noted.id.0).collect(), freed)
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
        let expected = Outcome::Noted { receipts: vec![], freed, copies: Waiting::default() };
        assert_eq!(one(store, Operation::Clear { owner: BOB }), expected);
        assert!(waiting_ids(store, BOB).is_empty());
        assert_eq!(waiting_ids(store, CAROL), [1]);
        assert!(receipts(store, BOB, &[1], ReceiptState::Seen).0.is_empty());
    });
}

#[test]
fn a_name_can_get_a_password_and_another_key() {
    over_both(|store| {
        let hash = Some(PasswordHash("$argon2id$…".into()));
        let key = PeerId::from_bytes([9; 32]);
        one(store, Operation::SetPassword { user: BOB, hash: hash.clone() });
        one(store, Operation::MoveName { user: BOB, key });
        let known = |store: &mut dyn Store| store.snapshot().unwrap().users[1].0.clone();
        assert_eq!(known(store), StoredUser { key, password: hash, ..user(BOB, "Bob") });
        one(store, Operation::SetPassword { user: BOB, hash: None });
        assert_eq!(known(store), StoredUser { key, ..user(BOB, "Bob") });
    });
}

#[test]
fn bans_are_kept_changed_and_forgotten() {
    over_both(|store| {
        let ban = |reason: &str, until| StoredBan {
            key: PeerId::from_bytes([9; 32]),
            reason: reason.into(),
            since: Timestamp(5),
            until,
            by: PeerId::from_bytes([1; 32]),
        };
        one(store, Operation::Ban(ban("spam", None)));
        one(store, Operation::Ban(ban("more spam", Some(Timestamp(7)))));
        assert_eq!(store.snapshot().unwrap().bans, [ban("more spam", Some(Timestamp(7)))]);
        one(store, Operation::Unban(PeerId::from_bytes([9; 32])));
        assert_eq!(store.snapshot().unwrap().bans, []);
    });
}

#[test]
fn a_backup_is_a_whole_database_and_leaves_earlier_ones_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("server.db"), HISTORY).unwrap();
    // In one batch: the copy has what was asked for with it.
    let batch = [Operation::AddUser(user(ALICE, "alice")), Operation::Backup];
    let outcomes = store.apply(&batch).unwrap();
    let Outcome::BackedUp { path, bytes } = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(*bytes, std::fs::metadata(path).unwrap().len());
    let Outcome::BackedUp { path: second, .. } = one(&mut store, Operation::Backup) else {
        panic!()
    };
    assert_ne!(*path, second);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut copy = SqliteStore::open(path, HISTORY).unwrap();
    assert_eq!(copy.snapshot().unwrap().users[0].0, user(ALICE, "alice"));
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

fn history(store: &mut dyn Store, reader: UserId, talk: Talk, ids: Range<u64>) -> Vec<String> {
    let operation = Operation::History {
        reader,
        talk,
        after: MessageId(ids.start),
        before: MessageId(ids.end),
        messages: 2,
        bytes: 50,
    };
    match one(store, operation) {
        Outcome::Page { messages, .. } => {
            messages.into_iter().map(|delivery| delivery.text).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_two_users_wrote_is_found_by_both_and_by_nobody_else() {
    over_both(|store| {
        let direct = |id, from, owner, text| NewMessage {
            from,
            talk: Some(Talk::With(owner)),
            ..message(id, &[owner], text)
        };
        for (id, from, to, text) in [
            (1, ALICE, BOB, "one"),
            (2, BOB, ALICE, "two"),
            (3, CAROL, BOB, "other"),
            (4, ALICE, BOB, "three"),
            (5, ALICE, ALICE, "note"),
        ] {
            one(store, Operation::Put(direct(id, from, to, text)));
            one(
                store,
                Operation::Receipts {
                    device: None,
                    owner: to,
                    ids: vec![MessageId(id)],
                    state: ReceiptState::Delivered,
                },
            );
        }
        let all = 0..u64::MAX;
        for (reader, other) in [(ALICE, BOB), (BOB, ALICE)] {
            let talk = Talk::With(other);
            assert_eq!(history(store, reader, talk, all.clone()), ["two", "three"]);
            assert_eq!(history(store, reader, talk, 0..4), ["one", "two"]);
            assert_eq!(history(store, reader, talk, 2..4), [] as [&str; 0]);
            assert_eq!(history(store, reader, talk, 4..4), [] as [&str; 0]);
        }
        assert_eq!(history(store, ALICE, Talk::With(CAROL), all.clone()), [] as [&str; 0]);
        assert_eq!(history(store, ALICE, Talk::With(ALICE), all), ["note"]);
    });
}

#[test]
fn what_was_thrown_away_is_no_history_of_its_owner() {
    over_both(|store| {
        let talk = |user| Some(Talk::With(user));
        one(store, Operation::Put(NewMessage { talk: talk(BOB), ..message(1, &[BOB], "x") }));
        one(store, Operation::Clear { owner: BOB });
        assert_eq!(history(store, BOB, Talk::With(ALICE), 0..9), [] as [&str; 0]);
        assert_eq!(history(store, ALICE, Talk::With(BOB), 0..9), ["x"]);
    });
}

#[test]
fn the_oldest_history_gives_way_and_what_waits_does_not() {
    over_both(|store| {
        let text = "t".repeat(40);
        for id in 1..=4 {
            let talk = Some(Talk::In(GroupId(7)));
            one(store, Operation::Put(NewMessage { talk, ..message(id, &[BOB, CAROL], &text) }));
        }
        receipts(store, BOB, &[1, 2, 3, 4], ReceiptState::Delivered);
        assert_eq!(waiting_ids(store, CAROL), [1, 2, 3, 4]);
        receipts(store, CAROL, &[1, 2, 3], ReceiptState::Delivered);
        let kept = |store: &mut dyn Store, before| {
            history(store, ALICE, Talk::In(GroupId(7)), 0..before).len()
        };
        assert_eq!((kept(store, 2), kept(store, 9)), (0, 1), "100 bytes, and pages of 50");
        assert_eq!(kept(store, 3), 1);
        assert_eq!(load(store, CAROL, 0, 9, 99).0[0].text, text);
        // Everything goes with its time.
        one(store, Operation::Purge { before: Timestamp(9_999) });
        assert_eq!(kept(store, 4), 0);
        assert_eq!(waiting_ids(store, CAROL), [4]);
    });
}

#[test]
fn groups_come_back_with_their_members_and_numbers_are_not_used_again() {
    over_both(|store| {
        let group = |id, name: &str| StoredGroup {
            id: GroupId(id),
            name: Name::new(name).unwrap(),
            has_history: true,
            since: Timestamp(5),
        };
        let member = |group, user, role| StoredMember {
            group: GroupId(group),
            user,
            role,
            since: Timestamp(6),
            after: MessageId(3),
            by: ALICE,
        };
        let writes = vec![
            GroupWrite::Save(group(1, "crew")),
            GroupWrite::Member(member(1, ALICE, Some(Role::Owner))),
            GroupWrite::Member(member(1, BOB, None)),
            GroupWrite::Member(member(1, CAROL, Some(Role::Member))),
            GroupWrite::Save(group(9, "other")),
        ];
        assert_eq!(one(store, Operation::WriteGroup(writes)), Outcome::Done);
        let writes = vec![
            GroupWrite::Save(group(1, "Hands")),
            GroupWrite::Member(member(1, BOB, Some(Role::Admin))),
            GroupWrite::Drop { group: GroupId(1), user: CAROL },
        ];
        one(store, Operation::WriteGroup(writes));
        let talk = Some(Talk::In(GroupId(9)));
        one(store, Operation::Put(NewMessage { talk, ..message(1, &[BOB], "x") }));
        one(store, Operation::WriteGroup(vec![GroupWrite::End(GroupId(9))]));

        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.groups, [group(1, "Hands")]);
        assert_eq!(
            snapshot.members,
            [member(1, ALICE, Some(Role::Owner)), member(1, BOB, Some(Role::Admin))]
        );
        assert_eq!(snapshot.last_group, GroupId(9), "its messages are still there");
    });
}

#[test]
fn a_file_of_the_first_version_is_taken_over_with_all_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../sqlite/schema.sql")).unwrap();
    old.execute_batch(
        "PRAGMA user_version = 1; PRAGMA application_id = 0x5052544c;
         INSERT INTO users VALUES (1, 'alice', 'alice', zeroblob(32), 5);
         INSERT INTO users VALUES (2, 'bob', 'bob', zeroblob(32), 5);
         INSERT INTO messages VALUES (1, 1, 0, 'bob', '', 1001, NULL);
         INSERT INTO messages VALUES (2, 1, 0, 'bob', 'kept', 1002, NULL);
         INSERT INTO deliveries VALUES (2, 1, 1);
         INSERT INTO deliveries VALUES (2, 2, 0);",
    )
    .unwrap();
    drop(old);
    let mut store = SqliteStore::open(&path, HISTORY).unwrap();
    assert_eq!(waiting_ids(&mut store, BOB), [2]);
    receipts(&mut store, BOB, &[2], ReceiptState::Delivered);
    assert_eq!(history(&mut store, BOB, Talk::With(ALICE), 0..9), ["kept"]);
    one(&mut store, Operation::Purge { before: Timestamp(9_999) });
    assert_eq!(store.snapshot().unwrap().last_message, MessageId(0));
}

#[test]
fn what_was_committed_is_there_after_the_process_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("a.db"), directory.path().join("b.db"));
    let mut store = SqliteStore::open(&path, HISTORY).unwrap();
    store.apply(&[Operation::AddUser(user(ALICE, "alice"))]).unwrap();
    one(&mut store, Operation::Put(message(1, &[ALICE], "kept")));
    // The files as a killed process leaves them: nothing was closed or checkpointed.
    for (from, to) in [("a.db", "b.db"), ("a.db-wal", "b.db-wal")] {
        std::fs::copy(directory.path().join(from), directory.path().join(to)).unwrap();
    }
    let mut store = SqliteStore::open(&copy, HISTORY).unwrap();
    assert_eq!(waiting_ids(&mut store, ALICE), [1]);
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("server.db"), HISTORY).unwrap();
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
    let nameless = rusqlite::Connection::open(path("nameless")).unwrap();
    nameless.execute_batch("CREATE TABLE t (x);").unwrap();
    drop(nameless);
    let before = std::fs::read(path("nameless")).unwrap();
    drop(SqliteStore::open(&path("newer"), HISTORY).unwrap());
    let newer = rusqlite::Connection::open(path("newer")).unwrap();
    newer.execute_batch("PRAGMA user_version = 99;").unwrap();
    drop(newer);
    let _holder = SqliteStore::open(&path("used"), HISTORY).unwrap();

    let rows = [
        ("text", "restore it from a backup"),
        ("foreign", "another program's database"),
        ("nameless", "another program's database"),
        ("newer", "newer version (schema 99"),
        ("used", "stop that one"),
    ];
    for (name, advice) in rows {
        let message = SqliteStore::open(&path(name), HISTORY).unwrap_err().to_string();
        assert!(message.contains(advice) && message.contains(name), "{message}");
    }
    assert!(std::fs::read(path("nameless")).unwrap() == before, "it was changed");
}

#[test]
fn who_has_written_to_whom_is_known_as_long_as_messages_are() {
    over_both(|store| {
        let written = [
            (ALICE, Some(Talk::With(BOB)), BOB),
            (ALICE, Some(Talk::With(BOB)), BOB),
            (BOB, Some(Talk::With(ALICE)), ALICE),
            (CAROL, Some(Talk::With(CAROL)), CAROL),
            (CAROL, Some(Talk::In(GroupId(1))), BOB),
            (CAROL, None, ALICE),
        ];
        for (id, (from, talk, owner)) in (1..).zip(written) {
            one(store, Operation::Put(NewMessage { from, talk, ..message(id, &[owner], "x") }));
        }
        let pairs = [(ALICE, BOB), (BOB, ALICE), (CAROL, CAROL)];
        assert_eq!(store.snapshot().unwrap().wrote, pairs);
        for owner in [ALICE, BOB, CAROL] {
            one(store, Operation::Clear { owner });
        }
        one(store, Operation::Purge { before: Timestamp(9_999) });
        assert_eq!(store.snapshot().unwrap().wrote, []);
    });
}

#[test]
fn a_store_in_memory_forgets_the_oldest_marks_and_nothing_that_waits() {
    let mut store = MemoryStore::with_marks(HISTORY, 6);
    let users = [user(ALICE, "alice"), user(BOB, "Bob"), user(CAROL, "carol")];
    store.apply(&users.map(Operation::AddUser)).unwrap();
    one(&mut store, Operation::Put(message(1, &[BOB], "waits")));
    for id in 2..10 {
        one(&mut store, Operation::Put(message(id, &[CAROL], "is read")));
        receipts(&mut store, CAROL, &[id], ReceiptState::Delivered);
    }
    assert_eq!(waiting_ids(&mut store, BOB), [1]);
    // Two marks each: the three newest are remembered.
    let seen = receipts(&mut store, CAROL, &[2, 6, 7, 8, 9], ReceiptState::Seen);
    assert_eq!(seen.0, [7, 8, 9]);
}
