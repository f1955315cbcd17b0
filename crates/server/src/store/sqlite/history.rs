//! Texts that nobody waits for any more: kept for those who read back, within a bound.

use std::ops::Range;

use portolan_protocol::{MessageId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{mailbox::read_page, number};
use crate::store::{GroupId, Outcome, Talk, UserId};

/// Marks a group's number in the place where a second user's stands.
const IN_GROUP: i64 = -1;

/// How much is kept, and how much may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Archive {
    bytes: u64,
    bytes_max: u64,
}

impl Archive {
    /// Counts what is kept.
    pub(super) fn open(connection: &Connection, bytes_max: u64) -> rusqlite::Result<Self> {
        let bytes = connection.query_row(
            "SELECT coalesce(sum(octet_length(text)), 0) FROM messages WHERE is_read = 1",
            [],
            |row| number(row, 0),
        )?;
        Ok(Self { bytes, bytes_max })
    }

    /// Somebody waits for this message no more: if nobody does, it is history.
    pub(super) fn on_read(&mut self, db: &Transaction<'_>, id: MessageId) -> rusqlite::Result<()> {
        let size = db
            .prepare_cached(
                "UPDATE messages SET is_read = 1 WHERE id = ?1 AND is_read = 0
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = ?1 AND state = 0)
                 AND NOT EXISTS (SELECT 1 FROM copies WHERE message = ?1)
                 RETURNING octet_length(text), talk IS NULL",
            )?
            .query_row([id.0.cast_signed()], |row| Ok((number(row, 0)?, row.get::<_, bool>(1)?)))
            .optional()?;
        let Some((size, is_for_everyone)) = size else { return Ok(()) };
        if is_for_everyone || self.bytes_max == 0 {
            return forget_text(db, id);
        }
        self.bytes += size;
        self.shrink(db)
    }

    /// Throws the oldest texts away until the rest fits.
    fn shrink(&mut self, db: &Transaction<'_>) -> rusqlite::Result<()> {
        while self.bytes > self.bytes_max {
            let oldest = db
                .prepare_cached(
                    "SELECT id, octet_length(text) FROM messages
                     WHERE is_read = 1 AND text <> '' ORDER BY id LIMIT 1",
                )?
                .query_row([], |row| Ok((MessageId(number(row, 0)?), number(row, 1)?)))
                .optional()?;
            let Some((id, size)) = oldest else { return Ok(()) };
            forget_text(db, id)?;
            self.bytes = self.bytes.saturating_sub(size);
        }
        Ok(())
    }

    /// Forgets what was delivered before this time, with the marks of it.
    pub(super) fn purge(
        &mut self,
        db: &Transaction<'_>,
        before: Timestamp,
    ) -> rusqlite::Result<Outcome> {
        let before = before.0.cast_signed();
        db.execute(
            "DELETE FROM deliveries WHERE state > 0
             AND message IN (SELECT id FROM messages WHERE at < ?1)",
            [before],
        )?;
        let forgotten = db.query_row(
            "SELECT coalesce(sum(octet_length(text)), 0) FROM messages
             WHERE at < ?1 AND is_read = 1",
            [before],
            |row| number(row, 0),
        )?;
        db.execute("DELETE FROM messages WHERE at < ?1 AND is_read = 1", [before])?;
        self.bytes = self.bytes.saturating_sub(forgotten);
        Ok(Outcome::Done)
    }
}

fn forget_text(db: &Transaction<'_>, id: MessageId) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE messages SET text = '' WHERE id = ?1")?
        .execute([id.0.cast_signed()])?;
    Ok(())
}

/// The columns by which the messages of a conversation are found.
pub(super) fn talk_columns(user: UserId, talk: Talk) -> (i64, i64) {
    match talk {
        Talk::With(other) => (user.min(other).0.cast_signed(), user.max(other).0.cast_signed()),
        Talk::In(GroupId(group)) => (group.cast_signed(), IN_GROUP),
    }
}

/// The newest messages of a conversation between two ids, both left out. What two users wrote is
/// seen by who wrote it and who has, or had, a copy.
pub(super) fn page(
    db: &Transaction<'_>,
    reader: UserId,
    talk: Talk,
    ids: Range<MessageId>,
    messages: usize,
    bytes: u64,
) -> rusqlite::Result<Outcome> {
    let mut statement = db.prepare_cached(
        "SELECT m.id, u.name, m.kind, m.recipient, m.text, m.at
         FROM messages m JOIN users u ON u.id = m.sender
         WHERE m.talk = ?1 AND m.talk_with = ?2 AND m.id > ?3 AND m.id < ?4 AND m.text <> ''
         AND (?2 = -1 OR m.sender = ?5
              OR EXISTS (SELECT 1 FROM deliveries d WHERE d.owner = ?5 AND d.message = m.id))
         ORDER BY m.id DESC LIMIT ?6",
    )?;
    let (one, other) = talk_columns(reader, talk);
    let before = i64::try_from(ids.end.0).unwrap_or(i64::MAX);
    let limit = i64::try_from(messages).unwrap_or(i64::MAX).saturating_add(1);
    let rows = statement.query(params![
        one,
        other,
        ids.start.0.cast_signed(),
        before,
        reader.0.cast_signed(),
        limit
    ])?;
    let (mut messages, more) = read_page(rows, messages, bytes)?;
    messages.reverse();
    Ok(Outcome::Page { messages, more })
}

/// Who has written to whom; the sum of both users' numbers less the writer's is the other's.
pub(super) fn wrote(connection: &Connection) -> rusqlite::Result<Vec<(UserId, UserId)>> {
    let mut pairs = connection.prepare(
        "SELECT DISTINCT sender, talk + talk_with - sender FROM messages
         WHERE talk IS NOT NULL AND talk_with <> ?1 ORDER BY 1, 2",
    )?;
    let pairs = pairs
        .query_map([IN_GROUP], |row| Ok((UserId(number(row, 0)?), UserId(number(row, 1)?))))?;
    pairs.collect()
}
