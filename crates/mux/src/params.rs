//! What each side tells the other before anything else: how much it is ready to hold.

use crate::{Config, Reader, Violation, ViolationCode, put_varint, varint_len};

/// The receive limits of one side, told to the other.
///
/// On the wire: (number, length, value) for each, as QUIC's transport parameters (RFC 9000 §18),
/// so that later versions can add some. Unknown ones are skipped, absent ones are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params {
    /// Streams that the other side may open before it hears more.
    pub streams: u64,
    /// Bytes that it may send on one stream before it hears more.
    pub stream_window: u64,
    /// Bytes that it may send on all streams together before it hears more.
    pub connection_window: u64,
    /// Longest datagram in bytes that is accepted.
    pub datagram_max: u64,
}

const STREAMS: u64 = 1;
const STREAM_WINDOW: u64 = 2;
const CONNECTION_WINDOW: u64 = 3;
const DATAGRAM_MAX: u64 = 4;

/// More than this many numbers, known or not, are refused.
const ENTRIES_MAX: usize = 64;

impl Params {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            streams: config.streams.into(),
            stream_window: config.stream_window.min(Config::STREAM_WINDOW_FIRST).into(),
            connection_window: config.connection_window.min(Config::CONNECTION_WINDOW_FIRST).into(),
            datagram_max: config.datagram_max.into(),
        }
    }

    /// Appends the wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let entries = [
            (STREAMS, self.streams),
            (STREAM_WINDOW, self.stream_window),
            (CONNECTION_WINDOW, self.connection_window),
            (DATAGRAM_MAX, self.datagram_max),
        ];
        for (number, value) in entries {
            put_varint(out, number);
            put_varint(out, varint_len(value) as u64);
            put_varint(out, value);
        }
    }

    /// Reads the wire form, all of `bytes`.
    ///
    /// # Errors
    /// [`ViolationCode::TransportParameter`] when it cannot be read or names a number twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, Violation> {
        let mut params = Self::default();
        let mut seen = Vec::new();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let number = reader.varint().map_err(|_| UNREADABLE)?;
            let value = reader.prefixed().map_err(|_| UNREADABLE)?;
            if seen.contains(&number) || seen.len() == ENTRIES_MAX {
                return Err(Violation::new(
                    ViolationCode::TransportParameter,
                    "a parameter twice, or too many",
                ));
            }
            seen.push(number);
            params.set(number, value)?;
        }
        Ok(params)
    }

    fn set(&mut self, number: u64, value: &[u8]) -> Result<(), Violation> {
        let field = match number {
            STREAMS => &mut self.streams,
            STREAM_WINDOW => &mut self.stream_window,
            CONNECTION_WINDOW => &mut self.connection_window,
            DATAGRAM_MAX => &mut self.datagram_max,
            _ => return Ok(()),
        };
        let mut reader = Reader::new(value);
        *field = reader.varint().map_err(|_| UNREADABLE)?;
        if reader.is_empty() { Ok(()) } else { Err(UNREADABLE) }
    }
}

const UNREADABLE: Violation =
    Violation::new(ViolationCode::TransportParameter, "the parameters cannot be read");

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: Params = Params {
        streams: 256,
        stream_window: 1 << 20,
        connection_window: 4 << 20,
        datagram_max: 5,
    };

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        PARAMS.encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_encoded_decodes() {
        assert_eq!(Params::decode(&encoded()), Ok(PARAMS));
    }

    #[test]
    fn an_unknown_parameter_is_skipped() {
        let mut bytes = encoded();
        bytes.extend_from_slice(&[0x3f, 3, 1, 2, 3]);
        assert_eq!(Params::decode(&bytes), Ok(PARAMS));
    }

    #[test]
    fn a_parameter_twice_is_refused() {
        let mut bytes = encoded();
        bytes.extend_from_slice(&encoded());
        let violation = Params::decode(&bytes).unwrap_err();
        assert_eq!(violation.code, ViolationCode::TransportParameter);
    }

    #[test]
    fn a_cut_parameter_is_refused() {
        let bytes = encoded();
        assert!(Params::decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
