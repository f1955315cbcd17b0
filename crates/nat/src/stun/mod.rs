//! STUN messages (RFC 8489), with the attributes of ICE (RFC 8445) and of NAT discovery (RFC 5780).
//!
//! [`Message`] is a checked view over received bytes, [`Writer`] makes messages. Nothing here sends.

mod address;
mod attribute;
mod fingerprint;
mod integrity;
mod message;
mod writer;

pub use attribute::{Attribute, AttributeType};
pub use message::{Class, DecodeError, ErrorCode, MESSAGE_MAX, Message, TransactionId};
pub use writer::Writer;

/// Bytes 4 to 7 of every message (RFC 8489 §5).
const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Bytes before the first attribute.
pub const HEADER_LEN: usize = 20;

/// The one method in use (RFC 8489 §5): Binding.
const BINDING: u16 = 0x001;

#[cfg(test)]
mod tests;
