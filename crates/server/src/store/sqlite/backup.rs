//! Copies of the database while it is in use.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;

use crate::store::Outcome;

/// Where copies go, beside the database.
const DIRECTORY: &str = "backups";

/// Copies the whole database, as it is committed now, to a new file for its owner only; the words
/// of a failure are for the admin. Files of earlier copies are never touched.
pub(super) fn back_up(connection: &Connection, database: &Path) -> Outcome {
    match copy(connection, database) {
        Ok((path, bytes)) => Outcome::BackedUp { path, bytes },
        Err(why) => Outcome::Failed(Arc::from(why)),
    }
}

fn copy(connection: &Connection, database: &Path) -> Result<(PathBuf, u64), String> {
    let directory = database.with_file_name(DIRECTORY);
    crate::shell::make_directory(&directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = new_file(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let target = path.to_str().ok_or("the path is no text")?;
    // An empty file is taken by SQLite as an empty database, and keeps its mode.
    connection.execute("VACUUM INTO ?1", [target]).map_err(|error| {
        let _left_behind = fs::remove_file(&path);
        error.to_string()
    })?;
    let bytes = fs::metadata(&path).map_err(|error| error.to_string())?.len();
    Ok((path, bytes))
}

/// Makes the first file of a counted name that is not there yet.
fn new_file(directory: &Path) -> io::Result<PathBuf> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    for number in 1..=u32::MAX {
        let path = directory.join(format!("server-{number:04}.db"));
        match options.open(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are too many copies"))
}
