//! Real packets in emulated worlds. What a machine has not got is said, and its tests left out.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what is left out is said")]

mod changes;
mod crossing;
mod honesty;
mod tcp;
mod worlds;
