//! Every promise of the seam, checked on the transport inside one process.

use std::process::ExitCode;

use portolan_conformance::{Harness, run};
use portolan_transport_mem::MemTransport;

fn main() -> ExitCode {
    run(&[Harness::straight(&MemTransport)])
}
