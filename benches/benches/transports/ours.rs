//! Our transports, through the public traits only.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use portolan_identity::{Expect, Identity, PeerId};
use portolan_transport::{BindConfig, Endpoint, Priority, Transport};

use crate::subject::{Client, Listener, Session, Subject};

pub(crate) struct Ours(pub(crate) &'static dyn Transport);

struct Bound(Arc<dyn Endpoint>);

impl Ours {
    async fn bind(&self, identity: Identity) -> Bound {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = self.0.bind(BindConfig::new(local, identity)).await;
        Bound(endpoint.expect("a free loopback port"))
    }
}

#[async_trait]
impl Subject for Ours {
    fn name(&self) -> String {
        format!("portolan {}", self.0.scheme())
    }

    async fn listen(&self, identity: Identity) -> Box<dyn Listener> {
        Box::new(self.bind(identity).await)
    }

    async fn client(&self, identity: Identity) -> Box<dyn Client> {
        Box::new(self.bind(identity).await)
    }
}

#[async_trait]
impl Listener for Bound {
    fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> Session {
        let connection = self.0.accept().await.expect("a connection");
        let (write, read) = connection.accept_stream().await.expect("a stream");
        Session { read: Box::new(read), write: Box::new(write), connection: Box::new(connection) }
    }
}

#[async_trait]
impl Client for Bound {
    async fn connect(&mut self, server: SocketAddr, id: PeerId) -> Session {
        let connection = self.0.connect(server, Expect::Id(id)).await.expect("a connection");
        let (write, read) = connection.open_stream(Priority::Interactive).await.expect("a stream");
        Session { read: Box::new(read), write: Box::new(write), connection: Box::new(connection) }
    }
}
