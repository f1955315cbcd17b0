//! Keys that are kept out.

use portolan_identity::PeerId;
use portolan_protocol::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::number;
use crate::store::{Outcome, StoredBan};

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<StoredBan>> {
    let mut bans =
        connection.prepare("SELECT key, reason, since, until, by FROM bans ORDER BY key")?;
    let bans = bans.query_map([], |row| {
        Ok(StoredBan {
            key: PeerId::from_bytes(row.get(0)?),
            reason: row.get(1)?,
            since: Timestamp(number(row, 2)?),
            until: row.get::<_, Option<i64>>(3)?.map(|until| Timestamp(until.cast_unsigned())),
            by: PeerId::from_bytes(row.get(4)?),
        })
    })?;
    bans.collect()
}

pub(super) fn ban(db: &Transaction<'_>, ban: &StoredBan) -> rusqlite::Result<Outcome> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO bans (key, reason, since, until, by) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        ban.key.as_bytes(),
        ban.reason,
        ban.since.0.cast_signed(),
        ban.until.map(|until| until.0.cast_signed()),
        ban.by.as_bytes(),
    ])?;
    Ok(Outcome::Done)
}

pub(super) fn unban(db: &Transaction<'_>, key: PeerId) -> rusqlite::Result<Outcome> {
    db.prepare_cached("DELETE FROM bans WHERE key = ?1")?.execute([key.as_bytes()])?;
    Ok(Outcome::Done)
}
