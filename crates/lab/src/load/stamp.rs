//! What stands in every text of a load: who said it, as which of their words, and when.

/// Bytes of a stamp as text.
pub(crate) const STAMP_SIZE: usize = 32;

/// The head of a text. It is plain letters, so that it passes wherever text does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The sender's number.
    pub(crate) sender: u32,
    /// Counts the sender's texts, from 1.
    pub(crate) number: u32,
    /// When it was said, on the clock of this process.
    pub(crate) nanos: u64,
}

impl Stamp {
    /// A text of `size` bytes that begins with the stamp, in `out`.
    pub(crate) fn write(&self, size: usize, out: &mut String) {
        use std::fmt::Write as _;
        out.clear();
        // Writing to memory cannot fail.
        let _ = write!(out, "{:08x}{:08x}{:016x}", self.sender, self.number, self.nanos);
        out.extend(std::iter::repeat_n('.', size.saturating_sub(STAMP_SIZE)));
    }

    /// Reads it back; `None` where the text is not from a load.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(text.get(..STAMP_SIZE)?).ok()?;
        let field = |range: std::ops::Range<usize>| u64::from_str_radix(head.get(range)?, 16).ok();
        Some(Self {
            sender: u32::try_from(field(0..8)?).ok()?,
            number: u32::try_from(field(8..16)?).ok()?,
            nanos: field(16..32)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stamp;

    #[test]
    fn a_stamp_reads_back_and_what_is_none_is_refused() {
        let stamp = Stamp { sender: 7, number: u32::MAX, nanos: u64::MAX - 3 };
        let mut text = String::new();
        for size in [0, 32, 100] {
            stamp.write(size, &mut text);
            assert_eq!(text.len(), size.max(32));
            assert_eq!(Stamp::read(text.as_bytes()), Some(stamp));
        }
        assert_eq!(Stamp::read(b"too short"), None);
        assert_eq!(Stamp::read(&[b'x'; 40]), None);
        assert_eq!(Stamp::read(&[0xff; 40]), None);
    }
}
