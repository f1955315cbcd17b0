//! What of a file besides its content is kept by choice.

use std::{
    fs::File,
    io,
    time::{Duration, UNIX_EPOCH},
};

use portolan_protocol::{MODE_MASK, Timestamp};

use crate::Keep;

/// The owner reads, writes and enters.
const OWNER: u32 = 0o700;

/// Time and mode as the sender told them, as far as they are to be kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes {
    modified: Option<Timestamp>,
    mode: Option<u32>,
}

impl Attributes {
    /// What is kept of what was told. Of a mode only who may read, write and execute counts: a
    /// sender never makes a program run as somebody else.
    pub(crate) fn kept(keep: Keep, modified: Option<Timestamp>, mode: Option<u32>) -> Self {
        Self {
            modified: modified.filter(|_| keep.times),
            mode: mode.filter(|_| keep.modes).map(|mode| mode & MODE_MASK),
        }
    }

    /// As a directory has them: its owner goes on to be able to read and write it, so that the rest
    /// of what broke off can come into it.
    pub(crate) fn of_directory(self) -> Self {
        Self { mode: self.mode.map(|mode| mode | OWNER), ..self }
    }

    /// Whether there is nothing to set.
    pub(crate) fn is_empty(self) -> bool {
        self.modified.is_none() && self.mode.is_none()
    }

    /// Sets them on a file that is written. One that its system does not take is passed over.
    pub(crate) fn apply(self, file: &File) {
        let times = self.modified.map_or(Ok(()), |modified| {
            let since = Duration::from_millis(modified.0);
            let modified = UNIX_EPOCH.checked_add(since).ok_or(io::ErrorKind::InvalidInput)?;
            file.set_modified(modified)
        });
        if let Err(error) = times.and_then(|()| self.set_mode(file)) {
            tracing::warn!(%error, "time or mode of a received file could not be kept");
        }
    }

    #[cfg(unix)]
    fn set_mode(self, file: &File) -> io::Result<()> {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt};
        self.mode.map_or(Ok(()), |mode| file.set_permissions(Permissions::from_mode(mode)))
    }

    #[cfg(not(unix))]
    fn set_mode(self, _file: &File) -> io::Result<()> {
        let _ = self.mode;
        Ok(())
    }
}
