//! What an onlooker is told of a connection: packets, losses, estimates, state.
//!
//! A host that wants to write a log gives a connection an [`Observer`]. Without one, each place
//! that could tell something costs one branch: nothing is decoded, formatted or allocated. What is
//! told never contains bytes of the application: a [`FrameView`] has lengths in their place.

use std::{fmt, net::SocketAddr, time::Instant};

use portolan_mux::{
    Priority, Reader, StreamId,
    frame::{CloseCause, Frame as MuxFrame, Session},
};

use crate::{
    CloseReason, ConnectionId, ConnectionStats,
    frame::{Ack, Frame},
    packet,
};

/// Is told what a connection does, at the moment when it does it.
pub trait Observer: fmt::Debug + Send {
    /// Something happened at `now`. Times never go backwards.
    fn observe(&mut self, now: Instant, event: Observation<'_>);
}

/// What an [`Observer`] is told.
#[derive(Debug, Clone)]
pub enum Observation<'a> {
    /// A packet is about to be sealed and sent.
    Sent(PacketView<'a>),
    /// A packet was found genuine and new.
    Received(PacketView<'a>),
    /// A packet came and nothing was done with it.
    Dropped {
        /// Its bytes.
        size: usize,
        /// Why.
        why: Dropped,
    },
    /// A packet counts as lost.
    Lost(LostPacket),
    /// Estimates have changed. Told at most once an acknowledgement.
    Metrics(&'a ConnectionStats),
    /// The congestion control is in another phase, named as in qlog where qlog has a name.
    Phase {
        /// The phase before; `None`: this is the first.
        old: Option<&'static str>,
        /// The phase now.
        new: &'static str,
    },
    /// The timer of losses and probes (RFC 9002 §6) was set, stopped or has gone off.
    LossTimer(TimerChange),
    /// Both sides' limits, when the handshake has authenticated them.
    Parameters(Parameters),
    /// The longest datagram that is sent has changed.
    PacketSize {
        /// Bytes before.
        old: usize,
        /// Bytes now.
        new: usize,
    },
    /// The keys of Data packets were changed.
    KeysUpdated {
        /// How many changes there were, this one included.
        generation: u64,
        /// Whose wish it was.
        by: Owner,
    },
    /// The remote is at another address.
    RemoteMoved {
        /// Where it was.
        old: SocketAddr,
        /// Where it is.
        new: SocketAddr,
    },
    /// The connection is one step further.
    Stage(Stage),
    /// The connection is over.
    Closed(&'a CloseReason),
}

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This one.
    Local,
    /// The other.
    Remote,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Packets can be sent, nothing is proved.
    Attempted,
    /// The remote has proved its key.
    Established,
    /// The remote is known to have the whole handshake (RFC 9001 §4.1.2).
    Confirmed,
    /// A farewell was said (RFC 9000 §10.2).
    Closing,
    /// A farewell was heard.
    Draining,
    /// Nothing is left to do.
    Gone,
}

/// The keys that protect a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// The first of the handshake, in clear.
    Init,
    /// The rest of the handshake.
    Handshake,
    /// Everything after it.
    Data,
}

impl PacketKind {
    pub(crate) fn of(level: packet::Level) -> Self {
        match level {
            packet::Level::Init => Self::Init,
            packet::Level::Handshake => Self::Handshake,
            packet::Level::Data => Self::Data,
        }
    }
}

/// A packet, as far as it may be shown.
#[derive(Clone, Copy)]
pub struct PacketView<'a> {
    /// Its keys.
    pub kind: PacketKind,
    /// Its number.
    pub number: u64,
    /// Its bytes, from the first to the tag.
    pub size: usize,
    /// Whom it names.
    pub destination: ConnectionId,
    pub(crate) payload: &'a [u8],
}

impl<'a> PacketView<'a> {
    /// What the packet carries.
    #[must_use]
    pub fn frames(&self) -> Frames<'a> {
        Frames { reader: Some(Reader::new(self.payload)) }
    }

    /// Bytes of all frames together.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }
}

impl fmt::Debug for PacketView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketView")
            .field("kind", &self.kind)
            .field("number", &self.number)
            .field("size", &self.size)
            .field("frames", &self.frames())
            .finish()
    }
}

/// Why a packet came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Not sealed by the remote, or damaged.
    Forged,
    /// It had come before.
    Duplicate,
    /// There are no keys for it yet, or none any more.
    KeyUnavailable,
}

/// A packet that counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostPacket {
    /// Its keys.
    pub kind: PacketKind,
    /// Its number.
    pub number: u64,
    /// Its bytes.
    pub size: u64,
    /// By what it is known.
    pub why: LossSign,
}

/// By what a loss is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossSign {
    /// Later packets were acknowledged (RFC 9002 §6.1.1).
    Reordering,
    /// Its time was over (RFC 9002 §6.1.2).
    Time,
    /// It tried whether one of its length passes (RFC 8899).
    SizeProbe,
}

/// What became of the timer of losses and probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerChange {
    /// It goes off then.
    Set(Instant),
    /// There is nothing to wait for.
    Stopped,
    /// It went off.
    Expired,
}

/// What one side takes and when it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Whose they are.
    pub owner: Owner,
    /// Silence after which the side gives up, in milliseconds.
    pub idle_ms: u64,
    /// Bytes of the longest datagram that it takes.
    pub packet_max: u16,
    /// Longest delay of its acknowledgements, in microseconds.
    pub ack_delay_us: u64,
    /// Limits of the streams to begin with.
    pub mux: portolan_mux::Params,
}

/// The frames of a packet, in their order; ends early at one that cannot be read.
#[derive(Clone)]
pub struct Frames<'a> {
    reader: Option<Reader<'a>>,
}

/// A frame without the bytes that it carries.
#[derive(Debug, Clone)]
pub enum FrameView<'a> {
    /// Zeros.
    Padding {
        /// How many.
        len: usize,
    },
    /// Nothing, to be acknowledged.
    Probe,
    /// An acknowledgement.
    Ack(AckView<'a>),
    /// A piece of the handshake.
    Crypto {
        /// Offset of its first byte.
        offset: u64,
        /// Its bytes.
        len: usize,
    },
    /// Another name by which the sender may be called.
    NewId {
        /// Its number.
        number: u64,
        /// The name.
        id: ConnectionId,
    },
    /// A name that the sender uses no more, by its number.
    RetireId {
        /// Its number.
        number: u64,
    },
    /// Asks whether this path works.
    PathChallenge,
    /// Answers that it does.
    PathResponse,
    /// The handshake is over.
    Done,
    /// A piece of a stream.
    Stream {
        /// Which.
        id: StreamId,
        /// Its class.
        priority: Priority,
        /// Offset of the first byte.
        offset: u64,
        /// Its bytes.
        len: usize,
        /// Whether the stream ends after it.
        fin: bool,
    },
    /// The writer abandons a stream.
    Reset {
        /// Which.
        id: StreamId,
        /// Why.
        code: u32,
        /// Bytes sent until then.
        final_size: u64,
    },
    /// The reader wants no more of a stream.
    Stop {
        /// Which.
        id: StreamId,
        /// Why.
        code: u32,
    },
    /// The window of one stream.
    MaxStreamData {
        /// Which.
        id: StreamId,
        /// Offset up to which its reader takes bytes.
        max: u64,
    },
    /// The window of the connection, in bytes since the start.
    MaxData(u64),
    /// Streams that may be opened, since the start.
    MaxStreams(u64),
    /// A message.
    Datagram {
        /// Its bytes.
        len: usize,
        /// Its number, if it may come more than once.
        sequence: Option<u64>,
        /// Whether it was sent before.
        is_repeated: bool,
    },
    /// Asks for a sign of life.
    Ping,
    /// A sign of life.
    Pong,
    /// The end of the connection.
    Close {
        /// Why, and in whose numbers.
        cause: CloseCause,
    },
    /// A frame that this view knows by name only.
    Other {
        /// Its name.
        name: &'static str,
    },
}

/// An acknowledgement.
#[derive(Clone)]
pub struct AckView<'a>(Ack<'a>);

impl AckView<'_> {
    /// How long the remote has held it back, in microseconds.
    #[must_use]
    pub fn delay_us(&self) -> u64 {
        self.0.delay_us
    }

    /// The acknowledged numbers, first and last of each range, from the largest down.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.ranges().map(|range| (*range.start(), *range.end()))
    }

    /// Datagrams that came marked as congested, if the remote counts them.
    #[must_use]
    pub fn marked(&self) -> Option<u64> {
        self.0.ecn.map(|counts| counts.ce)
    }
}

impl fmt::Debug for AckView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = FrameView<'a>;

    fn next(&mut self) -> Option<FrameView<'a>> {
        let reader = self.reader.as_mut().filter(|reader| !reader.is_empty())?;
        let padding = take_padding(reader);
        if padding > 0 {
            return Some(FrameView::Padding { len: padding });
        }
        let view = Frame::decode(reader).ok().and_then(|frame| view(frame, reader));
        if view.is_none() {
            self.reader = None;
        }
        view
    }
}

fn take_padding(reader: &mut Reader<'_>) -> usize {
    let mut len = 0;
    let mut ahead = reader.clone();
    while ahead.byte() == Ok(0) {
        len += 1;
        *reader = ahead.clone();
    }
    len
}

fn view<'a>(frame: Frame<'a>, reader: &mut Reader<'a>) -> Option<FrameView<'a>> {
    Some(match frame {
        Frame::Padding => FrameView::Padding { len: 1 },
        Frame::Probe => FrameView::Probe,
        Frame::Ack(ack) => FrameView::Ack(AckView(ack)),
        Frame::Crypto { offset, data } => FrameView::Crypto { offset, len: data.len() },
        Frame::NewId(new) => FrameView::NewId { number: new.number, id: new.id },
        Frame::RetireId(number) => FrameView::RetireId { number },
        Frame::PathChallenge(_) => FrameView::PathChallenge,
        Frame::PathResponse(_) => FrameView::PathResponse,
        Frame::Done => FrameView::Done,
        Frame::AckFrequency(_) => FrameView::Other { name: "ack_frequency" },
        Frame::ImmediateAck => FrameView::Other { name: "immediate_ack" },
        Frame::Session(Session::Ping(_)) => FrameView::Ping,
        Frame::Session(Session::Pong(_)) => FrameView::Pong,
        Frame::Session(Session::Close(close)) => FrameView::Close { cause: close.cause },
        Frame::Session(Session::Greeting(_)) => FrameView::Other { name: "greeting" },
        Frame::Mux(kind) => view_of_mux(MuxFrame::decode(kind, reader).ok()?),
    })
}

fn view_of_mux(frame: MuxFrame<'_>) -> FrameView<'static> {
    match frame {
        MuxFrame::Stream { id, priority, offset, data, fin } => {
            FrameView::Stream { id, priority, offset, len: data.len(), fin }
        }
        MuxFrame::Reset { id, code, final_size } => FrameView::Reset { id, code, final_size },
        MuxFrame::Stop { id, code } => FrameView::Stop { id, code },
        MuxFrame::MaxStreamData { id, max } => FrameView::MaxStreamData { id, max },
        MuxFrame::MaxData { max } => FrameView::MaxData(max),
        MuxFrame::MaxStreams { max } => FrameView::MaxStreams(max),
        MuxFrame::Datagram { copy, data } => FrameView::Datagram {
            len: data.len(),
            sequence: copy.map(|copy| copy.sequence),
            is_repeated: copy.is_some_and(|copy| copy.repeated),
        },
        MuxFrame::Repair { .. } => FrameView::Other { name: "repair" },
    }
}
