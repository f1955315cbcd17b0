//! A connection inside any byte stream.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use portolan_identity::Alpn;
use portolan_transport::{
    ByteStream, ConnectError, Connection, ConnectionConfig, Expect, Path, Tunnel,
};
use tokio::time::timeout;

use crate::connection::{Started, accept_tls, connect_tls};

/// The connection of [`Tcp`](crate::Tcp) inside any byte stream, under a protocol name of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpTunnel;

#[async_trait]
impl Tunnel for TcpTunnel {
    async fn connect(
        &self,
        carrier: Box<dyn ByteStream>,
        path: Path,
        config: ConnectionConfig,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let started = in_time(path, &config, async {
            let at = (path.remote, &expect);
            let secured = connect_tls(carrier, &config, Alpn::EndToEnd, at).await?;
            secured.start(&config, path, &expect).await
        });
        Ok(run(started.await?))
    }

    async fn accept(
        &self,
        carrier: Box<dyn ByteStream>,
        path: Path,
        config: ConnectionConfig,
        expect: Expect,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let started = in_time(path, &config, async {
            let at = (path.remote, &expect);
            let secured = accept_tls(carrier, &config, Alpn::EndToEnd, at).await?;
            secured.start(&config, path, &expect).await
        });
        Ok(run(started.await?))
    }
}

async fn in_time<T>(
    path: Path,
    config: &ConnectionConfig,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match timeout(config.timing.handshake, work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut(path.remote)),
    }
}

/// Starts the driver, which ends with the connection: at the latest when its last handle goes.
fn run(started: Started<Box<dyn ByteStream>>) -> Arc<dyn Connection> {
    tokio::spawn(started.driver.run());
    Arc::new(started.connection)
}
