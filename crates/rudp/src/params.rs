//! What each side tells the other inside the TLS handshake, which authenticates it.

use std::time::Duration;

use portolan_mux::{Params as MuxParams, Reader, Violation, ViolationCode, put_varint, varint_len};

use crate::{
    ConnectionId,
    event::ResetToken,
    packet::{DATAGRAM_MIN, VERSION},
};

const VERSIONS: u64 = 0;
const SOURCE: u64 = 1;
const ORIGINAL: u64 = 2;
const RETRIED: u64 = 3;
const IDLE_MS: u64 = 4;
const MUX: u64 = 5;
const PACKET_MAX: u64 = 6;
const ACK_DELAY_US: u64 = 7;
const RESET_TOKEN: u64 = 8;

/// More than this many numbers, known or not, are refused.
const ENTRIES_MAX: usize = 64;

/// Longest delay of acknowledgements that a remote may announce (RFC 9000 §18.2).
const ACK_DELAY_MAX: Duration = Duration::from_millis(1 << 14);

/// What one side is and takes.
///
/// On the wire: (number, length, value) for each, as the transport parameters of RFC 9000 §18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Params {
    /// The versions that this side speaks: a downgrade would show.
    pub(crate) versions: Vec<u8>,
    /// The connection id of this side, as in its Init packets.
    pub(crate) source: ConnectionId,
    /// The connection id that the client first wrote to (server only).
    pub(crate) original: Option<ConnectionId>,
    /// Whether the server has sent a Retry: a forged one would show.
    pub(crate) is_retried: bool,
    pub(crate) idle: Duration,
    pub(crate) mux: MuxParams,
    /// Bytes of the longest datagram that this side takes.
    pub(crate) packet_max: u16,
    pub(crate) ack_delay: Duration,
    /// Proof for a stateless reset (server only: what a client says here can be read by all).
    pub(crate) reset_token: Option<ResetToken>,
}

impl Params {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_bytes(&mut out, VERSIONS, &self.versions);
        put_bytes(&mut out, SOURCE, &self.source.0);
        if let Some(original) = self.original {
            put_bytes(&mut out, ORIGINAL, &original.0);
        }
        if self.is_retried {
            put_bytes(&mut out, RETRIED, &[]);
        }
        put_number(&mut out, IDLE_MS, u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX));
        let mut mux = Vec::with_capacity(32);
        self.mux.encode(&mut mux);
        put_bytes(&mut out, MUX, &mux);
        put_number(&mut out, PACKET_MAX, self.packet_max.into());
        let ack_delay = u64::try_from(self.ack_delay.as_micros()).unwrap_or(u64::MAX);
        put_number(&mut out, ACK_DELAY_US, ack_delay);
        if let Some(token) = self.reset_token {
            put_bytes(&mut out, RESET_TOKEN, &token.0);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Violation> {
        let mut seen = Vec::new();
        let mut draft = Draft::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let number = reader.varint().map_err(|_| UNREADABLE)?;
            let value = reader.prefixed().map_err(|_| UNREADABLE)?;
            if seen.contains(&number) || seen.len() == ENTRIES_MAX {
                return Err(invalid("a parameter twice, or too many"));
            }
            seen.push(number);
            draft.set(number, value)?;
        }
        draft.finish()
    }
}

/// Parameters as far as they were read.
#[derive(Debug, Default)]
struct Draft {
    versions: Vec<u8>,
    source: Option<ConnectionId>,
    original: Option<ConnectionId>,
    is_retried: bool,
    idle: Option<Duration>,
    mux: Option<MuxParams>,
    packet_max: Option<u16>,
    ack_delay: Option<Duration>,
    reset_token: Option<ResetToken>,
}

impl Draft {
    fn set(&mut self, number: u64, value: &[u8]) -> Result<(), Violation> {
        match number {
            VERSIONS => self.versions = value.to_vec(),
            SOURCE => self.source = Some(ConnectionId(array(value)?)),
            ORIGINAL => self.original = Some(ConnectionId(array(value)?)),
            RETRIED => self.is_retried = true,
            IDLE_MS => self.idle = Some(Duration::from_millis(varint(value)?)),
            MUX => self.mux = Some(MuxParams::decode(value)?),
            PACKET_MAX => {
                let max = varint(value)?.min(u16::MAX.into());
                self.packet_max = u16::try_from(max).ok();
            }
            ACK_DELAY_US => self.ack_delay = Some(Duration::from_micros(varint(value)?)),
            RESET_TOKEN => self.reset_token = Some(ResetToken(array(value)?)),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Params, Violation> {
        const MISSING: Violation = invalid("a parameter is missing");
        let params = Params {
            versions: self.versions,
            source: self.source.ok_or(MISSING)?,
            original: self.original,
            is_retried: self.is_retried,
            idle: self.idle.ok_or(MISSING)?,
            mux: self.mux.ok_or(MISSING)?,
            packet_max: self.packet_max.ok_or(MISSING)?,
            ack_delay: self.ack_delay.ok_or(MISSING)?,
            reset_token: self.reset_token,
        };
        if params.packet_max < DATAGRAM_MIN {
            return Err(invalid("a packet size below the least one"));
        }
        if params.ack_delay > ACK_DELAY_MAX {
            return Err(invalid("acknowledgements would be held back too long"));
        }
        if !params.versions.contains(&VERSION) {
            return Err(invalid("the version in use is not among those spoken"));
        }
        Ok(params)
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    put_varint(out, number);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    let value = value.min(portolan_mux::VARINT_MAX);
    put_varint(out, number);
    put_varint(out, varint_len(value) as u64);
    put_varint(out, value);
}

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Violation> {
    value.try_into().map_err(|_| UNREADABLE)
}

fn varint(value: &[u8]) -> Result<u64, Violation> {
    let mut reader = Reader::new(value);
    let number = reader.varint().map_err(|_| UNREADABLE)?;
    if reader.is_empty() { Ok(number) } else { Err(UNREADABLE) }
}

const fn invalid(detail: &'static str) -> Violation {
    Violation::new(ViolationCode::TransportParameter, detail)
}

const UNREADABLE: Violation = invalid("the parameters cannot be read");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params() -> Params {
        Params {
            versions: vec![VERSION, 9],
            source: ConnectionId([3; 8]),
            original: Some(ConnectionId([4; 8])),
            is_retried: true,
            idle: Duration::from_secs(20),
            mux: MuxParams { streams: 7, ..MuxParams::default() },
            packet_max: 65_507,
            ack_delay: Duration::from_millis(25),
            reset_token: Some(ResetToken([5; 16])),
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        assert_eq!(Params::decode(&params().encode()), Ok(params()));
    }

    #[test]
    fn an_unknown_parameter_is_skipped_and_a_repeated_one_refused() {
        let mut bytes = params().encode();
        put_bytes(&mut bytes, 99, b"later");
        assert_eq!(Params::decode(&bytes), Ok(params()));
        put_bytes(&mut bytes, 99, b"later");
        assert!(Params::decode(&bytes).is_err());
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        let rows = [
            Params { packet_max: 1199, ..params() },
            Params { ack_delay: Duration::from_secs(17), ..params() },
            Params { versions: vec![VERSION + 1], ..params() },
        ];
        for row in rows {
            let violation = Params::decode(&row.encode()).unwrap_err();
            assert_eq!(violation.code, ViolationCode::TransportParameter);
        }
        assert!(Params::decode(b"").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Params::decode(&bytes);
        }

        #[test]
        fn a_damaged_one_never_panics(at in 0..60_usize, byte: u8) {
            let mut bytes = params().encode();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = Params::decode(&bytes);
        }
    }
}
