//! Variable-length integers (RFC 9000 §16) and a reader that cannot fail unnoticed.

use thiserror::Error;

/// The largest integer that fits: 62 bits.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// The bytes ended before the value did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bytes end in the middle of a value")]
pub struct Incomplete;

/// Bytes that `value` takes.
///
/// # Panics
/// If `value` is above [`VARINT_MAX`].
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => {
            assert!(value <= VARINT_MAX, "the value does not fit into 62 bits");
            8
        }
    }
}

/// Appends `value` in its shortest form.
///
/// # Panics
/// If `value` is above [`VARINT_MAX`].
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    let len = varint_len(value);
    let tag = (len.trailing_zeros() as u64) << 62;
    match len {
        1 => out.push(value.to_be_bytes()[7]),
        2 => out.extend_from_slice(&(value | tag >> 48).to_be_bytes()[6..]),
        4 => out.extend_from_slice(&(value | tag >> 32).to_be_bytes()[4..]),
        _ => out.extend_from_slice(&(value | tag).to_be_bytes()),
    }
}

/// Takes values off the front of a slice; total, whatever the bytes are.
///
/// A failed read leaves the reader where it was.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte, which stays; `None` at the end.
    #[must_use]
    pub const fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Incomplete`] at the end.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Incomplete> {
        let (&first, rest) = self.bytes.split_first().ok_or(Incomplete)?;
        self.bytes = rest;
        Ok(first)
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Incomplete`] when fewer are left.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Incomplete> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Incomplete)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Incomplete`] when fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Incomplete> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(Incomplete)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// One variable-length integer, in any of its forms.
    ///
    /// # Errors
    /// [`Incomplete`] when its bytes are not all there.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Incomplete> {
        let first = self.peek().ok_or(Incomplete)?;
        match first >> 6 {
            0 => self.byte().map(u64::from),
            1 => self.array().map(|bytes| u64::from(u16::from_be_bytes(bytes) & 0x3fff)),
            2 => self.array().map(|bytes| u64::from(u32::from_be_bytes(bytes) & 0x3fff_ffff)),
            _ => self.array().map(|bytes| u64::from_be_bytes(bytes) & VARINT_MAX),
        }
    }

    /// A length, then that many bytes.
    ///
    /// # Errors
    /// [`Incomplete`] when they are not all there.
    pub fn prefixed(&mut self) -> Result<&'a [u8], Incomplete> {
        let mut ahead = self.clone();
        let len = usize::try_from(ahead.varint()?).map_err(|_| Incomplete)?;
        let taken = ahead.bytes(len)?;
        *self = ahead;
        Ok(taken)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // RFC 9000 §A.1.
    #[test]
    fn the_examples_of_the_rfc_decode() {
        let rows: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in rows {
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn a_length_beyond_the_end_moves_nothing() {
        let mut reader = Reader::new(&[5, 1, 2]);
        assert_eq!(reader.prefixed(), Err(Incomplete));
        assert_eq!(reader.remaining(), 3);
    }

    proptest! {
        #[test]
        fn every_value_returns_from_its_shortest_form(value in 0..=VARINT_MAX, shift in 0..62_u32) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_len(value));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
            prop_assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).varint(), Err(Incomplete));
        }
    }
}
