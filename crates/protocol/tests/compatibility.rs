//! Old and new versions understand each other, and nothing that can be framed is fatal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use portolan_protocol::{
    Command, ControlMessage, DecodeError, ErrorCode, FrameBuffer, Limits, List, Message,
    MessageType, RequestId, Send, decode, encode,
};
use proptest::prelude::*;
use serde::Serialize;

#[derive(Serialize)]
struct RawHeader<'a> {
    #[serde(rename = "type")]
    message_type: MessageType,
    id: u64,
    kind: &'a str,
    from_the_future: bool,
}

fn frame(message_type: MessageType, kind: &str, body: &impl Serialize) -> Vec<u8> {
    let header = RawHeader { message_type, id: 7, kind, from_the_future: true };
    let mut bytes = rmp_serde::to_vec_named(&header).unwrap();
    bytes.extend(rmp_serde::to_vec_named(body).unwrap());
    bytes
}

fn control(bytes: &[u8]) -> Result<ControlMessage, DecodeError> {
    decode(bytes)
}

#[test]
fn fields_of_newer_versions_are_ignored() {
    let body = BTreeMap::from([("nonce", 3), ("colour", 9)]);
    let message = control(&frame(MessageType::Request, "heartbeat", &body)).unwrap();
    let Message::Request(RequestId(7), Command::Heartbeat(heartbeat)) = message else {
        panic!("{message:?}");
    };
    assert_eq!(heartbeat.nonce, 3);
}

#[test]
fn fields_with_a_default_may_be_missing() {
    let body: BTreeMap<&str, u8> = BTreeMap::new();
    let message = control(&frame(MessageType::Request, "list", &body)).unwrap();
    assert_eq!(message, Message::Request(RequestId(7), Command::List(List::default())));
}

#[test]
fn an_unknown_kind_of_request_is_owed_the_answer_unsupported() {
    let error = control(&frame(MessageType::Request, "teleport", &[1, 2, 3])).unwrap_err();
    let (id, answer) = error.answer().unwrap();
    assert_eq!((id, answer.code), (RequestId(7), ErrorCode::Unsupported));
    assert!(answer.message.contains("teleport"), "{answer}");
}

#[test]
fn an_unknown_kind_of_event_is_owed_nothing() {
    let error = control(&frame(MessageType::Event, "eclipse", &[1])).unwrap_err();
    assert!(matches!(error, DecodeError::UnknownKind { .. }), "{error:?}");
    assert_eq!(error.answer(), None);
}

#[test]
fn a_known_kind_with_a_wrong_body_is_owed_the_answer_bad_request() {
    let error = control(&frame(MessageType::Request, "lookup", &["bob"; 3])).unwrap_err();
    let (id, answer) = error.answer().unwrap();
    assert_eq!((id, answer.code), (RequestId(7), ErrorCode::BadRequest));
}

#[test]
fn a_bad_name_in_a_body_is_said_to_be_one() {
    let body = BTreeMap::from([("name", "n".repeat(10_000))]);
    let error = control(&frame(MessageType::Request, "lookup", &body)).unwrap_err();
    let (_, answer) = error.answer().unwrap();
    assert!(answer.message.contains("at most 32 characters"), "{answer}");
    assert!(answer.message.len() < 300, "the bad name is not sent back");
}

#[test]
fn a_code_of_a_newer_version_is_still_an_error() {
    let body = BTreeMap::from([("message", "no")]);
    let message = control(&frame(MessageType::Error, "out_of_tea", &body)).unwrap();
    assert!(matches!(message, Message::Error(_, body) if body.code == ErrorCode::Unknown));
}

#[test]
fn a_length_prefix_of_4_gib_is_refused_before_anything_is_allocated() {
    let mut buffer = FrameBuffer::default();
    buffer.bytes_mut().extend_from_slice(&[0xff; 16]);
    let expected = DecodeError::FrameTooLarge { length: u32::MAX, limit: Limits::V1.frame };
    assert_eq!(buffer.next_frame(), Err(expected));
    assert!(buffer.bytes_mut().capacity() < 4096);
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let mut bytes = rmp_serde::to_vec_named(&RawHeader {
        message_type: MessageType::Request,
        id: 7,
        kind: "heartbeat",
        from_the_future: false,
    })
    .unwrap();
    bytes.extend([0x81, 0xa1, b'x']);
    bytes.extend(vec![0x91; 200_000]);
    assert!(matches!(control(&bytes), Err(DecodeError::Body { .. })));
}

#[test]
fn a_message_too_large_for_a_frame_leaves_the_buffer_as_it_was() {
    let send = Send {
        to: portolan_protocol::Recipient::All,
        text: "x".repeat(300 << 10),
        reference: None,
    };
    let message: ControlMessage = Message::Request(RequestId(1), send.into());
    let mut out = BytesMut::from(&b"before"[..]);
    encode(&message, &mut out).unwrap_err();
    assert_eq!(&out[..], b"before");
}

#[test]
fn a_password_is_never_printed() {
    let login = portolan_protocol::Login {
        name: "alice".into(),
        password: Some(portolan_protocol::Password("hunter2".into())),
        device: None,
        attempt: None,
    };
    assert!(!format!("{login:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn random_bytes_are_decoded_or_refused_but_never_crash(
        bytes in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let _ = control(&bytes);
    }

    #[test]
    fn frames_survive_any_cut_of_the_stream(cuts in proptest::collection::vec(1usize..40, 1..40)) {
        let mut stream = BytesMut::new();
        let texts: Vec<String> = (0..6).map(|i| "word ".repeat(i)).collect();
        for text in &texts {
            let message: ControlMessage = Message::Request(
                RequestId(1),
                portolan_protocol::Echo { text: text.clone() }.into(),
            );
            encode(&message, &mut stream).unwrap();
        }
        let (mut buffer, mut got) = (FrameBuffer::default(), Vec::new());
        let mut cuts = cuts.into_iter().cycle();
        while !stream.is_empty() {
            let length = cuts.next().unwrap_or(1).min(stream.len());
            buffer.bytes_mut().extend_from_slice(&stream.split_to(length));
            while let Some(frame) = buffer.next_frame().unwrap() {
                match control(&frame).unwrap() {
                    Message::Request(_, Command::Echo(echo)) => got.push(echo.text),
                    other => panic!("{other:?}"),
                }
            }
        }
        prop_assert_eq!(got, texts);
    }
}
