//! The chat client; everything is in `portolan_peer::cli` and `portolan::demo`.

use std::process::ExitCode;

use portolan::{ALL_TRANSPORTS, TUNNEL, demo, peer::Stack};

fn main() -> ExitCode {
    portolan::peer::cli::main(Stack { transports: ALL_TRANSPORTS, tunnel: TUNNEL }, demo::run)
}
