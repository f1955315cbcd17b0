//! The chat client; everything is in `portolan_peer::cli`, `portolan::demo` and
//! `portolan::hosting`.

use std::process::ExitCode;

use portolan::{ALL_TRANSPORTS, TUNNEL, demo, hosting::HOSTING, peer::Stack};

fn main() -> ExitCode {
    let stack = Stack { transports: ALL_TRANSPORTS, tunnel: TUNNEL, hosting: Some(HOSTING) };
    portolan::peer::cli::main(stack, demo::run)
}
