//! What clients learn of a server that has died and is back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use portolan_transport::{
    BindConfig, CloseReason, Endpoint, Expect, Identity, Lifetime, Transport,
};
use portolan_transport_quic::Quic;
use tokio::{runtime::Runtime, time::timeout};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn bind(seed: u8, local: SocketAddr) -> Arc<dyn Endpoint> {
    let config = BindConfig::new(local, Identity::from_seed([seed; 32]));
    Quic.bind(config).await.unwrap()
}

#[test]
fn a_client_is_told_by_a_restarted_server_that_the_connection_is_forgotten() {
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let (clients, servers) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let server = servers.block_on(bind(2, any));
    let address = server.local_addr();
    let accepting = {
        let server = Arc::clone(&server);
        servers.spawn(async move { server.accept().await.unwrap() })
    };
    let client = clients.block_on(bind(1, any));
    let expect = Expect::Id(Identity::from_seed([2; 32]).id());
    let connection = clients.block_on(client.connect(address, expect)).unwrap();
    let accepted = servers.block_on(accepting).unwrap();

    // Without a farewell: everything that could send one has stopped.
    servers.shutdown_timeout(PATIENCE);
    drop((accepted, server));
    let servers = Runtime::new().unwrap();
    let _server = servers.block_on(bind(2, address));

    let reason = clients.block_on(async {
        // Whatever is sent now is answered to.
        connection.send_datagram(Bytes::from_static(b"are you there?"), Lifetime::Once).unwrap();
        timeout(PATIENCE, connection.closed()).await.unwrap()
    });
    let CloseReason::Lost { detail } = reason else { panic!("{reason:?}") };
    assert!(detail.contains("does not know the connection any more"), "{detail}");
}
