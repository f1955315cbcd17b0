//! Runs many seeds on all cores; one that fails is run again and tells what happened.
//!
//! `SEED=7` runs that seed alone, `SEEDS=0..100000` another range.

use std::{
    env,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

/// Runs every seed of `usual`, or those that the environment names; the sum of what they gave.
///
/// # Panics
/// When a run panics; before that it prints the last of its story and the command that replays it.
pub(crate) fn for_each<T: Send + Default>(
    test: &str,
    usual: Range<u64>,
    run: impl Fn(u64, Option<&Story>) -> T + Sync,
    add: impl Fn(T, T) -> T,
) -> T {
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
            match panic::catch_unwind(AssertUnwindSafe(|| run(seed, None))) {
                Ok(result) => results.push(result),
                Err(_) if failed.swap(true, Ordering::Relaxed) => {}
                Err(_) => explain(test, seed, &run),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<T> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.flat_map(|results| results.expect("it caught its panics")).collect()
    });
    assert!(!failed.load(Ordering::Relaxed), "a seed failed; its story stands above");
    results.into_iter().fold(T::default(), add)
}

/// Whether the environment asks for seeds of its own, so that totals mean nothing.
pub(crate) fn overridden() -> bool {
    env::var_os("SEED").is_some() || env::var_os("SEEDS").is_some()
}

/// Lines of the story that are printed.
const TOLD: usize = 120;

/// What happened in a run, one line an event.
#[derive(Default)]
pub(crate) struct Story(std::sync::Mutex<Vec<String>>);

impl Story {
    pub(crate) fn tell(&self, line: String) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }

    fn print_end(&self) {
        let lines = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let all = env::var_os("STORY").is_some();
        let skipped = if all { 0 } else { lines.len().saturating_sub(TOLD) };
        eprintln!("… {skipped} events before (STORY=1 prints them too)");
        lines.iter().skip(skipped).for_each(|line| eprintln!("{line}"));
    }
}

fn explain<T>(test: &str, seed: u64, run: &impl Fn(u64, Option<&Story>) -> T) {
    let story = Story::default();
    let again = panic::catch_unwind(AssertUnwindSafe(|| run(seed, Some(&story))));
    story.print_end();
    if again.is_ok() {
        eprintln!("the second run of the same seed did not fail: something is not a draw");
    }
    eprintln!("replay: SEED={seed} cargo test -p portolan-server --test simulation {test}");
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
