//! Messages that wait, and what became of them.

use portolan_protocol::{Delivery, DeviceId, MessageId, ReceiptState, Recipient, Timestamp};
use rusqlite::{OptionalExtension, Rows, Transaction, params};

use super::{
    devices,
    history::{Archive, talk_columns},
    name, number,
};
use crate::store::{NewMessage, Noted, Outcome, UserId, Waiting};

pub(super) fn put(
    db: &Transaction<'_>,
    archive: &mut Archive,
    message: &NewMessage,
) -> rusqlite::Result<Outcome> {
    if let Some(first) = find_reference(db, message)? {
        return Ok(first);
    }
    let (kind, recipient) = recipient_columns(&message.to);
    let talk = message.talk.map(|talk| talk_columns(message.from, talk));
    db.prepare_cached(
        "INSERT INTO messages (id, sender, kind, recipient, text, at, reference, talk, talk_with)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        message.id.0.cast_signed(),
        message.from.0.cast_signed(),
        kind,
        recipient,
        message.text.as_ref(),
        message.at.0.cast_signed(),
        message.reference.map(u64::cast_signed),
        talk.map(|talk| talk.0),
        talk.map(|talk| talk.1),
    ])?;
    let mut copy =
        db.prepare_cached("INSERT INTO deliveries (owner, message, state) VALUES (?1, ?2, 0)")?;
    for owner in &message.owners {
        copy.execute(params![owner.0.cast_signed(), message.id.0.cast_signed()])?;
    }
    devices::put(db, message)?;
    if message.owners.is_empty() {
        archive.on_read(db, message.id)?;
    }
    Ok(Outcome::Kept)
}

fn find_reference(db: &Transaction<'_>, message: &NewMessage) -> rusqlite::Result<Option<Outcome>> {
    let Some(reference) = message.reference else { return Ok(None) };
    db.prepare_cached("SELECT id, at FROM messages WHERE sender = ?1 AND reference = ?2")?
        .query_row(params![message.from.0.cast_signed(), reference.cast_signed()], |row| {
            Ok(Outcome::Repeated { id: MessageId(number(row, 0)?), at: Timestamp(number(row, 1)?) })
        })
        .optional()
}

/// What waits for a name.
const WAITING: &str = "SELECT m.id, u.name, m.kind, m.recipient, m.text, m.at
     FROM deliveries d JOIN messages m ON m.id = d.message JOIN users u ON u.id = m.sender
     WHERE d.owner = ?1 AND ?2 IS NULL AND d.state = 0 AND d.message > ?3
     ORDER BY d.message LIMIT ?4";

/// What waits for one of its devices.
const COPIES: &str = "SELECT m.id, u.name, m.kind, m.recipient, m.text, m.at
     FROM copies c JOIN messages m ON m.id = c.message JOIN users u ON u.id = m.sender
     WHERE c.owner = ?1 AND c.device = ?2 AND c.message > ?3
     ORDER BY c.message LIMIT ?4";

pub(super) fn load(
    db: &Transaction<'_>,
    (owner, device): (UserId, Option<DeviceId>),
    after: MessageId,
    messages: usize,
    bytes: u64,
) -> rusqlite::Result<Outcome> {
    let mut statement = db.prepare_cached(if device.is_some() { COPIES } else { WAITING })?;
    let device = device.map(|device| device.0.cast_signed());
    let limit = i64::try_from(messages).unwrap_or(i64::MAX).saturating_add(1);
    let rows =
        statement.query(params![owner.0.cast_signed(), device, after.0.cast_signed(), limit])?;
    let (messages, more) = read_page(rows, messages, bytes)?;
    Ok(Outcome::Page { messages, more })
}

/// Reads messages up to the bounds; whether there are more.
pub(super) fn read_page(
    mut rows: Rows<'_>,
    messages: usize,
    bytes: u64,
) -> rusqlite::Result<(Vec<Delivery>, bool)> {
    let mut page: Vec<Delivery> = Vec::new();
    let mut used = 0;
    while let Some(row) = rows.next()? {
        let delivery = read_delivery(row)?;
        used += delivery.text.len() as u64;
        if page.len() >= messages || (used > bytes && !page.is_empty()) {
            return Ok((page, true));
        }
        page.push(delivery);
    }
    Ok((page, false))
}

fn read_delivery(row: &rusqlite::Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: MessageId(number(row, 0)?),
        from: name(row, 1)?,
        to: match row.get::<_, i64>(2)? {
            0 => Recipient::User(name(row, 3)?),
            1 => Recipient::Group(row.get(3)?),
            2 => Recipient::All,
            _ => Recipient::Others,
        },
        text: row.get(4)?,
        at: Timestamp(number(row, 5)?),
    })
}

pub(super) fn receipts(
    db: &Transaction<'_>,
    archive: &mut Archive,
    (owner, device): (UserId, Option<DeviceId>),
    ids: &[MessageId],
    state: ReceiptState,
) -> rusqlite::Result<Outcome> {
    let mut find = db.prepare_cached(
        "SELECT d.state, m.sender, octet_length(m.text)
         FROM deliveries d JOIN messages m ON m.id = d.message
         WHERE d.owner = ?1 AND d.message = ?2 AND d.state < ?3",
    )?;
    let mut note =
        db.prepare_cached("UPDATE deliveries SET state = ?3 WHERE owner = ?1 AND message = ?2")?;
    let (mut receipts, mut freed) = (Vec::new(), Waiting::default());
    let mut copies = Waiting::default();
    for id in ids {
        let had_copy = match device {
            Some(device) => devices::confirm(db, owner, device, *id)?,
            None => false,
        };
        if had_copy {
            copies.messages += 1;
            copies.bytes += text_size(db, *id)?;
        }
        let key = (owner.0.cast_signed(), id.0.cast_signed(), state_column(state));
        let found = find
            .query_row(key, |row| Ok((row.get::<_, i64>(0)?, number(row, 1)?, number(row, 2)?)))
            .optional()?;
        let was_waiting = matches!(found, Some((0, ..)));
        if let Some((before, sender, bytes)) = found {
            note.execute(key)?;
            let before = state_of_column(before);
            receipts.push(Noted { id: *id, writer: UserId(sender), before });
            if was_waiting {
                freed.messages += 1;
                freed.bytes += bytes;
            }
        }
        if was_waiting || had_copy {
            archive.on_read(db, *id)?;
        }
    }
    Ok(Outcome::Noted { receipts, freed, copies })
}

fn text_size(db: &Transaction<'_>, id: MessageId) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT octet_length(text) FROM messages WHERE id = ?1")?
        .query_row([id.0.cast_signed()], |row| number(row, 0))
}

pub(super) fn clear(
    db: &Transaction<'_>,
    archive: &mut Archive,
    owner: UserId,
) -> rusqlite::Result<Outcome> {
    devices::drop_copies(db, archive, owner, None)?;
    let owner = owner.0.cast_signed();
    let ids: Vec<(MessageId, u64)> = db
        .prepare_cached(
            "SELECT m.id, octet_length(m.text) FROM deliveries d JOIN messages m ON m.id = d.message
             WHERE d.owner = ?1 AND d.state = 0",
        )?
        .query_map([owner], |row| Ok((MessageId(number(row, 0)?), number(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    db.prepare_cached("DELETE FROM deliveries WHERE owner = ?1 AND state = 0")?.execute([owner])?;
    let mut freed = Waiting::default();
    for (id, bytes) in ids {
        archive.on_read(db, id)?;
        freed.messages += 1;
        freed.bytes += bytes;
    }
    Ok(Outcome::Noted { receipts: Vec::new(), freed, copies: Waiting::default() })
}

fn state_column(state: ReceiptState) -> i64 {
    match state {
        ReceiptState::Stored => 0,
        ReceiptState::Delivered => 1,
        ReceiptState::Seen => 2,
    }
}

fn state_of_column(column: i64) -> ReceiptState {
    match column {
        0 => ReceiptState::Stored,
        1 => ReceiptState::Delivered,
        _ => ReceiptState::Seen,
    }
}

fn recipient_columns(to: &Recipient) -> (i64, &str) {
    match to {
        Recipient::User(name) => (0, name.as_str()),
        Recipient::Group(group) => (1, group),
        Recipient::All => (2, ""),
        Recipient::Others => (3, ""),
    }
}
