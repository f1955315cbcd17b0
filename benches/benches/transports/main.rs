//! The transports against bare tokio-rustls and bare quinn, in one run.
//!
//! `cargo bench -p portolan-benches` prints a table for `docs/benchmarks.md`. Client and server
//! are two single-threaded runtimes of one process, over loopback, with the same keys and the same
//! cipher (AES-128-GCM). Rounds are interleaved A B C A B C, so that drift of the machine meets
//! all alike; the figures are medians, and ratios are to bare quinn of the same run.
//!
//! `cargo bench -p portolan-benches -- --rounds 3 --mib 64` makes it shorter.

#![expect(clippy::print_stdout, reason = "the table is the result")]

mod baseline;
mod ours;
mod report;
mod subject;
mod workload;

use std::sync::Arc;

use subject::Subject;
use workload::Workload;

/// The row that all others are compared with.
const NAMED_BASELINE: &str = "bare quinn";

fn subjects() -> Vec<Arc<dyn Subject>> {
    let mut subjects: Vec<Arc<dyn Subject>> =
        vec![Arc::new(baseline::Tls), Arc::new(baseline::Quinn)];
    for transport in portolan::ALL_TRANSPORTS {
        subjects.push(Arc::new(ours::Ours(*transport)));
    }
    subjects
}

fn main() {
    let options = Options::from_args();
    let workload = Workload { bulk_mib: options.mib, ..Workload::default() };
    let subjects = subjects();
    let mut report = report::Report::new(subjects.iter().map(|subject| subject.name()).collect());
    for round in 1..=options.rounds {
        for (row, subject) in subjects.iter().enumerate() {
            eprintln!("round {round} of {}: {}", options.rounds, subject.name());
            report.add(row, workload::run(Arc::clone(subject), workload));
        }
    }
    print!("{}", report.to_markdown(NAMED_BASELINE));
}

struct Options {
    rounds: usize,
    mib: u64,
}

impl Options {
    fn from_args() -> Self {
        let args: Vec<String> = std::env::args().collect();
        let value = |flag: &str| {
            let position = args.iter().position(|arg| arg == flag)?;
            args.get(position + 1)?.parse().ok()
        };
        let rounds = value("--rounds").unwrap_or(5);
        Self {
            rounds: usize::try_from(rounds).unwrap_or(5).max(1),
            mib: value("--mib").unwrap_or(512).max(1),
        }
    }
}
