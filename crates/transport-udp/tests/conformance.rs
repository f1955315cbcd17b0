//! Every promise of the seam, checked on our UDP: over loopback, and through a bad network.

use std::{env, process::ExitCode, sync::Arc, time::Duration};

use portolan_conformance::{Dial, Harness, Modelled, run};
use portolan_netsim::{Link, Loss, Reorder};
use portolan_transport_udp::Udp;

/// One packet in twenty is lost, some come twice, some are overtaken.
fn bad() -> Link {
    Link {
        jitter: Duration::from_micros(500),
        loss: Loss::Random(0.05),
        reorder: Some(Reorder { probability: 0.05, hold: Duration::from_millis(2) }),
        duplicate: 0.02,
        ..Link::default()
    }
}

fn main() -> ExitCode {
    let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7275);
    let mut straight = Harness::straight(&Udp);
    straight.dark = Some(Arc::new(Modelled { link: Link::default(), seed }));
    let through = Harness {
        name: "udp_through_a_bad_network",
        transport: &Udp,
        dial: Dial::Through(Arc::new(Modelled { link: bad(), seed })),
        dark: None,
    };
    run(&[straight, through])
}
