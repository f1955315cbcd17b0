//! Trees of files that were hashed lately, so that a file asked for again is not read twice.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use portolan_protocol::Hash;

use super::{OpenedFile, Reached, Tree, content::ContentError};

/// Trees that are remembered.
const TREES_MAX: usize = 256;
/// Bytes of their lists together.
const BYTES_MAX: usize = 16 << 20;

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) inode: u64,
}

/// Remembers the trees used last, within two bounds.
///
/// A file that changes without a new time of change is found out later: every group is checked
/// before it is sent.
#[derive(Debug, Default)]
pub(crate) struct Trees(Mutex<VecDeque<(Stamp, Arc<Tree>)>>);

impl Trees {
    /// The tree of a file, computed if it is not remembered. Blocking.
    pub(crate) fn tree_of(
        &self,
        opened: &OpenedFile,
        reached: &Reached,
    ) -> Result<Arc<Tree>, ContentError> {
        if let Some(tree) = self.remembered(&opened.stamp) {
            return Ok(tree);
        }
        let tree = Arc::new(Tree::of(&opened.file, opened.size, reached)?);
        self.remember(opened.stamp.clone(), Arc::clone(&tree));
        Ok(tree)
    }

    /// Remembers the tree of a file that was proven on its way here.
    pub(crate) fn learn(&self, opened: &OpenedFile, tree: Arc<Tree>) {
        if opened.size == tree.size() {
            self.remember(opened.stamp.clone(), tree);
        }
    }

    /// The files that have this content, as far as is remembered.
    pub(crate) fn paths_of(&self, hash: Hash) -> Vec<PathBuf> {
        let trees = self.lock();
        let same = trees.iter().filter(|(_, tree)| tree.root() == hash);
        same.map(|(stamp, _)| stamp.path.clone()).collect()
    }

    /// Forgets a tree that its file no longer has.
    pub(crate) fn forget(&self, tree: &Arc<Tree>) {
        self.lock().retain(|(_, kept)| !Arc::ptr_eq(kept, tree));
    }

    fn remembered(&self, stamp: &Stamp) -> Option<Arc<Tree>> {
        let mut trees = self.lock();
        let at = trees.iter().position(|(kept, _)| kept == stamp)?;
        let entry = trees.remove(at)?;
        let tree = Arc::clone(&entry.1);
        trees.push_back(entry);
        Some(tree)
    }

    fn remember(&self, stamp: Stamp, tree: Arc<Tree>) {
        let mut trees = self.lock();
        trees.retain(|(kept, _)| kept.path != stamp.path);
        trees.push_back((stamp, tree));
        let mut bytes: usize = trees.iter().map(|(_, tree)| tree.list().len()).sum();
        while trees.len() > TREES_MAX || bytes > BYTES_MAX {
            let Some((_, oldest)) = trees.pop_front() else { break };
            bytes -= oldest.list().len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Stamp, Arc<Tree>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::{TREES_MAX, Trees};
    use crate::files::{Reached, open_file};

    #[test]
    fn a_file_is_hashed_again_only_when_it_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "one").unwrap();
        let trees = Trees::default();
        let tree = || trees.tree_of(&open_file(&path).unwrap(), &Reached::default()).unwrap();
        let first = tree();
        assert!(Arc::ptr_eq(&first, &tree()));
        fs::write(&path, "three").unwrap();
        assert_ne!(first.root(), tree().root());
    }

    #[test]
    fn the_number_of_trees_is_bounded_and_the_oldest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let trees = Trees::default();
        let paths: Vec<_> = (0..=TREES_MAX).map(|n| directory.path().join(n.to_string())).collect();
        for path in &paths {
            fs::write(path, "x").unwrap();
            trees.tree_of(&open_file(path).unwrap(), &Reached::default()).unwrap();
        }
        assert_eq!(trees.lock().len(), TREES_MAX);
        assert!(trees.remembered(&open_file(&paths[0]).unwrap().stamp).is_none());
        assert!(trees.remembered(&open_file(&paths[1]).unwrap().stamp).is_some());
    }
}
