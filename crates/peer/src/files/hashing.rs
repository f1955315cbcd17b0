//! Hashes of the groups of a file that is on a disk: several threads share the work, because one
//! alone is slower than a disk, and nothing goes over before it is done.

use std::{
    fs::File,
    io,
    num::NonZero,
    panic::resume_unwind,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use blake3::hazmat::ChainingValue;

use super::{Reached, Tree, content::ContentError, tree::leaf};

/// Threads that share a file.
const HASHERS_MAX: usize = 4;
/// Bytes that one of them takes at a time: a disk likes to read in a row.
const STRETCH: u32 = 4 << 20;

type Hashed = Vec<(u32, ChainingValue)>;

/// The hashes of the first `groups` groups that `file` has on the disk. Blocking; `reached` counts
/// the bytes and can stop it.
pub(super) fn hashes_of(
    file: &File,
    tree: &Tree,
    groups: u32,
    reached: &Reached,
) -> Result<Vec<ChainingValue>, ContentError> {
    let length = u32::try_from(tree.span(0).1).unwrap_or(STRETCH).max(1);
    let stretch = (STRETCH / length).max(1);
    let next = AtomicU32::new(0);
    let work = || hash(file, tree, (&next, stretch, groups), reached);
    let threads = threads_for(groups.div_ceil(stretch));
    let hashed: Vec<Result<Hashed, ContentError>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let ours = work();
        let others = others.into_iter().map(|other| other.join());
        let others = others.map(|other| other.unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(ours).chain(others).collect()
    });
    let mut hashes = vec![[0; blake3::OUT_LEN]; groups as usize];
    for hashed in hashed {
        for (number, hash) in hashed? {
            if let Some(place) = hashes.get_mut(number as usize) {
                *place = hash;
            }
        }
    }
    Ok(hashes)
}

fn threads_for(stretches: u32) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let useful = usize::try_from(stretches).unwrap_or(usize::MAX);
    // Without reads that say where, threads would move each other's place in the file.
    if cfg!(unix) { cores.min(HASHERS_MAX).min(useful) } else { 1 }
}

/// Hashes stretches of a file until none is left.
fn hash(
    file: &File,
    tree: &Tree,
    (next, stretch, groups): (&AtomicU32, u32, u32),
    reached: &Reached,
) -> Result<Hashed, ContentError> {
    let (mut hashed, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let first = next.fetch_add(stretch, Ordering::Relaxed);
        if first >= groups {
            return Ok(hashed);
        }
        for number in first..(first + stretch).min(groups) {
            let (start, length) = tree.span(number);
            bytes.resize(length, 0);
            let read = read_at(file, &mut bytes, start).map_err(ContentError::of_read);
            if let Err(error) = read.and_then(|()| reached.advance(length as u64)) {
                // The others need not go on.
                next.store(groups, Ordering::Relaxed);
                return Err(error);
            }
            hashed.push((number, leaf(start, &bytes)));
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};

    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes)
}
