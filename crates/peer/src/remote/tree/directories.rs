//! Directories whose time and mode are kept: they get them when nothing more is written into them.

use std::{cmp::Ordering, collections::VecDeque};

use portolan_protocol::TreeEntry;

use crate::{
    Keep,
    files::{Attributes, compare},
};

/// A directory that is over, and what it gets.
pub(super) type Over = (String, Attributes);

/// Directories that were listed and may still be written into.
///
/// Bounded by what is listed and not settled, and the directories on the way down to it.
#[derive(Debug)]
pub(super) struct Directories {
    keep: Keep,
    open: VecDeque<Over>,
    over: Vec<Over>,
}

impl Directories {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, open: VecDeque::new(), over: Vec::new() }
    }

    /// Notes a directory that was listed.
    pub(super) fn note(&mut self, entry: &TreeEntry) {
        let attributes = Attributes::kept(self.keep, entry.modified, entry.mode);
        if entry.directory && !attributes.is_empty() {
            self.open.push_back((entry.path.clone(), attributes));
        }
    }

    /// What comes behind this path is listed again.
    pub(super) fn restart(&mut self, behind: Option<&str>) {
        let is_settled =
            |path: &str| behind.is_some_and(|behind| compare(path, behind) != Ordering::Greater);
        self.open.retain(|(path, _)| is_settled(path));
    }

    /// Everything up to this path is settled.
    pub(super) fn settled_to(&mut self, behind: &str) {
        let is_open = |path: &str| {
            let below = behind.strip_prefix(path);
            compare(path, behind) == Ordering::Greater
                || below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        for directory in std::mem::take(&mut self.open) {
            match is_open(&directory.0) {
                true => self.open.push_back(directory),
                false => self.over.push(directory),
            }
        }
    }

    /// Everything is settled, also in the directory that is walked, which gets this.
    pub(super) fn settled(&mut self, top: Attributes) {
        self.over.extend(self.open.drain(..));
        if !top.is_empty() {
            self.over.push((String::new(), top));
        }
    }

    /// Those that are over since the last look.
    pub(super) fn take_over(&mut self) -> Vec<Over> {
        std::mem::take(&mut self.over)
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::{Timestamp, TreeEntry};

    use super::Directories;
    use crate::{Keep, files::Attributes};

    fn noted(paths: &[&str]) -> Directories {
        let mut directories = Directories::new(Keep { times: true, modes: false });
        for path in paths {
            directories.note(&TreeEntry {
                path: (*path).to_owned(),
                directory: true,
                modified: Some(Timestamp(1)),
                ..TreeEntry::default()
            });
        }
        directories
    }

    fn over(directories: &mut Directories) -> Vec<String> {
        directories.take_over().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_directory_is_over_when_all_below_it_is_settled() {
        let mut directories = noted(&["a", "a/b", "a/b/c", "a-b", "d"]);
        directories.settled_to("a/b/c/file");
        assert_eq!(over(&mut directories), [""; 0]);
        directories.settled_to("a/b/file");
        assert_eq!(over(&mut directories), ["a/b/c"]);
        directories.settled_to("a-b");
        assert_eq!(over(&mut directories), ["a", "a/b"]);
        directories.settled(Attributes::default());
        assert_eq!(over(&mut directories), ["a-b", "d"]);
    }

    #[test]
    fn what_is_listed_again_is_noted_once() {
        let mut directories = noted(&["a", "a/b", "c"]);
        directories.restart(Some("a/b"));
        directories.note(&TreeEntry {
            path: "c".into(),
            directory: true,
            modified: Some(Timestamp(2)),
            ..TreeEntry::default()
        });
        directories.settled(Attributes::default());
        assert_eq!(over(&mut directories), ["a", "a/b", "c"]);
        let mut unkept = Directories::new(Keep::default());
        unkept.note(&TreeEntry { path: "a".into(), directory: true, ..TreeEntry::default() });
        unkept.settled(Attributes::default());
        assert_eq!(over(&mut unkept), [""; 0]);
    }
}
