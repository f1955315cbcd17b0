//! How the server treats each name.

use portolan_protocol::Settings;
use rusqlite::{Connection, Transaction, params};

use super::number;
use crate::store::{Outcome, UserId};

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<(UserId, Settings)>> {
    let mut settings = connection
        .prepare("SELECT user, seen, conversations, last_seen FROM settings ORDER BY user")?;
    let settings = settings.query_map([], |row| {
        let settings =
            Settings { seen: row.get(1)?, conversations: row.get(2)?, last_seen: row.get(3)? };
        Ok((UserId(number(row, 0)?), settings))
    })?;
    settings.collect()
}

pub(super) fn set(
    db: &Transaction<'_>,
    user: UserId,
    settings: Settings,
) -> rusqlite::Result<Outcome> {
    db.prepare_cached(
        "INSERT INTO settings (user, seen, conversations, last_seen) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user) DO UPDATE SET seen = ?2, conversations = ?3, last_seen = ?4",
    )?
    .execute(params![
        user.0.cast_signed(),
        settings.seen,
        settings.conversations,
        settings.last_seen
    ])?;
    Ok(Outcome::Done)
}
