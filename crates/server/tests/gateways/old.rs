//! A client as the old programs are: it takes one read of 1,024 bytes for one message, and the end
//! of the connection is its own.

use std::{net::SocketAddr, time::Duration};

use portolan_gateway::{GATEWAYS, Gateway, Options, find};
use portolan_server::GatewayConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
};

use crate::client::{Harness, config, within};

/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(200);

/// What the old programs read at once.
const READ_MAX: usize = 1_024;

/// A server with all gateways, in which `ana` may close `tr223`.
pub(crate) async fn harbour() -> Harness {
    let mut config = config();
    config.gateways = GATEWAYS.iter().map(|&gateway| configured(gateway)).collect();
    // One of them at two ports.
    config.gateways.extend(find("tr223").map(configured));
    config.limits.gateway_strangers = 64;
    Harness::with(config).await
}

fn configured(gateway: &'static dyn Gateway) -> GatewayConfig {
    let admin = (gateway.name() == "tr223").then(|| ("admin".to_owned(), "ana".to_owned()));
    GatewayConfig {
        label: gateway.name().to_owned(),
        gateway,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        options: Options(admin.into_iter().collect()),
    }
}

/// Where a gateway listens.
pub(crate) fn address(harness: &Harness, gateway: &str) -> SocketAddr {
    harness.server.gateways().iter().find(|(name, _)| *name == gateway).unwrap().1
}

/// Where it listens besides.
pub(crate) fn second_address(harness: &Harness, gateway: &str) -> SocketAddr {
    let mut same = harness.server.gateways().iter().filter(|(name, _)| *name == gateway);
    same.next_back().unwrap().1
}

/// One old program.
pub(crate) struct Old {
    pub(crate) address: SocketAddr,
    writer: OwnedWriteHalf,
    /// What each read gave; none: the end.
    reads: mpsc::Receiver<Vec<u8>>,
    /// What was read behind the last line.
    rest: String,
}

impl Old {
    pub(crate) async fn connect(harness: &Harness, gateway: &str) -> Self {
        Self::connect_to(address(harness, gateway)).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let address = stream.local_addr().unwrap();
        let (mut reader, writer) = stream.into_split();
        let (sender, reads) = mpsc::channel(4_096);
        tokio::spawn(async move {
            let mut buffer = [0; READ_MAX];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                if sender.send(buffer[..length].to_vec()).await.is_err() {
                    return;
                }
            }
        });
        Self { address, writer, reads, rest: String::new() }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.say_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        within(self.writer.write_all(bytes)).await.unwrap();
    }

    /// Writes as far as the server takes it.
    pub(crate) async fn try_say(&mut self, bytes: &[u8]) -> bool {
        within(self.writer.write_all(bytes)).await.is_ok()
    }

    /// One read.
    pub(crate) async fn hear(&mut self) -> String {
        let read = within(self.reads.recv()).await.expect("the connection has ended: a crash");
        String::from_utf8(read).unwrap()
    }

    /// One line, without its end; for protocols that have lines.
    pub(crate) async fn hear_line(&mut self) -> String {
        loop {
            if let Some((line, rest)) = self.rest.split_once("\r\n") {
                let line = line.to_owned();
                self.rest = rest.to_owned();
                return line;
            }
            let more = self.hear().await;
            self.rest += &more;
        }
    }

    /// One line, which must be this.
    pub(crate) async fn expect_line(&mut self, expected: &str) {
        assert_eq!(self.hear_line().await, expected);
    }

    /// One read, which must be this.
    pub(crate) async fn expect(&mut self, expected: &str) {
        assert_eq!(self.hear().await, expected);
    }

    /// Nothing comes, for a while.
    pub(crate) async fn expect_nothing(&mut self) {
        if let Ok(read) = tokio::time::timeout(QUIET, self.reads.recv()).await {
            panic!("{:?}", read.map(|read| String::from_utf8_lossy(&read).into_owned()));
        }
    }

    /// The connection ends, whatever comes before.
    pub(crate) async fn expect_end(&mut self) {
        within(async { while self.reads.recv().await.is_some() {} }).await;
    }
}
