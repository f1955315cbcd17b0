//! Vectors of the standards, and what damaged bytes do.

use super::{AttributeType, Class, DecodeError, ErrorCode, Message, TransactionId, Writer};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// RFC 5769 §2: the password of the short-term vectors.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 §2.1.
const REQUEST: &str = "
    00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74
    00240004 6e0001ff
    80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020
    00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    80280004 e57a3bcf";

/// RFC 5769 §2.2.
const RESPONSE_V4: &str = "
    0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
    80280004 c07d4c96";

/// RFC 5769 §2.3.
const RESPONSE_V6: &str = "
    01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
    80280004 c8fb0b4c";

const TRANSACTION: TransactionId = TransactionId(*b"twelve bytes");

#[test]
fn the_sample_request_of_rfc_5769_is_read() {
    let bytes = hex(REQUEST);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert_eq!(message.number(AttributeType::PRIORITY), Some(0x6E00_01FF));
    assert!(message.is_sealed_by(PASSWORD));
    assert!(!message.is_sealed_by(b"another"));
    assert!(message.has_fingerprint());
    assert_eq!(message.not_understood().count(), 0);
}

#[test]
fn the_sample_responses_of_rfc_5769_are_read() {
    let rows = [
        (RESPONSE_V4, "192.0.2.1:32853"),
        (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ];
    for (vector, address) in rows {
        let bytes = hex(vector);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.mapped_address(), Some(address.parse().unwrap()));
        assert!(message.is_sealed_by(PASSWORD), "{address}");
    }
}

#[test]
fn what_is_written_is_read_and_sealed() {
    let mut bytes = Vec::new();
    for address in ["192.0.2.1:7", "[2001:db8::7]:65535"].map(|text| text.parse().unwrap()) {
        Writer::new(&mut bytes, Class::Success, TRANSACTION)
            .xor_mapped_address(address)
            .plain_address(AttributeType::OTHER_ADDRESS, address)
            .attribute(AttributeType::USERNAME, b"alice")
            .error(ErrorCode::UNKNOWN_ATTRIBUTE)
            .seal(b"key")
            .fingerprint()
            .finish();
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.transaction(), TRANSACTION);
        assert_eq!(message.mapped_address(), Some(address));
        assert_eq!(message.plain_address(AttributeType::OTHER_ADDRESS), Some(address));
        assert_eq!(message.username(), Some("alice"));
        assert_eq!(message.error_code(), Some(ErrorCode::UNKNOWN_ATTRIBUTE));
        assert!(message.is_sealed_by(b"key") && !message.is_sealed_by(b"yek"));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for vector in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
        let good = hex(vector);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let accepted = Message::decode(&bytes)
                .is_ok_and(|found| found.has_fingerprint() && found.is_sealed_by(PASSWORD));
            assert!(!accepted, "bit {bit}");
        }
    }
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused() {
    let good = hex(REQUEST);
    for len in 0..good.len() {
        assert!(Message::decode(&good[..len]).is_err(), "{len} bytes");
    }
    let longer = [good, vec![0; 4]].concat();
    assert!(matches!(Message::decode(&longer), Err(DecodeError::Length { .. })));
}

#[test]
fn attributes_after_the_seal_do_not_count() {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, TRANSACTION)
        .seal_sha1(b"key")
        .attribute(AttributeType::USERNAME, b"mallory")
        .seal(b"key")
        .finish();
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.username(), None);
    assert!(message.is_sealed_by(b"key"));
}

#[test]
fn what_must_be_understood_and_is_not_is_named() {
    let (required, optional) = (AttributeType(0x7FFF), AttributeType(0x9999));
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, TRANSACTION)
        .attribute(required, &[])
        .attribute(optional, b"!")
        .finish();
    let found: Vec<_> = Message::decode(&bytes).unwrap().not_understood().collect();
    assert_eq!(found, [required]);
}
