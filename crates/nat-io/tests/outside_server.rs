//! Interoperability with coturn, where it is installed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use portolan_datagram_io::SharedSockets;
use portolan_nat::Scope;
use portolan_nat_io::StunPort;
use tokio::{net::UdpSocket, time::timeout};

/// Ends with the test.
struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Two neighbouring ports that are free on both addresses now.
async fn free_ports() -> (u16, u16) {
    loop {
        let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = one.local_addr().unwrap().port();
        let Some(next) = port.checked_add(1) else { continue };
        let mut all = Vec::new();
        for (ip, port) in [("127.0.0.2", port), ("127.0.0.1", next), ("127.0.0.2", next)] {
            all.extend(UdpSocket::bind((ip, port)).await);
        }
        if all.len() == 3 {
            return (port, next);
        }
    }
}

fn start(directory: &std::path::Path, (port, other): (u16, u16)) -> Option<Coturn> {
    let child = Command::new("turnserver")
        .args(["-n", "--stun-only", "--no-tcp", "--no-tls", "--no-dtls", "--no-cli"])
        .args(["-L", "127.0.0.1", "-L", "127.0.0.2"])
        .args(["--listening-port", &port.to_string(), "--alt-listening-port", &other.to_string()])
        .arg("--log-file")
        .arg(directory.join("log"))
        .arg("--pidfile")
        .arg(directory.join("pid"))
        .arg("--db")
        .arg(directory.join("db"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.ok().map(Coturn)
}

#[tokio::test]
async fn another_server_tells_us_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let ports = free_ports().await;
    let Some(_coturn) = start(directory.path(), ports) else {
        println!("coturn is not installed: nothing was tested");
        return;
    };
    let sockets = Arc::new(SharedSockets::default());
    let port = StunPort::open(&sockets, "127.0.0.1:0".parse().unwrap(), [1; 32]).unwrap();
    let server = SocketAddr::new([127, 0, 0, 1].into(), ports.0);
    let asking = async {
        loop {
            // It takes a while until it listens.
            if let Ok(seen) = port.reflexive(server).await {
                return seen;
            }
        }
    };
    let seen = timeout(Duration::from_secs(30), asking).await.unwrap();
    assert_eq!(seen, port.local_addr());
    let found = port.survey(server).await.unwrap();
    assert_eq!(found.mapped, Some(port.local_addr()));
    assert_eq!(found.other, Some(SocketAddr::new([127, 0, 0, 2].into(), ports.1)));
    assert_eq!(found.mapping, Some(Scope::EndpointIndependent));
    assert_eq!(found.filtering, Some(Scope::EndpointIndependent));
}
