//! Where lines go: a file that is rotated, found again and lived without, or stderr.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::config::EventLog;

/// How large a file may grow, and how many older ones are kept beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Bytes; 0: it is left to others to rotate.
    pub(crate) size_max: u64,
    /// Older files, `FILE.1` the newest of them.
    pub(crate) kept: usize,
}

/// Takes whole lines.
#[derive(Debug)]
pub(super) enum Output {
    Stderr,
    File(LogFile),
}

impl Output {
    pub(super) fn open(target: &EventLog, rotation: Rotation) -> io::Result<Self> {
        match target {
            EventLog::Stderr => Ok(Self::Stderr),
            EventLog::File(path) => LogFile::open(path, rotation).map(Self::File),
        }
    }

    /// Writes lines, all or an error.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().lock().write_all(lines),
            Self::File(file) => file.write(lines),
        }
    }

    /// Forgets the open file: the next line goes to whatever has the name then.
    pub(super) fn reopen(&mut self) {
        match self {
            Self::Stderr => {}
            Self::File(file) => file.file = None,
        }
    }
}

/// A file that is opened again when somebody has taken it away.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    /// Whether the last line may be half there.
    is_torn: bool,
}

impl LogFile {
    fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = Some(open_private(path)?);
        Ok(Self { path: path.to_owned(), rotation, file, is_torn: false })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) if self.is_still(&file) => file,
            Some(_) | None => open_private(&self.path)?,
        };
        let size = file.metadata()?.len();
        let max = self.rotation.size_max;
        if max > 0 && size > 0 && size.saturating_add(lines.len() as u64) > max {
            self.rotate()?;
            file = open_private(&self.path)?;
            self.is_torn = false;
        }
        if std::mem::replace(&mut self.is_torn, true) {
            file.write_all(b"\n")?;
        }
        let written = file.write_all(lines);
        self.is_torn = written.is_err();
        self.file = Some(file);
        written
    }

    /// Whether the name still leads to the file that is open.
    fn is_still(&self, file: &File) -> bool {
        match (fs::metadata(&self.path), file.metadata()) {
            (Ok(named), Ok(open)) => is_same(&named, &open),
            _ => false,
        }
    }

    /// Renames the file, and those before it; the oldest is overwritten.
    fn rotate(&self) -> io::Result<()> {
        if self.rotation.kept == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.rotation.kept).rev() {
            match fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, self.older(1))
    }

    fn older(&self, number: usize) -> OsString {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    // An open file cannot be taken away there.
    true
}

/// Opens a file to append to; a new one is for its owner only.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LogFile, Rotation};

    fn read(path: impl AsRef<std::path::Path>) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_kept_beside_a_new_one_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile::open(&path, Rotation { size_max: 5, kept: 2 }).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "four\n");
        assert_eq!(read(directory.path().join("log.1")), "three\n");
        assert_eq!(read(directory.path().join("log.2")), "two\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn none_is_kept_if_none_is_wanted_and_nothing_is_rotated_without_a_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for (size_max, left) in [(5, "two\n"), (0, "two\none\ntwo\n")] {
            let mut log = LogFile::open(&path, Rotation { size_max, kept: 0 }).unwrap();
            log.write(b"one\n").unwrap();
            log.write(b"two\n").unwrap();
            assert_eq!(read(&path), left);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_moved_away_or_removed_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile::open(&path, Rotation { size_max: 0, kept: 0 }).unwrap();
        log.write(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("moved")).unwrap();
        log.write(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.write(b"three\n").unwrap();
        assert_eq!(read(directory.path().join("moved")), "one\n");
        assert_eq!(read(&path), "three\n");
    }
}
