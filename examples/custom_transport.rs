//! A transport of one's own: everything that takes a table of transports takes it.
//!
//! This one is TCP with a count of the connections that it made. To write one from the ground up,
//! read `docs/adding-a-transport.md`. Run it: `cargo run --example custom_transport`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use portolan::{
    ALL_TRANSPORTS, AcceptError, BindConfig, BindError, Capabilities, CloseCode, ConnectError,
    Connection, Endpoint, Expect, Identity, Transport,
    server::{Config, Server},
};

/// Connections made by this program.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// The table that the server is given.
static TABLE: &[&dyn Transport] = &[&Counted];

#[derive(Debug)]
struct Counted;

#[derive(Debug)]
struct CountedEndpoint(Arc<dyn Endpoint>);

#[async_trait]
impl Transport for Counted {
    fn scheme(&self) -> &'static str {
        "counted"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { summary: "TCP that counts", ..ALL_TRANSPORTS[0].capabilities() }
    }

    async fn bind(&self, config: BindConfig) -> Result<Arc<dyn Endpoint>, BindError> {
        let inner = ALL_TRANSPORTS[0].bind(config).await?;
        Ok(Arc::new(CountedEndpoint(inner)))
    }
}

#[async_trait]
impl Endpoint for CountedEndpoint {
    async fn connect(
        &self,
        remote: SocketAddr,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let connection = self.0.connect(remote, expect).await?;
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Ok(connection)
    }

    async fn accept(&self) -> Result<Arc<dyn Connection>, AcceptError> {
        self.0.accept().await
    }

    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    async fn close(&self, code: CloseCode, reason: &str) {
        self.0.close(code, reason).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let local = "127.0.0.1:0".parse()?;
    let server = Server::start(Config::new(local, TABLE, Identity::generate())).await?;
    let (scheme, address) = server.addresses()[0];

    let client = Counted.bind(BindConfig::new(local, Identity::generate())).await?;
    for _ in 0..3 {
        let connection = client.connect(address, Expect::Id(server.id())).await?;
        connection.close(CloseCode::DONE, "counted");
    }
    let count = CONNECTIONS.load(Ordering::Relaxed);
    println!("{count} connections to a server on {scheme} at {address}");
    server.shutdown("done").await;
    Ok(())
}
