//! Clients that break the rules cost themselves at most their connection, and others nothing.

use portolan_protocol::{
    ControlMessage, ErrorCode, Heartbeat, Message, MessageType, Nothing, Opening, OpeningMessage,
    RequestId,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::Priority;
use tokio::io::AsyncWriteExt;

use crate::client::{Client, Harness, name, say, within};

/// A frame with any content.
async fn write_frame(client: &mut Client, content: &[u8]) {
    let stream = client.writer.get_mut();
    stream.write_all(&u32::try_from(content.len()).unwrap().to_be_bytes()).await.unwrap();
    stream.write_all(content).await.unwrap();
}

/// The header of a request, with any kind.
fn header(kind: &str) -> Vec<u8> {
    let header = portolan_protocol::Header {
        message_type: MessageType::Request,
        id: RequestId(99),
        kind: kind.into(),
    };
    rmp_serde::to_vec_named(&header).unwrap()
}

async fn next(client: &mut Client) -> ControlMessage {
    within(client.reader.next_message()).await.unwrap()
}

async fn still_serves(harness: &Harness) {
    let mut bob = harness.login(200, "bob").await;
    bob.ask(say("bob", "all is well")).await.unwrap();
}

#[tokio::test]
async fn an_unknown_request_is_unsupported_and_a_bad_body_is_a_bad_request() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut unknown = header("teleport");
    unknown.push(0x80);
    let mut bad = header("lookup");
    bad.extend_from_slice(b"\x81\xa4name\xa3a b");
    for (frame, code) in [(unknown, ErrorCode::Unsupported), (bad, ErrorCode::BadRequest)] {
        write_frame(&mut alice, &frame).await;
        let Message::Error(RequestId(99), error) = next(&mut alice).await else { panic!() };
        assert_eq!(error.code, code);
    }
    alice.ask(Heartbeat { nonce: 1 }).await.unwrap();
}

#[tokio::test]
async fn a_garbage_frame_is_skipped_and_many_cost_the_connection() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    write_frame(&mut alice, b"\xc1garbage").await;
    alice.ask(Heartbeat { nonce: 1 }).await.unwrap();
    for _ in 0..16 {
        write_frame(&mut alice, b"").await;
    }
    let reason = alice.closing().await;
    assert_eq!(reason.why, portolan_protocol::ClosingReason::Abuse);
    drop(alice.reader);
    drop(alice.writer);
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_length_of_4_gib_closes_that_connection_only() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    alice.writer.get_mut().write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let reason = within(alice.connection.closed()).await.to_string();
    assert!(reason.contains("4294967295 bytes was announced"), "{reason}");
    still_serves(&harness).await;
}

#[tokio::test]
async fn a_stream_that_is_opened_for_nothing_is_answered_or_reset() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let relayed = portolan_protocol::Relayed {
        from: name("bob"),
        id: harness.server.id(),
        channel: None,
        places: vec![],
    };
    for (opening, code) in [
        (Opening::Control(portolan_protocol::Empty {}), ErrorCode::Conflict),
        (Opening::Relayed(relayed), ErrorCode::BadRequest),
    ] {
        let (send, recv) = alice.connection.open_stream(Priority::Bulk).await.unwrap();
        let question: OpeningMessage = Message::Request(RequestId(3), opening);
        let mut writer = FrameWriter::new(send);
        writer.send(&question).await.unwrap();
        let answer: OpeningMessage = within(FrameReader::new(recv).next_message()).await.unwrap();
        let Message::Error(RequestId(3), error) = answer else { panic!("{answer:?}") };
        assert_eq!(error.code, code);
    }
    let (mut send, recv) = alice.connection.open_stream(Priority::Bulk).await.unwrap();
    send.write_all(b"\xff\xff\xff\xffgarbage").await.unwrap();
    let ended: Result<Message<Opening, portolan_protocol::Opened, Nothing>, _> =
        within(FrameReader::new(recv).next_message()).await;
    assert!(ended.is_err());
    alice.ask(Heartbeat { nonce: 1 }).await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_read_no_further() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let text = "x".repeat(60 << 10);
    let flood = async {
        for number in 0..1_000_u64 {
            let echo = portolan_protocol::Echo { text: text.clone() };
            let message: ControlMessage = Message::Request(RequestId(1_000 + number), echo.into());
            alice.writer.send(&message).await.unwrap();
        }
    };
    let short = tokio::time::timeout(std::time::Duration::from_millis(500), flood);
    assert!(short.await.is_err(), "60 MB of requests were taken without one answer read");
    still_serves(&harness).await;
}
