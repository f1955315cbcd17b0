//! Dialling who dials us: from the port that we listen on, until one of the two gets through.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use portolan_identity::Alpn;
use portolan_transport::{ConnectError, Connection, Expect, Seen, Simultaneous, Speaks};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    claims::Claim,
    connection::{accept_tls, connect_tls},
    endpoint::{Inner, TcpEndpoint, reaches},
    error::unreachable,
    socket, stun,
};

/// A refusal ends an attempt, which may have been too early for the other side's translator. More
/// would not tell anything new.
const TRIES: u32 = 8;
/// Between the end of an attempt and the next one.
const SPACING: Duration = Duration::from_millis(200);
/// All attempts together.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server that is there answers sooner.
const ASKING: Duration = Duration::from_secs(5);

#[async_trait]
impl Simultaneous for TcpEndpoint {
    async fn seen_by(&self, server: SocketAddr) -> io::Result<Seen> {
        let asked = async {
            let stream = socket::connect_from_bound(self.inner().local, server).await?;
            stun::ask(stream).await
        };
        let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "the server does not answer");
        timeout(ASKING, asked).await.map_err(silent)?
    }

    async fn open(
        &self,
        remote: SocketAddr,
        expect: Expect,
        speaks: Speaks,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let inner = self.inner();
        let unusable =
            |detail: &str| ConnectError::Unusable { addr: remote, detail: detail.into() };
        if !reaches(inner.local, remote) {
            return Err(unusable("this end is bound to an address of the other IP version"));
        }
        let claim = inner.claims.claim(remote);
        let opened = inner.open(remote, (&expect, speaks), claim);
        let closing = inner.closing.cancelled();
        tokio::select! {
            biased;
            () = closing => Err(unusable("this end is closed")),
            opened = opened => opened,
        }
    }
}

impl Inner {
    async fn open(
        self: &Arc<Self>,
        remote: SocketAddr,
        (expect, speaks): (&Expect, Speaks),
        mut claim: Claim<'_>,
    ) -> Result<Arc<dyn Connection>, ConnectError> {
        let local = self.local;
        let opened = timeout(PATIENCE, meet(local, remote, &mut claim)).await;
        let stream = opened.map_err(|_| ConnectError::TimedOut(remote))?;
        let stream = stream.map_err(|error| unreachable(remote, error))?;
        drop(claim);
        let path = self.path(&stream, remote);
        let started = async {
            let at = (remote, expect);
            let secured = match speaks {
                Speaks::First => connect_tls(stream, &self.config, Alpn::Tcp, at).await?,
                Speaks::Second => accept_tls(stream, &self.config, Alpn::Tcp, at).await?,
            };
            secured.start(&self.config, path, expect).await
        };
        let started = timeout(self.config.timing.handshake, started).await;
        let started = started.map_err(|_| ConnectError::TimedOut(remote))??;
        let closed =
            || ConnectError::Unusable { addr: remote, detail: "this end is closed".into() };
        Ok(Arc::new(self.run(started, None).ok_or_else(closed)?))
    }
}

/// Dials until it is heard, or until the other side's call has come to our listener.
async fn meet(
    local: SocketAddr,
    remote: SocketAddr,
    claim: &mut Claim<'_>,
) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::ConnectionRefused.into();
    for _ in 0..TRIES {
        let refused = tokio::select! {
            biased;
            stream = claim.arrived() => return Ok(stream),
            dialled = socket::connect_from_bound(local, remote) => match dialled {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            },
        };
        // Its call may be the reason: the four numbers are in use.
        tokio::select! {
            biased;
            stream = claim.arrived() => return Ok(stream),
            () = sleep(SPACING) => {}
        }
        last = refused;
    }
    Err(last)
}
