//! The bytes of a stream from some offset on, in pages.
//!
//! Pages rather than one ring: a page is allocated when its first byte comes and freed when its
//! last one goes, so that a stream holds what it has and nothing for what it once had, a piece far
//! ahead costs no memory for the gap before it. A frame of up to a page lies in at most two slices.
//!
//! Whole pages go round: what one stream has released, the next bytes of any stream of the
//! connection are put into. To the allocator and back for each page would cost more than the copy
//! of its bytes: it returns them to the system, which clears them for their next use.

use std::{collections::VecDeque, mem::size_of};

/// Bytes of one page.
pub(crate) const PAGE: usize = 16 << 10;

/// The least that is allocated for a page.
const PAGE_MIN: usize = 256;

/// Whole pages that no stream uses now.
#[derive(Debug)]
pub(crate) struct SparePages {
    pages: Vec<Vec<u8>>,
    max: usize,
}

impl SparePages {
    /// The most bytes that are kept, however large the windows.
    pub(crate) const BYTES_MAX: usize = 1 << 20;

    /// Keeps at most as many as one window of `window` bytes takes.
    pub(crate) fn new(window: u32) -> Self {
        Self { pages: Vec::new(), max: Self::bytes_max(window) / PAGE }
    }

    /// Upper bound of the bytes in the pages that are kept.
    pub(crate) const fn bytes_max(window: u32) -> usize {
        if (window as usize) < Self::BYTES_MAX { window as usize } else { Self::BYTES_MAX }
    }

    /// Gives everything back to the allocator.
    pub(crate) fn clear(&mut self) {
        self.pages = Vec::new();
    }

    pub(crate) fn memory(&self) -> usize {
        let pages: usize = self.pages.iter().map(Vec::capacity).sum();
        pages + self.pages.capacity() * size_of::<Vec<u8>>()
    }

    fn take(&mut self) -> Vec<u8> {
        self.pages.pop().unwrap_or_default()
    }

    fn keep(&mut self, mut page: Vec<u8>) {
        if page.capacity() == PAGE && self.pages.len() < self.max {
            page.clear();
            self.pages.push(page);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pages {
    pages: VecDeque<Vec<u8>>,
    /// Offset of the first byte of the first page.
    first: u64,
}

impl Pages {
    /// Puts `data` at `offset`, which is not before what was released.
    pub(crate) fn write(&mut self, offset: u64, mut data: &[u8], spare: &mut SparePages) {
        let (mut page, mut within) = self.locate(offset);
        while !data.is_empty() {
            while self.pages.len() < page {
                self.pages.push_back(Vec::new());
            }
            if self.pages.len() == page {
                self.pages.push_back(spare.take());
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
        self.pages.range(first.min(self.pages.len())..).map_while(move |page| {
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
    pub(crate) fn release(&mut self, offset: u64, end: u64, spare: &mut SparePages) {
        if offset >= end {
            self.clear(spare);
            self.first = offset;
            return;
        }
        while offset - self.first >= PAGE as u64 {
            self.pages.pop_front().into_iter().for_each(|page| spare.keep(page));
            self.first += PAGE as u64;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, spare: &mut SparePages) {
        std::mem::take(&mut self.pages).into_iter().for_each(|page| spare.keep(page));
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
        pages.write(1 << 20, b"x", &mut SparePages::new(0));
        assert!(pages.memory() < 4096, "{}", pages.memory());
    }

    #[test]
    fn an_emptied_buffer_holds_nothing() {
        let (mut pages, mut spare) = (Pages::default(), SparePages::new(0));
        pages.write(0, &[1; 100_000], &mut spare);
        pages.release(100_000, 100_000, &mut spare);
        assert_eq!((pages.memory(), spare.memory()), (0, 0));
    }

    #[test]
    fn pages_go_round_and_what_is_kept_is_bounded() {
        let window = 4 * PAGE;
        let (mut pages, mut spare) =
            (Pages::default(), SparePages::new(u32::try_from(window).unwrap()));
        pages.write(0, &vec![1; 8 * PAGE], &mut spare);
        pages.release(8 * PAGE as u64, 8 * PAGE as u64, &mut spare);
        assert_eq!(spare.pages.len(), 4);
        let kept: Vec<_> = spare.pages.iter().map(|page| page.as_ptr()).collect();
        pages.write(8 * PAGE as u64, &vec![2; 4 * PAGE], &mut spare);
        assert!(pages.pages.iter().all(|page| kept.contains(&page.as_ptr())));
        assert!(spare.pages.is_empty());
        pages.clear(&mut spare);
        spare.clear();
        assert_eq!(spare.memory(), 0);
    }

    #[test]
    fn a_page_that_is_used_again_shows_nothing_of_its_first_use() {
        let (mut pages, mut spare) = (Pages::default(), SparePages::new(1 << 20));
        pages.write(0, &[7; PAGE], &mut spare);
        pages.release(PAGE as u64, PAGE as u64, &mut spare);
        pages.write(PAGE as u64 + 10, b"x", &mut spare);
        let bytes = pages.slices(PAGE as u64, 11).collect::<Vec<_>>().concat();
        assert_eq!(bytes, b"\0\0\0\0\0\0\0\0\0\0x");
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
            let (mut pages, mut spare) = (Pages::default(), SparePages::new(1 << 20));
            pages.release(start, start, &mut spare);
            for piece in order {
                let from = piece * PIECE;
                pages.write(start + from as u64, &bytes[from..from + PIECE], &mut spare);
            }
            pages.release(start + released as u64, end, &mut spare);
            let left = bytes.len() - released;
            let out = pages.slices(start + released as u64, left).collect::<Vec<_>>().concat();
            prop_assert_eq!(&out[..], &bytes[released..]);
        }
    }
}
