//! The store in a file: SQLite, write-ahead log, one commit for everything that has gathered.

mod backup;
mod bans;
mod devices;
mod groups;
mod history;
mod mailbox;
mod settings;

use std::{
    fs::{File, OpenOptions},
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use portolan_identity::PeerId;
use portolan_protocol::{MessageId, Name, Timestamp};
use rusqlite::{Connection, ErrorCode, Transaction, params};
use rusqlite_migration::{M, Migrations};

use self::history::Archive;
use super::{
    Operation, Outcome, PasswordHash, Snapshot, Store, StoreError, StoredUser, UserId, Waiting,
};

/// Versions of the schema, oldest first; a published one never changes.
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("schema.sql")),
    M::up(include_str!("groups_and_history.sql")),
    M::up(include_str!("passwords.sql")),
    M::up(include_str!("bans.sql")),
    M::up(include_str!("devices_and_settings.sql")),
];

/// What is kept of the file in memory: a message touches a page in each of nine trees, and those of
/// the indexes lie apart.
const CACHE_KIB: u32 = 32 << 10;

/// Pages of 4 KiB that the write-ahead log has before they go to their places: a page that was
/// changed by many commits goes there once.
const CHECKPOINT_PAGES: u32 = 8 << 10;

/// Marks the file as ours ("PRTL").
const APPLICATION_ID: i64 = 0x5052_544c;

/// How every database begins (SQLite's file format, §1.3), and where its header says what.
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
const USER_VERSION: usize = 60;
const APPLICATION: usize = 68;
const SCHEMA_COOKIE: usize = 40;

/// Keeps everything in an SQLite file. What [`Store::apply`] has returned survives a crash of the
/// process and of the machine.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    archive: Archive,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens or makes the file; only one process can have it open. At most `history` bytes of
    /// texts are kept that nobody waits for any more, the oldest go first.
    ///
    /// # Errors
    /// [`StoreError`] when another server has it, it is damaged, or it is of a newer version.
    pub fn open(path: &Path, history: u64) -> Result<Self, StoreError> {
        let opener = Opener { path: path.to_owned() };
        opener.make()?;
        opener.inspect()?;
        let mut connection =
            Connection::open(path).map_err(|error| opener.sort("open the database", error))?;
        opener.configure(&connection)?;
        opener.check(&connection)?;
        opener.migrate(&mut connection)?;
        let archive = Archive::open(&connection, history)
            .map_err(|error| opener.sort("read the database", error))?;
        Ok(Self { connection, archive, path: path.to_owned() })
    }
}

impl Store for SqliteStore {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        read_snapshot(&self.connection)
            .map_err(|source| StoreError::Database { during: "read the database", source })
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let failed = |source| StoreError::Database { during: "write to the database", source };
        // The count of what is kept counts only once it is committed, as all else.
        let mut archive = self.archive;
        let transaction = self.connection.transaction().map_err(failed)?;
        let mut outcomes = operations
            .iter()
            .map(|operation| apply_one(&transaction, &mut archive, operation))
            .collect::<Result<Vec<Outcome>, rusqlite::Error>>()
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.archive = archive;
        // A copy cannot be made inside of a transaction; behind it, it has all of it.
        for (operation, outcome) in operations.iter().zip(&mut outcomes) {
            if *operation == Operation::Backup {
                *outcome = backup::back_up(&self.connection, &self.path);
            }
        }
        Ok(outcomes)
    }
}

/// Whose a database is; all zero: nobody's yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Marks {
    version: i64,
    application: i64,
    /// Changes with each table.
    schema: i64,
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

    /// Looks at the file before SQLite does, which may write to it as soon as it opens it: what is
    /// not ours stays as it is.
    fn inspect(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Directory { path: self.path.clone(), source };
        let mut header = Vec::new();
        let file = File::open(&self.path).map_err(failed)?;
        file.take(HEADER as u64).read_to_end(&mut header).map_err(failed)?;
        if header.is_empty() {
            return Ok(());
        }
        if !header.starts_with(MAGIC) || header.len() < HEADER {
            return Err(self.damaged("it does not begin as a database does"));
        }
        let number = |at: usize| {
            let bytes = header.get(at..).and_then(|rest| rest.first_chunk::<4>());
            bytes.map_or(0, |bytes| i64::from(i32::from_be_bytes(*bytes)))
        };
        self.check_marks(&Marks {
            version: number(USER_VERSION),
            application: number(APPLICATION),
            schema: number(SCHEMA_COOKIE),
        })
    }

    fn check_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        let (found, known) = (marks.version, MIGRATIONS.len() as i64);
        if marks.application != APPLICATION_ID && *marks != Marks::default() {
            return Err(self.damaged("another program's database"));
        }
        if found > known {
            return Err(StoreError::Newer { path: self.path.clone(), found, known });
        }
        Ok(())
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
            .execute_batch(&format!(
                "PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB};
                 PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; BEGIN EXCLUSIVE; COMMIT;"
            ))
            .map_err(|error| self.sort("lock the database", error))
    }

    fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let number = |name| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(|error| self.sort("read the database", error))
        };
        self.check_marks(&Marks {
            version: number("user_version")?,
            application: number("application_id")?,
            schema: number("schema_version")?,
        })?;
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| self.sort("check the database", error))?;
        if verdict == "ok" { Ok(()) } else { Err(self.damaged(&verdict)) }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), StoreError> {
        // First: a crash in between must not leave tables that are nobody's.
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(|error| self.sort("mark the database", error))?;
        Migrations::from_slice(MIGRATIONS)
            .to_latest(connection)
            .map_err(|error| self.damaged(&error.to_string()))
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
                count(m.id), coalesce(sum(octet_length(m.text)), 0), u.password
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
            password: row.get::<_, Option<String>>(6)?.map(|hash| PasswordHash(hash.into())),
        };
        Ok((user, Waiting { messages: number(row, 4)?, bytes: number(row, 5)? }))
    })?;
    let users = users.collect::<rusqlite::Result<_>>()?;
    let last = connection
        .query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| number(row, 0))?;
    let (groups, members) = groups::read(connection)?;
    let last_group = groups::last(connection)?;
    Ok(Snapshot {
        users,
        groups,
        members,
        devices: devices::read(connection)?,
        settings: settings::read(connection)?,
        references: groups::references(connection)?,
        wrote: history::wrote(connection)?,
        bans: bans::read(connection)?,
        last_group,
        last_message: MessageId(last),
    })
}

fn apply_one(
    db: &Transaction<'_>,
    archive: &mut Archive,
    operation: &Operation,
) -> rusqlite::Result<Outcome> {
    match operation {
        Operation::AddUser(user) => add_user(db, user),
        Operation::SetPassword { user, hash } => set_password(db, *user, hash.as_ref()),
        &Operation::MoveName { user, key } => move_name(db, user, key),
        &Operation::SetSettings { user, settings } => settings::set(db, user, settings),
        Operation::AddDevices { owner, devices, at } => devices::add(db, *owner, devices, *at),
        &Operation::SeeDevice { owner, device, at } => devices::see(db, owner, device, at),
        &Operation::ForgetDevice { owner, device } => devices::forget(db, archive, owner, device),
        &Operation::Trim { owner, device, keep } => {
            devices::trim(db, archive, (owner, device), keep)
        }
        Operation::Put(message) => mailbox::put(db, archive, message),
        &Operation::Load { owner, device, after, messages, bytes } => {
            mailbox::load(db, (owner, device), after, messages, bytes)
        }
        Operation::Receipts { owner, device, ids, state } => {
            mailbox::receipts(db, archive, (*owner, *device), ids, *state)
        }
        &Operation::Clear { owner } => mailbox::clear(db, archive, owner),
        &Operation::Purge { before } => archive.purge(db, before),
        &Operation::History { reader, talk, after, before, messages, bytes } => {
            history::page(db, reader, talk, after..before, messages, bytes)
        }
        Operation::WriteGroup(writes) => groups::write(db, writes),
        Operation::Ban(ban) => bans::ban(db, ban),
        &Operation::Unban(key) => bans::unban(db, key),
        Operation::Backup => Ok(Outcome::Done),
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

fn set_password(
    db: &Transaction<'_>,
    user: UserId,
    hash: Option<&PasswordHash>,
) -> rusqlite::Result<Outcome> {
    db.prepare_cached("UPDATE users SET password = ?2 WHERE id = ?1")?
        .execute(params![user.0.cast_signed(), hash.map(|hash| hash.0.as_ref())])?;
    Ok(Outcome::Done)
}

fn move_name(db: &Transaction<'_>, user: UserId, key: PeerId) -> rusqlite::Result<Outcome> {
    db.prepare_cached("UPDATE users SET key = ?2 WHERE id = ?1")?
        .execute(params![user.0.cast_signed(), key.as_bytes()])?;
    Ok(Outcome::Done)
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
