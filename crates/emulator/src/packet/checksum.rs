//! The Internet checksum (RFC 1071) and its update in place (RFC 1624).

use std::net::IpAddr;

/// A one's complement sum of 16-bit words under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes that begin at an even place; an odd last byte counts as if a zero followed.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut total = self.0;
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            let word = u32::from_be_bytes(word.try_into().unwrap_or_default());
            total += u64::from(word);
        }
        let mut last = [0; 4];
        let rest = words.remainder();
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        Self(total + u64::from(u32::from_be_bytes(last)))
    }

    /// Adds one word.
    pub(crate) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// The sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
    pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Self::default()
            .address(source)
            .address(destination)
            .bytes(&length.to_be_bytes())
            .word(u16::from(protocol))
    }

    /// Adds an address.
    pub(crate) fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// The sum as one word: what stands in the field of a packet whose checksum is unfinished.
    pub(crate) fn folded(self) -> u16 {
        let mut total = self.0;
        while total > 0xffff {
            total = (total >> 16) + (total & 0xffff);
        }
        u16::try_from(total).unwrap_or(u16::MAX)
    }

    /// The checksum.
    pub(crate) fn finished(self) -> u16 {
        !self.folded()
    }
}

/// The checksum after words that summed up to `old` have become words that sum up to `new`
/// (RFC 1624 §3, equation 3).
pub(crate) fn updated(checksum: u16, old: Sum, new: Sum) -> u16 {
    Sum::default().word(!checksum).word(!old.folded()).word(new.folded()).finished()
}

/// The checksum as UDP writes it: zero would mean that there is none (RFC 768).
pub(crate) fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up_as_printed() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().bytes(&bytes).folded(), 0xddf2);
    }

    #[test]
    fn an_updated_checksum_equals_one_made_anew() {
        let mut bytes = *b"some words of a header..";
        let before = Sum::default().bytes(&bytes).finished();
        let (old, new) = ([bytes[4], bytes[5]], [0xab, 0x01]);
        bytes[4..6].copy_from_slice(&new);
        let after = updated(before, Sum::default().bytes(&old), Sum::default().bytes(&new));
        assert_eq!(after, Sum::default().bytes(&bytes).finished());
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(Sum::default().bytes(&[1, 2, 3]).folded(), 0x0102 + 0x0300);
    }
}
