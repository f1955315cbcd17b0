//! The server's side: answers STUN on the port of the transports, and where asked for on another
//! address and port too.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use portolan_datagram_io::{Batch, Lane, LaneSocket, Reading, Received, SharedSockets, Transmit};
use portolan_nat::{Door, Responder, ResponderLimits, ResponderStats};
use thiserror::Error;
use tokio::time::Instant;

/// Why STUN cannot be served.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// An address cannot be had.
    #[error("cannot answer STUN at {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// The alternate address is of no use.
    #[error(
        "{alternate} cannot be the alternate address for STUN beside {listen}: name another IP \
         address of this machine, of the same family, and another port"
    )]
    Alternate {
        /// What was asked for.
        alternate: SocketAddr,
        /// Where the server listens.
        listen: SocketAddr,
    },
}

/// What has been answered; may be read while it is served.
#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    throttled: AtomicU64,
    ignored: AtomicU64,
}

/// One socket, and which doors it is.
#[derive(Debug)]
struct Entrance {
    lane: Arc<LaneSocket>,
    other_port: bool,
    /// `None`: bound to all addresses, which one is told by each packet.
    other_ip: Option<bool>,
}

/// Answers who asks as which it is seen (RFC 8489, RFC 5780), until the runtime ends.
#[derive(Debug)]
pub struct StunService {
    entrances: Vec<Entrance>,
    responder: Responder,
    alternate: Option<SocketAddr>,
    counters: Arc<Counters>,
}

/// Reads the counters of a service.
#[derive(Debug, Clone)]
pub struct StunCounters(Arc<Counters>);

impl StunCounters {
    /// What has been answered so far.
    #[must_use]
    pub fn read(&self) -> ResponderStats {
        ResponderStats {
            answered: self.0.answered.load(Ordering::Relaxed),
            throttled: self.0.throttled.load(Ordering::Relaxed),
            ignored: self.0.ignored.load(Ordering::Relaxed),
        }
    }
}

impl StunService {
    /// Takes the STUN lane of `listen`, where transports are bound already. With `alternate` it
    /// also answers there, at its IP address and the usual port, and at the usual address and its
    /// port, as who wants to know a translator's behaviour needs it.
    ///
    /// # Errors
    /// [`ServiceError`] when an address cannot be had.
    pub fn open(
        sockets: &SharedSockets,
        listen: SocketAddr,
        alternate: Option<SocketAddr>,
        limits: ResponderLimits,
    ) -> Result<Self, ServiceError> {
        let mut service = Self {
            entrances: Vec::new(),
            responder: Responder::new(limits, Instant::now().into_std()),
            alternate,
            counters: Arc::default(),
        };
        let is_wild = listen.ip().is_unspecified();
        let of = |other_ip, other_port| (Door { other_ip, other_port }, is_wild);
        service.enter(sockets, listen, of(false, false), Reading::Rare)?;
        if let Some(alternate) = alternate {
            check_alternate(listen, alternate)?;
            let other_port = SocketAddr::new(listen.ip(), alternate.port());
            let other_ip = SocketAddr::new(alternate.ip(), listen.port());
            service.enter(sockets, other_port, of(false, true), Reading::Eager)?;
            if !is_wild {
                service.enter(sockets, other_ip, of(true, false), Reading::Eager)?;
                service.enter(sockets, alternate, of(true, true), Reading::Eager)?;
            }
            let addresses = [listen, other_port, other_ip, alternate];
            for (door, address) in Door::ALL.into_iter().zip(addresses) {
                service.responder.open_door(door, address);
            }
        }
        Ok(service)
    }

    fn enter(
        &mut self,
        sockets: &SharedSockets,
        address: SocketAddr,
        (door, is_wild): (Door, bool),
        reading: Reading,
    ) -> Result<(), ServiceError> {
        let lane = sockets
            .open_as(address, Lane::Stun, reading)
            .map_err(|source| ServiceError::Bind { address, source })?;
        let other_ip = (!is_wild).then_some(door.other_ip);
        self.entrances.push(Entrance { lane, other_port: door.other_port, other_ip });
        Ok(())
    }

    /// Counts what is done; may be read while it is served.
    #[must_use]
    pub fn counters(&self) -> StunCounters {
        StunCounters(Arc::clone(&self.counters))
    }

    /// Serves until dropped. Cancel safe: a dropped call answers nothing more.
    pub async fn run(mut self) {
        let mut batches: Vec<Batch> = self.entrances.iter().map(|_| Batch::new()).collect();
        let mut out = Vec::new();
        loop {
            let Some(index) = readable(&self.entrances, &mut batches).await else { return };
            if let Some(batch) = batches.get_mut(index) {
                batch.for_each(|train| self.on_train(index, &train, &mut out));
            }
            // A flood must not keep this thread.
            tokio::task::yield_now().await;
        }
    }

    fn on_train(&mut self, index: usize, train: &Received<'_>, out: &mut Vec<u8>) {
        let now = Instant::now().into_std();
        for bytes in train.bytes.chunks(train.stride) {
            let Some(entrance) = self.entrances.get(index) else { return };
            let door = entrance.door(train.local_ip, self.alternate);
            let leaves = self.responder.handle_datagram(now, (door, train.from), bytes, out);
            if let Some(leaves) = leaves {
                self.send((door, leaves), train, out);
            }
        }
        let ResponderStats { answered, throttled, ignored } = self.responder.stats();
        self.counters.answered.store(answered, Ordering::Relaxed);
        self.counters.throttled.store(throttled, Ordering::Relaxed);
        self.counters.ignored.store(ignored, Ordering::Relaxed);
    }

    fn send(&self, (came, leaves): (Door, Door), train: &Received<'_>, out: &[u8]) {
        let serves = |entrance: &&Entrance| {
            entrance.other_port == leaves.other_port
                && entrance.other_ip.is_none_or(|other_ip| other_ip == leaves.other_ip)
        };
        let Some(entrance) = self.entrances.iter().find(serves) else { return };
        // A socket that is bound to all answers from the address that was asked.
        let src_ip = match (leaves.other_ip == came.other_ip, leaves.other_ip) {
            (true, _) => train.local_ip,
            (false, true) => self.alternate.map(|alternate| alternate.ip()),
            (false, false) => None,
        };
        let transmit = Transmit {
            destination: train.from,
            ecn: None,
            contents: out,
            segment_size: None,
            src_ip: src_ip.filter(|_| entrance.other_ip.is_none()),
        };
        let _lost_if_full = entrance.lane.try_send(&transmit);
    }
}

impl Entrance {
    fn door(&self, local_ip: Option<IpAddr>, alternate: Option<SocketAddr>) -> Door {
        let at_alternate =
            || local_ip.is_some() && local_ip == alternate.map(|address| address.ip());
        Door { other_ip: self.other_ip.unwrap_or_else(at_alternate), other_port: self.other_port }
    }
}

fn check_alternate(listen: SocketAddr, alternate: SocketAddr) -> Result<(), ServiceError> {
    let (usual, other) = (listen.ip(), alternate.ip());
    let is_family = usual.is_ipv4() == other.is_ipv4() || usual.is_unspecified();
    let is_other = usual != other && listen.port() != alternate.port() && alternate.port() != 0;
    if is_family && is_other && !other.is_unspecified() {
        Ok(())
    } else {
        Err(ServiceError::Alternate { alternate, listen })
    }
}

/// Waits until one of the entrances has filled its batch; `None`: the runtime ends.
async fn readable(entrances: &[Entrance], batches: &mut [Batch]) -> Option<usize> {
    std::future::poll_fn(|cx| {
        for (index, (entrance, batch)) in entrances.iter().zip(&mut *batches).enumerate() {
            match entrance.lane.poll_batch(cx, batch) {
                std::task::Poll::Ready(Ok(())) => return std::task::Poll::Ready(Some(index)),
                std::task::Poll::Ready(Err(_)) => return std::task::Poll::Ready(None),
                std::task::Poll::Pending => {}
            }
        }
        std::task::Poll::Pending
    })
    .await
}
