//! How much others may send us: one file, and everything in the directory of received files.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::{ErrorBody, ErrorCode, Hash};

use super::partial::is_part_of;

/// Directories below directories that are looked at.
const DEPTH_MAX: usize = 32;

/// What may be taken in, and what is on its way.
#[derive(Debug)]
pub(crate) struct Quota {
    directory: PathBuf,
    entries_max: usize,
    /// Bytes that were promised a place, by content, and how many transfers bring it.
    admitted: Mutex<HashMap<Hash, (u64, usize)>>,
}

/// A place for one file, until it is there or will not come.
#[derive(Debug)]
pub(crate) struct Admission {
    quota: Arc<Quota>,
    hash: Hash,
}

impl Quota {
    pub(crate) fn new(directory: PathBuf, entries_max: usize) -> Self {
        Self { directory, entries_max, admitted: Mutex::default() }
    }

    /// Admits an offered file, if it is not too large and everything together is not. Blocking.
    pub(crate) fn admit(
        self: &Arc<Self>,
        (size, hash): (u64, Hash),
        (file_max, total_max): (Option<u64>, Option<u64>),
    ) -> Result<Admission, ErrorBody> {
        if let Some(max) = file_max.filter(|max| size > *max) {
            let message = format!("files of at most {max} bytes are taken here, and it has {size}");
            return Err(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        // Held while it is counted, so that two files do not take the same room.
        let mut admitted = self.lock();
        if let Some(max) = total_max {
            let others = admitted.iter().filter(|(other, _)| **other != hash);
            let coming: u64 = others.map(|(_, (size, _))| size).sum();
            let there = self.there(&admitted, hash);
            if there.saturating_add(coming).saturating_add(size) > max {
                let message = "there is no room for it among the files received; the receiver can \
                               make some, or allow more";
                return Err(ErrorBody::new(ErrorCode::Quota, message));
            }
        }
        admitted.entry(hash).or_insert((size, 0)).1 += 1;
        Ok(Admission { quota: Arc::clone(self), hash })
    }

    /// Bytes in the directory, without the parts of files that have been promised a place.
    fn there(&self, admitted: &HashMap<Hash, (u64, usize)>, next: Hash) -> u64 {
        let is_promised =
            |name: &str| admitted.keys().chain([&next]).any(|hash| is_part_of(name, *hash));
        let mut budget = self.entries_max;
        bytes_below(&self.directory, DEPTH_MAX, &mut budget, &is_promised)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, (u64, usize)>> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut admitted = self.quota.lock();
        if let Some((_, count)) = admitted.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                admitted.remove(&self.hash);
            }
        }
    }
}

fn bytes_below(
    directory: &Path,
    depth: usize,
    budget: &mut usize,
    skip: &impl Fn(&str) -> bool,
) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let mut bytes = 0_u64;
    for entry in entries.flatten() {
        if *budget == 0 {
            return bytes;
        }
        *budget -= 1;
        // Of the entry itself: what links lead to lies elsewhere.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth > 0 {
            bytes += bytes_below(&entry.path(), depth - 1, budget, skip);
        } else if metadata.is_file() && !entry.file_name().to_str().is_some_and(skip) {
            bytes = bytes.saturating_add(metadata.len());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use portolan_protocol::{ErrorCode, Hash};

    use super::Quota;

    #[test]
    fn what_is_there_and_what_is_coming_count_together_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let quota = Arc::new(Quota::new(directory.path().to_owned(), 100));
        let admit = |size, hash| quota.admit((size, Hash([hash; 32])), (None, Some(1000)));
        fs::create_dir(directory.path().join("below")).unwrap();
        fs::write(directory.path().join("below/old"), vec![0; 300]).unwrap();
        let first = admit(400, 1).unwrap();
        assert_eq!(admit(400, 2).unwrap_err().code, ErrorCode::Quota);
        let same = admit(400, 1).unwrap();
        // Half of it has come.
        let part = format!(".portolan-{}.part", Hash([1; 32]));
        fs::write(directory.path().join(&part), vec![0; 200]).unwrap();
        let second = admit(300, 2).unwrap();
        drop((first, second));
        assert!(admit(400, 2).is_err());
        drop(same);
        assert!(admit(600, 2).is_err(), "what was left of it counts");
        admit(500, 2).unwrap();
        admit(700, 1).unwrap();
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_for_good() {
        let quota = Arc::new(Quota::new("/nowhere".into(), 100));
        let admit = |size| quota.admit((size, Hash([1; 32])), (Some(10), None));
        assert!(admit(10).is_ok());
        assert_eq!(admit(11).unwrap_err().code, ErrorCode::TooLarge);
    }
}
