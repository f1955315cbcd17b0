//! A directory that others may list and read from.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use portolan_protocol::{FileInfo, FileList, Limits, MODE_MASK, Timestamp};
use thiserror::Error;

use super::{
    Stamp,
    name::{check_name, check_path},
};
use crate::FileError;

/// Bytes of one page, so that it fits into a frame.
const PAGE_BYTES: usize = Limits::V1.frame as usize / 2;
/// What an entry of a page takes besides its path.
const ENTRY_OVERHEAD: usize = 64;

/// Why a directory cannot be shared.
#[derive(Debug, Error)]
pub enum ShareError {
    /// It is not there, or not readable.
    #[error("cannot share {}: {source}", .path.display())]
    Io {
        /// What was to be shared.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It is something else.
    #[error("cannot share {}: it is not a directory", .0.display())]
    NotADirectory(PathBuf),
}

/// A shared directory: read-only, and nothing outside it, hidden in it or special is ever named
/// or opened.
#[derive(Debug)]
pub(crate) struct Share {
    root: PathBuf,
    depth_max: usize,
    entries_max: usize,
    files_max: u64,
}

/// A file that is open for reading.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) modified: Option<Timestamp>,
    /// Who may read, write and execute it.
    pub(crate) mode: Option<u32>,
    /// Tells this state of the file from others.
    pub(crate) stamp: Stamp,
}

impl Share {
    /// Shares `path`. Blocking.
    pub(crate) fn new(path: &Path, limits: &crate::Limits) -> Result<Self, ShareError> {
        let failed = |source| ShareError::Io { path: path.to_owned(), source };
        let root = path.canonicalize().map_err(failed)?;
        if !root.is_dir() {
            return Err(ShareError::NotADirectory(path.to_owned()));
        }
        fs::read_dir(&root).map_err(failed)?;
        Ok(Self {
            root,
            depth_max: limits.share_depth,
            entries_max: limits.share_entries,
            files_max: limits.tree_files,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Levels that a walk goes down.
    pub(crate) fn depth_max(&self) -> usize {
        self.depth_max
    }

    /// Entries of one directory that a walk names.
    pub(crate) fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// Files that a walk names.
    pub(crate) fn files_max(&self) -> u64 {
        self.files_max
    }

    /// A directory below, without links; empty: all of it. Blocking.
    pub(crate) fn directory(&self, path: &str) -> Result<PathBuf, FileError> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        let refused = |problem| FileError::Name { name: shorten(path), problem };
        check_path(path).map_err(refused)?;
        let failed = |source| FileError::Io { during: "open", path: PathBuf::from(path), source };
        let real = self.root.join(path).canonicalize().map_err(failed)?;
        match self.contains(&real) && real.is_dir() {
            true => Ok(real),
            false => Err(refused("it is no directory in what is shared")),
        }
    }

    /// A page of files, ordered part by part. Blocking.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> FileList {
        let after: Vec<&str> = after.map(|path| path.split('/').collect()).unwrap_or_default();
        let budget = self.entries_max;
        let (files, of_size) = (Vec::new(), None);
        let mut walk = Walk { share: self, files, limit, bytes: 0, budget, of_size };
        walk.directory(&self.root, "", &after);
        let more = walk.files.len() > walk.limit;
        walk.files.truncate(walk.limit);
        FileList { files: walk.files, more }
    }

    /// At most `max` shared files of that size. Blocking.
    pub(crate) fn of_size(&self, size: u64, max: usize) -> Vec<String> {
        let budget = self.entries_max;
        let (files, of_size) = (Vec::new(), Some(size));
        let mut walk = Walk { share: self, files, limit: max, bytes: 0, budget, of_size };
        walk.directory(&self.root, "", &[]);
        walk.files.into_iter().take(max).map(|file| file.path).collect()
    }

    /// How others call the file at `path`, if it is shared. Blocking.
    pub(crate) fn shared_path(&self, path: &Path) -> Option<String> {
        let real = path.canonicalize().ok().filter(|real| self.contains(real))?;
        let parts: Option<Vec<&str>> = real
            .strip_prefix(&self.root)
            .ok()?
            .components()
            .map(|part| part.as_os_str().to_str())
            .collect();
        Some(parts?.join("/"))
    }

    /// Opens a file by the path that a page named. Blocking.
    pub(crate) fn open(&self, path: &str) -> Result<OpenedFile, FileError> {
        check_path(path).map_err(|problem| FileError::Name { name: shorten(path), problem })?;
        let full = self.root.join(path);
        let failed = |source| FileError::Io { during: "open", path: PathBuf::from(path), source };
        let real = full.canonicalize().map_err(failed)?;
        if !self.contains(&real) {
            let problem = "it leads out of what is shared";
            return Err(FileError::Name { name: shorten(path), problem });
        }
        open_file(&real)
    }

    /// Whether a path without links is below the root and nowhere hidden.
    fn contains(&self, real: &Path) -> bool {
        real.strip_prefix(&self.root).is_ok_and(|rest| {
            rest.components()
                .all(|part| part.as_os_str().to_str().is_some_and(|part| check_name(part).is_ok()))
        })
    }
}

/// One walk for one page: it skips what comes before the page and stops behind it.
struct Walk<'a> {
    share: &'a Share,
    files: Vec<FileInfo>,
    limit: usize,
    /// Bytes of the page so far.
    bytes: usize,
    /// Entries that may still be looked at.
    budget: usize,
    /// Only files of this size count.
    of_size: Option<u64>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path, prefix: &str, after: &[&str]) {
        if prefix.matches('/').count() >= self.share.depth_max {
            return;
        }
        for name in self.names(directory) {
            if self.files.len() > self.limit {
                return;
            }
            let rest = match after.split_first() {
                None => &[],
                Some((first, _)) if name.as_str() < *first => continue,
                Some((first, rest)) if name.as_str() == *first && rest.is_empty() => continue,
                Some((first, rest)) if name.as_str() == *first => rest,
                Some(_) => &[],
            };
            self.entry(&directory.join(&name), &format!("{prefix}{name}"), rest);
        }
    }

    fn entry(&mut self, path: &Path, shared: &str, after: &[&str]) {
        let Ok(kind) = path.symlink_metadata().map(|metadata| metadata.file_type()) else { return };
        if kind.is_dir() {
            return self.directory(path, &format!("{shared}/"), after);
        }
        // A link is followed to a file below the root; never into directories, which could circle.
        let inside =
            !kind.is_symlink() || path.canonicalize().is_ok_and(|real| self.share.contains(&real));
        let Ok(metadata) = path.metadata() else { return };
        let counts = self.of_size.is_none_or(|size| metadata.len() == size);
        if inside && counts && metadata.is_file() && check_path(shared).is_ok() {
            let (size, modified) = (metadata.len(), modified(&metadata));
            self.bytes += shared.len() + ENTRY_OVERHEAD;
            if self.bytes > PAGE_BYTES {
                self.limit = self.limit.min(self.files.len());
            }
            self.files.push(FileInfo { path: shared.to_owned(), size, modified, audio: None });
        }
    }

    /// The names in a directory that may be shown, in order.
    fn names(&mut self, directory: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .take(self.budget)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| check_name(name).is_ok())
            .collect();
        self.budget = self.budget.saturating_sub(names.len());
        names.sort_unstable();
        names
    }
}

/// Opens an ordinary file; blocking, but never for long: pipes and devices are not opened.
pub(crate) fn open_file(path: &Path) -> Result<OpenedFile, FileError> {
    let failed = |source| FileError::Io { during: "open", path: path.to_owned(), source };
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let file = open_options().open(path).map_err(failed)?;
    // Looked at again: what has the name now may be another file.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let size = metadata.len();
    let stamp = Stamp {
        path: path.to_owned(),
        size,
        modified: metadata.modified().ok(),
        inode: inode(&metadata),
    };
    let (modified, mode) = (modified(&metadata), mode(&metadata));
    Ok(OpenedFile { file, size, modified, mode, stamp })
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &fs::Metadata) -> u64 {
    0
}

fn open_options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe that took the name in between must not hold us up.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options
}

pub(super) fn modified(metadata: &fs::Metadata) -> Option<Timestamp> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Timestamp)
}

/// Who may read, write and execute a file, where the system knows.
#[cfg(unix)]
pub(super) fn mode(metadata: &fs::Metadata) -> Option<u32> {
    Some(std::os::unix::fs::MetadataExt::mode(metadata) & MODE_MASK)
}

/// Who may read, write and execute a file, where the system knows.
#[cfg(not(unix))]
pub(super) fn mode(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

fn shorten(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Share;
    use crate::Limits;

    fn share_of(files: &[&str]) -> (tempfile::TempDir, Share) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let share = Share::new(&root, &Limits::default()).unwrap();
        (directory, share)
    }

    fn all(share: &Share, limit: usize) -> Vec<String> {
        let (mut paths, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = share.page(after.as_deref(), limit);
            assert!(page.files.len() <= limit);
            paths.extend(page.files.into_iter().map(|file| file.path));
            if !page.more {
                return paths;
            }
            after = paths.last().cloned();
        }
    }

    #[test]
    fn pages_of_any_size_name_every_file_once() {
        let files = ["a", "a-b", "b/1", "b/2", "b/c/3", "d", "é"];
        let (_directory, share) = share_of(&files);
        for limit in 1..=8 {
            let mut paths = all(&share, limit);
            paths.sort();
            assert_eq!(paths, files, "pages of {limit}");
        }
    }

    #[test]
    fn a_page_of_long_paths_fits_into_a_frame() {
        let part = "p".repeat(250);
        let files: Vec<String> =
            (0..300).map(|number| format!("{part}/{part}/{part}/{number:03}")).collect();
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let (_directory, share) = share_of(&names);
        assert_eq!(all(&share, 256), files);
        let page = share.page(None, 256);
        let bytes: usize = page.files.iter().map(|file| file.path.len() + 64).sum();
        assert!(page.more && bytes < 128 << 10, "{bytes}");
    }

    #[test]
    fn hidden_files_are_neither_listed_nor_opened() {
        let (_directory, share) = share_of(&["seen", ".hidden", ".git/config", "a/.b/c"]);
        assert_eq!(all(&share, 10), ["seen"]);
        for path in [".hidden", ".git/config", "a/.b/c", "../root/seen", "/etc/passwd", ""] {
            assert!(share.open(path).is_err(), "{path}");
        }
        assert_eq!(share.open("seen").unwrap().size, 4);
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_and_special_files_are_refused() {
        use std::os::unix::fs::symlink;

        let (directory, share) = share_of(&["inside", "sub/file", ".secret"]);
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("key"), "secret").unwrap();
        let root = share.root();
        symlink(outside.join("key"), root.join("out")).unwrap();
        symlink(&outside, root.join("outdir")).unwrap();
        symlink(root, root.join("circle")).unwrap();
        symlink(root.join("inside"), root.join("good")).unwrap();
        symlink(root.join(".secret"), root.join("veiled")).unwrap();
        symlink("/dev/zero", root.join("zero")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(all(&share, 10), ["good", "inside", "sub/file"]);
        for path in ["out", "outdir/key", "veiled", "zero", "pipe", "sub", "circle"] {
            assert!(share.open(path).is_err(), "{path}");
        }
        assert!(share.open("good").is_ok());
    }

    #[test]
    fn only_directories_can_be_shared() {
        let (directory, share) = share_of(&["file"]);
        assert!(Share::new(&share.root().join("file"), &Limits::default()).is_err());
        assert!(Share::new(&directory.path().join("nothing"), &Limits::default()).is_err());
    }
}
