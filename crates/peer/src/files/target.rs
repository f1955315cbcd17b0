//! Where a received file goes: a temporary file beside it, then one rename.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

use super::name::check_name;
use crate::{Existing, FileError};

/// A place for a file that is on its way. Nothing is seen there until it has arrived whole.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    existing: Existing,
}

impl Target {
    /// Checks that `name` may be written into `directory` and would fit. Blocking.
    pub(crate) fn new(
        directory: &Path,
        name: &str,
        size: u64,
        existing: Existing,
    ) -> Result<Self, FileError> {
        check_name(name).map_err(|problem| FileError::Name {
            name: name.chars().take(256).collect(),
            problem,
        })?;
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        std::fs::create_dir_all(directory).map_err(|source| FileError::Io {
            during: "create",
            path: directory.to_owned(),
            source,
        })?;
        let path = directory.join(name);
        let target = Self { path, existing };
        target.check_existing()?;
        match free_bytes(directory) {
            Some(free) if free < size => {
                let directory = directory.to_owned();
                Err(FileError::NoSpace { directory, needed: size, free })
            }
            Some(_) | None => Ok(target),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that takes the bytes; it removes itself when dropped. Blocking.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, FileError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut builder = Builder::new();
        builder.prefix(".portolan-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What any new file gets here: the system takes the umask off.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        builder.tempfile_in(directory).map_err(|source| self.failed("write into", source))
    }

    /// Gives the whole file its name, in one step. Blocking.
    pub(crate) fn keep(&self, temporary: NamedTempFile) -> Result<PathBuf, FileError> {
        let kept = match self.existing {
            Existing::Keep => temporary.persist_noclobber(&self.path),
            Existing::Replace => {
                self.check_existing()?;
                temporary.persist(&self.path)
            }
        };
        match kept {
            Ok(_) => Ok(self.path.clone()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(FileError::Exists(self.path.clone()))
            }
            Err(error) => Err(self.failed("write", error.error)),
        }
    }

    fn check_existing(&self) -> Result<(), FileError> {
        let there = self.path.symlink_metadata();
        match (there, self.existing) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (Err(source), _) => Err(self.failed("look at", source)),
            (Ok(_), Existing::Keep) => Err(FileError::Exists(self.path.clone())),
            (Ok(metadata), Existing::Replace) if metadata.is_file() => Ok(()),
            (Ok(_), Existing::Replace) => Err(FileError::NotAFile(self.path.clone())),
        }
    }

    fn failed(&self, during: &'static str, source: io::Error) -> FileError {
        FileError::Io { during, path: self.path.clone(), source }
    }
}

/// Bytes that may still be written at `directory`, where the system says.
#[cfg(unix)]
fn free_bytes(directory: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(directory).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Bytes that may still be written at `directory`, where the system says.
#[cfg(not(unix))]
fn free_bytes(_directory: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::Target;
    use crate::{Existing, FileError};

    #[test]
    fn nothing_is_overwritten_unless_asked() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "old").unwrap();
        let refused = Target::new(directory.path(), "a", 1, Existing::Keep);
        assert!(matches!(refused, Err(FileError::Exists(_))));
        let target = Target::new(directory.path(), "a", 1, Existing::Replace).unwrap();
        let mut file = target.temporary().unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"old");
        target.keep(file).unwrap();
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_overwritten_either() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::new(directory.path(), "a", 1, Existing::Keep).unwrap();
        let file = target.temporary().unwrap();
        fs::write(directory.path().join("a"), "theirs").unwrap();
        assert!(matches!(target.keep(file), Err(FileError::Exists(_))));
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no partial file is left");
    }

    #[test]
    fn a_link_is_not_written_through_and_bad_names_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["..", "../x", "a/b", "nul", ".bashrc", ""] {
            let result = Target::new(directory.path(), name, 0, Existing::Replace);
            assert!(matches!(result, Err(FileError::Name { .. })), "{name:?}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/nowhere", directory.path().join("link")).unwrap();
            for existing in [Existing::Keep, Existing::Replace] {
                assert!(Target::new(directory.path(), "link", 0, existing).is_err());
            }
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_before_it_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        let result = Target::new(directory.path(), "a", u64::MAX, Existing::Keep);
        assert!(matches!(result, Err(FileError::NoSpace { .. })) || !cfg!(unix));
    }
}
