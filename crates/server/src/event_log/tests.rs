//! Every kind of line, as docs/server.md explains it.

use std::{fs, path::Path};

use portolan_identity::PeerId;
use portolan_protocol::{ConversationState, GroupChange, MessageId, Name};
use serde_json::Value;

use super::LogEntry;

/// One of each kind, with every field that it can have.
fn samples() -> Vec<LogEntry> {
    let name = || Name::new("alice").unwrap();
    let id = PeerId::from_bytes([7; 32]);
    let text = || "192.0.2.1:7".to_owned();
    vec![
        LogEntry::Started { id, addresses: vec![text()] },
        LogEntry::Stopped { reason: text() },
        LogEntry::Registered { name: name(), id },
        LogEntry::Password { name: name(), is_removed: false },
        LogEntry::Moved { name: name(), id, address: text() },
        LogEntry::Login { name: name(), id, transport: "tcp", address: text() },
        LogEntry::LoginRefused { id, code: "banned", address: text() },
        LogEntry::Refused { id, address: text(), code: "quota", count: 1 },
        LogEntry::Left { name: name(), how: "kicked", reason: text() },
        LogEntry::SentAway { id, address: text(), reason: text() },
        LogEntry::Conversation { from: name(), to: name(), state: ConversationState::Accepted },
        LogEntry::Group {
            group: name(),
            change: GroupChange::Joined,
            by: name(),
            user: Some(name()),
        },
        LogEntry::Message { id: MessageId(1), from: name(), to: text(), bytes: 1, copies: 1 },
        LogEntry::RelayOpened { from: name(), to: name() },
        LogEntry::RelayEnded { from: name(), to: name(), bytes: 1, how: text() },
        LogEntry::Carrying { issuer: id, from: id, to: id },
        LogEntry::Carried { from: id, to: id, bytes: 1, how: text() },
        LogEntry::RelayServer { id, address: text(), up: false, reason: text() },
        LogEntry::Admin { by: id, what: "kick", name: Some(name()), reason: text() },
        LogEntry::StoreFailed { detail: text() },
        LogEntry::Dropped { lines: 1 },
    ]
}

/// A new kind does not compile here: give it a sample above and a number.
fn number(entry: &LogEntry) -> usize {
    match entry {
        LogEntry::Started { .. } => 0,
        LogEntry::Stopped { .. } => 1,
        LogEntry::Registered { .. } => 2,
        LogEntry::Password { .. } => 3,
        LogEntry::Moved { .. } => 4,
        LogEntry::Login { .. } => 5,
        LogEntry::LoginRefused { .. } => 6,
        LogEntry::Refused { .. } => 7,
        LogEntry::Left { .. } => 8,
        LogEntry::SentAway { .. } => 9,
        LogEntry::Conversation { .. } => 10,
        LogEntry::Group { .. } => 11,
        LogEntry::Message { .. } => 12,
        LogEntry::RelayOpened { .. } => 13,
        LogEntry::RelayEnded { .. } => 14,
        LogEntry::Carrying { .. } => 15,
        LogEntry::Carried { .. } => 16,
        LogEntry::RelayServer { .. } => 17,
        LogEntry::Admin { .. } => 18,
        LogEntry::StoreFailed { .. } => 19,
        LogEntry::Dropped { .. } => 20,
    }
}

#[test]
fn every_kind_and_field_is_explained_where_admins_read_and_nothing_else_is() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/server.md");
    let page = fs::read_to_string(page).unwrap();
    let section = page.split("\n## Event log\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let samples = samples();
    let numbers: Vec<usize> = samples.iter().map(number).collect();
    assert_eq!(numbers, (0..rows.len()).collect::<Vec<_>>(), "one row a kind, in their order");
    for entry in samples {
        let Value::Object(fields) = serde_json::to_value(&entry).unwrap() else { panic!() };
        let event = fields["event"].as_str().unwrap();
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{event}` |")));
        let row = row.unwrap_or_else(|| panic!("{event} is not explained"));
        for field in fields.keys().filter(|field| *field != "event") {
            assert!(row.contains(&format!("`{field}`")), "{event}: {field} is not explained");
        }
    }
}
