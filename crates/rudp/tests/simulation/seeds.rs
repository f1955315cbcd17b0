//! Runs many seeds on all cores and says how to replay one that fails.
//!
//! `SEED=7` runs that seed alone, `SEEDS=0..100000` another range.

use std::{
    env,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

/// Runs every seed of `usual`, or those that the environment names, and returns what each gave,
/// in the order of the seeds.
///
/// # Panics
/// When a run panics; before that it prints the command that replays it.
pub(crate) fn for_each<T: Send>(
    test: &str,
    usual: Range<u64>,
    run: impl Fn(u64) -> T + Sync,
) -> Vec<(u64, T)> {
    let seeds = chosen(usual);
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let worker = || {
        let mut results = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.load(Ordering::Relaxed) {
                return results;
            }
            match panic::catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(result) => results.push((seed, result)),
                Err(_) => {
                    failed.store(true, Ordering::Relaxed);
                    eprintln!("{}", replay(test, seed));
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut results: Vec<(u64, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("it caught its panics"))
            .collect()
    });
    assert!(!failed.load(Ordering::Relaxed), "a seed failed; its command stands above");
    results.sort_by_key(|(seed, _)| *seed);
    results
}

/// Whether the environment asks for seeds of its own, so that totals mean nothing.
pub(crate) fn overridden() -> bool {
    env::var_os("SEED").is_some() || env::var_os("SEEDS").is_some()
}

/// The command that replays one seed of one test.
pub(crate) fn replay(test: &str, seed: u64) -> String {
    format!("replay: SEED={seed} cargo test -p portolan-rudp --test simulation {test}")
}

fn chosen(usual: Range<u64>) -> Range<u64> {
    if let Ok(seed) = env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        return seed..seed + 1;
    }
    let Ok(range) = env::var("SEEDS") else { return usual };
    let (start, end) = range.split_once("..").expect("SEEDS is START..END");
    start.parse().expect("START is a number")..end.parse().expect("END is a number")
}
