//! Doors to the private decoders, for the fuzz targets; no part of the interface.

use portolan_mux::Reader;
use rustls::crypto::CryptoProvider;

use crate::{
    ConnectionId,
    frame::Frame,
    integrity::Integrity,
    packet::{DATAGRAM_MIN, Draft, Header, InitNames},
    params::Params,
};

/// Reads the headers of all packets in a datagram.
///
/// # Panics
/// When a header claims what is not there.
pub fn headers(datagram: &[u8]) {
    let mut rest = datagram;
    while let Some(header) = Header::parse(rest) {
        let end = header.end(rest.len());
        assert!(0 < end && end <= rest.len(), "{header:?} ends at {end} of {}", rest.len());
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// Reads the frames of one packet's payload.
///
/// # Panics
/// When an acknowledgement's ranges do not descend.
pub fn frames(payload: &[u8]) {
    let mut reader = Reader::new(payload);
    while let Ok(frame) = Frame::decode(&mut reader) {
        match frame {
            Frame::Ack(ack) => {
                let mut below = u64::MAX;
                for range in ack.ranges() {
                    assert!(range.start() <= range.end() && *range.end() < below, "{ack:?}");
                    below = *range.start();
                }
            }
            Frame::Mux(kind) => {
                if portolan_mux::frame::Frame::decode(kind, &mut reader).is_err() {
                    return;
                }
            }
            Frame::Padding
            | Frame::Probe
            | Frame::Crypto { .. }
            | Frame::NewId(_)
            | Frame::RetireId(_)
            | Frame::PathChallenge(_)
            | Frame::PathResponse(_)
            | Frame::AckFrequency(_)
            | Frame::ImmediateAck
            | Frame::Done
            | Frame::Session(_) => {}
        }
    }
}

/// Reads transport parameters, and reads what they are written as.
///
/// # Panics
/// When the second reading differs.
pub fn params(bytes: &[u8]) {
    if let Ok(params) = Params::decode(bytes) {
        assert_eq!(Params::decode(&params.encode()), Ok(params));
    }
}

/// A client's datagram with one Init packet around any payload, its checksum right: what lies
/// behind the checksum is as exposed as the checksum itself.
///
/// # Panics
/// When the provider lacks what this crate needs.
#[must_use]
pub fn init_datagram(provider: &CryptoProvider, token: &[u8], payload: &[u8]) -> Vec<u8> {
    let integrity = Integrity::new(provider).expect("a provider with AES-256-GCM");
    let names = InitNames {
        destination: ConnectionId([7; ConnectionId::LEN]),
        source: ConnectionId([8; ConnectionId::LEN]),
        token,
    };
    let mut datagram = Vec::new();
    let draft = Draft::init(&mut datagram, names, 0, None);
    datagram.extend_from_slice(payload);
    draft.close(&mut datagram);
    integrity.seal(&mut datagram, draft.start);
    datagram.resize(datagram.len().max(DATAGRAM_MIN.into()), 0);
    datagram
}
