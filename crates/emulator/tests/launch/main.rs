//! A program that moves into namespaces of its own leaves nothing behind, however it ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what is left out is said, and the program inside talks")]

#[cfg(target_os = "linux")]
mod linux;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    let error = portolan_emulator::launch().map(|_| ()).unwrap_err();
    println!("left out: {error}");
    ExitCode::SUCCESS
}
