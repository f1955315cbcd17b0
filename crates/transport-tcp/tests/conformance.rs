//! Every promise of the seam, checked over TCP.

use std::process::ExitCode;

use portolan_conformance::{Harness, run};
use portolan_transport_tcp::Tcp;

fn main() -> ExitCode {
    run(&[Harness::straight(&Tcp)])
}
