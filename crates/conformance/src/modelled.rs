//! A way through a modelled network: a UDP proxy around `netsim`, in real time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use portolan_netsim::{Delivery, Link, Network, Where};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{BoxFuture, Detour, Detours};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where all servers stand in the model, and all clients.
const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 7275);
const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Ways on which every packet meets the faults of `link`.
#[derive(Debug, Clone)]
pub struct Modelled {
    /// The faults, the same in both directions.
    pub link: Link,
    /// What decides chance.
    pub seed: u64,
}

impl Detours for Modelled {
    fn open(&self, target: SocketAddr) -> BoxFuture<'static, Box<dyn Detour>> {
        let mut network = Network::new(self.seed);
        network.set_link(Where::Everywhere, self.link);
        Box::pin(async move {
            let socket = Arc::new(UdpSocket::bind(LOOPBACK).await.expect("a free port"));
            let entry = socket.local_addr().expect("bound");
            let dark = Arc::new(AtomicBool::new(false));
            let (arrived, arrivals) = mpsc::channel(4096);
            let mut readers = JoinSet::new();
            readers.spawn(read(Arc::clone(&socket), arrived.clone(), Origin::Client));
            let proxy = Proxy {
                network,
                socket,
                target,
                arrived,
                readers,
                dark: Arc::clone(&dark),
                clients: Vec::new(),
                known: HashMap::new(),
            };
            let task = tokio::spawn(proxy.run(arrivals)).abort_handle();
            Box::new(Way { entry, dark, task }) as Box<dyn Detour>
        })
    }
}

struct Way {
    entry: SocketAddr,
    dark: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Detour for Way {
    fn entry(&self) -> SocketAddr {
        self.entry
    }

    fn go_dark(&self) {
        self.dark.store(true, Ordering::Release);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which side a datagram comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Client,
    /// The target, for the client of this number.
    Target(u16),
}

struct Arrival {
    origin: Origin,
    from: SocketAddr,
    bytes: Vec<u8>,
}

struct Client {
    addr: SocketAddr,
    // The target sees each client at a port of its own.
    socket: Arc<UdpSocket>,
}

struct Proxy {
    network: Network,
    socket: Arc<UdpSocket>,
    target: SocketAddr,
    arrived: mpsc::Sender<Arrival>,
    readers: JoinSet<()>,
    dark: Arc<AtomicBool>,
    clients: Vec<Client>,
    known: HashMap<SocketAddr, u16>,
}

impl Proxy {
    async fn run(mut self, mut arrivals: mpsc::Receiver<Arrival>) {
        loop {
            let next = self.network.poll_timeout().map(Instant::from_std);
            tokio::select! {
                Some(arrival) = arrivals.recv() => self.enter(arrival).await,
                () = sleep_until(next.unwrap_or_else(far_off)), if next.is_some() => {}
            }
            let now = Instant::now().into_std();
            while let Some(delivery) = self.network.poll_delivery(now) {
                self.leave(&delivery).await;
            }
        }
    }

    async fn enter(&mut self, Arrival { origin, from, bytes }: Arrival) {
        if self.dark.load(Ordering::Acquire) {
            return;
        }
        let (number, to_target) = match origin {
            Origin::Client => (self.client(from).await, true),
            Origin::Target(number) => (number, false),
        };
        let near = SocketAddr::new(NEAR, number);
        let (from, to) = if to_target { (near, FAR) } else { (FAR, near) };
        self.network.send(Instant::now().into_std(), from, to, &bytes, None);
    }

    async fn leave(&self, delivery: &Delivery) {
        // What the system does not take is lost, as in life.
        let _ = if delivery.to == FAR {
            let from = usize::from(delivery.from.port());
            self.clients[from].socket.send_to(&delivery.bytes, self.target).await
        } else {
            let to = usize::from(delivery.to.port());
            self.socket.send_to(&delivery.bytes, self.clients[to].addr).await
        };
    }

    /// The number of the client at `addr`.
    async fn client(&mut self, addr: SocketAddr) -> u16 {
        if let Some(number) = self.known.get(&addr) {
            return *number;
        }
        let number = u16::try_from(self.clients.len()).expect("few clients");
        let socket = Arc::new(UdpSocket::bind(LOOPBACK).await.expect("a free port"));
        let arrived = self.arrived.clone();
        self.readers.spawn(read(Arc::clone(&socket), arrived, Origin::Target(number)));
        self.clients.push(Client { addr, socket });
        self.known.insert(addr, number);
        number
    }
}

async fn read(socket: Arc<UdpSocket>, arrived: mpsc::Sender<Arrival>, origin: Origin) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // Errors are echoes of what was sent to ports that are closed by now.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let arrival = Arrival { origin, from, bytes: buffer[..length].to_vec() };
        if arrived.send(arrival).await.is_err() {
            return;
        }
    }
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
