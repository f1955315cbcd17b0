//! Tells the clients of a gateway over UDP apart: each address is one.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use super::{
    Running,
    visit::Visit,
    wire::{READ_MAX, Wire},
};

/// Datagrams that wait for one client's bridge; more are lost, as datagrams are.
const WAITING_MAX: usize = 64;

/// Receives until the gateway closes, then waits for the visits to end.
pub(super) async fn run(running: Arc<Running>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
    let mut visits: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; READ_MAX];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // What fails here is the news of a datagram of ours that found nobody.
                let Ok((length, remote)) = received else { continue };
                let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                if bytes.is_empty() {
                    continue;
                }
                let sender = clients.entry(remote).or_insert_with(|| {
                    let (sender, received) = mpsc::channel(WAITING_MAX);
                    let wire = Wire::Udp { socket: Arc::clone(&socket), remote, received };
                    let visit = Visit::new(Arc::clone(&running), remote, wire);
                    visits.spawn(async move { visit.run().await; remote });
                    sender
                });
                let _lost = sender.try_send(bytes);
            }
            Some(ended) = visits.join_next() => {
                if let Ok(remote) = ended {
                    clients.remove(&remote);
                }
            }
            () = running.closing.cancelled() => break,
        }
    }
    while visits.join_next().await.is_some() {}
}
