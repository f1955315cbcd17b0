//! Every promise of the seam, checked on QUIC over loopback.

#[path = "../../transport-udp/tests/support/mod.rs"]
mod support;

use std::{process::ExitCode, sync::Arc};

use portolan_conformance::{Harness, run};
use portolan_netsim::Link;
use portolan_transport_quic::Quic;

use crate::support::Modelled;

fn main() -> ExitCode {
    let mut harness = Harness::straight(&Quic);
    harness.dark = Some(Arc::new(Modelled { link: Link::default(), seed: 7275 }));
    run(&[harness])
}
