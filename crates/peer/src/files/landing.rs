//! The directory into which others are received: nothing is written outside it, and no link in
//! it is followed.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use portolan_protocol::Hash;
use tempfile::{Builder, NamedTempFile};

use super::{Attributes, name::check_name, open_file, target::free_bytes};
use crate::{Existing, FileError, Keep, Place};

/// Small files that are being written; they get their names when they are whole.
const PREFIX: &str = ".portolan-";
const SUFFIX: &str = ".new";

/// A directory that is being received.
#[derive(Debug)]
pub(crate) struct Landing {
    root: PathBuf,
    existing: Existing,
    keep: Keep,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    /// A file of so many bytes.
    File(u64),
}

impl Landing {
    /// Makes the directory where it is missing. Blocking, as everything here.
    pub(crate) fn new(
        place: &Place,
        name: &str,
        existing: Existing,
        keep: Keep,
    ) -> Result<Self, FileError> {
        let root = root(place, name)?;
        let above = if place.is_above() { root.parent() } else { Some(root.as_path()) };
        let above = above.unwrap_or(Path::new("."));
        fs::create_dir_all(above).map_err(|source| failed("create", above, source))?;
        if place.is_above() {
            make(&root)?;
        }
        remove_remains(&root);
        Ok(Self { root, existing, keep })
    }

    /// Refuses what can be seen not to fit, without making anything.
    pub(crate) fn check_space(place: &Place, name: &str, needed: u64) -> Result<(), FileError> {
        let root = root(place, name)?;
        // What is there may be a part of what comes.
        if root.symlink_metadata().is_ok() {
            return Ok(());
        }
        let there = root.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        match free_bytes(there) {
            Some(free) if free < needed => {
                Err(FileError::NoSpace { directory: there.to_owned(), needed, free })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn existing(&self) -> Existing {
        self.existing
    }

    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    /// Makes a directory below, through no link. The path has been checked.
    pub(crate) fn directory(&self, path: &str) -> Result<PathBuf, FileError> {
        let mut full = self.root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            full.push(part);
            make(&full)?;
        }
        Ok(full)
    }

    /// Gives a directory below, or the directory itself, what is kept of the sender's, after all that
    /// belongs into it was written. What its system does not take is passed over.
    pub(crate) fn dress(&self, path: &str, attributes: Attributes) {
        let open = || -> Result<fs::File, FileError> {
            let full = self.directory(path)?;
            open_directory(&full).map_err(|source| failed("open", &full, source))
        };
        match open() {
            Ok(directory) => attributes.of_directory().apply(&directory),
            Err(error) => tracing::warn!(%error, "time or mode of a directory could not be kept"),
        }
    }

    /// Where a file below goes: the directory, made, and the name.
    pub(crate) fn place<'a>(&self, path: &'a str) -> Result<(PathBuf, &'a str), FileError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(directory)?, name))
    }

    /// What stands under a path, after its directory was made.
    pub(crate) fn there(&self, path: &str) -> Result<(PathBuf, There), FileError> {
        let (directory, name) = self.place(path)?;
        let full = directory.join(name);
        match full.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((full, There::Nothing)),
            Err(source) => Err(failed("look at", &full, source)),
            Ok(metadata) if metadata.is_file() => Ok((full, There::File(metadata.len()))),
            Ok(_) => Err(FileError::NotAFile(full)),
        }
    }

    /// Writes a small file, which gets its name when it is whole.
    pub(crate) fn write(
        &self,
        path: &str,
        bytes: &[u8],
        attributes: Attributes,
    ) -> Result<(), FileError> {
        let (full, there) = self.there(path)?;
        if there != There::Nothing && self.existing == Existing::Keep {
            return Err(FileError::Exists(full));
        }
        let write = || {
            let mut file = new_file(&self.root)?;
            file.as_file().lock()?;
            file.write_all(bytes)?;
            attributes.apply(file.as_file());
            Ok(file)
        };
        let file: NamedTempFile = write().map_err(|source| failed("write", &full, source))?;
        let kept = match self.existing {
            Existing::Keep => file.persist_noclobber(&full),
            Existing::Replace => file.persist(&full),
        };
        match kept {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(FileError::Exists(full))
            }
            Err(error) => Err(failed("write", &full, error.error)),
        }
    }
}

/// The hash of a small file that is there; `None`: it is larger by now. Blocking.
pub(crate) fn hash_of_small(path: &Path, max: u64) -> Result<Option<Hash>, FileError> {
    use std::io::Read;

    let opened = open_file(path)?;
    let mut bytes = Vec::new();
    let read = opened.file.take(max + 1).read_to_end(&mut bytes);
    read.map_err(|source| failed("read", path, source))?;
    let whole = bytes.len() as u64 <= max;
    Ok(whole.then(|| Hash(*blake3::hash(&bytes).as_bytes())))
}

fn root(place: &Place, name: &str) -> Result<PathBuf, FileError> {
    check_name(name)
        .map_err(|problem| FileError::Name { name: name.chars().take(256).collect(), problem })?;
    Ok(match place {
        Place::Under(directory) => directory.join(name),
        Place::Into(directory) => directory.clone(),
    })
}

/// Makes a directory, unless it is there.
fn make(path: &Path) -> Result<(), FileError> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(in_the_way(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(path) {
            // Made by another transfer in between, or something else.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_directory = path.symlink_metadata().is_ok_and(|there| there.is_dir());
                if is_directory { Ok(()) } else { Err(in_the_way(path)) }
            }
            made => made.map_err(|source| failed("create", path, source)),
        },
        Err(source) => Err(failed("look at", path, source)),
    }
}

#[cfg(unix)]
fn open_directory(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open_directory(_path: &Path) -> io::Result<fs::File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn in_the_way(path: &Path) -> FileError {
    let problem = "a link or a file is there where a directory is needed; links are not followed";
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    FileError::Name { name, problem }
}

fn failed(during: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { during, path: path.to_owned(), source }
}

fn new_file(root: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: what the umask leaves of it.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(root)
}

/// Removes small files that a program left behind when it was killed.
fn remove_remains(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
        let path = root.join(name);
        // Those that another transfer writes are locked.
        let is_free =
            || fs::OpenOptions::new().write(true).open(&path)?.try_lock().map_err(io::Error::from);
        let is_file = path.symlink_metadata().is_ok_and(|there| there.is_file());
        if is_file && is_free().is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use portolan_protocol::Timestamp;

    use super::{Landing, There};
    use crate::{Existing, FileError, Keep, Place, files::Attributes};

    fn landing(root: &Path, existing: Existing) -> Landing {
        Landing::new(&Place::Into(root.to_owned()), "tree", existing, Keep::default()).unwrap()
    }

    #[test]
    fn files_land_in_directories_that_are_made_and_keep_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("deep/er");
        let kept = landing(&root, Existing::Keep);
        kept.write("a/b/c", b"one", Attributes::default()).unwrap();
        assert_eq!(fs::read(root.join("a/b/c")).unwrap(), b"one");
        assert_eq!(kept.there("a/b/c").unwrap().1, There::File(3));
        let again = kept.write("a/b/c", b"two", Attributes::default());
        assert!(matches!(again, Err(FileError::Exists(_))));
        landing(&root, Existing::Replace).write("a/b/c", b"two", Attributes::default()).unwrap();
        assert_eq!(fs::read(root.join("a/b/c")).unwrap(), b"two");
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "nothing else is left");
        let under = Place::Under(directory.path().to_owned());
        let under = Landing::new(&under, "tree", Existing::Keep, Keep::default()).unwrap();
        assert_eq!(under.root(), directory.path().join("tree"));
    }

    #[cfg(unix)]
    #[test]
    fn links_that_are_there_are_not_followed() {
        use std::os::unix::fs::symlink;

        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "theirs").unwrap();
        let landing = landing(&root, Existing::Replace);
        symlink(&outside, root.join("out")).unwrap();
        symlink(outside.join("file"), root.join("link")).unwrap();
        for path in ["out/new", "out/file", "link"] {
            assert!(landing.write(path, b"x", Attributes::default()).is_err(), "{path}");
        }
        assert!(landing.directory("out/sub").is_err());
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        symlink(&outside, directory.path().join("tree")).unwrap();
        let under = Place::Under(directory.path().to_owned());
        let through = Landing::new(&under, "tree", Existing::Keep, Keep::default());
        assert!(matches!(through, Err(FileError::Name { .. })), "{through:?}");
    }

    #[cfg(unix)]
    #[test]
    fn times_and_modes_are_kept_by_choice_and_never_more_than_nine_bits() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};

        let directory = tempfile::tempdir().unwrap();
        let landing = landing(directory.path(), Existing::Keep);
        let told = (Some(Timestamp(1_000_000_000_123)), Some(0o7754));
        let plain = Attributes::kept(Keep::default(), told.0, told.1);
        landing.write("plain", b"", plain).unwrap();
        let keep = Keep { times: true, modes: true };
        landing.write("kept", b"", Attributes::kept(keep, told.0, told.1)).unwrap();
        let of = |name: &str| directory.path().join(name).metadata().unwrap();
        assert_ne!(of("plain").mtime(), 1_000_000_000);
        assert_eq!(of("plain").permissions().mode() & 0o111, 0, "as any new file");
        assert_eq!((of("kept").mtime(), of("kept").mtime_nsec()), (1_000_000_000, 123_000_000));
        assert_eq!(of("kept").permissions().mode() & 0o7777, 0o754);
    }

    #[test]
    fn what_a_killed_program_left_is_removed_and_what_another_writes_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let busy = fs::File::create(root.join(".portolan-b.new")).unwrap();
        busy.lock().unwrap();
        fs::write(root.join(".portolan-a.new"), "half").unwrap();
        landing(root, Existing::Keep);
        assert!(!root.join(".portolan-a.new").exists() && root.join(".portolan-b.new").exists());
    }
}
