//! Where connections leave their logs, if they do: one switch for the whole program.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use portolan_qlog::{Qlog, QlogError};

/// The variable that names the directory, as other implementations have it.
pub(crate) const DIRECTORY: &str = "QLOGDIR";

static SWITCH: OnceLock<(Qlog, PathBuf)> = OnceLock::new();

/// Turns the switch on if there is a directory.
pub(crate) fn turn_on(directory: Option<&Path>) -> Result<(), String> {
    let Some(directory) = directory else { return Ok(()) };
    let qlog = Qlog::default();
    qlog.write_to(directory).map_err(|error| match &error {
        QlogError::Io { source, .. } => format!("{error}: {source}"),
        QlogError::AlreadyOn => error.to_string(),
    })?;
    SWITCH.set((qlog, directory.to_owned())).map_err(|_| QlogError::AlreadyOn.to_string())
}

/// The switch, on or off.
pub(crate) fn qlog() -> Qlog {
    SWITCH.get().map(|(qlog, _)| qlog.clone()).unwrap_or_default()
}

/// The directory, for programs that this one starts.
pub(crate) fn directory() -> Option<&'static Path> {
    SWITCH.get().map(|(_, directory)| directory.as_path())
}

/// Writes out what the files still lack.
pub(crate) fn finish() {
    qlog().finish();
}
