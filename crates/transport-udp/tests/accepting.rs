//! An endpoint that many call at once.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    time::Duration,
};

use portolan_identity::{Expect, Identity};
use portolan_transport::{BindConfig, Connection, Endpoint, Transport};
use portolan_transport_udp::Udp;
use tokio::{runtime::Builder, task::JoinSet, time::timeout};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Each calls again as soon as it has got through.
const CALLERS: u8 = 8;

const CALLS: usize = 40;

/// As many as can have called since who accepts had its last turn.
const BACKLOG: u32 = CALLERS as u32;

async fn bind(seed: u8) -> Arc<dyn Endpoint> {
    let mut config = BindConfig::new(LOOPBACK, Identity::from_seed([seed; 32]));
    config.connection.limits.accept_backlog = BACKLOG;
    Udp.bind(config).await.expect("a free port")
}

/// Accepts on a thread that it shares with the endpoint.
async fn accept_all(address: mpsc::SyncSender<SocketAddr>) {
    let endpoint = bind(1).await;
    address.send(endpoint.local_addr()).expect("the callers wait for it");
    let mut connections = Vec::new();
    while connections.len() < usize::from(CALLERS) * CALLS {
        connections.push(endpoint.accept().await.expect("it is open"));
    }
}

type Called = (Arc<dyn Endpoint>, Vec<Arc<dyn Connection>>);

async fn call(seed: u8, server: SocketAddr) -> Called {
    let endpoint = bind(seed).await;
    let expect = Expect::Id(Identity::from_seed([1; 32]).id());
    let mut connections = Vec::new();
    for _ in 0..CALLS {
        connections.push(endpoint.connect(server, expect).await.expect("there is room"));
    }
    (endpoint, connections)
}

#[test]
fn nobody_is_turned_away_while_who_accepts_is_willing() {
    let (address, addressed) = mpsc::sync_channel(1);
    let accepting = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let accepting = async { timeout(Duration::from_secs(60), accept_all(address)).await };
        runtime.block_on(accepting).is_ok()
    });
    let server = addressed.recv().expect("an address");
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let _connections = runtime.block_on(async {
        let callers: JoinSet<_> = (2..2 + CALLERS).map(|seed| call(seed, server)).collect();
        callers.join_all().await
    });
    assert!(accepting.join().expect("no panic"), "every one who got through is accepted");
}
