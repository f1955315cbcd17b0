//! One stream, and what is still to be written to it.

use portolan_mux::Priority;

use crate::virtual_time::machine::{Machine, Stream};

/// What is written where the content does not matter.
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// What the answering side is to do with a stream; its first bytes say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Read and count.
    Swallow,
    /// Write without end.
    Pour,
    /// Answer each unit with one of the same length.
    Echo,
    /// Answer each unit with one byte.
    Confirm,
    /// Note when each unit, which says when it was sent, has come.
    Clock,
}

/// A duty and the length of its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) duty: Duty,
    pub(crate) unit: u32,
}

impl Order {
    /// Bytes at the beginning of a stream.
    pub(crate) const LEN: usize = 5;

    fn encode(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.unit.to_be_bytes();
        [self.duty as u8, a, b, c, d]
    }

    /// Reads what [`Self::encode`] wrote; only our own asking side is at the other end.
    pub(crate) fn decode([duty, unit @ ..]: [u8; Self::LEN]) -> Self {
        use Duty::{Clock, Confirm, Echo, Pour, Swallow};
        let duty = [Swallow, Pour, Echo, Confirm, Clock].into_iter().find(|one| *one as u8 == duty);
        let duty = duty.expect("streams begin with their orders");
        Self { duty, unit: u32::from_be_bytes(unit) }
    }
}

/// A stream of the asking side, and what waits to be written to it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: Stream,
    /// Bytes that matter.
    said: Vec<u8>,
    /// Zeros after them.
    zeros: u64,
}

impl Line {
    /// Opens a stream that begins with `order`; `None` while there is no room for one.
    pub(crate) fn open(
        machine: &mut dyn Machine,
        order: Order,
        priority: Priority,
    ) -> Option<Self> {
        let stream = machine.open(priority)?;
        Some(Self { stream, said: order.encode().to_vec(), zeros: 0 })
    }

    /// Appends bytes that matter; zeros said before must have been written.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.zeros, 0, "the order of bytes would be lost");
        self.said.extend_from_slice(bytes);
    }

    /// Appends zeros.
    pub(crate) fn say_zeros(&mut self, count: u64) {
        self.zeros = self.zeros.saturating_add(count);
    }

    /// Writes what there is room for.
    pub(crate) fn flush(&mut self, machine: &mut dyn Machine) {
        while !self.said.is_empty() {
            let written = machine.write(self.stream, &self.said);
            if written == 0 {
                return;
            }
            self.said.drain(..written);
        }
        self.zeros -= pour(machine, self.stream, self.zeros);
    }
}

/// Writes zeros, `count` at most; answers how many found room.
pub(crate) fn pour(machine: &mut dyn Machine, stream: Stream, count: u64) -> u64 {
    let mut left = count;
    while left > 0 {
        let piece = ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let written = machine.write(stream, &ZEROS[..piece]);
        left -= written as u64;
        if written < piece {
            break;
        }
    }
    count - left
}

/// Reads whatever has come and hands it to `take` in pieces.
pub(crate) fn drain(machine: &mut dyn Machine, stream: Stream, mut take: impl FnMut(&[u8])) {
    let mut piece = [0; 4 << 10];
    loop {
        let read = machine.read(stream, &mut piece);
        if read == 0 {
            return;
        }
        take(&piece[..read]);
    }
}
