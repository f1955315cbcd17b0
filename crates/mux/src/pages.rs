//! The bytes of a stream from some offset on, in pages.
//!
//! Pages rather than one ring: a page is allocated when its first byte comes and freed when its
//! last one goes, so that a stream holds what it has and nothing for what it once had, a piece far
//! ahead costs no memory for the gap before it, and nothing is ever copied to grow or shrink.
//! A frame of up to a page lies in at most two slices.

use std::{collections::VecDeque, mem::size_of};

/// Bytes of one page.
pub(crate) const PAGE: usize = 16 << 10;

/// The least that is allocated for a page.
const PAGE_MIN: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Pages {
    pages: VecDeque<Vec<u8>>,
    /// Offset of the first byte of the first page.
    first: u64,
}

impl Pages {
    /// Puts `data` at `offset`, which is not before what was released.
    pub(crate) fn write(&mut self, offset: u64, mut data: &[u8]) {
        let (mut page, mut within) = self.locate(offset);
        while !data.is_empty() {
            while self.pages.len() <= page {
                self.pages.push_back(Vec::new());
            }
            let (now, later) = data.split_at(data.len().min(PAGE - within));
            put(&mut self.pages[page], within, now);
            data = later;
            page += 1;
            within = 0;
        }
    }

    /// The bytes from `offset` on, at most `len`, all of which were written; page by page.
    pub(crate) fn slices(&self, offset: u64, len: usize) -> impl Iterator<Item = &[u8]> {
        let (first, within) = self.locate(offset);
        let mut start = within;
        let mut left = len;
        self.pages.iter().skip(first).map_while(move |page| {
            if left == 0 {
                return None;
            }
            let end = page.len().min(start + left);
            let slice = page.get(start..end)?;
            left -= slice.len();
            start = 0;
            Some(slice)
        })
    }

    /// Forgets the bytes before `offset`; nothing was written at or beyond `end`.
    pub(crate) fn release(&mut self, offset: u64, end: u64) {
        if offset >= end {
            self.pages = VecDeque::new();
            self.first = offset;
            return;
        }
        while offset - self.first >= PAGE as u64 {
            self.pages.pop_front();
            self.first += PAGE as u64;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.pages = VecDeque::new();
    }

    pub(crate) fn memory(&self) -> usize {
        let pages: usize = self.pages.iter().map(Vec::capacity).sum();
        pages + self.pages.capacity() * size_of::<Vec<u8>>()
    }

    #[expect(clippy::cast_possible_truncation, reason = "windows are 32 bits")]
    fn locate(&self, offset: u64) -> (usize, usize) {
        let distance = (offset - self.first) as usize;
        (distance / PAGE, distance % PAGE)
    }
}

/// Puts `data` into one page, which ends where its last byte so far was.
fn put(page: &mut Vec<u8>, within: usize, data: &[u8]) {
    let end = within + data.len();
    if page.capacity() < end {
        let wanted = end.next_power_of_two().clamp(PAGE_MIN, PAGE);
        page.reserve_exact(wanted - page.len());
    }
    if page.len() < within {
        page.resize(within, 0);
    }
    let overlap = (page.len() - within).min(data.len());
    let (over, beyond) = data.split_at(overlap);
    page[within..within + overlap].copy_from_slice(over);
    page.extend_from_slice(beyond);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_piece_far_ahead_costs_no_memory_for_the_gap() {
        let mut pages = Pages::default();
        pages.write(1 << 20, b"x");
        assert!(pages.memory() < 4096, "{}", pages.memory());
    }

    #[test]
    fn an_emptied_buffer_holds_nothing() {
        let mut pages = Pages::default();
        pages.write(0, &[1; 100_000]);
        pages.release(100_000, 100_000);
        assert_eq!(pages.memory(), 0);
    }

    proptest! {
        #[test]
        fn what_is_written_in_any_order_is_read(
            start in 0..40_000_u64,
            released in 0..30_000_usize,
            order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            const PIECE: usize = 7_001;
            let bytes: Vec<u8> = (0..251).cycle().take(12 * PIECE).collect();
            let end = start + bytes.len() as u64;
            let mut pages = Pages::default();
            pages.release(start, start);
            for piece in order {
                let from = piece * PIECE;
                pages.write(start + from as u64, &bytes[from..from + PIECE]);
            }
            pages.release(start + released as u64, end);
            let left = bytes.len() - released;
            let out = pages.slices(start + released as u64, left).collect::<Vec<_>>().concat();
            prop_assert_eq!(&out[..], &bytes[released..]);
        }
    }
}
