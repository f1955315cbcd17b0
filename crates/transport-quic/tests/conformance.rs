//! Every promise of the seam, checked on QUIC over loopback.

use std::{process::ExitCode, sync::Arc};

use portolan_conformance::{Harness, Modelled, run};
use portolan_netsim::Link;
use portolan_transport_quic::Quic;

fn main() -> ExitCode {
    let mut harness = Harness::straight(&Quic);
    harness.dark = Some(Arc::new(Modelled { link: Link::default(), seed: 7275 }));
    run(&[harness])
}
