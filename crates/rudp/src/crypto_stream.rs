//! The handshake's byte stream of one level: what to send (again), and what has arrived.

use portolan_mux::{RangeSet, Violation, ViolationCode};

use crate::{
    frame::{crypto_overhead, put_crypto_header},
    sent::CryptoPiece,
};

/// A piece below this length is not worth a frame of its own at the end of a packet.
const PIECE_MIN: usize = 16;

/// Handshake bytes on their way to the remote.
#[derive(Debug, Default)]
pub(crate) struct CryptoSender {
    /// Bytes from `base` on; all before it were acknowledged.
    bytes: Vec<u8>,
    base: u64,
    /// What is to be sent, for the first time or again.
    pending: RangeSet,
    acked: RangeSet,
}

impl CryptoSender {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let start = self.end();
        self.bytes.extend_from_slice(bytes);
        self.pending.insert(start..self.end());
    }

    pub(crate) fn wants_to_send(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Appends one frame before `end`.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, end: usize) -> Option<CryptoPiece> {
        let next = self.pending.first()?;
        let start = usize::try_from(next.start - self.base).ok()?;
        let wanted = self.bytes.get(start..usize::try_from(next.end - self.base).ok()?)?;
        let room = end.checked_sub(out.len())?.checked_sub(crypto_overhead(next.start, end))?;
        let piece = wanted.get(..room).unwrap_or(wanted);
        if piece.len() < wanted.len().min(PIECE_MIN) {
            return None;
        }
        put_crypto_header(out, next.start, piece.len());
        out.extend_from_slice(piece);
        let sent = CryptoPiece { start: next.start, end: next.start + piece.len() as u64 };
        self.pending.remove(sent.start..sent.end);
        Some(sent)
    }

    pub(crate) fn on_acked(&mut self, piece: CryptoPiece) {
        self.acked.insert(piece.start.max(self.base)..piece.end.max(self.base));
        self.pending.remove(piece.start..piece.end);
        let end = self.end();
        if self.acked.first() == Some(self.base..end) {
            // Nothing is kept of what nobody needs.
            *self = Self { base: end, ..Self::default() };
        }
    }

    pub(crate) fn on_lost(&mut self, piece: CryptoPiece) {
        self.pending.insert(piece.start.max(self.base)..piece.end.max(self.base));
        for acked in self.acked.descending() {
            self.pending.remove(acked);
        }
    }

    /// Sends everything again that did not arrive: the remote has dropped it.
    pub(crate) fn start_over(&mut self) {
        self.on_lost(CryptoPiece { start: self.base, end: self.end() });
    }

    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.pending.memory() + self.acked.memory()
    }
}

/// Handshake bytes from the remote, put in order.
#[derive(Debug, Default)]
pub(crate) struct CryptoReceiver {
    /// Bytes from `offset` on; those in `gaps` are not there yet.
    bytes: Vec<u8>,
    offset: u64,
    arrived: RangeSet,
}

impl CryptoReceiver {
    /// Takes a piece; what lies more than `max` bytes ahead of the first gap is refused.
    pub(crate) fn on_data(
        &mut self,
        offset: u64,
        data: &[u8],
        max: usize,
    ) -> Result<(), Violation> {
        let end = offset.saturating_add(data.len() as u64);
        if end > self.offset + max as u64 {
            return Err(Violation::new(
                ViolationCode::CryptoBufferExceeded,
                "more handshake data than can be held",
            ));
        }
        let Some(skip) = usize::try_from(self.offset.saturating_sub(offset)).ok() else {
            return Ok(());
        };
        let Some(data) = data.get(skip..).filter(|data| !data.is_empty()) else { return Ok(()) };
        let start = offset.max(self.offset);
        // Both differences are below `max` by the check above.
        let from = usize::try_from(start - self.offset).unwrap_or(max);
        let to = from + data.len();
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        if let Some(place) = self.bytes.get_mut(from..to) {
            place.copy_from_slice(data);
        }
        self.arrived.insert(start..end);
        Ok(())
    }

    /// Everything that has arrived in order and was not read.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        let first = self.arrived.first().filter(|first| first.start == self.offset)?;
        self.arrived.pop_first();
        let len = usize::try_from(first.end - first.start).unwrap_or(0).min(self.bytes.len());
        let rest = self.bytes.split_off(len);
        self.offset = first.end;
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.arrived.memory()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 16 << 10;

    #[test]
    fn more_than_can_be_held_is_refused_before_it_is_held() {
        let mut receiver = CryptoReceiver::default();
        let violation = receiver.on_data(MAX as u64, b"x", MAX).unwrap_err();
        assert_eq!(violation.code, ViolationCode::CryptoBufferExceeded);
        assert!(receiver.on_data(u64::MAX, b"x", MAX).is_err());
        assert_eq!(receiver.memory(), 0);
        receiver.on_data(MAX as u64 - 1, b"x", MAX).unwrap();
        assert!(receiver.memory() <= MAX + 1024);
    }

    #[test]
    fn what_was_acknowledged_is_not_sent_again() {
        let mut sender = CryptoSender::default();
        sender.push(&[7; 100]);
        let mut out = Vec::new();
        let first = sender.put(&mut out, 60).unwrap();
        sender.put(&mut out, 1000).unwrap();
        assert_eq!(sender.put(&mut out, 1000), None);
        sender.on_acked(first);
        sender.start_over();
        let again = sender.put(&mut out, 1000).unwrap();
        assert_eq!((again.start, again.end), (first.end, 100));
    }

    #[test]
    fn what_has_all_arrived_is_not_kept_and_what_follows_is_sent() {
        let mut sender = CryptoSender::default();
        sender.push(&[7; 100]);
        let mut out = Vec::new();
        let first = sender.put(&mut out, 60).unwrap();
        let rest = sender.put(&mut out, 1000).unwrap();
        sender.on_acked(rest);
        sender.on_acked(first);
        assert_eq!(sender.memory(), 0);
        sender.on_lost(first);
        sender.start_over();
        assert!(!sender.wants_to_send());
        sender.push(&[8; 30]);
        let next = sender.put(&mut out, 1000).unwrap();
        assert_eq!((next.start, next.end), (100, 130));
        assert!(out.ends_with(&[8; 30]));
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_give_the_stream(
            pieces in prop::collection::vec((0..200_usize, 1..60_usize), 0..40),
        ) {
            let stream: Vec<u8> = (0..260).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
            let mut receiver = CryptoReceiver::default();
            let mut read = Vec::new();
            for (start, len) in pieces {
                receiver.on_data(start as u64, &stream[start..start + len], MAX).unwrap();
                if let Some(bytes) = receiver.read() {
                    read.extend_from_slice(&bytes);
                }
            }
            prop_assert_eq!(&read[..], &stream[..read.len()]);
            receiver.on_data(0, &stream, MAX).unwrap();
            read.extend(receiver.read().unwrap_or_default());
            prop_assert_eq!(read, stream);
        }
    }
}
