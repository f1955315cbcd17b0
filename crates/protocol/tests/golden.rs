//! The encoding does not change by accident: every kind of message against a committed vector.
//!
//! After a deliberate change: `UPDATE_GOLDEN=1 cargo test -p portolan-protocol --test golden`,
//! and read the diff of `tests/golden/messages.txt`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use std::{collections::BTreeMap, fmt::Debug, path::Path};

use bytes::BytesMut;
use portolan_protocol::{
    ErrorBody, ErrorCode, FrameBuffer, Message, Nothing, RequestId, Table, decode, encode,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages.txt");

type Vectors = BTreeMap<String, String>;

fn check<C, R, E>(vectors: &mut Vectors, label: &str, message: &Message<C, R, E>)
where
    C: Table + Debug + PartialEq,
    R: Table + Debug + PartialEq,
    E: Table + Debug + PartialEq,
{
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes).unwrap();
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(vectors.insert(label.to_owned(), hex).is_none(), "{label} stands twice");

    let mut buffer = FrameBuffer::default();
    buffer.bytes_mut().extend_from_slice(&bytes);
    let frame = buffer.next_frame().unwrap().unwrap();
    assert_eq!(&decode::<C, R, E>(&frame).unwrap(), message, "{label} reads back differently");
}

fn requests<C: Table + Debug + PartialEq>(vectors: &mut Vectors, table: &str, messages: Vec<C>) {
    let kinds: Vec<&str> = messages.iter().map(Table::kind).collect();
    assert_eq!(kinds, C::KINDS, "a kind of {table} has no sample");
    for message in messages {
        let label = format!("{table}/{}", message.kind());
        let message: Message<C, Nothing, Nothing> = Message::Request(RequestId(5), message);
        check(vectors, &label, &message);
    }
}

fn answers<R: Table + Debug + PartialEq>(vectors: &mut Vectors, table: &str, messages: Vec<R>) {
    let kinds: Vec<&str> = messages.iter().map(Table::kind).collect();
    assert_eq!(kinds, R::KINDS, "a kind of {table} has no sample");
    for message in messages {
        let label = format!("{table}/{}", message.kind());
        let message: Message<Nothing, R, Nothing> = Message::Answer(RequestId(5), message);
        check(vectors, &label, &message);
    }
}

fn events<E: Table + Debug + PartialEq>(vectors: &mut Vectors, table: &str, messages: Vec<E>) {
    let kinds: Vec<&str> = messages.iter().map(Table::kind).collect();
    assert_eq!(kinds, E::KINDS, "a kind of {table} has no sample");
    for message in messages {
        let label = format!("{table}/{}", message.kind());
        let message: Message<Nothing, Nothing, E> = Message::Event(message);
        check(vectors, &label, &message);
    }
}

fn errors(vectors: &mut Vectors) {
    for (code, word, _) in ErrorCode::TABLE {
        assert_eq!(ErrorCode::from_word(word), *code);
        let body = ErrorBody::new(*code, "what happened, and what to do").with_detail("name");
        let message: Message<Nothing, Nothing, Nothing> = Message::Error(RequestId(5), body);
        check(vectors, &format!("error/{word}"), &message);
    }
}

#[test]
fn every_kind_of_message_is_encoded_as_its_golden_vector() {
    let mut vectors = Vectors::new();
    requests(&mut vectors, "opening", samples::openings());
    answers(&mut vectors, "opened", samples::opened());
    requests(&mut vectors, "command", samples::commands());
    answers(&mut vectors, "reply", samples::replies());
    events(&mut vectors, "event", samples::events());
    requests(&mut vectors, "peer_command", samples::peer_commands());
    answers(&mut vectors, "peer_reply", samples::peer_replies());
    events(&mut vectors, "peer_event", samples::peer_events());
    errors(&mut vectors);

    let text: String = vectors.iter().map(|(label, hex)| format!("{label} {hex}\n")).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(Path::new(FILE), &text).unwrap();
    }
    let golden = std::fs::read_to_string(FILE).unwrap();
    for (expected, actual) in golden.lines().zip(text.lines()) {
        assert_eq!(actual, expected);
    }
    assert_eq!(golden.lines().count(), text.lines().count());
}

#[test]
fn every_kind_and_code_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let golden = std::fs::read_to_string(FILE).unwrap();
    for label in golden.lines().filter_map(|line| line.split(' ').next()) {
        let kind = label.split('/').nth(1).unwrap();
        assert!(text.contains(&format!("| `{kind}` |")) || label == "opened/ready", "{label}");
    }
}
