//! A received message.

use std::{fmt, net::SocketAddr};

use thiserror::Error;

use super::{
    Attribute, AttributeType, BINDING, HEADER_LEN, MAGIC_COOKIE,
    address::{self, Mask},
    attribute::Attributes,
    fingerprint, integrity,
};

/// Longer messages are not STUN to us: what fits into a packet of Ethernet.
pub const MESSAGE_MAX: usize = 1472;

/// More attributes than any message of ours or of others needs.
const ATTRIBUTES_MAX: usize = 32;

/// Which request an answer belongs to (RFC 8489 §5); unguessable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answers well.
    Success,
    /// Answers that it cannot be.
    Error,
}

impl Class {
    /// The two bits of the class, spread over the type (RFC 8489 §5).
    pub(super) const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x000,
            Self::Indication => 0x010,
            Self::Success => 0x100,
            Self::Error => 0x110,
        }
    }

    const fn of(kind: u16) -> Self {
        match (kind & 0x100 != 0, kind & 0x010 != 0) {
            (false, false) => Self::Request,
            (false, true) => Self::Indication,
            (true, false) => Self::Success,
            (true, true) => Self::Error,
        }
    }
}

/// The code of a refusal (RFC 8489 §14.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// The request makes no sense.
    pub const BAD_REQUEST: Self = Self(400);
    /// Attributes that had to be understood were not.
    pub const UNKNOWN_ATTRIBUTE: Self = Self(420);
}

/// Why bytes are no STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// There is no whole header.
    #[error("a STUN message has at least 20 bytes, this has {0}")]
    TooShort(usize),
    /// The datagram is longer than any message may be.
    #[error("a STUN message has at most {MESSAGE_MAX} bytes, this has {0}")]
    TooLong(usize),
    /// The first bits or the cookie are another protocol's.
    #[error("the magic cookie of STUN is missing")]
    NotStun,
    /// The length field does not say how long the message is.
    #[error("the header promises {promised} bytes of attributes, {found} follow")]
    Length {
        /// By the header.
        promised: usize,
        /// In the datagram.
        found: usize,
    },
    /// Only Binding is spoken here.
    #[error("method {0:#05x} is not Binding")]
    Method(u16),
    /// An attribute is longer than what is left.
    #[error("an attribute is cut off at byte {0}")]
    Attribute(usize),
    /// Too many attributes.
    #[error("more than {ATTRIBUTES_MAX} attributes")]
    Attributes,
    /// The CRC is wrong.
    #[error("the fingerprint does not fit the message")]
    Fingerprint,
}

/// A well-formed Binding message: a checked view over received bytes.
///
/// Well-formed is not authentic: ask [`Self::is_sealed_by`].
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    class: Class,
    transaction: TransactionId,
}

impl<'a> Message<'a> {
    /// Reads a datagram; a fingerprint, if there is one, must be right.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_MAX {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let Some((header, attributes)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(DecodeError::TooShort(bytes.len()));
        };
        let [a, b, c, d, cookie @ .., _, _, _, _, _, _, _, _, _, _, _, _] = *header;
        let kind = u16::from_be_bytes([a, b]);
        if kind & 0xC000 != 0 || u32::from_be_bytes(cookie) != MAGIC_COOKIE {
            return Err(DecodeError::NotStun);
        }
        let promised = usize::from(u16::from_be_bytes([c, d]));
        if promised != attributes.len() || !promised.is_multiple_of(4) {
            return Err(DecodeError::Length { promised, found: attributes.len() });
        }
        let method = (kind & 0x000F) | ((kind & 0x00E0) >> 1) | ((kind & 0x3E00) >> 2);
        if method != BINDING {
            return Err(DecodeError::Method(method));
        }
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&header[8..]);
        let message =
            Self { bytes, class: Class::of(kind), transaction: TransactionId(transaction) };
        message.check_attributes()?;
        Ok(message)
    }

    fn check_attributes(&self) -> Result<(), DecodeError> {
        let mut end = HEADER_LEN;
        for (index, attribute) in self.all().enumerate() {
            if index >= ATTRIBUTES_MAX {
                return Err(DecodeError::Attributes);
            }
            end = attribute.offset + 4 + attribute.value.len().next_multiple_of(4);
            if attribute.kind == AttributeType::FINGERPRINT {
                self.check_fingerprint(&attribute, end)?;
            }
        }
        if end == self.bytes.len() { Ok(()) } else { Err(DecodeError::Attribute(end)) }
    }

    /// It is the last attribute (RFC 8489 §14.7), and fits.
    fn check_fingerprint(&self, found: &Attribute<'_>, end: usize) -> Result<(), DecodeError> {
        let before = self.bytes.get(..found.offset).unwrap_or_default();
        let right = fingerprint::of(before).to_be_bytes();
        if end == self.bytes.len() && found.value == right {
            Ok(())
        } else {
            Err(DecodeError::Fingerprint)
        }
    }

    fn all(&self) -> Attributes<'a> {
        let bytes = self.bytes.get(HEADER_LEN..).unwrap_or_default();
        Attributes { bytes, offset: HEADER_LEN }
    }

    /// What counts: everything up to a seal, and after it only other seals (RFC 8489 §14.5).
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let mut sealed = false;
        self.all().filter(move |attribute| match attribute.kind {
            AttributeType::MESSAGE_INTEGRITY | AttributeType::MESSAGE_INTEGRITY_SHA256 => {
                sealed = true;
                true
            }
            AttributeType::FINGERPRINT => true,
            _ => !sealed,
        })
    }

    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.find(kind).map(|attribute| attribute.value)
    }

    fn find(&self, kind: AttributeType) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.kind == kind)
    }

    /// What it is for.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Which request, or the answer to which.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Its bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it carries a fingerprint, which then is right.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.find(AttributeType::FINGERPRINT).is_some()
    }

    /// For whom and of whom, if it is text.
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        std::str::from_utf8(self.get(AttributeType::USERNAME)?).ok()
    }

    /// As which the answerer saw the asker.
    #[must_use]
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        let hidden = self.get(AttributeType::XOR_MAPPED_ADDRESS);
        let hidden = hidden.and_then(|value| address::decode(value, Mask::Of(self.transaction)));
        hidden.or_else(|| self.plain_address(AttributeType::MAPPED_ADDRESS))
    }

    /// An attribute that is an address in plain: `RESPONSE_ORIGIN`, `OTHER_ADDRESS`.
    #[must_use]
    pub fn plain_address(&self, kind: AttributeType) -> Option<SocketAddr> {
        address::decode(self.get(kind)?, Mask::Plain)
    }

    /// An attribute that is a number of 32 bits.
    #[must_use]
    pub fn number(&self, kind: AttributeType) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// The code of an error.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        let (head, _) = self.get(AttributeType::ERROR_CODE)?.split_first_chunk::<4>()?;
        Some(ErrorCode(u16::from(head[2] & 7) * 100 + u16::from(head[3] % 100)))
    }

    /// What had to be understood and is not.
    pub fn not_understood(&self) -> impl Iterator<Item = AttributeType> + use<'a> {
        self.attributes().map(|attribute| attribute.kind).filter(|kind| !kind.is_understood())
    }

    /// Whether who knows `key` wrote the message: by HMAC-SHA256, or where that is absent by
    /// HMAC-SHA1. A message without a seal is nobody's.
    #[must_use]
    pub fn is_sealed_by(&self, key: &[u8]) -> bool {
        if let Some(found) = self.find(AttributeType::MESSAGE_INTEGRITY_SHA256) {
            return integrity::is_sha256(key, self.bytes, found.offset, found.value);
        }
        self.find(AttributeType::MESSAGE_INTEGRITY)
            .is_some_and(|found| integrity::is_sha1(key, self.bytes, found.offset, found.value))
    }
}
