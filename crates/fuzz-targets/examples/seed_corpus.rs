//! Writes the first corpus of every target: valid inputs and damaged ones.
//!
//! `cargo run -p portolan-fuzz-targets --example seed_corpus [FOLDER]`; the folder is `fuzz/corpus`
//! unless told. Existing files stay.

use std::{error::Error, fs, path::PathBuf};

use portolan_fuzz_targets::{TARGETS, Target, mutation::Mutator};

/// Files a target; the fuzzer's finds come on top.
const FILES: usize = 24;
const SEED: u64 = 7275;

fn main() -> Result<(), Box<dyn Error>> {
    let committed = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"));
    let folder = std::env::args_os().nth(1).map_or(committed, PathBuf::from);
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, input) in inputs(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), input)?;
        }
    }
    Ok(())
}

/// A third of the files at most is valid, spread over the kinds; the rest is damaged.
fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let seeds = (target.seeds)();
    let step = seeds.len().div_ceil(FILES / 3).max(1);
    let mut inputs: Vec<Vec<u8>> = seeds.iter().step_by(step).cloned().collect();
    let mut mutator = Mutator::new(SEED);
    while inputs.len() < FILES && !seeds.is_empty() {
        let valid = &seeds[mutator.below(seeds.len())];
        inputs.push(mutator.damage(valid));
    }
    inputs
}
