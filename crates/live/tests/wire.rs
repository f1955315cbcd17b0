//! The bytes of WIRE.md, and that no others are taken for them.

use bytes::Bytes;
use portolan_live::{Audio, Datagram, DecodeError, Moment, PAYLOAD_MAX, Report};
use proptest::prelude::*;

fn audio(moment: Moment) -> Audio {
    Audio {
        stream: 0x0102_0304,
        epoch: 5,
        moment,
        level: 30,
        sequence: 0xfffe,
        timestamp: 0x1000_03c0,
        payload: Bytes::from_static(&[0x48, 1, 2, 3]),
    }
}

#[test]
fn audio_is_written_as_the_document_says() {
    let rows = [
        (Moment::Talking, 0b0010_0000),
        (Moment::Spurt, 0b0010_0001),
        (Moment::Silent, 0b0010_0010),
    ];
    for (moment, head) in rows {
        let bytes = audio(moment).encode();
        let written = [1, 1, 2, 3, 4, head, 5, 30, 0xff, 0xfe, 0x10, 0, 0x03, 0xc0, 0x48, 1, 2, 3];
        assert_eq!(bytes[..], written);
        assert_eq!(Datagram::decode(&bytes), Ok(Datagram::Audio(audio(moment))));
    }
}

#[test]
fn a_report_is_written_as_the_document_says_and_may_grow() {
    let report = Report {
        stream: 9,
        epoch: 2,
        highest: 0x0a0b,
        held: 1,
        expected: 50,
        lost: 3,
        late: 2,
        jitter: 77,
        buffer: 60,
    };
    let mut bytes = report.encode().to_vec();
    let head = [2, 0, 0, 0, 9, 0b0010_0000, 2, 0x0a, 0x0b, 0, 1, 0, 50, 0, 3, 0, 2, 0, 77, 0, 60];
    assert_eq!(bytes, head);
    assert!((report.loss() - 0.1).abs() < 1e-9);
    bytes.extend([1, 2, 3]);
    assert_eq!(Datagram::decode(&bytes.into()), Ok(Datagram::Report(report)));
}

#[test]
fn what_is_not_in_the_document_is_refused_with_the_reason() {
    let mut both = audio(Moment::Spurt).encode().to_vec();
    both[5] |= 0b10;
    let mut later = audio(Moment::Talking).encode().to_vec();
    later[5] = 0b0100_0000;
    let mut long = audio(Moment::Talking).encode().to_vec();
    long.resize(14 + PAYLOAD_MAX + 1, 0);
    let rows = [
        (vec![], DecodeError::Short { length: 0, needed: 1 }),
        (vec![1; 14], DecodeError::Short { length: 14, needed: 15 }),
        (vec![2; 20], DecodeError::Short { length: 20, needed: 21 }),
        (vec![9; 20], DecodeError::Kind(9)),
        (both, DecodeError::Moment),
        (later, DecodeError::Version(2)),
        (long, DecodeError::Long(PAYLOAD_MAX + 1)),
    ];
    for (bytes, error) in rows {
        assert_eq!(Datagram::decode(&bytes.into()).unwrap_err(), error);
    }
}

proptest! {
    #[test]
    fn what_is_read_is_what_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0_u8..4) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        if let Ok(decoded) = Datagram::decode(&bytes.into()) {
            let again = match &decoded {
                Datagram::Audio(audio) => audio.encode(),
                Datagram::Report(report) => report.encode(),
            };
            prop_assert_eq!(Datagram::decode(&again), Ok(decoded));
        }
    }
}
