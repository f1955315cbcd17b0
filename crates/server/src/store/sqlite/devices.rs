//! Devices of a name, and the copies that each of them still has to get.

use portolan_protocol::{DeviceId, MessageId, Timestamp};
use rusqlite::{Connection, Transaction, params};

use super::{history::Archive, number};
use crate::store::{NewMessage, Outcome, StoredDevice, UserId, Waiting};

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<StoredDevice>> {
    let mut devices = connection.prepare(
        "SELECT v.owner, v.device, v.seen, count(m.id), coalesce(sum(octet_length(m.text)), 0)
         FROM devices v
         LEFT JOIN copies c ON c.owner = v.owner AND c.device = v.device
         LEFT JOIN messages m ON m.id = c.message
         GROUP BY v.owner, v.device ORDER BY v.owner, v.device",
    )?;
    let devices = devices.query_map([], |row| {
        Ok(StoredDevice {
            owner: UserId(number(row, 0)?),
            device: DeviceId(number(row, 1)?),
            seen: Timestamp(number(row, 2)?),
            waiting: Waiting { messages: number(row, 3)?, bytes: number(row, 4)? },
        })
    })?;
    devices.collect()
}

pub(super) fn add(
    db: &Transaction<'_>,
    owner: UserId,
    devices: &[DeviceId],
    at: Timestamp,
) -> rusqlite::Result<Outcome> {
    for device in devices {
        let key = [owner.0.cast_signed(), device.0.cast_signed()];
        db.prepare_cached(
            "INSERT INTO devices (owner, device, seen) VALUES (?1, ?2, ?3)
             ON CONFLICT (owner, device) DO UPDATE SET seen = ?3",
        )?
        .execute(params![key[0], key[1], at.0.cast_signed()])?;
        db.prepare_cached(
            "INSERT OR IGNORE INTO copies (owner, device, message)
             SELECT ?1, ?2, message FROM deliveries WHERE owner = ?1 AND state = 0",
        )?
        .execute(key)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn see(
    db: &Transaction<'_>,
    owner: UserId,
    device: DeviceId,
    at: Timestamp,
) -> rusqlite::Result<Outcome> {
    db.prepare_cached("UPDATE devices SET seen = ?3 WHERE owner = ?1 AND device = ?2")?
        .execute([owner.0.cast_signed(), device.0.cast_signed(), at.0.cast_signed()])?;
    Ok(Outcome::Done)
}

pub(super) fn forget(
    db: &Transaction<'_>,
    archive: &mut Archive,
    owner: UserId,
    device: DeviceId,
) -> rusqlite::Result<Outcome> {
    drop_copies(db, archive, owner, Some(device))?;
    db.prepare_cached("DELETE FROM devices WHERE owner = ?1 AND device = ?2")?
        .execute([owner.0.cast_signed(), device.0.cast_signed()])?;
    Ok(Outcome::Done)
}

/// Keeps the copies of a new message.
pub(super) fn put(db: &Transaction<'_>, message: &NewMessage) -> rusqlite::Result<()> {
    if message.copies.is_empty() {
        return Ok(());
    }
    let mut copy = db.prepare_cached(
        "INSERT OR IGNORE INTO copies (owner, device, message)
         SELECT owner, device, ?3 FROM devices WHERE owner = ?1 AND device = ?2",
    )?;
    for (user, device) in &message.copies {
        copy.execute([user.0.cast_signed(), device.0.cast_signed(), message.id.0.cast_signed()])?;
    }
    Ok(())
}

/// A device has a message; says whether that was news.
pub(super) fn confirm(
    db: &Transaction<'_>,
    owner: UserId,
    device: DeviceId,
    message: MessageId,
) -> rusqlite::Result<bool> {
    let gone = db
        .prepare_cached("DELETE FROM copies WHERE owner = ?1 AND device = ?2 AND message = ?3")?
        .execute([owner.0.cast_signed(), device.0.cast_signed(), message.0.cast_signed()])?;
    Ok(gone > 0)
}

/// Throws the copies of one device away, or those of all devices of a name.
pub(super) fn drop_copies(
    db: &Transaction<'_>,
    archive: &mut Archive,
    owner: UserId,
    device: Option<DeviceId>,
) -> rusqlite::Result<()> {
    let ids: Vec<MessageId> = db
        .prepare_cached(
            "DELETE FROM copies WHERE owner = ?1 AND (?2 IS NULL OR device = ?2)
             RETURNING message",
        )?
        .query_map(
            params![owner.0.cast_signed(), device.map(|device| device.0.cast_signed())],
            |row| Ok(MessageId(number(row, 0)?)),
        )?
        .collect::<rusqlite::Result<_>>()?;
    ids.into_iter().try_for_each(|id| archive.on_read(db, id))
}

/// Throws the oldest copies of a device away until so much is left.
pub(super) fn trim(
    db: &Transaction<'_>,
    archive: &mut Archive,
    (owner, device): (UserId, DeviceId),
    keep: Waiting,
) -> rusqlite::Result<Outcome> {
    let key = [owner.0.cast_signed(), device.0.cast_signed()];
    let copies: Vec<(MessageId, u64)> = db
        .prepare_cached(
            "SELECT m.id, octet_length(m.text) FROM copies c JOIN messages m ON m.id = c.message
             WHERE c.owner = ?1 AND c.device = ?2 ORDER BY c.message DESC",
        )?
        .query_map(key, |row| Ok((MessageId(number(row, 0)?), number(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut left = Waiting::default();
    let mut is_full = false;
    for (id, bytes) in copies {
        is_full |= left.messages + 1 > keep.messages || left.bytes + bytes > keep.bytes;
        if is_full {
            confirm(db, owner, device, id)?;
            archive.on_read(db, id)?;
        } else {
            left.messages += 1;
            left.bytes += bytes;
        }
    }
    Ok(Outcome::Trimmed { left })
}
