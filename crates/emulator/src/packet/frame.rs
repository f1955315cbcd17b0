//! What a host hands over in one piece: one packet, or many that share their headers.

use std::{net::SocketAddr, ops::Range, sync::Arc};

use portolan_netsim::{Echo, Ecn, Kind, Packet, Protocol, TcpFlags};

use super::{
    checksum::{Sum, never_zero},
    icmp,
    layout::{Layout, Malformed, Transport, byte, number, word},
    vnet::{Offload, SegmentKind},
};

/// Bits of the TCP header's flags (RFC 9293 §3.1).
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
    pub(crate) const CWR: u8 = 0x80;
}

/// A packet as the kernel gave it. It never changes: what the network does to a packet is written
/// into a copy when it leaves.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Box<[u8]>,
    layout: Layout,
    offload: Offload,
}

/// One wire packet of a frame.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// What it was cut from.
    pub(crate) frame: Arc<Frame>,
    /// Which of its segments it is.
    pub(crate) index: u16,
}

impl Frame {
    /// Takes an IP packet with what is still to be done to it.
    ///
    /// # Errors
    /// When its headers do not fit it.
    pub(crate) fn new(ip: &[u8], offload: Offload) -> Result<Self, Malformed> {
        let layout = Layout::of(ip)?;
        let bytes = ip.get(..layout.length).ok_or(Malformed::Short)?.into();
        let mut frame = Self { bytes, layout, offload };
        frame.check_segments()?;
        frame.finish_foreign_checksum()?;
        Ok(frame)
    }

    fn check_segments(&self) -> Result<(), Malformed> {
        let Some(segments) = self.offload.segments else { return Ok(()) };
        let fits = match segments.kind {
            SegmentKind::TcpV4 => self.layout.transport == Transport::Tcp && self.layout.v4,
            SegmentKind::TcpV6 => self.layout.transport == Transport::Tcp && !self.layout.v4,
            SegmentKind::Udp => self.layout.transport == Transport::Udp,
        };
        let whole = self.layout.fragment.is_none() && self.offload.checksum.is_some();
        if fits && whole && segments.size > 0 { Ok(()) } else { Err(Malformed::Offload) }
    }

    /// An unfinished checksum that is not the transport's own is finished here and now.
    fn finish_foreign_checksum(&mut self) -> Result<(), Malformed> {
        let Some((start, offset)) = self.offload.checksum else { return Ok(()) };
        let (start, at) = (usize::from(start), usize::from(start) + usize::from(offset));
        if start == self.layout.transport_at
            && self.layout.checksum_at() == Some(at)
            && self.layout.has_ports()
        {
            return Ok(());
        }
        if self.offload.segments.is_some() {
            return Err(Malformed::Offload);
        }
        self.offload.checksum = None;
        finish_checksum(&mut self.bytes, start, at)
    }

    pub(crate) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) const fn offload(&self) -> &Offload {
        &self.offload
    }

    /// How many wire packets it is.
    pub(crate) fn segments(&self) -> u16 {
        let Some(segments) = self.offload.segments else { return 1 };
        let payload = self.layout.length - self.layout.payload_at;
        let count = payload.div_ceil(usize::from(segments.size)).max(1);
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Where in the frame the payload of these segments stands.
    pub(crate) fn payload(&self, run: &Range<u16>) -> Range<usize> {
        let (begin, end) = (self.layout.payload_at, self.layout.length);
        let size = self.offload.segments.map_or(end - begin, |segments| segments.size.into());
        let place = |index: u16| (begin + usize::from(index) * size).min(end);
        place(run.start)..place(run.end)
    }

    /// The flags of the TCP header.
    pub(crate) fn tcp_flags(&self) -> u8 {
        byte(&self.bytes, self.layout.transport_at + 13).unwrap_or_default()
    }

    /// A wire packet of it as the model wants it. `ports` are those of the datagram of which it is
    /// a later fragment.
    ///
    /// # Errors
    /// When its headers do not fit it.
    pub(crate) fn packet(
        self: &Arc<Self>,
        index: u16,
        ports: Option<(u16, u16)>,
    ) -> Result<Packet<Piece>, Malformed> {
        let (source, destination) = self.layout.addresses(&self.bytes)?;
        let (from, to) = ports.unwrap_or_else(|| self.layout.ports(&self.bytes));
        let size = self.layout.payload_at + self.payload(&(index..index + 1)).len();
        Ok(Packet {
            protocol: self.protocol(),
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
            size: u32::try_from(size).unwrap_or(u32::MAX),
            ecn: self.ecn(),
            hop_limit: byte(&self.bytes, if self.layout.v4 { 8 } else { 7 })?,
            may_fragment: self.layout.v4 && word(&self.bytes, 6)? & 0x4000 == 0,
            kind: self.kind(index),
            payload: Piece { frame: Arc::clone(self), index },
        })
    }

    fn protocol(&self) -> Protocol {
        match (self.layout.protocol, self.layout.v4) {
            (number::TCP, _) => Protocol::Tcp,
            (number::UDP, _) => Protocol::Udp,
            (number::ICMP, true) | (number::ICMP_V6, false) => Protocol::Icmp,
            (other, _) => Protocol::Other(other),
        }
    }

    fn ecn(&self) -> Option<Ecn> {
        let bits = if self.layout.v4 {
            byte(&self.bytes, 1).unwrap_or_default()
        } else {
            byte(&self.bytes, 1).unwrap_or_default() >> 4
        };
        match bits & 3 {
            0b01 => Some(Ecn::Ect1),
            0b10 => Some(Ecn::Ect0),
            0b11 => Some(Ecn::Ce),
            _ => None,
        }
    }

    fn kind(&self, index: u16) -> Kind {
        match self.layout.transport {
            Transport::Tcp => Kind::Tcp(self.flags_of(index)),
            Transport::Echo { request: true } => Kind::Echo(Echo::Request),
            Transport::Echo { request: false } => Kind::Echo(Echo::Reply),
            Transport::IcmpError => icmp::read(self).map_or(Kind::Plain, Kind::Error),
            Transport::Udp | Transport::LinkTalk | Transport::Trailing | Transport::Other => {
                Kind::Plain
            }
        }
    }

    fn flags_of(&self, index: u16) -> TcpFlags {
        let flags = self.tcp_flags();
        let last = index + 1 == self.segments();
        TcpFlags {
            syn: flags & flag::SYN != 0,
            ack: flags & flag::ACK != 0,
            fin: flags & flag::FIN != 0 && last,
            rst: flags & flag::RST != 0,
        }
    }
}

/// Turns the sum of the pseudo header into the checksum of what begins at `start`.
pub(crate) fn finish_checksum(ip: &mut [u8], start: usize, at: usize) -> Result<(), Malformed> {
    let sum = Sum::default().bytes(ip.get(start..).ok_or(Malformed::Offload)?);
    let field = ip.get_mut(at..at + 2).ok_or(Malformed::Offload)?;
    field.copy_from_slice(&never_zero(sum.finished()).to_be_bytes());
    Ok(())
}
