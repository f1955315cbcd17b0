//! Where a received file goes: a part beside it, then one rename.

use std::{
    io,
    path::{Path, PathBuf},
};

use portolan_protocol::{FILE_MAX, Hash};

use super::{Attributes, Partial, name::check_name, partial::bytes_there};
use crate::{Existing, FileError};

/// A place for a file that is on its way. Nothing is seen there until it has arrived whole.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    existing: Existing,
    attributes: Attributes,
}

impl Target {
    /// Checks that `name` may be written into `directory` and that what is still to come of the
    /// file would fit. Blocking.
    pub(crate) fn new(
        directory: &Path,
        name: &str,
        (size, hash): (u64, Hash),
        existing: Existing,
    ) -> Result<Self, FileError> {
        if size > FILE_MAX {
            return Err(FileError::TooLarge { size, max: FILE_MAX });
        }
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
        let target = Self { path, existing, attributes: Attributes::default() };
        target.check_existing()?;
        let needed = size.saturating_sub(bytes_there(directory, hash));
        match free_bytes(directory) {
            Some(free) if free < needed => {
                let directory = directory.to_owned();
                Err(FileError::NoSpace { directory, needed, free })
            }
            Some(_) | None => Ok(target),
        }
    }

    /// Gives the file these when it is whole.
    #[must_use]
    pub(crate) fn with(self, attributes: Attributes) -> Self {
        Self { attributes, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it goes.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Gives the whole file its name, in one step. Blocking.
    pub(crate) fn keep(&self, whole: Partial) -> Result<PathBuf, FileError> {
        // The lock is held until the file has its name.
        let (locked, path) = whole.into_whole().map_err(|source| self.failed("write", source))?;
        self.attributes.apply(&locked);
        let kept = match self.existing {
            Existing::Keep => path.persist_noclobber(&self.path),
            Existing::Replace => {
                self.check_existing()?;
                path.persist(&self.path)
            }
        };
        match kept {
            Ok(()) => Ok(self.path.clone()),
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
pub(super) fn free_bytes(directory: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(directory).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Bytes that may still be written at `directory`, where the system says.
#[cfg(not(unix))]
pub(super) fn free_bytes(_directory: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path, sync::Arc};

    use portolan_protocol::{FILE_MAX, Hash};

    use super::Target;
    use crate::{
        Existing, FileError,
        files::{Partial, Reached, Tree},
    };

    const ANY: (u64, Hash) = (3, Hash([0; 32]));

    /// A part into which everything has arrived.
    fn arrived(directory: &Path, bytes: &[u8]) -> Partial {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let tree = Tree::of(&file, bytes.len() as u64, &Reached::default()).unwrap();
        let mut partial = Partial::open(directory, Arc::new(tree), &Reached::default()).unwrap();
        partial.write(0, bytes).unwrap();
        partial
    }

    #[test]
    fn nothing_is_overwritten_unless_asked() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "old").unwrap();
        let refused = Target::new(directory.path(), "a", ANY, Existing::Keep);
        assert!(matches!(refused, Err(FileError::Exists(_))));
        let target = Target::new(directory.path(), "a", ANY, Existing::Replace).unwrap();
        let partial = arrived(directory.path(), b"new");
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"old");
        target.keep(partial).unwrap();
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_overwritten_either() {
        let directory = tempfile::tempdir().unwrap();
        let target = Target::new(directory.path(), "a", ANY, Existing::Keep).unwrap();
        let partial = arrived(directory.path(), b"new");
        fs::write(directory.path().join("a"), "theirs").unwrap();
        assert!(matches!(target.keep(partial), Err(FileError::Exists(_))));
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no partial file is left");
    }

    #[test]
    fn a_link_is_not_written_through_and_bad_names_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["..", "../x", "a/b", "nul", ".bashrc", ""] {
            let result = Target::new(directory.path(), name, ANY, Existing::Replace);
            assert!(matches!(result, Err(FileError::Name { .. })), "{name:?}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/nowhere", directory.path().join("link")).unwrap();
            for existing in [Existing::Keep, Existing::Replace] {
                assert!(Target::new(directory.path(), "link", ANY, existing).is_err());
            }
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_before_it_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        let new = |size| Target::new(directory.path(), "a", (size, ANY.1), Existing::Keep);
        assert!(matches!(new(FILE_MAX), Err(FileError::NoSpace { .. })) || !cfg!(unix));
        assert!(matches!(new(FILE_MAX + 1), Err(FileError::TooLarge { .. })));
    }
}
