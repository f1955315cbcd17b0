//! Frames in the words of qlog, written one after the other.

use portolan_mux::{Priority, frame::CloseCause};
use portolan_rudp::{AckView, FrameView, Frames};
use serde::{Serialize, Serializer};

/// The frames of a packet.
pub(super) struct FrameList<'a>(pub(super) Frames<'a>);

impl Serialize for FrameList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(Frame::from))
    }
}

/// The ranges of an acknowledgement, the smallest first, as qlog has them.
struct Ranges<'a>(AckView<'a>);

impl Serialize for Ranges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ranges: Vec<[u64; 2]> =
            self.0.ranges().map(|(first, last)| [first, last]).collect();
        ranges.reverse();
        serializer.collect_seq(ranges)
    }
}

#[derive(Serialize)]
#[serde(tag = "frame_type", rename_all = "snake_case")]
enum Frame<'a> {
    Padding {
        payload_length: usize,
    },
    Ping {
        #[serde(skip_serializing_if = "Option::is_none")]
        heartbeat: Option<&'static str>,
    },
    Ack {
        ack_delay: f64,
        acked_ranges: Ranges<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ce: Option<u64>,
    },
    Crypto {
        offset: u64,
        length: usize,
    },
    NewConnectionId {
        sequence_number: u64,
        connection_id: String,
    },
    RetireConnectionId {
        sequence_number: u64,
    },
    PathChallenge,
    PathResponse,
    HandshakeDone,
    Stream {
        stream_id: u64,
        offset: u64,
        length: usize,
        fin: bool,
        priority: &'static str,
    },
    ResetStream {
        stream_id: u64,
        error_code: u32,
        final_size: u64,
    },
    StopSending {
        stream_id: u64,
        error_code: u32,
    },
    MaxStreamData {
        stream_id: u64,
        maximum: u64,
    },
    MaxData {
        maximum: u64,
    },
    MaxStreams {
        stream_type: &'static str,
        maximum: u64,
    },
    Datagram {
        length: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        repeated: bool,
    },
    ConnectionClose {
        error_space: &'static str,
        error_code: u64,
    },
    /// One that qlog has no fields for, under its own name.
    #[serde(untagged)]
    Other {
        frame_type: &'static str,
    },
}

impl<'a> From<FrameView<'a>> for Frame<'a> {
    fn from(view: FrameView<'a>) -> Self {
        match view {
            FrameView::Padding { len } => Self::Padding { payload_length: len },
            FrameView::Probe => Self::Ping { heartbeat: None },
            FrameView::Ping => Self::Ping { heartbeat: Some("question") },
            FrameView::Pong => Self::Ping { heartbeat: Some("answer") },
            FrameView::Ack(ack) => acknowledgement(ack),
            FrameView::Crypto { offset, len } => Self::Crypto { offset, length: len },
            FrameView::NewId { number, id } => {
                Self::NewConnectionId { sequence_number: number, connection_id: format!("{id:?}") }
            }
            FrameView::RetireId { number } => Self::RetireConnectionId { sequence_number: number },
            FrameView::PathChallenge => Self::PathChallenge,
            FrameView::PathResponse => Self::PathResponse,
            FrameView::Done => Self::HandshakeDone,
            FrameView::Stream { id, priority, offset, len, fin } => {
                let priority = priority_word(priority);
                Self::Stream { stream_id: id.0, offset, length: len, fin, priority }
            }
            FrameView::Reset { id, code, final_size } => {
                Self::ResetStream { stream_id: id.0, error_code: code, final_size }
            }
            FrameView::Stop { id, code } => Self::StopSending { stream_id: id.0, error_code: code },
            FrameView::MaxStreamData { id, max } => {
                Self::MaxStreamData { stream_id: id.0, maximum: max }
            }
            FrameView::MaxData(maximum) => Self::MaxData { maximum },
            FrameView::MaxStreams(maximum) => {
                Self::MaxStreams { stream_type: "bidirectional", maximum }
            }
            FrameView::Datagram { len, sequence, is_repeated } => {
                Self::Datagram { length: len, sequence, repeated: is_repeated }
            }
            FrameView::Close { cause } => close(cause),
            FrameView::Other { name } => Self::Other { frame_type: name },
        }
    }
}

fn acknowledgement(ack: AckView<'_>) -> Frame<'_> {
    let delay = std::time::Duration::from_micros(ack.delay_us());
    let ce = ack.marked();
    Frame::Ack { ack_delay: super::events::milliseconds(delay), acked_ranges: Ranges(ack), ce }
}

fn close(cause: CloseCause) -> Frame<'static> {
    let (error_space, error_code) = match cause {
        CloseCause::Application(code) => ("application", code.into()),
        CloseCause::Violation(code) => ("transport", code),
    };
    Frame::ConnectionClose { error_space, error_code }
}

fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Control => "control",
        Priority::Live => "live",
        Priority::Interactive => "interactive",
        Priority::Bulk => "bulk",
    }
}
