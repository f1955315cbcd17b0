//! Runs the table as named tests.

use std::{any::Any, env, process::ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{CHECKS, Check, Harness, Weight, seed::seed};

/// Runs every check against every harness that it applies to, as `harness::check`, with the
/// arguments and the output of `cargo test`.
///
/// A test's `main` returns the result.
#[must_use]
pub fn run(harnesses: &[Harness]) -> ExitCode {
    let arguments = Arguments::from_args();
    let heavy = env::var_os("PORTOLAN_HEAVY").is_some_and(|value| value == "1");
    let mut trials = Vec::new();
    for harness in harnesses {
        for check in CHECKS.iter().filter(|check| check.applies(harness)) {
            trials.push(trial(*check, harness.clone(), heavy));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(check: Check, harness: Harness, heavy: bool) -> Trial {
    let skipped = match check.weight {
        Weight::Normal => false,
        Weight::Heavy => !heavy,
    };
    Trial::test(format!("{}::{}", harness.name, check.name), move || perform(check, harness))
        .with_ignored_flag(skipped)
}

fn perform(check: Check, harness: Harness) -> Result<(), Failed> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        // A task of its own, so that a broken promise is a value here and not a panic.
        tokio::time::timeout(check.patience(), tokio::spawn((check.run)(harness))).await
    });
    // What a broken check leaves behind may never end.
    runtime.shutdown_background();
    match outcome {
        Ok(Ok(())) => Ok(()),
        Err(_) => Err(format!("not over after {:?}; SEED={}", check.patience(), seed()).into()),
        Ok(Err(panic)) => Err(format!("{}; SEED={}", words(panic.into_panic()), seed()).into()),
    }
}

fn words(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("a panic", |text| text).to_owned(),
    }
}
