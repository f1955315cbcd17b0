//! Frames and records of TLS: ours fit, and others' need not.

mod common;

use portolan_mux::{
    Params, Reader, Side, StreamId,
    frame::{Frame, Greeting, Session, VERSION, is_session_frame},
};
use portolan_transport::{Endpoint, Priority};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::{Raw, listening, run};

/// Plaintext of one record (RFC 8446 §5.1).
const RECORD: usize = 16 << 10;

const LEN: usize = 300_000;

fn pattern() -> Vec<u8> {
    (0..251_u8).cycle().take(LEN).collect()
}

/// Bob, connected, with room for everything.
async fn wide(alice: &dyn Endpoint) -> Raw {
    let mut bob = Raw::connect(alice.local_addr()).await;
    let params =
        Params { streams: 8, stream_window: 1 << 20, connection_window: 1 << 20, datagram_max: 99 };
    let greeting = Greeting { version: VERSION, idle_ms: 20_000, params };
    bob.say_session(Session::Greeting(greeting)).await;
    bob
}

/// Bytes of streams in a record of whole frames.
fn stream_bytes(record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = Reader::new(record);
    while reader.remaining() > 0 {
        let kind = reader.varint().expect("a frame begins in each record");
        if is_session_frame(kind) {
            Session::decode(kind, &mut reader).expect("and ends in the same");
        } else if let Frame::Stream { data, .. } =
            Frame::decode(kind, &mut reader).expect("and ends in the same")
        {
            bytes.extend_from_slice(data);
        }
    }
    bytes
}

#[test]
fn frames_do_not_reach_from_one_record_into_the_next() {
    run(async {
        let alice = listening(|_| {}).await;
        let mut bob = wide(&*alice).await;
        let connection = alice.accept().await.expect("bob");
        let (mut send, _recv) = connection.open_stream(Priority::Bulk).await.expect("a stream");
        let writing = async {
            send.write_all(&pattern()).await.expect("room");
            send.finish().expect("the end");
        };
        let hearing = async {
            let (mut heard, mut longest) = (Vec::new(), 0);
            while heard.len() < LEN {
                let record = bob.hear_record().await;
                longest = longest.max(record.len());
                heard.extend(stream_bytes(&record));
            }
            assert!(heard == pattern(), "the same bytes");
            assert!(longest > RECORD - 64, "records are used: {longest}");
        };
        tokio::join!(writing, hearing);
    });
}

#[test]
fn frames_that_come_in_pieces_are_put_together() {
    run(async {
        let alice = listening(|_| {}).await;
        let mut bob = wide(&*alice).await;
        let connection = alice.accept().await.expect("bob");
        let mut bytes = Vec::new();
        let id = StreamId::new(Side::Client, 0);
        for (number, data) in pattern().chunks(10_000).enumerate() {
            let offset = number as u64 * 10_000;
            let fin = offset + data.len() as u64 == LEN as u64;
            Frame::Stream { id, priority: portolan_mux::Priority::Bulk, offset, data, fin }
                .encode(&mut bytes);
        }
        let saying = async {
            // Cut where it hurts: in types, numbers and data, into tiny and into long records.
            let mut rest = &bytes[..];
            for len in [1, 2, 3, 7, 9_998, 16_384, 1].into_iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(len));
                bob.say(now).await;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
        };
        let hearing = async {
            let (_send, mut recv) = connection.accept_stream().await.expect("bob's stream");
            let mut heard = Vec::new();
            recv.read_to_end(&mut heard).await.expect("all of it");
            assert!(heard == pattern(), "the same bytes");
        };
        tokio::join!(saying, hearing);
    });
}
