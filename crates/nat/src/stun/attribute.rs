//! Attributes as they stand in a message.

/// The number of an attribute (RFC 8489 §18.3, RFC 8445 §20.1, RFC 5780 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// An address in plain, for clients of RFC 3489.
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// Asks for an answer from another address or port (RFC 5780 §7.2).
    pub const CHANGE_REQUEST: Self = Self(0x0003);
    /// For whom, and of whom.
    pub const USERNAME: Self = Self(0x0006);
    /// HMAC-SHA1.
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// Why not.
    pub const ERROR_CODE: Self = Self(0x0009);
    /// What was not understood.
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000A);
    /// HMAC-SHA256.
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001C);
    /// An address, hidden from translators that meddle.
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// The priority of a candidate (RFC 8445 §7.1.1).
    pub const PRIORITY: Self = Self(0x0024);
    /// The controlling agent wants this pair (RFC 8445 §7.1.2).
    pub const USE_CANDIDATE: Self = Self(0x0025);
    /// Bytes without meaning (RFC 5780 §7.6).
    pub const PADDING: Self = Self(0x0026);
    /// What the sender is.
    pub const SOFTWARE: Self = Self(0x8022);
    /// CRC-32.
    pub const FINGERPRINT: Self = Self(0x8028);
    /// The sender is controlled (RFC 8445 §7.1.3).
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// The sender is controlling (RFC 8445 §7.1.3).
    pub const ICE_CONTROLLING: Self = Self(0x802A);
    /// From where an answer comes (RFC 5780 §7.3).
    pub const RESPONSE_ORIGIN: Self = Self(0x802B);
    /// Where the same server answers too (RFC 5780 §7.4).
    pub const OTHER_ADDRESS: Self = Self(0x802C);
    /// Counts nominations, so that the latest wins whatever overtakes it; ours, from the range
    /// that may be ignored.
    pub const NOMINATION: Self = Self(0xC001);

    /// All that must be understood, and are.
    const KNOWN_REQUIRED: [Self; 11] = [
        Self::MAPPED_ADDRESS,
        Self::CHANGE_REQUEST,
        Self::USERNAME,
        Self::MESSAGE_INTEGRITY,
        Self::ERROR_CODE,
        Self::UNKNOWN_ATTRIBUTES,
        Self::MESSAGE_INTEGRITY_SHA256,
        Self::XOR_MAPPED_ADDRESS,
        Self::PRIORITY,
        Self::USE_CANDIDATE,
        Self::PADDING,
    ];

    /// Whether who does not know the attribute must refuse the message (RFC 8489 §14).
    #[must_use]
    pub const fn is_required(self) -> bool {
        self.0 < 0x8000
    }

    /// Whether a message with this attribute can be understood here.
    #[must_use]
    pub fn is_understood(self) -> bool {
        !self.is_required() || Self::KNOWN_REQUIRED.contains(&self)
    }
}

/// One attribute of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Which.
    pub kind: AttributeType,
    /// Its value without padding.
    pub value: &'a [u8],
    /// Where it begins in the message.
    pub(super) offset: usize,
}

/// The attributes of `bytes`, which begin at `offset` of the message. Stops at what is cut off.
#[derive(Debug, Clone)]
pub(super) struct Attributes<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (head, rest) = self.bytes.split_first_chunk::<4>()?;
        let kind = AttributeType(u16::from_be_bytes([head[0], head[1]]));
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let padded = len.next_multiple_of(4);
        let value = rest.get(..len)?;
        let attribute = Attribute { kind, value, offset: self.offset };
        self.bytes = rest.get(padded..)?;
        self.offset += 4 + padded;
        Some(attribute)
    }
}
