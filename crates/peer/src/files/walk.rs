//! What is below a shared or offered directory, a page at a time.
//!
//! Held at once: the names of the directories on the way down to where the walk stands, each
//! with at most [`Limits::share_entries`](crate::Limits::share_entries) names.

use std::{
    fs::{self, Metadata},
    path::PathBuf,
    sync::Arc,
    vec,
};

use portolan_protocol::{Entries, LeftOut, Limits, TreeEntry, TreeInfo};

use super::{
    Reached, Share,
    content::ContentError,
    name::{check_name, check_path},
    share::{mode, modified},
};
use crate::FileError;

/// Entries of one page.
const PAGE: usize = Limits::V1.page as usize;
/// Bytes of one page, so that it fits into a frame.
const PAGE_BYTES: usize = Limits::V1.frame as usize / 2;
/// What an entry of a page takes besides its path.
const ENTRY_OVERHEAD: usize = 112;

/// A walk through a directory, in order of path, part by part. Links are passed over.
#[derive(Debug)]
pub(crate) struct Walker {
    share: Arc<Share>,
    /// Where it begins, without links.
    top: PathBuf,
    /// What stands before its paths in the share: nothing, or parts and a `/`.
    base: String,
    levels: Vec<Level>,
    files: u64,
    left_out: LeftOut,
}

/// A directory on the way down.
#[derive(Debug)]
struct Level {
    prefix: String,
    names: vec::IntoIter<String>,
    /// Its first name leads to where the walk goes on, by these parts.
    resume: Option<Vec<String>>,
}

impl Walker {
    /// Begins at `path` in what is shared, behind `after`. Blocking, as everything here.
    pub(crate) fn new(
        share: &Arc<Share>,
        path: &str,
        after: Option<&str>,
    ) -> Result<Self, FileError> {
        let top = share.directory(path)?;
        let base = if path.is_empty() { String::new() } else { format!("{path}/") };
        let share = Arc::clone(share);
        let left_out = LeftOut::default();
        let mut walker = Self { share, top, base, levels: Vec::new(), files: 0, left_out };
        let after = after.map(|after| after.split('/').map(str::to_owned).collect());
        walker.enter(String::new(), after.unwrap_or_default());
        Ok(walker)
    }

    /// The next page; the last one is the one without `more`.
    pub(crate) fn next_page(&mut self) -> Entries {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < PAGE && bytes < PAGE_BYTES {
            let Some(entry) = self.next() else { return Entries { entries, more: false } };
            bytes += entry.path.len() + ENTRY_OVERHEAD;
            entries.push(entry);
        }
        Entries { entries, more: true }
    }

    /// Walks to the end and counts; `reached` counts the entries and can stop it.
    pub(crate) fn count(mut self, reached: &Reached) -> Result<TreeInfo, ContentError> {
        let mut bytes: u64 = 0;
        while let Some(entry) = self.next() {
            bytes = bytes.saturating_add(entry.size);
            reached.advance(1)?;
        }
        let top = self.top.symlink_metadata().ok();
        let (modified, mode) = (top.as_ref().and_then(modified), top.as_ref().and_then(mode));
        Ok(TreeInfo { files: self.files, bytes, left_out: self.left_out, modified, mode })
    }

    fn next(&mut self) -> Option<TreeEntry> {
        loop {
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let path = format!("{}{name}", level.prefix);
            let resume = level.resume.take();
            if let Some(entry) = self.look_at(path, resume) {
                return Some(entry);
            }
        }
    }

    fn look_at(&mut self, path: String, resume: Option<Vec<String>>) -> Option<TreeEntry> {
        let Ok(metadata) = self.top.join(&path).symlink_metadata() else {
            self.left_out.unreadable += 1;
            return None;
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.on_directory(path, &metadata, resume);
        }
        if kind.is_file() {
            return self.on_file(path, &metadata, resume.is_some());
        }
        match kind.is_symlink() {
            true => self.left_out.links += 1,
            false => self.left_out.special += 1,
        }
        None
    }

    fn on_directory(
        &mut self,
        path: String,
        metadata: &Metadata,
        resume: Option<Vec<String>>,
    ) -> Option<TreeEntry> {
        if self.levels.len() >= self.share.depth_max() {
            self.left_out.beyond += 1;
            return None;
        }
        if check_path(&format!("{}{path}", self.base)).is_err() {
            self.left_out.names += 1;
            return None;
        }
        let known = resume.is_some();
        self.enter(format!("{path}/"), resume.unwrap_or_default());
        let (modified, mode) = (modified(metadata), mode(metadata));
        (!known).then_some(TreeEntry { path, directory: true, size: 0, modified, mode })
    }

    fn on_file(&mut self, path: String, metadata: &Metadata, known: bool) -> Option<TreeEntry> {
        if check_path(&format!("{}{path}", self.base)).is_err() {
            self.left_out.names += 1;
            return None;
        }
        if self.files >= self.share.files_max() {
            self.left_out.beyond += 1;
            return None;
        }
        self.files += 1;
        let size = metadata.len();
        (!known).then_some(TreeEntry { path, size, ..TreeEntry::default() })
    }

    /// Goes down into a directory, to what comes behind `after` there.
    fn enter(&mut self, prefix: String, after: Vec<String>) {
        let mut names = self.names(&prefix);
        let mut after = after.into_iter();
        let mut resume = None;
        if let Some(first) = after.next() {
            names.retain(|name| *name >= first);
            resume = (names.first() == Some(&first)).then(|| after.collect());
        }
        self.levels.push(Level { prefix, names: names.into_iter(), resume });
    }

    /// The names in a directory that may be shown, in order.
    fn names(&mut self, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.top.join(prefix)) else {
            self.left_out.unreadable += 1;
            return Vec::new();
        };
        let mut names = Vec::new();
        for entry in entries {
            let Ok(entry) = entry else {
                self.left_out.unreadable += 1;
                continue;
            };
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with('.') => self.left_out.hidden += 1,
                Ok(name) if check_name(&name).is_err() => self.left_out.names += 1,
                Ok(_) if names.len() >= self.share.entries_max() => self.left_out.beyond += 1,
                Ok(name) => names.push(name),
                Err(_) => self.left_out.names += 1,
            }
        }
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use portolan_protocol::LeftOut;

    use super::Walker;
    use crate::{
        Limits,
        files::{Reached, Share},
    };

    fn share_of(root: &Path, files: &[&str]) -> Arc<Share> {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        Arc::new(Share::new(root, &Limits::default()).unwrap())
    }

    fn walk(share: &Arc<Share>, path: &str, after: Option<&str>) -> Vec<String> {
        let mut walker = Walker::new(share, path, after).unwrap();
        let mut paths = Vec::new();
        loop {
            let page = walker.next_page();
            paths.extend(page.entries.into_iter().map(|entry| match entry.directory {
                true => format!("{}/", entry.path),
                false => entry.path,
            }));
            if !page.more {
                return paths;
            }
        }
    }

    #[test]
    fn everything_is_named_once_in_order_and_a_walk_goes_on_behind_any_entry() {
        let directory = tempfile::tempdir().unwrap();
        let share = share_of(directory.path(), &["a", "a-b", "b/1", "b/2", "b/c/3", "d", "é"]);
        fs::create_dir(directory.path().join("empty")).unwrap();
        let all = walk(&share, "", None);
        assert_eq!(all, ["a", "a-b", "b/", "b/1", "b/2", "b/c/", "b/c/3", "d", "empty/", "é"]);
        for (at, path) in all.iter().enumerate() {
            let rest = walk(&share, "", Some(path.trim_end_matches('/')));
            assert_eq!(rest, all[at + 1..], "behind {path}");
        }
        assert_eq!(walk(&share, "", Some("b/1/gone")), all[4..], "what is gone is passed");
        assert_eq!(walk(&share, "b", None), ["1", "2", "c/", "c/3"]);
        for bad in ["nothing", "a", "..", "b/../..", "/etc"] {
            assert!(Walker::new(&share, bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_are_bounded_and_the_count_is_that_of_the_pages() {
        let directory = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..600).map(|number| format!("f{number:03}")).collect();
        let files: Vec<&str> = names.iter().map(String::as_str).collect();
        let share = share_of(directory.path(), &files);
        assert_eq!(walk(&share, "", None), names);
        let mut walker = Walker::new(&share, "", None).unwrap();
        let page = walker.next_page();
        assert!(page.more && page.entries.len() == 256);
        let info = Walker::new(&share, "", None).unwrap().count(&Reached::default()).unwrap();
        assert_eq!((info.files, info.bytes, info.left_out), (600, 2400, LeftOut::default()));
    }

    #[cfg(unix)]
    #[test]
    fn links_hidden_and_special_files_are_passed_over_and_counted() {
        use std::os::unix::fs::symlink;

        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let share = share_of(root, &["seen", ".hidden", ".git/config", "a/.b", "nul.txt"]);
        symlink("seen", root.join("link")).unwrap();
        symlink("/etc", root.join("a/etc")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(walk(&share, "", None), ["a/", "seen"]);
        let info = Walker::new(&share, "", None).unwrap().count(&Reached::default()).unwrap();
        let left_out = LeftOut { hidden: 3, links: 2, special: 1, names: 1, ..LeftOut::default() };
        assert_eq!((info.files, info.bytes, info.left_out), (1, 4, left_out));
    }

    #[test]
    fn what_is_too_deep_or_too_many_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let deep = format!("{}end", "d/".repeat(5));
        share_of(directory.path(), &[&deep, "a", "b"]);
        let limits = Limits { share_depth: 4, ..Limits::default() };
        let share = Arc::new(Share::new(directory.path(), &limits).unwrap());
        assert_eq!(walk(&share, "", None), ["a", "b", "d/", "d/d/", "d/d/d/"]);
        let limits = Limits { tree_files: 1, ..Limits::default() };
        let share = Arc::new(Share::new(directory.path(), &limits).unwrap());
        let info = Walker::new(&share, "", None).unwrap().count(&Reached::default()).unwrap();
        assert_eq!((info.files, info.left_out.beyond), (1, 2));
    }
}
