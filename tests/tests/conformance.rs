//! Every promise of the seam, checked on every transport, over loopback and through a bad network.
//!
//! One check of one transport: `cargo test -p portolan-tests --test conformance udp::a_reset`.

use std::{env, process::ExitCode, sync::Arc, time::Duration};

use portolan::{ALL_TRANSPORTS, Carrier, Transport};
use portolan_conformance::{Detours, Dial, Harness, Modelled, Stalling, run};
use portolan_netsim::{Link, Loss, Reorder};
use portolan_transport_mem::MemTransport;

fn main() -> ExitCode {
    let mut harnesses = vec![Harness::straight(&MemTransport)];
    for transport in ALL_TRANSPORTS {
        harnesses.extend(networks(*transport));
    }
    run(&harnesses)
}

/// The networks on which a transport has to keep its promises.
fn networks(transport: &'static dyn Transport) -> Vec<Harness> {
    let straight = Harness::straight(transport);
    match transport.capabilities().carrier {
        Carrier::Memory => vec![straight],
        Carrier::Tcp => vec![Harness { dark: Some(Arc::new(Stalling)), ..straight }],
        Carrier::Udp => {
            let dark = Some(through(Link::default()));
            vec![Harness { dark, ..straight }, badly(transport)]
        }
    }
}

fn badly(transport: &'static dyn Transport) -> Harness {
    let name = format!("{}_through_a_bad_network", transport.scheme());
    Harness {
        // A handful of names for the whole run.
        name: Box::leak(name.into_boxed_str()),
        transport,
        dial: Dial::Through(through(bad())),
        dark: None,
    }
}

/// One packet in twenty is lost, some are overtaken, some come twice.
fn bad() -> Link {
    Link {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        loss: Loss::Random(0.05),
        reorder: Some(Reorder { probability: 0.05, hold: Duration::from_millis(3) }),
        duplicate: 0.02,
        ..Link::default()
    }
}

fn through(link: Link) -> Arc<dyn Detours> {
    let seed = env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7275);
    Arc::new(Modelled { link, seed })
}
