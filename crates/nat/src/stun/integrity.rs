//! Who may have written a message (RFC 8489 §14.5, §14.6).

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::HEADER_LEN;

/// Bytes of a whole HMAC-SHA1.
pub(super) const SHA1_LEN: usize = 20;
/// Bytes of a whole HMAC-SHA256; it may be cut to no less than half.
pub(super) const SHA256_LEN: usize = 32;
const SHA256_LEN_MIN: usize = 16;

/// A keyed hash over the message up to the attribute at `offset`, as if the message ended with
/// that attribute, whose value has `len` bytes.
fn feed<M: Mac>(mac: &mut M, message: &[u8], offset: usize, len: usize) -> Option<()> {
    let end = offset.checked_add(4 + len)?.checked_sub(HEADER_LEN)?;
    let pretended = u16::try_from(end).ok()?;
    mac.update(message.get(..2)?);
    mac.update(&pretended.to_be_bytes());
    mac.update(message.get(4..offset)?);
    Some(())
}

pub(super) fn sha1(key: &[u8], message: &[u8], offset: usize) -> Option<[u8; SHA1_LEN]> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    feed(&mut mac, message, offset, SHA1_LEN)?;
    Some(mac.finalize().into_bytes().into())
}

pub(super) fn sha256(key: &[u8], message: &[u8], offset: usize) -> Option<[u8; SHA256_LEN]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    feed(&mut mac, message, offset, SHA256_LEN)?;
    Some(mac.finalize().into_bytes().into())
}

/// Whether `value`, at `offset` of the message, is its HMAC-SHA1; in constant time.
pub(super) fn is_sha1(key: &[u8], message: &[u8], offset: usize, value: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return false };
    value.len() == SHA1_LEN
        && feed(&mut mac, message, offset, value.len()).is_some()
        && mac.verify_slice(value).is_ok()
}

/// Whether `value`, at `offset` of the message, is its HMAC-SHA256; in constant time.
pub(super) fn is_sha256(key: &[u8], message: &[u8], offset: usize, value: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    (SHA256_LEN_MIN..=SHA256_LEN).contains(&value.len())
        && value.len().is_multiple_of(4)
        && feed(&mut mac, message, offset, value.len()).is_some()
        && mac.verify_truncated_left(value).is_ok()
}
