//! Remotes behind relays: an address for each, and the header that leads there.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use quinn_udp::Transmit;

use crate::{
    relay_frame::{HEADER, data_header},
    socket::MAX_DATAGRAM,
};

/// Addresses of relayed remotes are 240.0.0.0/4 ("reserved for future use", RFC 1112 §4), which no
/// system sends to.
const FIRST: u32 = 0xF000_0001;
const LAST: u32 = 0xFFFF_FFF0;

/// Of all those addresses; it means nothing.
const PORT: u16 = 1;

/// Whether `remote` stands for one that is reached through a relay.
#[must_use]
pub fn is_relayed(remote: SocketAddr) -> bool {
    match remote.ip().to_canonical() {
        IpAddr::V4(v4) => v4.to_bits() >= FIRST && v4.to_bits() <= LAST,
        IpAddr::V6(_) => false,
    }
}

/// A way to one remote through a relay; dropping it closes it.
#[derive(Debug)]
pub struct Channel {
    table: Arc<ChannelTable>,
    relay: SocketAddr,
    addr: SocketAddr,
}

impl Channel {
    pub(crate) fn open(table: Arc<ChannelTable>, relay: SocketAddr, number: u64) -> Self {
        let addr = table.open(relay, number);
        Self { table, relay, addr }
    }

    /// What stands for the remote: to be dialled, and what its datagrams seem to come from.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the relay is.
    #[must_use]
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.table.close(self.addr);
    }
}

/// The channels of a socket.
#[derive(Debug, Default)]
pub(crate) struct ChannelTable {
    open: AtomicUsize,
    channels: RwLock<Channels>,
    // For trains under way; one at a time, as the socket sends them.
    scratch: Mutex<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Channels {
    by_addr: HashMap<SocketAddr, (SocketAddr, u64)>,
    by_number: HashMap<(SocketAddr, u64), SocketAddr>,
    next: u32,
}

impl ChannelTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn open(&self, relay: SocketAddr, number: u64) -> SocketAddr {
        let relay = SocketAddr::new(relay.ip().to_canonical(), relay.port());
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        let addr = channels.free_address();
        channels.by_addr.insert(addr, (relay, number));
        channels.by_number.insert((relay, number), addr);
        self.open.store(channels.by_addr.len(), Ordering::Relaxed);
        addr
    }

    fn close(&self, addr: SocketAddr) {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = channels.by_addr.remove(&addr)
            && channels.by_number.get(&named) == Some(&addr)
        {
            channels.by_number.remove(&named);
        }
        self.open.store(channels.by_addr.len(), Ordering::Relaxed);
    }

    /// Whom a datagram under this number from this relay comes from.
    pub(crate) fn address_of(&self, relay: SocketAddr, number: u64) -> Option<SocketAddr> {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        channels.by_number.get(&(relay, number)).copied()
    }

    /// Puts a header before each datagram of a train and hands it to `send` in parts that the
    /// system takes. Answers how many bytes of the train are done with, as `send` does; `None`:
    /// there is no such channel.
    pub(crate) fn wrap(
        &self,
        transmit: &Transmit<'_>,
        send: impl Fn(&Transmit<'_>) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let (relay, number) = {
            let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
            let ip = transmit.destination.ip().to_canonical();
            *channels.by_addr.get(&SocketAddr::new(ip, transmit.destination.port()))?
        };
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let per_call = (MAX_DATAGRAM / (segment + HEADER)).max(1) * segment;
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        for part in transmit.contents.chunks(per_call) {
            scratch.clear();
            for datagram in part.chunks(segment) {
                scratch.extend_from_slice(&data_header(number));
                scratch.extend_from_slice(datagram);
            }
            let wrapped = Transmit {
                destination: relay,
                contents: &scratch,
                segment_size: (part.len() > segment).then_some(segment + HEADER),
                ..transmit.clone()
            };
            match send(&wrapped) {
                Ok(sent) if sent == scratch.len() => done += part.len(),
                Ok(sent) => return Some(Ok(done + sent / (segment + HEADER) * segment)),
                Err(_) if done > 0 => return Some(Ok(done)),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(done))
    }
}

impl Channels {
    fn free_address(&mut self) -> SocketAddr {
        loop {
            let bits = FIRST + self.next % (LAST - FIRST);
            self.next = self.next.wrapping_add(1);
            let addr = SocketAddr::new(Ipv4Addr::from_bits(bits).into(), PORT);
            if !self.by_addr.contains_key(&addr) {
                return addr;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn relay() -> SocketAddr {
        "192.0.2.1:7275".parse().expect("an address")
    }

    fn transmit(destination: SocketAddr, contents: &[u8], segment: usize) -> Transmit<'_> {
        Transmit { destination, ecn: None, contents, segment_size: Some(segment), src_ip: None }
    }

    #[test]
    fn a_train_to_a_relayed_remote_has_a_header_before_each_datagram() {
        let table = Arc::new(ChannelTable::default());
        let channel = Channel::open(Arc::clone(&table), relay(), 9);
        assert!(is_relayed(channel.addr()) && !table.is_empty());
        let sent = RefCell::new(Vec::new());
        let result = table.wrap(&transmit(channel.addr(), b"aaaabb", 4), |wrapped| {
            assert_eq!((wrapped.destination, wrapped.segment_size), (relay(), Some(12)));
            sent.borrow_mut().extend_from_slice(wrapped.contents);
            Ok(wrapped.contents.len())
        });
        assert_eq!(result.expect("open").expect("sent"), 6);
        let header = data_header(9);
        let wanted = [header.as_slice(), b"aaaa", header.as_slice(), b"bb"].concat();
        assert_eq!(*sent.borrow(), wanted);
    }

    #[test]
    fn what_the_system_took_of_a_train_is_counted_without_headers() {
        let table = Arc::new(ChannelTable::default());
        let channel = Channel::open(Arc::clone(&table), relay(), 9);
        let taken = |bytes| {
            let train = transmit(channel.addr(), b"aaaabbbbcc", 4);
            table.wrap(&train, move |_| Ok(bytes)).expect("open").expect("sent")
        };
        assert_eq!([taken(12), taken(24), taken(34)], [4, 8, 10]);
        let full = table
            .wrap(&transmit(channel.addr(), b"aaaa", 4), |_| Err(io::ErrorKind::WouldBlock.into()));
        assert!(full.expect("open").is_err());
    }

    #[test]
    fn a_closed_channel_leads_nowhere() {
        let table = Arc::new(ChannelTable::default());
        let channel = Channel::open(Arc::clone(&table), relay(), 9);
        let addr = channel.addr();
        assert_eq!(table.address_of(relay(), 9), Some(addr));
        drop(channel);
        assert!(table.is_empty() && table.address_of(relay(), 9).is_none());
        assert!(table.wrap(&transmit(addr, b"a", 1), |_| panic!("sent")).is_none());
        assert_ne!(table.open(relay(), 10), addr, "an address is not used again at once");
    }
}
