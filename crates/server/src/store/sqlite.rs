//! The store in a file: SQLite, write-ahead log, one commit for everything that has gathered.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

use portolan_identity::PeerId;
use portolan_protocol::{Delivery, MessageId, Name, ReceiptState, Recipient, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use rusqlite_migration::{M, Migrations};

use super::{
    NewMessage, Operation, Outcome, Snapshot, Store, StoreError, StoredUser, UserId, Waiting,
};

/// Versions of the schema, oldest first; a published one never changes.
const MIGRATIONS: &[M<'static>] = &[M::up(include_str!("schema.sql"))];

/// Marks the file as ours ("PRTL").
const APPLICATION_ID: i64 = 0x5052_544c;

/// Keeps everything in an SQLite file. What [`Store::apply`] has returned survives a crash of the
/// process and of the machine.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
}

impl SqliteStore {
    /// Opens or makes the file; only one process can have it open.
    ///
    /// # Errors
    /// [`StoreError`] when another server has it, it is damaged, or it is of a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opener = Opener { path: path.to_owned() };
        opener.make()?;
        let mut connection =
            Connection::open(path).map_err(|error| opener.sort("open the database", error))?;
        opener.configure(&connection)?;
        opener.check(&connection)?;
        opener.migrate(&mut connection)?;
        Ok(Self { connection })
    }
}

impl Store for SqliteStore {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        read_snapshot(&self.connection)
            .map_err(|source| StoreError::Database { during: "read the database", source })
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let failed = |source| StoreError::Database { during: "write to the database", source };
        let transaction = self.connection.transaction().map_err(failed)?;
        let outcomes = operations
            .iter()
            .map(|operation| apply_one(&transaction, operation))
            .collect::<Result<Vec<Outcome>, rusqlite::Error>>()
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(outcomes)
    }
}

/// Opens one file and explains what is wrong with it.
struct Opener {
    path: PathBuf,
}

impl Opener {
    /// Makes a missing file for its owner only; SQLite's other files take after it.
    fn make(&self) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let failed = |source| StoreError::Directory { path: self.path.clone(), source };
        options.open(&self.path).map(drop).map_err(failed)
    }

    fn configure(&self, connection: &Connection) -> Result<(), StoreError> {
        // A server that is just ending lets go soon.
        let patience = Duration::from_millis(500);
        connection
            .busy_timeout(patience)
            .map_err(|error| self.sort("configure the database", error))?;
        let set = |name: &str, value: &str| {
            connection
                .pragma_update_and_check(None, name, value, |_| Ok(()))
                .map_err(|error| self.sort("configure the database", error))
        };
        // The lock is the process's own: it goes with the process, however that ends.
        set("locking_mode", "EXCLUSIVE")?;
        set("journal_mode", "WAL")?;
        connection
            .execute_batch("PRAGMA synchronous = FULL; BEGIN EXCLUSIVE; COMMIT;")
            .map_err(|error| self.sort("lock the database", error))
    }

    fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let number = |name| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(|error| self.sort("read the database", error))
        };
        let (found, known) = (number("user_version")?, MIGRATIONS.len() as i64);
        let application = number("application_id")?;
        if found != 0 && application != APPLICATION_ID {
            return Err(self.damaged("another program's database"));
        }
        if found > known {
            return Err(StoreError::Newer { path: self.path.clone(), found, known });
        }
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| self.sort("check the database", error))?;
        if verdict == "ok" { Ok(()) } else { Err(self.damaged(&verdict)) }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        Migrations::from_slice(MIGRATIONS)
            .to_latest(connection)
            .map_err(|error| self.damaged(&error.to_string()))?;
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(|error| self.sort("mark the database", error))
    }

    fn sort(&self, during: &'static str, source: rusqlite::Error) -> StoreError {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::InUse(self.path.clone())
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                self.damaged(&source.to_string())
            }
            _ => StoreError::Database { during, source },
        }
    }

    fn damaged(&self, detail: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), detail: detail.to_owned() }
    }
}

fn read_snapshot(connection: &Connection) -> rusqlite::Result<Snapshot> {
    let mut statement = connection.prepare(
        "SELECT u.id, u.name, u.key, u.since,
                count(m.id), coalesce(sum(octet_length(m.text)), 0)
         FROM users u
         LEFT JOIN deliveries d ON d.owner = u.id AND d.state = 0
         LEFT JOIN messages m ON m.id = d.message
         GROUP BY u.id ORDER BY u.id",
    )?;
    let users = statement.query_map([], |row| {
        let user = StoredUser {
            id: UserId(number(row, 0)?),
            name: name(row, 1)?,
            key: PeerId::from_bytes(row.get(2)?),
            since: Timestamp(number(row, 3)?),
        };
        Ok((user, Waiting { messages: number(row, 4)?, bytes: number(row, 5)? }))
    })?;
    let users = users.collect::<rusqlite::Result<_>>()?;
    let last = connection
        .query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| number(row, 0))?;
    Ok(Snapshot { users, last_message: MessageId(last) })
}

fn apply_one(db: &Transaction<'_>, operation: &Operation) -> rusqlite::Result<Outcome> {
    match operation {
        Operation::AddUser(user) => add_user(db, user),
        Operation::Put(message) => put(db, message),
        &Operation::Load { owner, after, messages, bytes } => {
            load(db, owner, after, messages, bytes)
        }
        Operation::Receipts { owner, ids, state } => receipts(db, *owner, ids, *state),
        &Operation::Clear { owner } => clear(db, owner),
        &Operation::Purge { before } => purge(db, before),
    }
}

fn add_user(db: &Transaction<'_>, user: &StoredUser) -> rusqlite::Result<Outcome> {
    db.prepare_cached(
        "INSERT INTO users (id, name, name_key, key, since) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        user.id.0.cast_signed(),
        user.name.as_str(),
        user.name.key(),
        user.key.as_bytes(),
        user.since.0.cast_signed(),
    ])?;
    Ok(Outcome::Done)
}

fn put(db: &Transaction<'_>, message: &NewMessage) -> rusqlite::Result<Outcome> {
    if let Some(first) = find_reference(db, message)? {
        return Ok(first);
    }
    let (kind, recipient) = recipient_columns(&message.to);
    db.prepare_cached(
        "INSERT INTO messages (id, sender, kind, recipient, text, at, reference)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        message.id.0.cast_signed(),
        message.from.0.cast_signed(),
        kind,
        recipient,
        message.text.as_ref(),
        message.at.0.cast_signed(),
        message.reference.map(u64::cast_signed),
    ])?;
    let mut copy =
        db.prepare_cached("INSERT INTO deliveries (owner, message, state) VALUES (?1, ?2, 0)")?;
    for owner in &message.owners {
        copy.execute(params![owner.0.cast_signed(), message.id.0.cast_signed()])?;
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

fn load(
    db: &Transaction<'_>,
    owner: UserId,
    after: MessageId,
    messages: usize,
    bytes: u64,
) -> rusqlite::Result<Outcome> {
    let mut statement = db.prepare_cached(
        "SELECT m.id, u.name, m.kind, m.recipient, m.text, m.at
         FROM deliveries d JOIN messages m ON m.id = d.message JOIN users u ON u.id = m.sender
         WHERE d.owner = ?1 AND d.state = 0 AND d.message > ?2
         ORDER BY d.message LIMIT ?3",
    )?;
    let limit = i64::try_from(messages).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = statement.query(params![owner.0.cast_signed(), after.0.cast_signed(), limit])?;
    let mut page: Vec<Delivery> = Vec::new();
    let mut used = 0;
    while let Some(row) = rows.next()? {
        let delivery = read_delivery(row)?;
        used += delivery.text.len() as u64;
        if page.len() >= messages || (used > bytes && !page.is_empty()) {
            return Ok(Outcome::Page { messages: page, more: true });
        }
        page.push(delivery);
    }
    Ok(Outcome::Page { messages: page, more: false })
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

fn receipts(
    db: &Transaction<'_>,
    owner: UserId,
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
    for id in ids {
        let key = (owner.0.cast_signed(), id.0.cast_signed(), state_column(state));
        let found = find
            .query_row(key, |row| Ok((row.get::<_, i64>(0)?, number(row, 1)?, number(row, 2)?)))
            .optional()?;
        let Some((before, sender, bytes)) = found else { continue };
        note.execute(key)?;
        receipts.push((*id, UserId(sender)));
        if before == 0 {
            freed.messages += 1;
            freed.bytes += bytes;
            forget_text(db, *id)?;
        }
    }
    Ok(Outcome::Noted { receipts, freed })
}

/// Throws a text away once nobody waits for it.
fn forget_text(db: &Transaction<'_>, id: MessageId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE messages SET text = '' WHERE id = ?1
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = ?1 AND state = 0)",
    )?
    .execute([id.0.cast_signed()])?;
    Ok(())
}

fn clear(db: &Transaction<'_>, owner: UserId) -> rusqlite::Result<Outcome> {
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
        forget_text(db, id)?;
        freed.messages += 1;
        freed.bytes += bytes;
    }
    Ok(Outcome::Noted { receipts: Vec::new(), freed })
}

fn purge(db: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<Outcome> {
    let before = before.0.cast_signed();
    db.execute(
        "DELETE FROM deliveries WHERE state > 0
         AND message IN (SELECT id FROM messages WHERE at < ?1)",
        [before],
    )?;
    db.execute(
        "DELETE FROM messages WHERE at < ?1
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)",
        [before],
    )?;
    Ok(Outcome::Done)
}

fn state_column(state: ReceiptState) -> i64 {
    match state {
        ReceiptState::Stored => 0,
        ReceiptState::Delivered => 1,
        ReceiptState::Seen => 2,
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

fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn name(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Name> {
    let text: String = row.get(column)?;
    Name::new(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}
