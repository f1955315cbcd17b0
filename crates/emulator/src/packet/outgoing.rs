//! What leaves for a host: runs of arrivals that go out as one.

use std::{net::IpAddr, ops::Range, sync::Arc, time::Instant};

use portolan_netsim::{Echo, IcmpError, Kind, Packet, Quoted};

use super::{
    compose::{Face, compose, flip_bit, put_bytes},
    frame::{Frame, Piece, finish_checksum, flag},
    icmp,
    layout::{Layout, Transport},
    reset,
    vnet::Offload,
};

/// Segments of one frame that arrive side by side.
#[derive(Debug)]
pub(crate) struct Run {
    frame: Arc<Frame>,
    segments: Range<u16>,
    face: Face,
    form: Form,
    flipped_bit: Option<u64>,
    /// When the first was due.
    pub(crate) due: Instant,
}

/// What the bytes are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The frame, with what the network has changed.
    AsSent,
    /// An error frame that quotes these addresses now.
    Requoted(Quoted),
    /// An error of the model's about the frame.
    Error(IcmpError),
    /// A reset of the model's.
    Reset,
    /// The model's answer to a ping.
    EchoReply,
}

impl Form {
    /// The model makes packets of another kind than their payload; everything else is as sent.
    fn of(packet: &Packet<Piece>) -> Self {
        let frame = &packet.payload.frame;
        match (packet.kind, frame.layout().transport) {
            (Kind::Error(error), Transport::IcmpError) => Self::Requoted(error.about),
            (Kind::Error(error), _) => Self::Error(error),
            (Kind::Tcp(flags), _) if flags.rst && frame.tcp_flags() & flag::RST == 0 => Self::Reset,
            (Kind::Echo(Echo::Reply), Transport::Echo { request: true }) => Self::EchoReply,
            (Kind::Plain | Kind::Tcp(_) | Kind::Echo(_), _) => Self::AsSent,
        }
    }
}

impl Run {
    /// A run of one.
    pub(crate) fn new(due: Instant, packet: Packet<Piece>, flipped_bit: Option<u64>) -> Self {
        let form = Form::of(&packet);
        let face = Face {
            source: packet.source,
            destination: packet.destination,
            ecn: packet.ecn,
            hop_limit: packet.hop_limit,
        };
        let Piece { frame, index } = packet.payload;
        Self { frame, segments: index..index + 1, face, form, flipped_bit, due }
    }

    /// Takes up what comes after it, or gives it back when it cannot leave together with this.
    pub(crate) fn join(&mut self, next: Self) -> Option<Self> {
        let joins = self.can_grow()
            && next.form == Form::AsSent
            && next.flipped_bit.is_none()
            && Arc::ptr_eq(&self.frame, &next.frame)
            && next.segments.start == self.segments.end
            && next.face == self.face;
        if joins {
            self.segments.end = next.segments.end;
        }
        (!joins).then_some(next)
    }

    /// Whether more of its frame may still come.
    pub(crate) fn can_grow(&self) -> bool {
        self.form == Form::AsSent
            && self.flipped_bit.is_none()
            && self.segments.end < self.frame.segments()
    }

    /// How many wire packets it is.
    pub(crate) fn len(&self) -> u64 {
        self.segments.len() as u64
    }

    /// Which of its frame's segments it is.
    #[cfg(test)]
    pub(super) const fn segments(&self) -> Range<u16> {
        self.segments.start..self.segments.end
    }

    /// For whom it is.
    pub(crate) fn destination(&self) -> IpAddr {
        self.face.destination.ip()
    }

    /// Appends the IP packet to `out`; says what is left to the kernel.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Offload {
        let begin = out.len();
        let piece = || Piece { frame: Arc::clone(&self.frame), index: self.segments.start };
        let offload = match self.form {
            Form::AsSent => compose(&self.frame, &self.segments, &self.face, out),
            Form::Requoted(about) => self.write_requoted(&about, out),
            Form::Error(error) => {
                icmp::write(&error, &piece(), &self.face, out);
                Offload::default()
            }
            Form::Reset => {
                reset::write(&piece(), &self.face, out);
                Offload::default()
            }
            Form::EchoReply => self.write_echo_reply(out),
        };
        match (self.flipped_bit, out.get_mut(begin..)) {
            (Some(bit), Some(packet)) => self.corrupt(packet, offload, bit),
            _ => offload,
        }
    }

    fn write_requoted(&self, about: &Quoted, out: &mut Vec<u8>) -> Offload {
        let begin = out.len();
        let offload = compose(&self.frame, &self.segments, &self.face, out);
        icmp::requote(out.get_mut(begin..).unwrap_or_default(), self.frame.layout(), about);
        offload
    }

    fn write_echo_reply(&self, out: &mut Vec<u8>) -> Offload {
        let begin = out.len();
        let offload = compose(&self.frame, &self.segments, &self.face, out);
        let Layout { v4, transport_at, .. } = *self.frame.layout();
        let packet = out.get_mut(begin..).unwrap_or_default();
        put_bytes(packet, transport_at, &[if v4 { 0 } else { 129 }]);
        icmp::write_checksum(packet, v4, transport_at);
        offload
    }

    /// The checksum is that of the packet before it was damaged, so the receiver can tell.
    fn corrupt(&self, packet: &mut [u8], offload: Offload, bit: u64) -> Offload {
        if let Some((start, offset)) = offload.checksum {
            let start = usize::from(start);
            // Checked when the frame was taken.
            let _ = finish_checksum(packet, start, start + usize::from(offset));
        }
        flip_bit(packet, self.frame.layout(), bit);
        Offload::default()
    }
}
