//! Devices, settings and references over both stores.

use std::sync::Arc;

use portolan_protocol::{DeviceId, MessageId, ReceiptState, Settings, Timestamp};

use super::{
    ALICE, BOB, CAROL, GroupWrite, NewMessage, Operation, Outcome, Store, Talk, Waiting, message,
    one, over_both, waiting_ids,
};
use crate::store::{Noted, StoredDevice, StoredReference, UserId};

const PHONE: DeviceId = DeviceId(10);
/// Greater than what a signed number holds.
const LAPTOP: DeviceId = DeviceId(u64::MAX);

fn add(store: &mut dyn Store, devices: &[DeviceId]) {
    let devices = devices.to_vec();
    let added = one(store, Operation::AddDevices { owner: BOB, devices, at: Timestamp(7) });
    assert_eq!(added, Outcome::Done);
}

fn put(store: &mut dyn Store, id: u64, owners: &[UserId], copies: &[(UserId, DeviceId)]) {
    let message = NewMessage {
        copies: copies.to_vec(),
        talk: Some(Talk::With(BOB)),
        ..message(id, owners, "four")
    };
    assert_eq!(one(store, Operation::Put(message)), Outcome::Kept);
}

fn copies(store: &mut dyn Store, device: DeviceId) -> Vec<u64> {
    let (after, messages, bytes) = (MessageId(0), 100, u64::MAX);
    let operation = Operation::Load { owner: BOB, device: Some(device), after, messages, bytes };
    match one(store, operation) {
        Outcome::Page { messages, .. } => messages.iter().map(|delivery| delivery.id.0).collect(),
        other => panic!("{other:?}"),
    }
}

/// Confirms by a device; says what was news and how much less waits for name and device.
fn confirm(
    store: &mut dyn Store,
    device: DeviceId,
    ids: &[u64],
) -> (Vec<(u64, ReceiptState)>, u64, u64) {
    let (ids, state) = (ids.iter().copied().map(MessageId).collect(), ReceiptState::Delivered);
    match one(store, Operation::Receipts { owner: BOB, device: Some(device), ids, state }) {
        Outcome::Noted { receipts, freed, copies } => {
            let news = |noted: &Noted| (noted.id.0, noted.before);
            (receipts.iter().map(news).collect(), freed.messages, copies.messages)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_device_has_what_waited_when_it_came_and_what_came_since() {
    over_both(|store| {
        put(store, 1, &[BOB], &[]);
        add(store, &[PHONE]);
        put(store, 2, &[BOB], &[(BOB, PHONE)]);
        let stored = ReceiptState::Stored;
        assert_eq!(confirm(store, PHONE, &[1]), (vec![(1, stored)], 1, 1));
        add(store, &[LAPTOP]);
        put(store, 3, &[BOB], &[(BOB, PHONE), (BOB, LAPTOP)]);
        assert_eq!(copies(store, PHONE), [2, 3]);
        assert_eq!(copies(store, LAPTOP), [2, 3]);
        // The second to confirm is no news to the writer.
        assert_eq!(confirm(store, LAPTOP, &[2, 3]).1, 2);
        assert_eq!(confirm(store, PHONE, &[2, 3]), (vec![], 0, 2));
        assert_eq!(confirm(store, PHONE, &[2, 3]), (vec![], 0, 0));
        assert!(copies(store, PHONE).is_empty() && waiting_ids(store, BOB).is_empty());
    });
}

#[test]
fn a_text_stays_while_any_device_waits_for_it_and_is_history_then() {
    over_both(|store| {
        add(store, &[PHONE, LAPTOP]);
        // More than the stores of these tests keep for the history alone.
        for id in 1..=40 {
            put(store, id, &[BOB], &[(BOB, PHONE), (BOB, LAPTOP)]);
            confirm(store, PHONE, &[id]);
        }
        assert_eq!(copies(store, LAPTOP).len(), 40);
        let all: Vec<u64> = (1..=40).collect();
        confirm(store, LAPTOP, &all);
        let operation = Operation::History {
            reader: BOB,
            talk: Talk::With(ALICE),
            after: MessageId(0),
            before: MessageId(99),
            messages: 99,
            bytes: u64::MAX,
        };
        match one(store, operation) {
            Outcome::Page { messages, .. } => assert_eq!(messages.len(), 25),
            other => panic!("{other:?}"),
        }
        // However old, it is not forgotten before the last device has it.
        put(store, 41, &[BOB], &[(BOB, PHONE), (BOB, LAPTOP)]);
        confirm(store, PHONE, &[41]);
        one(store, Operation::Purge { before: Timestamp(9_999) });
        assert_eq!(copies(store, LAPTOP), [41]);
    });
}

#[test]
fn a_copy_for_another_device_of_the_sender_needs_no_owner() {
    over_both(|store| {
        add(store, &[PHONE]);
        let own = NewMessage { from: BOB, ..message(1, &[CAROL], "x") };
        one(store, Operation::Put(NewMessage { copies: vec![(BOB, PHONE)], ..own }));
        assert_eq!(copies(store, PHONE), [1]);
        assert_eq!(confirm(store, PHONE, &[1]), (vec![], 0, 1));
        // A copy for a device that is forgotten meanwhile is none.
        let late = message(2, &[CAROL], "x");
        one(store, Operation::ForgetDevice { owner: BOB, device: PHONE });
        let kept = one(store, Operation::Put(NewMessage { copies: vec![(BOB, PHONE)], ..late }));
        assert_eq!(kept, Outcome::Kept);
        add(store, &[PHONE]);
        assert!(copies(store, PHONE).is_empty());
    });
}

#[test]
fn trimming_leaves_the_newest_within_the_bounds() {
    over_both(|store| {
        add(store, &[PHONE]);
        for id in 1..=6 {
            put(store, id, &[BOB], &[(BOB, PHONE)]);
        }
        let trim = |messages, bytes| {
            let keep = Waiting { messages, bytes };
            Operation::Trim { owner: BOB, device: PHONE, keep }
        };
        let left = |messages| Outcome::Trimmed { left: Waiting { messages, bytes: 4 * messages } };
        assert_eq!(one(store, trim(9, 16)), left(4));
        assert_eq!(one(store, trim(3, 99)), left(3));
        assert_eq!(copies(store, PHONE), [4, 5, 6]);
        assert_eq!(waiting_ids(store, BOB).len(), 6, "the name's own mailbox is another thing");
    });
}

#[test]
fn clearing_a_mailbox_clears_every_device() {
    over_both(|store| {
        add(store, &[PHONE, LAPTOP]);
        put(store, 1, &[BOB], &[(BOB, PHONE), (BOB, LAPTOP)]);
        confirm(store, PHONE, &[1]);
        one(store, Operation::Clear { owner: BOB });
        assert!(copies(store, LAPTOP).is_empty());
    });
}

#[test]
fn devices_settings_and_references_are_found_again() {
    over_both(|store| {
        add(store, &[PHONE, LAPTOP]);
        put(store, 1, &[BOB], &[(BOB, LAPTOP)]);
        one(store, Operation::SeeDevice { owner: BOB, device: PHONE, at: Timestamp(9) });
        let settings = Settings { seen: false, conversations: 3, last_seen: false };
        one(store, Operation::SetSettings { user: BOB, settings: Settings::default() });
        one(store, Operation::SetSettings { user: BOB, settings });
        let noted = |reference, at| StoredReference { user: BOB, reference, at: Timestamp(at) };
        let writes = [noted(5, 1), noted(u64::MAX, 2), noted(3, 3)];
        one(store, Operation::WriteGroup(writes.map(GroupWrite::Note).to_vec()));
        one(store, Operation::WriteGroup(vec![GroupWrite::Unnote(noted(5, 9))]));
        let snapshot = store.snapshot().unwrap();
        let waiting = |messages, bytes| Waiting { messages, bytes };
        let device = |device, seen, waiting| StoredDevice {
            owner: BOB,
            device,
            seen: Timestamp(seen),
            waiting,
        };
        let mut devices = snapshot.devices;
        devices.sort_by_key(|device| device.device);
        assert_eq!(devices, [device(PHONE, 9, waiting(0, 0)), device(LAPTOP, 7, waiting(1, 4))]);
        assert_eq!(snapshot.settings, [(BOB, settings)]);
        assert_eq!(snapshot.references, [noted(u64::MAX, 2), noted(3, 3)]);
    });
}

#[test]
fn a_message_without_an_owner_is_kept_for_the_devices_of_its_sender() {
    over_both(|store| {
        add(store, &[PHONE]);
        let alone = NewMessage {
            from: BOB,
            copies: vec![(BOB, PHONE)],
            text: Arc::from("to nobody"),
            ..message(1, &[], "")
        };
        one(store, Operation::Put(alone));
        assert_eq!(copies(store, PHONE), [1]);
    });
}
