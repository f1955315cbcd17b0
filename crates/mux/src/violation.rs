//! Rules that the remote broke, with the codes of RFC 9000 §20.1.

use std::fmt;

use thiserror::Error;

/// A rule that the remote broke: the connection must end with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{code}: {detail}")]
pub struct Violation {
    /// Which rule, as a number for the wire.
    pub code: ViolationCode,
    /// What was seen, for people.
    pub detail: &'static str,
}

impl Violation {
    /// A violation of `code`.
    #[must_use]
    pub const fn new(code: ViolationCode, detail: &'static str) -> Self {
        Self { code, detail }
    }
}

/// The codes of RFC 9000 §20.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ViolationCode {
    /// No rule was broken.
    NoError = 0x00,
    /// The side that closes could not go on.
    InternalError = 0x01,
    /// The connection was not wanted.
    ConnectionRefused = 0x02,
    /// More data than was allowed.
    FlowControl = 0x03,
    /// More streams than were allowed.
    StreamLimit = 0x04,
    /// A frame for a stream that cannot have it.
    StreamState = 0x05,
    /// Two different ends of one stream, or data past its end.
    FinalSize = 0x06,
    /// A frame that cannot be read.
    FrameEncoding = 0x07,
    /// Parameters that cannot be read or make no sense.
    TransportParameter = 0x08,
    /// More connection ids than were allowed.
    ConnectionIdLimit = 0x09,
    /// Any other broken rule.
    ProtocolViolation = 0x0a,
    /// A token that is not ours.
    InvalidToken = 0x0b,
    /// The application closed before the handshake was complete.
    Application = 0x0c,
    /// More handshake data than can be held.
    CryptoBufferExceeded = 0x0d,
    /// A key update at the wrong time.
    KeyUpdate = 0x0e,
    /// The keys have protected as much as they may.
    AeadLimitReached = 0x0f,
    /// No path to the remote is left.
    NoViablePath = 0x10,
}

impl ViolationCode {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 17] = [
        Self::NoError,
        Self::InternalError,
        Self::ConnectionRefused,
        Self::FlowControl,
        Self::StreamLimit,
        Self::StreamState,
        Self::FinalSize,
        Self::FrameEncoding,
        Self::TransportParameter,
        Self::ConnectionIdLimit,
        Self::ProtocolViolation,
        Self::InvalidToken,
        Self::Application,
        Self::CryptoBufferExceeded,
        Self::KeyUpdate,
        Self::AeadLimitReached,
        Self::NoViablePath,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The code with this number, if it is one of ours.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for ViolationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoError => "no error",
            Self::InternalError => "internal error",
            Self::ConnectionRefused => "connection refused",
            Self::FlowControl => "flow control error",
            Self::StreamLimit => "stream limit error",
            Self::StreamState => "stream state error",
            Self::FinalSize => "final size error",
            Self::FrameEncoding => "frame encoding error",
            Self::TransportParameter => "transport parameter error",
            Self::ConnectionIdLimit => "connection id limit error",
            Self::ProtocolViolation => "protocol violation",
            Self::InvalidToken => "invalid token",
            Self::Application => "application error",
            Self::CryptoBufferExceeded => "crypto buffer exceeded",
            Self::KeyUpdate => "key update error",
            Self::AeadLimitReached => "aead limit reached",
            Self::NoViablePath => "no viable path",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_numbers() {
        for (number, code) in (0..).zip(ViolationCode::ALL) {
            assert_eq!(code.number(), number);
            assert_eq!(ViolationCode::from_number(number), Some(code));
        }
        assert_eq!(ViolationCode::from_number(17), None);
    }
}
