//! The datagrams of the bare UDP rows.
//!
//! ```text
//!   kind 1 │ connection 4 │ number 8 │ body │ (AEAD) tag 16
//! ```
//!
//! Integers are big-endian. The number counts the datagrams of one side of one connection; it is
//! the nonce where datagrams are sealed, and nothing else. What stands before the body is never
//! encrypted.

/// Bytes before the body.
pub(crate) const HEADER: usize = 13;

/// Bytes of the position that begins the body of [`Kind::Data`].
pub(crate) const POSITION: usize = 8;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A client begins; the body is the credit that it grants.
    Hello = 1,
    /// A server answers; the body is the credit that it grants.
    Welcome,
    /// The position of these bytes in the stream, then the bytes.
    Data,
    /// The stream ends; the body is its length.
    End,
    /// The body is how much the other side may have spent.
    Credit,
    /// The body is a message.
    Message,
    /// The sender has dropped the connection.
    Bye,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Welcome, Self::Data, Self::End, Self::Credit, Self::Message, Self::Bye]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// What begins a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) connection: u32,
    pub(crate) number: u64,
}

impl Header {
    /// Reads the header of `datagram`; `None` when it is none of ours.
    pub(crate) fn decode(datagram: &[u8]) -> Option<Self> {
        let (kind, rest) = datagram.split_first()?;
        let (connection, rest) = rest.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self {
            kind: Kind::from_byte(*kind)?,
            connection: u32::from_be_bytes(*connection),
            number: u64::from_be_bytes(*number),
        })
    }

    /// Appends the header to `out`.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend_from_slice(&self.connection.to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
    }
}

/// The integer that begins `body`.
pub(crate) fn integer(body: &[u8]) -> Option<u64> {
    body.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header { kind: Kind::Credit, connection: 7, number: 1 << 40 };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(Header::decode(&bytes), Some(header));
        for length in 0..HEADER {
            assert_eq!(Header::decode(&bytes[..length]), None, "{length} bytes");
        }
    }
}
