//! The chat server; everything is in `portolan_server::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan::server::cli::main(portolan::ALL_TRANSPORTS)
}
