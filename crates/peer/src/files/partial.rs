//! A file that is on its way: what has arrived of it is proven, and survives the program.
//!
//! Its name holds the hash of the whole, `.portolan-HASH.part`, so that whoever has the same file
//! can go on with it. Nothing is written down about what is there: the groups on the disk are
//! checked again against the hashes, which cannot be out of date.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use portolan_protocol::{GroupRange, Hash, RANGES_MAX};
use tempfile::TempPath;

use super::{Reached, Tree, content::ContentError};

/// Parts of files that a directory keeps; the oldest go first.
const PARTS_MAX: usize = 64;
/// Transfers of the same content into one directory at once.
const SAME_MAX: usize = 32;
const PREFIX: &str = ".portolan-";
const SUFFIX: &str = ".part";

/// A file that is on its way, locked against other transfers.
///
/// Dropped, it stays for a later transfer if a group of it has arrived, else it goes.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: Option<TempPath>,
    tree: Arc<Tree>,
    have: Vec<bool>,
    bytes: u64,
    /// Where the file on the disk ends.
    length: u64,
}

impl Partial {
    /// Opens what is there of a file, or begins it. Blocking: what is there is read and checked,
    /// and `reached` counts it.
    pub(crate) fn open(
        directory: &Path,
        tree: Arc<Tree>,
        reached: &Reached,
    ) -> Result<Self, ContentError> {
        let (file, path) = open_locked(directory, tree.root()).map_err(ContentError::Disk)?;
        let have = vec![false; tree.groups() as usize];
        let path = TempPath::try_from_path(path).map_err(ContentError::Disk)?;
        let mut partial = Self { file, path: Some(path), tree, have, bytes: 0, length: 0 };
        partial.scan(reached)?;
        Ok(partial)
    }

    /// Whether another transfer works on the part of that file. Blocking.
    pub(crate) fn is_busy(directory: &Path, hash: Hash) -> bool {
        let file = options().create(false).open(directory.join(part_name(hash, 0)));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Removes what is there of a file, unless a transfer works on it. Blocking.
    pub(crate) fn remove(directory: &Path, hash: Hash) {
        for number in 0..SAME_MAX {
            let path = directory.join(part_name(hash, number));
            let file = options().create(false).open(&path);
            if file.is_ok_and(|file| file.try_lock().is_ok() && is_still_there(&file, &path)) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Bytes that are there and proven.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The groups that are not there, and where they are too scattered to be told, some that are.
    pub(crate) fn missing(&self) -> Vec<GroupRange> {
        let mut ranges: Vec<GroupRange> = Vec::new();
        for (number, _) in (0..).zip(&self.have).filter(|(_, have)| !**have) {
            let full = ranges.len() == RANGES_MAX;
            match ranges.last_mut() {
                Some(last) if full || last.first + last.count == number => {
                    last.count = number - last.first + 1;
                }
                Some(_) | None => ranges.push(GroupRange { first: number, count: 1 }),
            }
        }
        ranges
    }

    /// Writes a group where it belongs, if it is proven. Blocking.
    pub(crate) fn write(&mut self, number: u32, bytes: &[u8]) -> Result<(), ContentError> {
        let (start, length) = self.tree.span(number);
        if !self.tree.proves(number, bytes) {
            return Err(ContentError::Corrupt { start, length });
        }
        self.write_at(start, bytes).map_err(ContentError::Disk)?;
        self.note(number);
        Ok(())
    }

    /// Zeros behind the end of what is written become a hole.
    fn write_at(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        let end = start + bytes.len() as u64;
        if start >= self.length && bytes.iter().all(|byte| *byte == 0) {
            self.file.set_len(end)?;
        } else {
            self.file.seek(SeekFrom::Start(start))?;
            self.file.write_all(bytes)?;
        }
        self.length = self.length.max(end);
        Ok(())
    }

    /// Whether every group is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes == self.tree.size()
    }

    /// Gives the whole file away, still locked: the caller renames it, and dropping the path
    /// removes it. Blocking.
    pub(crate) fn into_whole(mut self) -> io::Result<(File, TempPath)> {
        self.file.set_len(self.tree.size())?;
        let path = self.path.take().ok_or(io::ErrorKind::NotFound)?;
        Ok((self.file.try_clone()?, path))
    }

    /// Removes what is there.
    pub(crate) fn discard(mut self) {
        self.path = None;
    }

    fn scan(&mut self, reached: &Reached) -> Result<(), ContentError> {
        let there = self.file.metadata().map_err(ContentError::Disk)?.len();
        self.length = there;
        if self.tree.groups() < 2 {
            return self.scan_only_group(there, reached);
        }
        let is_there = |number: &u32| {
            let (start, length) = self.tree.span(*number);
            start + length as u64 <= there
        };
        let whole = (0..self.tree.groups()).take_while(is_there).count();
        let whole = u32::try_from(whole).unwrap_or(u32::MAX);
        let proven = self.tree.proven(&self.file, whole, reached)?;
        for (number, _) in (0..).zip(proven).filter(|(_, proven)| *proven) {
            self.note(number);
        }
        Ok(())
    }

    fn scan_only_group(&mut self, there: u64, reached: &Reached) -> Result<(), ContentError> {
        let mut bytes = Vec::new();
        if self.tree.groups() == 1 && self.tree.size() <= there {
            self.file.seek(SeekFrom::Start(0)).map_err(ContentError::Disk)?;
            self.tree.read_group(&self.file, 0, &mut bytes)?;
            if self.tree.proves(0, &bytes) {
                self.note(0);
            }
            reached.advance(self.tree.size())?;
        }
        Ok(())
    }

    fn note(&mut self, number: u32) {
        let length = self.tree.span(number).1 as u64;
        if let Some(have) = self.have.get_mut(number as usize)
            && !std::mem::replace(have, true)
        {
            self.bytes += length;
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        if let Some(path) = self.path.take()
            && let Ok(kept) = path.keep()
        {
            prune(kept.parent().unwrap_or(Path::new(".")), &kept);
        }
    }
}

/// Bytes that parts of that file already take in `directory`.
pub(crate) fn bytes_there(directory: &Path, hash: Hash) -> u64 {
    let metadata = fs::symlink_metadata(directory.join(part_name(hash, 0)));
    metadata.map_or(0, |metadata| taken(&metadata))
}

#[cfg(unix)]
fn taken(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn taken(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Whether that is the name of a part of a file with that content.
pub(crate) fn is_part_of(name: &str, hash: Hash) -> bool {
    let rest = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    rest.is_some_and(|rest| rest.split('-').next() == Some(&hash.to_string()))
}

fn part_name(hash: Hash, number: usize) -> String {
    match number {
        0 => format!("{PREFIX}{hash}{SUFFIX}"),
        number => format!("{PREFIX}{hash}-{number}{SUFFIX}"),
    }
}

/// The first part of that file that no other transfer works on.
fn open_locked(directory: &Path, hash: Hash) -> io::Result<(File, PathBuf)> {
    for number in 0..SAME_MAX {
        let path = directory.join(part_name(hash, number));
        let file = match options().open(&path) {
            // Someone put something else there: a link, a directory.
            Err(error) if path.symlink_metadata().is_ok_and(|there| !there.is_file()) => {
                tracing::warn!(%error, "{} is not ours", path.display());
                continue;
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) if is_still_there(&file, &path) => return Ok((file, path)),
            // Whoever held it has renamed or removed it in between; or holds it now.
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the same file is arriving too many times"))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    options
}

#[cfg(unix)]
fn is_still_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |open: &fs::Metadata, named: &fs::Metadata| {
        named.is_file() && (open.dev(), open.ino()) == (named.dev(), named.ino())
    };
    matches!((file.metadata(), path.symlink_metadata()), (Ok(open), Ok(named)) if same(&open, &named))
}

#[cfg(not(unix))]
fn is_still_there(_file: &File, path: &Path) -> bool {
    path.is_file()
}

/// Removes the oldest parts beyond the bound that nobody works on.
fn prune(directory: &Path, newest: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut parts: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let is_part = name.starts_with(PREFIX) && name.ends_with(SUFFIX);
            let modified = entry.metadata().ok().filter(fs::Metadata::is_file)?.modified().ok()?;
            (is_part && entry.path() != newest).then(|| (modified, entry.path()))
        })
        .collect();
    parts.sort_unstable();
    let excess = (parts.len() + 1).saturating_sub(PARTS_MAX);
    for (_, path) in parts.into_iter().take(excess) {
        if OpenOptions::new().write(true).open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path, sync::Arc};

    use portolan_protocol::{GROUP_MIN, GroupRange};

    use super::{PARTS_MAX, Partial};
    use crate::files::{Reached, Tree, content::ContentError};

    const GROUP: usize = 256 << 10;

    fn content(seed: u8) -> (Vec<u8>, Arc<Tree>) {
        let bytes: Vec<u8> =
            (0..GROUP * 3 + 5).map(|at| (at >> 9).to_le_bytes()[0] ^ seed).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let tree = Tree::of(&file, bytes.len() as u64, &Reached::default()).unwrap();
        (bytes, Arc::new(tree))
    }

    fn open(directory: &Path, tree: &Arc<Tree>) -> Partial {
        Partial::open(directory, Arc::clone(tree), &Reached::default()).unwrap()
    }

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn what_has_arrived_is_found_again_and_the_rest_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, tree) = content(0);
        let mut partial = open(directory.path(), &tree);
        assert_eq!(partial.missing(), [GroupRange { first: 0, count: 4 }]);
        partial.write(1, &bytes[GROUP..GROUP * 2]).unwrap();
        drop(partial);
        let mut partial = open(directory.path(), &tree);
        assert_eq!(partial.bytes(), GROUP_MIN);
        let left = [GroupRange { first: 0, count: 1 }, GroupRange { first: 2, count: 2 }];
        assert_eq!(partial.missing(), left);
        for number in [0, 2, 3] {
            let (start, length) = tree.span(number);
            partial.write(number, &bytes[usize::try_from(start).unwrap()..][..length]).unwrap();
        }
        assert!(partial.is_whole() && partial.missing().is_empty());
        let (_file, path) = partial.into_whole().unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn a_group_that_is_not_proven_is_not_written_and_nothing_empty_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let (mut bytes, tree) = content(0);
        bytes[7] ^= 1;
        let mut partial = open(directory.path(), &tree);
        let error = partial.write(0, &bytes[..GROUP]).unwrap_err();
        assert!(matches!(error, ContentError::Corrupt { start: 0, length: GROUP }), "{error}");
        assert_eq!(partial.bytes(), 0);
        drop(partial);
        assert_eq!(count(directory.path()), 0);
    }

    #[cfg(unix)]
    #[test]
    fn zeros_become_holes_but_not_where_other_bytes_are() {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; GROUP * 8];
        bytes[GROUP * 6..].fill(7);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let tree = Arc::new(Tree::of(&file, bytes.len() as u64, &Reached::default()).unwrap());
        let part = directory.path().join(super::part_name(tree.root(), 0));
        // Rubbish where zeros belong.
        fs::write(&part, vec![9; GROUP]).unwrap();
        let mut partial = open(directory.path(), &tree);
        for number in 0..5 {
            partial.write(number, &bytes[..GROUP]).unwrap();
        }
        drop(partial);
        let mut partial = open(directory.path(), &tree);
        assert_eq!(partial.bytes(), GROUP_MIN * 5, "holes are found again");
        for number in [7, 5, 6] {
            let start = GROUP * number as usize;
            partial.write(number, &bytes[start..start + GROUP]).unwrap();
        }
        let (_file, path) = partial.into_whole().unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        let taken = super::taken(&fs::metadata(&path).unwrap());
        assert!(taken <= GROUP_MIN * 4, "{taken} bytes on the disk");
    }

    #[test]
    fn what_was_damaged_on_the_disk_is_asked_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, tree) = content(0);
        let mut partial = open(directory.path(), &tree);
        for number in 0..2 {
            partial.write(number, &bytes[GROUP * number as usize..][..GROUP]).unwrap();
        }
        drop(partial);
        let part = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let mut damaged = fs::read(&part).unwrap();
        damaged[GROUP + 9] ^= 1;
        damaged.extend(vec![0xff; GROUP * 9]);
        fs::write(&part, damaged).unwrap();
        let partial = open(directory.path(), &tree);
        assert_eq!(partial.missing(), [GroupRange { first: 1, count: 3 }]);
    }

    #[test]
    fn two_transfers_of_the_same_file_do_not_write_into_one_part() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, tree) = content(0);
        let mut first = open(directory.path(), &tree);
        first.write(0, &bytes[..GROUP]).unwrap();
        let second = open(directory.path(), &tree);
        assert_eq!((second.bytes(), count(directory.path())), (0, 2));
        drop((first, second));
        assert_eq!(count(directory.path()), 1);
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..PARTS_MAX + 6 {
            fs::write(directory.path().join(format!(".portolan-{number}.part")), "x").unwrap();
        }
        fs::write(directory.path().join("other"), "x").unwrap();
        let (bytes, tree) = content(0);
        let mut partial = open(directory.path(), &tree);
        partial.write(0, &bytes[..GROUP]).unwrap();
        drop(partial);
        assert_eq!(count(directory.path()), PARTS_MAX + 1);
        assert_eq!(open(directory.path(), &tree).bytes(), GROUP_MIN, "the newest stays");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_part_is_not_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, tree) = content(0);
        let outside = directory.path().join("outside");
        fs::write(&outside, "precious").unwrap();
        let name = super::part_name(tree.root(), 0);
        std::os::unix::fs::symlink(&outside, directory.path().join(name)).unwrap();
        open(directory.path(), &tree).write(0, &bytes[..GROUP]).unwrap();
        assert_eq!(fs::read(outside).unwrap(), b"precious");
    }
}
