//! Every input that the fuzzer has found, and every seed it began with, in the ordinary test run.

use std::{fs, path::PathBuf};

use portolan_fuzz_targets::{TARGETS, mutation::Mutator};

/// Damaged inputs tried for each valid one, on top of the committed corpus.
const MUTATIONS: usize = 200;

fn fuzz_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
}

/// Names the input before it is tried, so that a failure says which it was.
fn try_input(target: &str, name: &str, input: &[u8]) {
    eprintln!("{target}: {name}, {} bytes", input.len());
    portolan_fuzz_targets::run(target, input);
}

#[test]
fn every_committed_input_is_survived() {
    for target in TARGETS {
        let folder = fuzz_folder().join("corpus").join(target.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{folder:?} is empty");
        for path in paths {
            try_input(target.name, &path.to_string_lossy(), &fs::read(&path).unwrap());
        }
    }
}

#[test]
fn valid_and_damaged_inputs_are_survived() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    println!("SEED={seed}");
    for target in TARGETS {
        let mut mutator = Mutator::new(seed);
        for valid in (target.seeds)() {
            try_input(target.name, "valid", &valid);
            for _ in 0..MUTATIONS / 4 {
                let mut damaged = mutator.damage(&valid);
                for _ in 0..4 {
                    portolan_fuzz_targets::run(target.name, &damaged);
                    damaged = mutator.damage(&damaged);
                }
            }
        }
    }
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let program = fuzz_folder().join("fuzz_targets").join(format!("{}.rs", target.name));
        let source = fs::read_to_string(&program).unwrap_or_else(|e| panic!("{program:?}: {e}"));
        assert!(source.contains(&format!("{:?}", target.name)), "{program:?} runs another target");
        let entry = format!("name = {:?}", target.name);
        assert!(manifest.contains(&entry), "fuzz/Cargo.toml has no {entry}");
    }
}
