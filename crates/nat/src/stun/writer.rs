//! Messages that we send.

use std::net::SocketAddr;

use super::{
    AttributeType, BINDING, Class, ErrorCode, HEADER_LEN, MAGIC_COOKIE, TransactionId,
    address::{self, Mask},
    fingerprint, integrity,
};

/// Writes one Binding message into a buffer, attribute by attribute.
///
/// The seal comes after everything it shall cover, the fingerprint last.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    transaction: TransactionId,
}

impl<'a> Writer<'a> {
    /// Begins a message in `out`, which is emptied.
    pub fn new(out: &'a mut Vec<u8>, class: Class, transaction: TransactionId) -> Self {
        out.clear();
        // Binding is 1: its bits lie below those of the class.
        out.extend_from_slice(&(BINDING | class.bits()).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&transaction.0);
        Self { out, transaction }
    }

    /// Any attribute.
    #[must_use]
    pub fn attribute(mut self, kind: AttributeType, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.begin(kind, value.len());
        self.out.extend_from_slice(value);
        self.out.resize(self.out.len().next_multiple_of(4), 0);
        self
    }

    /// A number of 32 bits.
    #[must_use]
    pub fn number(self, kind: AttributeType, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// As which the other is seen.
    #[must_use]
    pub fn xor_mapped_address(mut self, mapped: SocketAddr) -> Self {
        self.begin(AttributeType::XOR_MAPPED_ADDRESS, address::attribute_len(mapped) - 4);
        address::encode(self.out, mapped, Mask::Of(self.transaction));
        self
    }

    /// An address in plain.
    #[must_use]
    pub fn plain_address(mut self, kind: AttributeType, value: SocketAddr) -> Self {
        self.begin(kind, address::attribute_len(value) - 4);
        address::encode(self.out, value, Mask::Plain);
        self
    }

    /// Why not, in a code without words: they would only make the answer longer.
    #[must_use]
    pub fn error(self, code: ErrorCode) -> Self {
        let [class, number] = [code.0 / 100 % 8, code.0 % 100].map(|part| part.to_be_bytes()[1]);
        self.attribute(AttributeType::ERROR_CODE, &[0, 0, class, number])
    }

    /// Seals with HMAC-SHA256 under `key`.
    #[must_use]
    pub fn seal(self, key: &[u8]) -> Self {
        let offset = self.out.len();
        match integrity::sha256(key, self.out, offset) {
            Some(mac) => self.attribute(AttributeType::MESSAGE_INTEGRITY_SHA256, &mac),
            None => self,
        }
    }

    /// Seals with HMAC-SHA1, as older agents do.
    #[must_use]
    pub fn seal_sha1(self, key: &[u8]) -> Self {
        let offset = self.out.len();
        match integrity::sha1(key, self.out, offset) {
            Some(mac) => self.attribute(AttributeType::MESSAGE_INTEGRITY, &mac),
            None => self,
        }
    }

    /// Ends the message with its CRC.
    #[must_use]
    pub fn fingerprint(mut self) -> Self {
        let before = self.out.len();
        self.set_len(before + 8);
        let value = fingerprint::of(self.out);
        self.number(AttributeType::FINGERPRINT, value)
    }

    /// Writes the length; the message is complete.
    pub fn finish(mut self) {
        let len = self.out.len();
        self.set_len(len);
    }

    /// Bytes so far.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is a header at least")]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    #[expect(clippy::cast_possible_truncation, reason = "no value is longer than u16::MAX")]
    fn begin(&mut self, kind: AttributeType, len: usize) {
        self.out.extend_from_slice(&kind.0.to_be_bytes());
        self.out.extend_from_slice(&(len as u16).to_be_bytes());
    }

    fn set_len(&mut self, end: usize) {
        let len = u16::try_from(end - HEADER_LEN).unwrap_or(u16::MAX).to_be_bytes();
        self.out[2..4].copy_from_slice(&len);
    }
}
