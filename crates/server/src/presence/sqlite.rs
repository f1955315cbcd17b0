//! Presence in a file of its own, so that it neither waits for messages nor makes them wait.

use std::path::{Path, PathBuf};

use portolan_identity::PeerId;
use portolan_protocol::{Name, Timestamp};
use rusqlite::{Connection, Row, Transaction, params, types::Type};
use rusqlite_migration::{M, Migrations};

use super::{Place, Presence, PresenceError, Sighting};

/// Versions of the schema, oldest first; a published one never changes.
const MIGRATIONS: &[M<'static>] = &[M::up(include_str!("schema.sql"))];

/// Marks the file as ours ("PRTP").
const APPLICATION_ID: i64 = 0x5052_5450;

/// Remembers in an SQLite file. It is whole after every crash; after one of the machine the last
/// notes may be missing.
#[derive(Debug)]
pub struct SqlitePresence {
    connection: Connection,
    path: PathBuf,
}

impl SqlitePresence {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`PresenceError`] when another process has it, or it is none of ours.
    pub fn open(path: &Path) -> Result<Self, PresenceError> {
        let failed = |source| PresenceError { during: "open", path: path.to_owned(), source };
        let connection = open(path).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    fn failed(
        &self,
        during: &'static str,
    ) -> impl FnOnce(rusqlite::Error) -> PresenceError + use<> {
        let path = self.path.clone();
        move |source| PresenceError { during, path, source }
    }
}

impl Presence for SqlitePresence {
    fn recall(&mut self, server: PeerId) -> Result<Vec<Sighting>, PresenceError> {
        let failed = self.failed("read");
        recall(&mut self.connection, server).map_err(failed)
    }

    fn note(
        &mut self,
        server: PeerId,
        now: Timestamp,
        sightings: &[Sighting],
    ) -> Result<(), PresenceError> {
        let failed = self.failed("write to");
        note(&mut self.connection, server, now, sightings).map_err(failed)
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // Nothing here is worth waiting for a disk: a checkpoint is when it is synchronised.
    connection.execute_batch("PRAGMA synchronous = NORMAL; BEGIN EXCLUSIVE; COMMIT;")?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("user_version")? != 0 && number("application_id")? != APPLICATION_ID {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        let words = Some("another program's database".to_owned());
        return Err(rusqlite::Error::SqliteFailure(code, words));
    }
    Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).map_err(|error| {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA);
        rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
    })?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    Ok(connection)
}

fn recall(connection: &mut Connection, server: PeerId) -> rusqlite::Result<Vec<Sighting>> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "UPDATE sightings
         SET at = max(at, coalesce((SELECT alive FROM servers WHERE server = ?1), at)),
             server = NULL, transport = NULL, since = NULL
         WHERE server = ?1",
        [server.as_bytes()],
    )?;
    let mut all = transaction
        .prepare("SELECT name, at, server, transport, since FROM sightings ORDER BY name_key")?;
    let sightings = all.query_map([], sighting)?.collect::<rusqlite::Result<Vec<Sighting>>>()?;
    drop(all);
    transaction.commit()?;
    Ok(sightings)
}

fn sighting(row: &Row<'_>) -> rusqlite::Result<Sighting> {
    let text: String = row.get(0)?;
    let name = Name::new(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
    })?;
    let place = match row.get::<_, Option<[u8; 32]>>(2)? {
        None => None,
        Some(server) => Some(Place {
            server: PeerId::from_bytes(server),
            transport: row.get(3)?,
            since: timestamp(row, 4)?,
        }),
    };
    Ok(Sighting { name, place, at: timestamp(row, 1)? })
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get::<_, i64>(column).map(|millis| Timestamp(millis.cast_unsigned()))
}

fn note(
    connection: &mut Connection,
    server: PeerId,
    now: Timestamp,
    sightings: &[Sighting],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO servers (server, alive) VALUES (?1, ?2)")?
        .execute(params![server.as_bytes(), now.0.cast_signed()])?;
    for sighting in sightings {
        note_one(&transaction, sighting)?;
    }
    transaction.commit()
}

fn note_one(transaction: &Transaction<'_>, sighting: &Sighting) -> rusqlite::Result<usize> {
    let place = sighting.place.as_ref();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO sightings (name_key, name, at, server, transport, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            sighting.name.key(),
            sighting.name.as_str(),
            sighting.at.0.cast_signed(),
            place.map(|place| *place.server.as_bytes()),
            place.map(|place| place.transport.as_str()),
            place.map(|place| place.since.0.cast_signed()),
        ])
}
