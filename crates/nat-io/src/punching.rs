//! An agent with sockets and a clock.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_nat::{
    Agent, AgentConfig, AgentStats, Candidate, Event, FailReason, Families, LostReason, Mapping,
    Path, SocketId,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    port::{Datagram, Inner, send},
    spare::SpareSockets,
};

/// Orders that wait for the agent's task: more than a whole exchange of candidates.
const ORDERS_MAX: usize = 64;
/// News that wait for their owner.
const NEWS_MAX: usize = 16;

/// The shared port; spare sockets count on from 1.
const SHARED: SocketId = SocketId(0);

/// News of a punching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PunchEvent {
    /// Packets go through both ways on this path.
    Nominated {
        /// Which.
        path: Path,
        /// From which local address: nearly always the shared port's. A transport that is to use
        /// the path must be bound to it, through the same `SharedSockets`.
        local: SocketAddr,
    },
    /// The path is gone; others are being tried.
    Lost(Path, LostReason),
    /// There is no path now.
    Failed(FailReason),
}

/// What the owner tells the agent.
#[derive(Debug)]
enum Order {
    Candidate(Candidate),
    Vouch(IpAddr),
    Mapping { local: Mapping, remote: Mapping },
    NetworkChanged,
}

/// Looks for a path to one peer, and watches it until dropped.
#[derive(Debug)]
pub struct Punching {
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<PunchEvent>,
    stats: watch::Receiver<AgentStats>,
}

impl Punching {
    pub(crate) fn start(
        port: Arc<Inner>,
        datagrams: mpsc::Receiver<Datagram>,
        config: AgentConfig,
    ) -> Self {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (news_sender, news) = mpsc::channel(NEWS_MAX);
        let (stats_sender, stats) = watch::channel(AgentStats::default());
        let now = Instant::now().into_std();
        let mut agent = Agent::new(config, now);
        let local = port.lane.local_addr();
        // Only what the socket can send to is tried.
        let families = if local.is_ipv4() { Families::V4 } else { Families::Both };
        agent.add_socket(now, SHARED, families);
        let driver = Driver {
            port,
            agent,
            spare: SpareSockets::new(),
            news: news_sender,
            stats: stats_sender,
            buffer: Vec::new(),
        };
        tokio::spawn(driver.run(datagrams, ordered));
        Self { orders, news, stats }
    }

    /// An address at which the peer says it can be reached; what it cannot be is left out.
    pub fn add_remote(&self, candidate: Candidate) {
        self.order(Order::Candidate(candidate));
    }

    /// The server has seen the peer at this address.
    pub fn vouch(&self, ip: IpAddr) {
        self.order(Order::Vouch(ip));
    }

    /// How both sides' translators map.
    pub fn set_mapping(&self, local: Mapping, remote: Mapping) {
        self.order(Order::Mapping { local, remote });
    }

    /// Our addresses are others now.
    pub fn network_changed(&self) {
        self.order(Order::NetworkChanged);
    }

    /// Waits for news; `None`: the port is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<PunchEvent> {
        self.news.recv().await
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> AgentStats {
        *self.stats.borrow()
    }

    fn order(&self, order: Order) {
        // More orders than a whole exchange of candidates are not obeyed.
        let _lost_if_full = self.orders.try_send(order);
    }
}

/// The task; ends with its handle or its port.
struct Driver {
    port: Arc<Inner>,
    agent: Agent,
    spare: SpareSockets,
    news: mpsc::Sender<PunchEvent>,
    stats: watch::Sender<AgentStats>,
    buffer: Vec<u8>,
}

impl Driver {
    async fn run(
        mut self,
        mut datagrams: mpsc::Receiver<Datagram>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        loop {
            self.drain();
            let until = self.agent.poll_timeout().map(|deadline| Instant::from_std(deadline.at));
            let due = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                datagram = datagrams.recv() => match datagram {
                    Some(Datagram { from, bytes }) => self.receive(SHARED, from, &bytes),
                    None => return,
                },
                (socket, from, bytes) = poll_fn(|cx| self.spare.poll_recv(cx)) => {
                    self.receive(socket, from, &bytes);
                }
                () = due => {}
            }
        }
    }

    fn receive(&mut self, socket: SocketId, from: SocketAddr, bytes: &[u8]) {
        let now = Instant::now().into_std();
        let _ours = self.agent.handle_datagram(now, socket, from, bytes);
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now().into_std();
        match order {
            Order::Candidate(candidate) => {
                if let Err(error) = self.agent.add_remote(now, candidate) {
                    tracing::debug!(address = %candidate.address, %error, "candidate left out");
                }
            }
            Order::Vouch(ip) => self.agent.vouch(ip),
            Order::Mapping { local, remote } => self.agent.set_mapping(local, remote),
            Order::NetworkChanged => self.agent.network_changed(now),
        }
    }

    /// Everything that is due goes out.
    fn drain(&mut self) {
        let now = Instant::now().into_std();
        self.agent.handle_timeout(now);
        loop {
            while let Some(transmit) = self.agent.poll_transmit(now, &mut self.buffer) {
                if let Some(lane) = self.lane(transmit.socket) {
                    send(lane, transmit.to, &self.buffer);
                }
            }
            let Some(event) = self.agent.poll_event() else { break };
            self.on_event(event);
        }
        self.stats.send_replace(self.agent.stats());
    }

    fn lane(&self, socket: SocketId) -> Option<&portolan_datagram_io::LaneSocket> {
        match socket {
            SHARED => Some(&self.port.lane),
            spare => self.spare.get(spare).map(|socket| &**socket),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Nominated(path) => {
                let local = self.lane(path.socket).map(|lane| lane.local_addr());
                if let Some(local) = local {
                    self.tell(PunchEvent::Nominated { path, local });
                }
            }
            Event::Lost(path, reason) => self.tell(PunchEvent::Lost(path, reason)),
            Event::Failed(reason) => self.tell(PunchEvent::Failed(reason)),
            Event::SocketsWanted(count) => {
                let like = self.port.lane.local_addr();
                for socket in self.spare.open(&self.port.sockets, like, count) {
                    self.agent.add_birthday_socket(socket);
                }
            }
            Event::SocketsUnneeded => {
                let used = self.agent.path().map(|path| path.socket);
                let now = Instant::now().into_std();
                for socket in self.spare.keep(used) {
                    self.agent.remove_socket(now, socket);
                }
            }
        }
    }

    fn tell(&self, event: PunchEvent) {
        // Who does not listen to this many news does not want them.
        let _lost_if_full = self.news.try_send(event);
    }
}
