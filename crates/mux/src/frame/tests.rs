use proptest::prelude::*;

use super::*;

fn id() -> impl Strategy<Value = StreamId> {
    (0..=VARINT_MAX).prop_map(StreamId)
}

fn number() -> impl Strategy<Value = u64> {
    (0..=VARINT_MAX, 0..62_u32).prop_map(|(number, shift)| number >> shift)
}

#[derive(Debug, Clone)]
struct Owned {
    frame: Frame<'static>,
    data: Vec<u8>,
}

impl Owned {
    fn frame(&self) -> Frame<'_> {
        match self.frame {
            Frame::Stream { id, priority, offset, fin, .. } => {
                Frame::Stream { id, priority, offset, data: &self.data, fin }
            }
            Frame::Datagram { copy, .. } => Frame::Datagram { copy, data: &self.data },
            Frame::Repair { header, .. } => Frame::Repair { header, data: &self.data },
            other => other,
        }
    }
}

fn frames() -> impl Strategy<Value = Owned> {
    let class = prop::sample::select(Priority::ALL.to_vec());
    let frame = prop_oneof![
        (id(), class, 0..1_u64 << 60, any::<bool>()).prop_map(|(id, priority, offset, fin)| {
            Frame::Stream { id, priority, offset, data: &[], fin }
        }),
        (id(), any::<u32>(), number()).prop_map(|(id, code, final_size)| Frame::Reset {
            id,
            code,
            final_size
        }),
        (id(), any::<u32>()).prop_map(|(id, code)| Frame::Stop { id, code }),
        (id(), number()).prop_map(|(id, max)| Frame::MaxStreamData { id, max }),
        number().prop_map(|max| Frame::MaxData { max }),
        (0..=StreamId::INDEX_MAX).prop_map(|max| Frame::MaxStreams { max }),
        prop::option::of((0..1_u64 << 14, any::<bool>())).prop_map(|copy| {
            let copy = copy.map(|(sequence, repeated)| DatagramCopy { sequence, repeated });
            Frame::Datagram { copy, data: &[] }
        }),
        (0..1_u64 << 14, 1..=16_u8, 0..3_u8).prop_map(|(first, members, index)| Frame::Repair {
            header: RepairHeader { first, members, index },
            data: &[]
        }),
    ];
    (frame, prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(frame, data)| Owned { frame, data })
}

fn decode(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let frame = Frame::decode(reader.varint()?, &mut reader)?;
    assert!(reader.is_empty());
    Ok(frame)
}

fn decode_session(bytes: &[u8]) -> Result<Session<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    Session::decode(reader.varint()?, &mut reader)
}

proptest! {
    #[test]
    fn every_frame_returns_from_its_wire_form(owned in frames()) {
        let mut bytes = Vec::new();
        owned.frame().encode(&mut bytes);
        prop_assert!(bytes.len() <= FRAME_MAX);
        prop_assert_eq!(decode(&bytes), Ok(owned.frame()));
    }

    #[test]
    fn every_cut_frame_is_incomplete_and_not_wrong(owned in frames(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        owned.frame().encode(&mut bytes);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert_eq!(decode(&bytes), Err(DecodeError::Incomplete));
    }

    #[test]
    fn garbage_decodes_or_fails_and_never_panics(kind in 0..0x48_u64, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Frame::decode(kind, &mut Reader::new(&bytes));
        let _ = Session::decode(kind, &mut Reader::new(&bytes));
    }
}

#[test]
fn every_session_frame_returns_from_its_wire_form() {
    let params = Params { streams: 1, stream_window: 2, connection_window: 3, datagram_max: 4 };
    let rows = [
        Session::Ping(7),
        Session::Pong(VARINT_MAX),
        Session::Close(Close { cause: CloseCause::Application(9), reason: b"bye" }),
        Session::Close(Close { cause: CloseCause::Violation(3), reason: b"" }),
        Session::Greeting(Greeting { version: VERSION, idle_ms: 20_000, params }),
    ];
    for row in rows {
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        assert_eq!(decode_session(&bytes), Ok(row));
        bytes.pop();
        assert_eq!(decode_session(&bytes), Err(DecodeError::Incomplete));
    }
}

#[test]
fn a_greeting_of_another_version_is_read_for_its_version() {
    let bytes = [0x3c, 9, 2, 0xff, 0xff];
    let Ok(Session::Greeting(greeting)) = decode_session(&bytes) else { panic!("no greeting") };
    assert_eq!(greeting.version, 9);
}

#[test]
fn a_payload_too_long_is_refused_before_its_bytes_come() {
    let mut bytes = vec![0x30];
    put_varint(&mut bytes, PAYLOAD_MAX as u64 + 1);
    assert!(matches!(decode(&bytes), Err(DecodeError::Violation(_))));
}

#[test]
fn a_reason_is_cut_to_what_the_remote_accepts() {
    let long = [b'x'; REASON_MAX + 1];
    let mut bytes = Vec::new();
    Session::Close(Close { cause: CloseCause::Application(0), reason: &long }).encode(&mut bytes);
    let Ok(Session::Close(close)) = decode_session(&bytes) else { panic!("no close") };
    assert_eq!(close.reason, &long[..REASON_MAX]);
}

/// The wire form of every kind of frame: what is written here once is read by every later version.
#[test]
fn the_wire_form_stays_what_it_is() {
    let id = StreamId(0x41);
    let stream = |priority, fin| Frame::Stream { id, priority, offset: 0x4000, data: b"abc", fin };
    let copy = |repeated| Some(DatagramCopy { sequence: 0x3f, repeated });
    let rows = [
        (stream(Priority::Control, false), "20 4041 80004000 03 616263"),
        (stream(Priority::Live, true), "23 4041 80004000 03 616263"),
        (stream(Priority::Interactive, false), "24 4041 80004000 03 616263"),
        (stream(Priority::Bulk, true), "27 4041 80004000 03 616263"),
        (Frame::Reset { id, code: 7, final_size: 300 }, "28 4041 07 412c"),
        (Frame::Stop { id, code: u32::MAX }, "29 4041 c0000000ffffffff"),
        (Frame::MaxStreamData { id, max: 1 << 20 }, "2a 4041 80100000"),
        (Frame::MaxData { max: VARINT_MAX }, "2b ffffffffffffffff"),
        (Frame::MaxStreams { max: 256 }, "2c 4100"),
        (Frame::Datagram { copy: None, data: b"d" }, "30 01 64"),
        (Frame::Datagram { copy: copy(false), data: b"" }, "31 3f 00"),
        (Frame::Datagram { copy: copy(true), data: b"d" }, "32 3f 01 64"),
        (
            Frame::Repair {
                header: RepairHeader { first: 0x3f, members: 16, index: 2 },
                data: b"p",
            },
            "33 3f 10 02 01 70",
        ),
    ];
    for (frame, wire) in rows {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(hex(&bytes), wire.replace(' ', ""), "{frame:?}");
    }
    let params = Params { streams: 8, stream_window: 64, connection_window: 1, datagram_max: 0 };
    let close = |cause| Session::Close(Close { cause, reason: b"no" });
    let rows = [
        (Session::Ping(5), "38 05"),
        (Session::Pong(5), "39 05"),
        (close(CloseCause::Application(2)), "3a 02 02 6e6f"),
        (close(CloseCause::Violation(3)), "3b 03 02 6e6f"),
        (
            Session::Greeting(Greeting { version: 1, idle_ms: 20_000, params }),
            "3c 01 11 80004e20 010108 02024040 030101 040100",
        ),
    ];
    for (frame, wire) in rows {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(hex(&bytes), wire.replace(' ', ""), "{frame:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
