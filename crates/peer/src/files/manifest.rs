//! What a directory is said to hold, checked before anything of it is asked for.

use std::{cmp::Ordering, collections::HashMap};

use portolan_protocol::TreeEntry;
use unicode_normalization::UnicodeNormalization;

use super::check_path;

/// Checks entries as they come, and remembers the names of the directories that are open.
///
/// Entries come in order, part by part, so that a directory is over when something else comes;
/// what is remembered is bounded by depth and by the entries of one directory.
#[derive(Debug)]
pub(crate) struct Manifest {
    depth_max: usize,
    entries_max: usize,
    last: Option<String>,
    /// From the top to the last directory: its name, and what is in it.
    open: Vec<(String, Names)>,
    top: Names,
    /// A directory that was refused, with a `/`, and why.
    refused: Option<(String, Refusal)>,
}

/// Names of one directory, by what makes them equal on systems that do not tell case.
type Names = HashMap<String, String>;

/// Why an entry is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its name is one that is never written.
    Name(&'static str),
    /// It is too deep.
    Depth,
    /// Its directory has too many entries.
    Crowded,
    /// It differs from another one in case only.
    Collides(String),
}

/// The entries are not in order: no honest owner lists so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

impl Manifest {
    pub(crate) fn new(depth_max: usize, entries_max: usize) -> Self {
        Self {
            depth_max,
            entries_max,
            last: None,
            open: Vec::new(),
            top: Names::new(),
            refused: None,
        }
    }

    /// The list begins again, perhaps further on; names that were seen may come once more.
    pub(crate) fn restart(&mut self) {
        self.last = None;
    }

    /// Takes the next entry, or says why not.
    pub(crate) fn admit(&mut self, entry: &TreeEntry) -> Result<Result<(), Refusal>, OutOfOrder> {
        let path = &entry.path;
        if self.last.as_ref().is_some_and(|last| compare(last, path) != Ordering::Less) {
            return Err(OutOfOrder);
        }
        self.last = Some(path.clone());
        let admitted = self.check(path).and_then(|()| self.note(entry));
        if let Err(refusal) = &admitted
            && entry.directory
        {
            self.refused = Some((format!("{path}/"), refusal.clone()));
        }
        Ok(admitted)
    }

    fn check(&self, path: &str) -> Result<(), Refusal> {
        match &self.refused {
            Some((prefix, refusal)) if path.starts_with(prefix) => return Err(refusal.clone()),
            Some(_) | None => {}
        }
        check_path(path).map_err(Refusal::Name)?;
        match path.matches('/').count() < self.depth_max {
            true => Ok(()),
            false => Err(Refusal::Depth),
        }
    }

    fn note(&mut self, entry: &TreeEntry) -> Result<(), Refusal> {
        let (above, name) = entry.path.rsplit_once('/').map_or(("", entry.path.as_str()), |x| x);
        let above: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
        let common = self.open.iter().zip(&above).take_while(|(open, part)| open.0 == **part);
        self.open.truncate(common.count());
        // A list that begins further on does not name the directories above.
        for part in above.iter().skip(self.open.len()) {
            self.insert(part)?;
            self.open.push(((*part).to_owned(), Names::new()));
        }
        self.insert(name)?;
        if entry.directory {
            self.open.push((name.to_owned(), Names::new()));
        }
        Ok(())
    }

    /// Notes a name in the last open directory.
    fn insert(&mut self, name: &str) -> Result<(), Refusal> {
        let names = self.open.last_mut().map_or(&mut self.top, |(_, names)| names);
        let key = key(name);
        match names.get(&key) {
            Some(other) if other != name => Err(Refusal::Collides(other.clone())),
            Some(_) => Ok(()),
            None if names.len() >= self.entries_max => Err(Refusal::Crowded),
            None => {
                names.insert(key, name.to_owned());
                Ok(())
            }
        }
    }
}

/// Compares paths part by part.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    one.split('/').cmp(other.split('/'))
}

/// What two names have in common that are one file where case, or the way in which a letter is
/// encoded, is not told.
fn key(name: &str) -> String {
    match name.is_ascii() {
        true => name.to_ascii_lowercase(),
        false => name.nfc().collect::<String>().to_lowercase().nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use portolan_protocol::TreeEntry;

    use super::{Manifest, OutOfOrder, Refusal};

    fn entry(path: &str) -> TreeEntry {
        let directory = path.ends_with('/');
        TreeEntry { path: path.trim_end_matches('/').to_owned(), directory, ..TreeEntry::default() }
    }

    fn admitted(paths: &[&str]) -> Vec<bool> {
        let mut manifest = Manifest::new(4, 3);
        paths.iter().map(|path| manifest.admit(&entry(path)).unwrap().is_ok()).collect()
    }

    #[test]
    fn names_that_differ_in_case_only_are_taken_once_in_each_directory() {
        assert_eq!(admitted(&["README", "a/", "a/readme", "readme"]), [true, true, true, false]);
        assert_eq!(admitted(&["A/", "A/x", "a/", "a/x", "b"]), [true, true, false, false, true]);
        let (composed, parts) = ("\u{e9}", "e\u{301}");
        assert_eq!(admitted(&[parts, composed]), [true, false]);
    }

    #[test]
    fn names_depth_and_number_are_bounded_and_what_is_below_a_refused_directory_is_refused() {
        assert_eq!(admitted(&["../x", "a\\b", "nul", "x"]), [false, false, false, true]);
        assert_eq!(admitted(&["con/", "con/a", "d"]), [false, false, true]);
        assert_eq!(admitted(&["a/b/c/d", "a/b/c/e/f"]), [true, false]);
        assert_eq!(admitted(&["a", "b", "c", "d"]), [true, true, true, false]);
    }

    #[test]
    fn a_list_that_is_not_in_order_is_no_list() {
        for paths in [["b", "a"], ["a", "a"], ["a/b", "a"], ["a-b", "a/b"]] {
            let mut manifest = Manifest::new(4, 9);
            assert_eq!(manifest.admit(&entry(paths[0])), Ok(Ok(())));
            assert_eq!(manifest.admit(&entry(paths[1])), Err(OutOfOrder), "{paths:?}");
        }
    }

    #[test]
    fn a_list_that_begins_again_names_the_same_and_still_finds_collisions() {
        let mut manifest = Manifest::new(4, 9);
        for path in ["A", "b/", "b/c"] {
            assert_eq!(manifest.admit(&entry(path)), Ok(Ok(())));
        }
        manifest.restart();
        assert_eq!(manifest.admit(&entry("b/c")), Ok(Ok(())));
        let collides = Refusal::Collides("b".into());
        manifest.restart();
        assert_eq!(manifest.admit(&entry("B")), Ok(Err(collides)));
    }
}
