//! Sorting what one read brought: own datagrams stay in the caller's buffers, the others' wait in
//! bounded queues.

use std::{collections::VecDeque, io::IoSliceMut, net::SocketAddr, sync::Arc};

use quinn_udp::RecvMeta;

use crate::{Lane, Reading, channels::ChannelTable, relay_frame};

/// Bytes that wait for a lane whose task is late; about a socket's receive buffer.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Trains that wait for a lane; bounds the bookkeeping of tiny datagrams.
const QUEUE_TRAINS_MAX: usize = 1024;
/// Empty buffers kept for the next trains.
const SPARE_MAX: usize = 64;

/// Datagrams of equal size from one remote that came together, as GRO hands them over.
#[derive(Debug)]
struct Train {
    meta: RecvMeta,
    bytes: Vec<u8>,
}

/// The trains of one open lane.
#[derive(Debug, Default)]
struct Queue {
    trains: VecDeque<Train>,
    bytes: usize,
    reading: Reading,
}

/// Counts of what was not delivered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DropCounts {
    /// Datagrams that no protocol of ours can have sent.
    pub(crate) unknown: u64,
    /// Datagrams for a lane that is not open.
    pub(crate) unclaimed: u64,
    /// Datagrams pushed out of a full queue.
    pub(crate) overflowed: u64,
}

/// The lanes of one socket.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    lanes: [Option<Queue>; Lane::ALL.len()],
    spare: Vec<Vec<u8>>,
    dropped: DropCounts,
    channels: Arc<ChannelTable>,
}

impl Demux {
    /// Knows the relays' channels that `channels` lists.
    pub(crate) fn new(channels: Arc<ChannelTable>) -> Self {
        Self { channels, ..Self::default() }
    }

    /// Opens `lane`; false when it is open already.
    pub(crate) fn open(&mut self, lane: Lane, reading: Reading) -> bool {
        let slot = &mut self.lanes[lane.index()];
        let free = slot.is_none();
        if free {
            *slot = Some(Queue { reading, ..Queue::default() });
        }
        free
    }

    /// Whether others read for `lane`.
    pub(crate) fn rests(&self, lane: Lane) -> bool {
        let is_eager = |queue: &Queue| queue.reading == Reading::Eager;
        let own = self.lanes[lane.index()].as_ref();
        own.is_some_and(|queue| !is_eager(queue)) && self.lanes.iter().flatten().any(is_eager)
    }

    /// Closes `lane` and throws away what waits for it.
    pub(crate) fn close(&mut self, lane: Lane) {
        self.lanes[lane.index()] = None;
    }

    pub(crate) fn dropped(&self) -> DropCounts {
        self.dropped
    }

    /// Moves trains that wait for `lane` into the caller's buffers; returns how many.
    pub(crate) fn take(
        &mut self,
        lane: Lane,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let Some(queue) = &mut self.lanes[lane.index()] else { return 0 };
        let mut taken = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some(train) = queue.trains.pop_front() else { break };
            queue.bytes -= train.bytes.len();
            // Whole segments only: a buffer too small for a train gets the start of it.
            let fits = whole_segments(buffer.len(), &train.meta);
            buffer[..fits].copy_from_slice(&train.bytes[..fits]);
            *meta = RecvMeta { len: fits, ..train.meta };
            recycle(&mut self.spare, train.bytes);
            taken += usize::from(fits > 0);
            if fits == 0 {
                break;
            }
        }
        taken
    }

    /// Sorts `count` freshly read trains: those of `own` stay, moved to the front; the others'
    /// go to their queues. Returns how many stay, and marks in `woken` who got something.
    pub(crate) fn sort(
        &mut self,
        own: Lane,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
        woken: &mut [bool; Lane::ALL.len()],
    ) -> usize {
        let mut kept = 0;
        for index in 0..buffers.len().min(metas.len()) {
            normalise(&mut metas[index]);
            if self.is_relayed(&buffers[index], &metas[index]) {
                self.unwrap(&mut buffers[index], &mut metas[index], woken);
            }
            if !is_pure(own, &buffers[index], &metas[index]) {
                metas[index].len = self.split(own, &mut buffers[index], &metas[index], woken);
            }
            if metas[index].len > 0 {
                buffers.swap(kept, index);
                metas.swap(kept, index);
                kept += 1;
            }
        }
        kept
    }

    /// Whether a train brings datagrams through a relay of ours.
    fn is_relayed(&self, buffer: &[u8], meta: &RecvMeta) -> bool {
        meta.len > 0 && relay_frame::is_data(buffer[0]) && !self.channels.is_empty()
    }

    /// Takes the relay's headers off a train: what came on the first segment's channel stays, as
    /// if it came from that channel's address; what came on others goes to the queues.
    fn unwrap(
        &mut self,
        buffer: &mut [u8],
        meta: &mut RecvMeta,
        woken: &mut [bool; Lane::ALL.len()],
    ) {
        let (relay, header) = (meta.addr, relay_frame::header_of(&buffer[..meta.len]));
        let first = header.and_then(|header| self.channels.address_of(relay, header));
        let (mut kept, mut start) = (0, 0);
        while start < meta.len {
            let end = meta.len.min(start + meta.stride);
            let own = relay_frame::header_of(&buffer[start..end]);
            let inner = start + relay_frame::HEADER;
            if own.is_none() || end <= inner {
                self.dropped.unknown += 1;
            } else if own == header && first.is_some() {
                buffer.copy_within(inner..end, kept);
                kept += end - inner;
            } else {
                let from = own.and_then(|header| self.channels.address_of(relay, header));
                self.push_relayed((from, *meta), &buffer[inner..end], woken);
            }
            start = end;
        }
        if let Some(from) = first {
            meta.addr = from;
        }
        meta.len = kept;
        meta.stride = meta.stride.saturating_sub(relay_frame::HEADER).min(kept);
    }

    fn push_relayed(
        &mut self,
        (from, meta): (Option<SocketAddr>, RecvMeta),
        inner: &[u8],
        woken: &mut [bool; Lane::ALL.len()],
    ) {
        match (from, inner.first().and_then(|first| Lane::of(*first))) {
            (Some(addr), Some(lane)) if self.lanes[lane.index()].is_some() => {
                let mut bytes = self.spare.pop().unwrap_or_default();
                bytes.extend_from_slice(inner);
                woken[lane.index()] = true;
                self.push(lane, RecvMeta { addr, stride: inner.len(), ..meta }, bytes);
            }
            (Some(_), Some(_)) => self.dropped.unclaimed += 1,
            (None, _) | (Some(_), None) => self.dropped.unknown += 1,
        }
    }

    /// Splits a train of several protocols: own segments move to the front of `buffer`, whose new
    /// length is returned.
    fn split(
        &mut self,
        own: Lane,
        buffer: &mut [u8],
        meta: &RecvMeta,
        woken: &mut [bool; Lane::ALL.len()],
    ) -> usize {
        if meta.len == 0 {
            self.dropped.unknown += 1;
            return 0;
        }
        let mut others: [Vec<u8>; Lane::ALL.len()] = Default::default();
        let mut kept = 0;
        let mut start = 0;
        while start < meta.len {
            let end = meta.len.min(start + meta.stride);
            match Lane::of(buffer[start]) {
                Some(lane) if lane == own => {
                    buffer.copy_within(start..end, kept);
                    kept += end - start;
                }
                Some(lane) if self.lanes[lane.index()].is_some() => {
                    let bytes = &mut others[lane.index()];
                    if bytes.capacity() == 0 {
                        *bytes = self.spare.pop().unwrap_or_default();
                    }
                    bytes.extend_from_slice(&buffer[start..end]);
                }
                Some(_) => self.dropped.unclaimed += 1,
                None => self.dropped.unknown += 1,
            }
            start = end;
        }
        for (lane, bytes) in Lane::ALL.into_iter().zip(others) {
            if !bytes.is_empty() {
                woken[lane.index()] = true;
                self.push(lane, *meta, bytes);
            }
        }
        kept
    }

    /// Queues a train; the oldest make room.
    fn push(&mut self, lane: Lane, meta: RecvMeta, bytes: Vec<u8>) {
        let Some(queue) = &mut self.lanes[lane.index()] else { return };
        while queue.trains.len() >= QUEUE_TRAINS_MAX
            || (queue.bytes + bytes.len() > QUEUE_BYTES_MAX && !queue.trains.is_empty())
        {
            let Some(oldest) = queue.trains.pop_front() else { break };
            queue.bytes -= oldest.bytes.len();
            self.dropped.overflowed += segments(&oldest.meta);
            recycle(&mut self.spare, oldest.bytes);
        }
        queue.bytes += bytes.len();
        queue.trains.push_back(Train { meta: RecvMeta { len: bytes.len(), ..meta }, bytes });
    }
}

/// Makes addresses canonical and the stride usable: a stride of 0 would never advance.
fn normalise(meta: &mut RecvMeta) {
    meta.addr.set_ip(meta.addr.ip().to_canonical());
    meta.dst_ip = meta.dst_ip.map(|ip| ip.to_canonical());
    if meta.stride == 0 || meta.stride > meta.len {
        meta.stride = meta.len;
    }
}

/// Whether every segment belongs to `own`: nearly always, and then nothing has to move.
fn is_pure(own: Lane, buffer: &[u8], meta: &RecvMeta) -> bool {
    meta.len > 0
        && buffer[..meta.len].chunks(meta.stride).all(|segment| Lane::of(segment[0]) == Some(own))
}

fn whole_segments(room: usize, meta: &RecvMeta) -> usize {
    if room >= meta.len { meta.len } else { room - room % meta.stride.max(1) }
}

fn segments(meta: &RecvMeta) -> u64 {
    meta.len.div_ceil(meta.stride.max(1)) as u64
}

fn recycle(spare: &mut Vec<Vec<u8>>, mut bytes: Vec<u8>) {
    if spare.len() < SPARE_MAX {
        bytes.clear();
        spare.push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};

    use crate::relay_frame::{HEADER, data_header};

    use super::*;

    const RUDP: u8 = 0x80;
    const QUIC: u8 = 0x40;

    fn meta(len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (len, stride);
        meta
    }

    /// Sorts one train as the UDP lane and returns what stays of it.
    fn sort_one(demux: &mut Demux, train: &mut [u8], stride: usize) -> Vec<u8> {
        let mut metas = [meta(train.len(), stride)];
        let mut woken = [false; Lane::ALL.len()];
        let mut buffers = [IoSliceMut::new(train)];
        let kept = demux.sort(Lane::Rudp, &mut buffers, &mut metas, &mut woken);
        if kept == 0 { Vec::new() } else { buffers[0][..metas[0].len].to_vec() }
    }

    fn take_one(demux: &mut Demux, lane: Lane) -> Option<(Vec<u8>, RecvMeta)> {
        let mut storage = [0; 256];
        let mut metas = [RecvMeta::default()];
        let taken = demux.take(lane, &mut [IoSliceMut::new(&mut storage)], &mut metas);
        (taken == 1).then(|| (storage[..metas[0].len].to_vec(), metas[0]))
    }

    fn with_both_lanes() -> Demux {
        let mut demux = Demux::default();
        assert!(demux.open(Lane::Rudp, Reading::Eager) && demux.open(Lane::Quic, Reading::Eager));
        demux
    }

    #[test]
    fn a_train_of_two_protocols_is_split() {
        let mut demux = with_both_lanes();
        let mut train = [RUDP, 1, QUIC, 2, RUDP, 3, 0x20, 4, 0x01, 5, QUIC];
        assert_eq!(sort_one(&mut demux, &mut train, 2), [RUDP, 1, RUDP, 3]);
        let (bytes, meta) = take_one(&mut demux, Lane::Quic).expect("queued for the other lane");
        assert_eq!(bytes, [QUIC, 2, QUIC]);
        assert_eq!((meta.len, meta.stride), (3, 2));
        assert_eq!(demux.dropped().unknown, 1);
        assert_eq!(demux.dropped().unclaimed, 1, "STUN is not open");
    }

    #[test]
    fn relayed_datagrams_of_two_channels_come_from_two_addresses() {
        let channels = Arc::new(ChannelTable::default());
        let relay: SocketAddr = "192.0.2.1:7275".parse().expect("an address");
        let (alice, bob) = (channels.open(relay, 5), channels.open(relay, 6));
        let mut demux = Demux::new(Arc::clone(&channels));
        assert!(demux.open(Lane::Rudp, Reading::Eager) && demux.open(Lane::Quic, Reading::Eager));
        let mut train = Vec::new();
        for (channel, inner) in [(5, RUDP), (6, RUDP), (5, QUIC), (7, RUDP), (5, RUDP)] {
            train.extend(data_header(channel));
            train.push(inner);
        }
        let mut metas = [meta(train.len(), HEADER + 1)];
        metas[0].addr = relay;
        let mut woken = [false; Lane::ALL.len()];
        let mut buffers = [IoSliceMut::new(&mut train)];
        assert_eq!(demux.sort(Lane::Rudp, &mut buffers, &mut metas, &mut woken), 1);
        assert_eq!(&buffers[0][..metas[0].len], [RUDP, RUDP]);
        assert_eq!((metas[0].addr, metas[0].stride), (alice, 1));
        assert_eq!(woken, [false, false, true, true]);
        let (bytes, from) = take_one(&mut demux, Lane::Rudp).expect("bob's");
        assert_eq!((bytes, from.addr), (vec![RUDP], bob));
        let (bytes, from) = take_one(&mut demux, Lane::Quic).expect("alice's other protocol");
        assert_eq!((bytes, from.addr), (vec![QUIC], alice));
        assert_eq!(demux.dropped().unknown, 1, "nobody opened channel 7");
    }

    #[test]
    fn a_relayed_datagram_from_elsewhere_than_the_relay_is_dropped() {
        let channels = Arc::new(ChannelTable::default());
        channels.open("192.0.2.1:7275".parse().expect("an address"), 5);
        let mut demux = Demux::new(channels);
        assert!(demux.open(Lane::Rudp, Reading::Eager));
        let mut datagram = data_header(5).to_vec();
        assert!(sort_one(&mut demux, &mut datagram.clone(), HEADER).is_empty(), "an empty one");
        datagram.push(RUDP);
        assert!(sort_one(&mut demux, &mut datagram, HEADER + 1).is_empty());
        assert!(take_one(&mut demux, Lane::Rudp).is_none());
    }

    #[test]
    fn own_trains_move_to_the_front() {
        let mut demux = with_both_lanes();
        let (mut first, mut second) = ([QUIC, 1], [RUDP, 2]);
        let mut metas = [meta(2, 2), meta(2, 2)];
        let mut woken = [false; Lane::ALL.len()];
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(demux.sort(Lane::Rudp, &mut buffers, &mut metas, &mut woken), 1);
        assert_eq!(&buffers[0][..metas[0].len], [RUDP, 2]);
        assert_eq!(woken, [false, false, false, true]);
    }

    #[test]
    fn an_empty_datagram_is_dropped() {
        let mut demux = with_both_lanes();
        assert!(sort_one(&mut demux, &mut [], 0).is_empty());
        assert_eq!(demux.dropped().unknown, 1);
    }

    #[test]
    fn a_lane_that_nobody_reads_keeps_the_newest() {
        let mut demux = with_both_lanes();
        let total = QUEUE_TRAINS_MAX + 10;
        for number in 0..total {
            let low = u8::try_from(number % 256).expect("below 256");
            sort_one(&mut demux, &mut [QUIC, low], 2);
        }
        assert_eq!(demux.dropped().overflowed, 10);
        assert_eq!(take_one(&mut demux, Lane::Quic).map(|(bytes, _)| bytes), Some(vec![QUIC, 10]));
    }

    #[test]
    fn the_bytes_that_wait_are_bounded() {
        let mut demux = with_both_lanes();
        for _ in 0..100 {
            sort_one(&mut demux, &mut vec![QUIC; 60_000], 60_000);
        }
        let queue = demux.lanes[Lane::Quic.index()].as_ref().expect("open");
        assert!(queue.bytes <= QUEUE_BYTES_MAX);
        assert_eq!(queue.bytes, queue.trains.iter().map(|train| train.bytes.len()).sum::<usize>());
    }

    #[test]
    fn a_mapped_address_becomes_ipv4() {
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().expect("an address");
        let mut seen = meta(1, 0);
        seen.addr = SocketAddr::new(mapped.into(), 7);
        seen.dst_ip = Some(mapped.into());
        normalise(&mut seen);
        assert_eq!(seen.addr, "192.0.2.1:7".parse().expect("an address"));
        assert_eq!(seen.dst_ip, Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(seen.stride, 1);
    }
}
