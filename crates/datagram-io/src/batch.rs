//! Receive buffers that are used again and again.

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    task::{Poll, ready},
};

use quinn_udp::{EcnCodepoint, RecvMeta};

/// Bytes of one buffer: the longest datagram, and the longest train that GRO makes.
const BUFFER_SIZE: usize = 1 << 16;

/// Trains that one system call delivers at most. Each that is asked for costs something even if it
/// does not come, and what does not fit into the processor's cache together costs more.
const BATCH_SIZE: usize = if quinn_udp::BATCH_SIZE < 8 { quinn_udp::BATCH_SIZE } else { 8 };

/// Room for the trains of one system call (512 KiB, of which only what was used once takes memory).
pub struct Batch {
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    // Which buffer holds the train of a meta: sorting may have swapped them.
    places: [usize; BATCH_SIZE],
    count: usize,
}

/// Datagrams of one remote that came together, as GRO hands them over; mostly one, or a whole train.
#[derive(Debug)]
pub struct Received<'a> {
    /// Who sent them, in canonical form.
    pub from: SocketAddr,
    /// Which of our addresses they were sent to, where the system tells.
    pub local_ip: Option<IpAddr>,
    /// Congestion marks of the network.
    pub ecn: Option<EcnCodepoint>,
    /// What they say, one after the other; may be decrypted in place.
    pub bytes: &'a mut [u8],
    /// Bytes of each, at least one; the last may be shorter.
    pub stride: usize,
}

impl Batch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            storage: vec![0; BUFFER_SIZE * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
            places: [0; BATCH_SIZE],
            count: 0,
        }
    }

    /// Hands each train to `each`, in the order of arrival.
    pub fn for_each(&mut self, mut each: impl FnMut(Received<'_>)) {
        for index in 0..self.count {
            let (meta, place) = (self.metas[index], self.places[index]);
            let bytes = &mut self.storage[place * BUFFER_SIZE..][..meta.len];
            let (from, local_ip, ecn) = (meta.addr, meta.dst_ip, meta.ecn);
            each(Received { from, local_ip, ecn, bytes, stride: meta.stride.max(1) });
        }
    }

    pub(crate) fn fill(
        &mut self,
        recv: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        self.count = 0;
        let start = self.storage.as_ptr().addr();
        let mut chunks = self.storage.chunks_mut(BUFFER_SIZE).map(IoSliceMut::new);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| chunks.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let count = ready!(recv(&mut buffers, &mut self.metas))?;
        for (place, buffer) in self.places.iter_mut().zip(&buffers) {
            *place = (buffer.as_ptr().addr() - start) / BUFFER_SIZE;
        }
        self.count = count;
        Poll::Ready(Ok(()))
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("trains", &self.count).finish_non_exhaustive()
    }
}
