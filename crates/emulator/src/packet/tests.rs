//! Super-packets cut and joined again, against packets made one by one.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::Arc,
    time::Instant,
};

use portolan_netsim::{Ecn, IcmpError, Kind, Packet, Problem, Protocol, TcpFlags};
use proptest::prelude::*;

use super::{
    checksum::Sum,
    compose::{Face, put, put_addresses, put_bytes, write_header_checksum},
    frame::{Frame, Piece, finish_checksum, flag},
    layout::{Layout, Transport, number, word},
    outgoing::Run,
    vnet::{Offload, SegmentKind, Segments},
};

/// A packet that a test wants.
#[derive(Debug, Clone)]
struct Wanted {
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
    /// Of the IP header, and of TCP.
    id: u16,
    sequence: u32,
    flags: u8,
    payload: Vec<u8>,
}

impl Wanted {
    fn new(v4: bool, protocol: u8, payload: Vec<u8>) -> Self {
        let [source, destination] = if v4 {
            ["10.0.0.1:4000", "10.0.0.2:443"]
        } else {
            ["[fd00::1]:4000", "[fd00::2]:443"]
        };
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            id: 65_530,
            sequence: u32::MAX - 3000,
            flags: flag::ACK,
            payload,
        }
    }

    fn v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Its bytes, with the checksum finished or not.
    fn bytes(&self, finished: bool) -> Vec<u8> {
        let at = if self.v4() { 20 } else { 40 };
        let header = if self.protocol == number::TCP { 32 } else { 8 };
        let mut bytes = vec![0; at + header];
        bytes.extend_from_slice(&self.payload);
        self.write_ip(&mut bytes);
        self.write_transport(&mut bytes, at);
        let checksum_at = at + if self.protocol == number::TCP { 16 } else { 6 };
        let (source, destination) = (self.source.ip(), self.destination.ip());
        let length = bytes.len() - at;
        let sum = Sum::pseudo(source, destination, self.protocol, length).folded();
        put(&mut bytes, checksum_at, sum);
        if finished {
            finish_checksum(&mut bytes, at, checksum_at).unwrap();
        }
        bytes
    }

    fn write_ip(&self, bytes: &mut [u8]) {
        let length = u16::try_from(bytes.len()).unwrap();
        if self.v4() {
            put_bytes(bytes, 0, &[0x45, 0b10]);
            put(bytes, 2, length);
            put(bytes, 4, self.id);
            put_bytes(bytes, 6, &[0x40, 0, 64, self.protocol]);
        } else {
            put_bytes(bytes, 0, &[0x60, 0b10 << 4]);
            put(bytes, 4, length - 40);
            put_bytes(bytes, 6, &[self.protocol, 64]);
        }
        let layout = Layout::plain(self.v4(), self.protocol, bytes.len());
        put_addresses(bytes, &layout, self.source.ip(), self.destination.ip());
        write_header_checksum(bytes, &layout);
    }

    fn write_transport(&self, bytes: &mut [u8], at: usize) {
        put(bytes, at, self.source.port());
        put(bytes, at + 2, self.destination.port());
        if self.protocol == number::TCP {
            put_bytes(bytes, at + 4, &self.sequence.to_be_bytes());
            put_bytes(bytes, at + 12, &[8 << 4, self.flags]);
        } else {
            put(bytes, at + 4, u16::try_from(bytes.len() - at).unwrap());
        }
    }

    /// As the kernel hands it over: in segments of this size, with the checksum unfinished.
    fn frame(&self, size: u16) -> Arc<Frame> {
        let kind = match (self.protocol, self.v4()) {
            (number::TCP, true) => SegmentKind::TcpV4,
            (number::TCP, false) => SegmentKind::TcpV6,
            _ => SegmentKind::Udp,
        };
        let bytes = self.bytes(false);
        let at: u16 = if self.v4() { 20 } else { 40 };
        let headers = u16::try_from(bytes.len() - self.payload.len()).unwrap();
        let segments = Some(Segments { kind, size, headers, ecn: self.flags & flag::CWR != 0 });
        let offset = if self.protocol == number::TCP { 16 } else { 6 };
        Arc::new(Frame::new(&bytes, Offload { checksum: Some((at, offset)), segments }).unwrap())
    }

    /// These segments of it, as one packet.
    fn cut(&self, size: u16, run: &Range<u16>, count: u16) -> Self {
        let place = |index: u16| (usize::from(index) * usize::from(size)).min(self.payload.len());
        let mut flags = self.flags;
        if run.start > 0 {
            flags &= !flag::CWR;
        }
        if run.end < count {
            flags &= !(flag::FIN | flag::PSH);
        }
        Self {
            id: if self.v4() { self.id.wrapping_add(run.start) } else { 0 },
            sequence: self.sequence.wrapping_add(u32::try_from(place(run.start)).unwrap()),
            flags,
            payload: self.payload[place(run.start)..place(run.end)].to_vec(),
            ..self.clone()
        }
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    Instant::now()
}

/// Bytes of a packet that leaves, its checksum finished.
fn written(run: &Run) -> Vec<u8> {
    let mut bytes = Vec::new();
    let offload = run.write(&mut bytes);
    if let Some((start, offset)) = offload.checksum {
        let start = usize::from(start);
        finish_checksum(&mut bytes, start, start + usize::from(offset)).unwrap();
    }
    bytes
}

/// Joins what has survived of a frame, as the driver does.
fn runs(frame: &Arc<Frame>, survivors: &[u16]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for index in survivors {
        let next = Run::new(now(), frame.packet(*index, None).unwrap(), None);
        match runs.pop() {
            None => runs.push(next),
            Some(mut run) => match run.join(next) {
                None => runs.push(run),
                Some(next) => runs.extend([run, next]),
            },
        }
    }
    runs
}

/// The sum over a transport packet and its pseudo header, which is all ones for a good checksum.
fn is_sound(bytes: &[u8]) -> bool {
    let layout = Layout::of(bytes).unwrap();
    let (source, destination) = layout.addresses(bytes).unwrap();
    let body = &bytes[layout.transport_at..];
    let pseudo = match layout.protocol {
        number::ICMP => Sum::default(),
        protocol => Sum::pseudo(source, destination, protocol, body.len()),
    };
    let header = &bytes[..layout.transport_at];
    let header_is_sound = !layout.v4 || Sum::default().bytes(header).folded() == 0xffff;
    header_is_sound && pseudo.word(Sum::default().bytes(body).folded()).folded() == 0xffff
}

proptest! {
    /// Whatever is lost of a super-packet: what leaves is what a sender without offloads would have
    /// sent of it, in runs without holes.
    #[test]
    fn what_is_cut_and_joined_again_is_what_was_sent(
        v4: bool,
        tcp: bool,
        payload in prop::collection::vec(any::<u8>(), 1..6000),
        size in 100_u16..1500,
        flags: u8,
        lost: u64,
    ) {
        let protocol = if tcp { number::TCP } else { number::UDP };
        let quiet = flag::SYN | flag::RST;
        let wanted = Wanted { flags: flags & !quiet, ..Wanted::new(v4, protocol, payload) };
        let frame = wanted.frame(size);
        let count = frame.segments();
        let survivors: Vec<u16> = (0..count).filter(|at| lost >> (at % 64) & 1 == 0).collect();
        let mut seen = Vec::new();
        for run in runs(&frame, &survivors) {
            let segments = run.segments();
            prop_assert_eq!(written(&run), wanted.cut(size, &segments, count).bytes(true));
            seen.extend(segments);
        }
        prop_assert_eq!(seen, survivors);
    }

    /// No bytes make the reader panic, and what it takes it can write again.
    #[test]
    fn whatever_a_device_gives_is_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop::sample::select(vec![0x45_u8, 0x46, 0x60, 0x00]),
        protocol in prop::sample::select(vec![0_u8, 1, 6, 17, 43, 44, 58, 60]),
        start in 0_u16..100,
        offset in 0_u16..30,
        size in 0_u16..50,
        kind in 0_u8..4,
    ) {
        put_bytes(&mut bytes, 0, &[version]);
        put_bytes(&mut bytes, if version >> 4 == 4 { 9 } else { 6 }, &[protocol]);
        let length = u16::try_from(bytes.len()).unwrap();
        put(&mut bytes, if version >> 4 == 4 { 2 } else { 4 }, length.saturating_sub(60));
        let kinds = [SegmentKind::TcpV4, SegmentKind::TcpV6, SegmentKind::Udp];
        let segments = kinds.get(usize::from(kind));
        let segments = segments.map(|&kind| Segments { kind, size, headers: 0, ecn: false });
        let checksum = (start > 10).then_some((start, offset));
        if let Ok(frame) = Frame::new(&bytes, Offload { checksum, segments }) {
            let frame = Arc::new(frame);
            for index in 0..frame.segments() {
                let packet = frame.packet(index, None).unwrap();
                written(&Run::new(now(), packet, Some(7)));
            }
        }
    }
}

/// The packet of a frame that is one.
fn packet(frame: &Arc<Frame>) -> Packet<Piece> {
    frame.packet(0, None).unwrap()
}

fn plain(bytes: &[u8]) -> Arc<Frame> {
    Arc::new(Frame::new(bytes, Offload::default()).unwrap())
}

#[test]
fn a_translated_packet_equals_one_that_was_sent_from_there() {
    for (v4, outside) in [(true, "203.0.113.7:61000"), (false, "[2001:db8::7]:61000")] {
        for (protocol, finished) in
            [(number::TCP, true), (number::TCP, false), (number::UDP, true), (number::UDP, false)]
        {
            let inside = Wanted::new(v4, protocol, b"hello".to_vec());
            let outside = Wanted { source: outside.parse().unwrap(), ..inside.clone() };
            let frame = if finished { plain(&inside.bytes(true)) } else { inside.frame(1400) };
            let translated = Packet { source: outside.source, ..packet(&frame) };
            assert_eq!(written(&Run::new(now(), translated, None)), outside.bytes(true));
        }
    }
}

#[test]
fn datagrams_without_a_checksum_stay_without() {
    let mut bytes = Wanted::new(true, number::UDP, b"hello".to_vec()).bytes(true);
    put(&mut bytes, 26, 0);
    let translated = Packet { source: "203.0.113.7:1".parse().unwrap(), ..packet(&plain(&bytes)) };
    assert_eq!(word(&written(&Run::new(now(), translated, None)), 26), Ok(0));
}

#[test]
fn marks_and_hops_are_written_and_keep_the_header_sound() {
    for v4 in [true, false] {
        let frame = plain(&Wanted::new(v4, number::UDP, b"hello".to_vec()).bytes(true));
        let sent = packet(&frame);
        assert_eq!((sent.ecn, sent.hop_limit, sent.may_fragment), (Some(Ecn::Ect0), 64, false));
        let marked = Packet { ecn: Some(Ecn::Ce), hop_limit: 61, ..sent };
        let bytes = written(&Run::new(now(), marked, None));
        assert!(is_sound(&bytes));
        let again = packet(&plain(&bytes));
        assert_eq!((again.ecn, again.hop_limit), (Some(Ecn::Ce), 61));
    }
}

#[test]
fn a_damaged_packet_has_the_checksum_of_the_whole_one() {
    let wanted = Wanted::new(true, number::UDP, b"hello".to_vec());
    for frame in [plain(&wanted.bytes(true)), wanted.frame(1400)] {
        let mut bytes = Vec::new();
        let offload = Run::new(now(), packet(&frame), Some(3)).write(&mut bytes);
        assert_eq!(offload, Offload::default(), "the kernel must not repair it");
        assert!(!is_sound(&bytes));
        bytes[28] ^= 1 << 3;
        assert_eq!(bytes, wanted.bytes(true));
    }
}

fn face_back(packet: &Packet<Piece>, by: IpAddr) -> Face {
    let destination = SocketAddr::new(packet.source.ip(), 0);
    Face { source: SocketAddr::new(by, 0), destination, ecn: None, hop_limit: 60 }
}

/// What the model makes when a packet is too big.
fn error(packet: &Packet<Piece>, by: &str) -> Packet<Piece> {
    let by: IpAddr = by.parse().unwrap();
    let face = face_back(packet, by);
    let what = Problem::TooBig { mtu: 1300 };
    let kind = Kind::Error(IcmpError { what, by, about: packet.quoted() });
    Packet {
        protocol: Protocol::Icmp,
        source: face.source,
        destination: face.destination,
        ecn: None,
        hop_limit: 60,
        kind,
        ..packet.clone()
    }
}

#[test]
fn errors_of_the_model_read_as_what_they_say() {
    for (v4, by) in [(true, "10.0.0.254"), (false, "fd00::fe")] {
        let sent = packet(&plain(&Wanted::new(v4, number::UDP, vec![7; 1400]).bytes(true)));
        let made = error(&sent, by);
        let bytes = written(&Run::new(now(), made.clone(), None));
        assert!(is_sound(&bytes));
        assert_eq!(bytes.len(), if v4 { 576 } else { 1280 });
        let read = packet(&plain(&bytes));
        assert_eq!(
            (read.kind, read.source, read.destination),
            (made.kind, made.source, made.destination)
        );
    }
}

#[test]
fn errors_quote_what_a_translator_makes_of_the_addresses() {
    for (v4, by, inside) in
        [(true, "10.0.0.254", "192.168.1.5:99"), (false, "fd00::fe", "[fd01::5]:99")]
    {
        let sent = packet(&plain(&Wanted::new(v4, number::TCP, vec![7; 100]).bytes(true)));
        let made = written(&Run::new(now(), error(&sent, by), None));
        let mut passing = packet(&plain(&made));
        let Kind::Error(error) = &mut passing.kind else { panic!("{:?}", passing.kind) };
        error.about.source = inside.parse().unwrap();
        let expected = passing.kind;
        let bytes = written(&Run::new(now(), passing, None));
        assert!(is_sound(&bytes));
        assert_eq!(packet(&plain(&bytes)).kind, expected);
    }
}

#[test]
fn a_reset_of_the_model_acknowledges_what_it_refuses() {
    let wanted = Wanted { flags: flag::SYN, ..Wanted::new(true, number::TCP, Vec::new()) };
    let syn = packet(&plain(&wanted.bytes(true)));
    let reset = Packet {
        source: syn.destination,
        destination: syn.source,
        kind: Kind::Tcp(TcpFlags { rst: true, ack: true, ..TcpFlags::default() }),
        ..syn
    };
    let bytes = written(&Run::new(now(), reset.clone(), None));
    assert!(is_sound(&bytes));
    let read = packet(&plain(&bytes));
    assert_eq!(
        (read.source, read.destination, read.kind),
        (reset.source, reset.destination, reset.kind)
    );
    assert_eq!(bytes[28..32], (wanted.sequence + 1).to_be_bytes());
}

#[test]
fn the_model_answers_pings_with_what_they_carry() {
    for v4 in [true, false] {
        let at = if v4 { 20 } else { 40 };
        let protocol = if v4 { number::ICMP } else { number::ICMP_V6 };
        let mut bytes = Wanted::new(v4, number::UDP, b"ping data".to_vec()).bytes(true);
        put_bytes(&mut bytes, if v4 { 9 } else { 6 }, &[protocol]);
        put_bytes(&mut bytes, at, &[if v4 { 8 } else { 128 }, 0, 0, 0, 0x12, 0x34, 0, 1]);
        super::icmp::write_checksum(&mut bytes, v4, at);
        let layout = Layout::plain(v4, protocol, bytes.len());
        write_header_checksum(&mut bytes, &layout);
        let request = packet(&plain(&bytes));
        assert_eq!(request.source.port(), 0x1234, "the identifier");
        let reply = Packet {
            source: request.destination,
            destination: request.source,
            kind: Kind::Echo(portolan_netsim::Echo::Reply),
            ..request
        };
        let bytes = written(&Run::new(now(), reply.clone(), None));
        assert!(is_sound(&bytes));
        let read = packet(&plain(&bytes));
        assert_eq!((read.kind, read.source), (reply.kind, reply.source));
        assert!(bytes.ends_with(b"ping data"));
    }
}

#[test]
fn later_fragments_have_the_ports_of_the_first() {
    let wanted = Wanted::new(true, number::UDP, vec![1; 64]);
    let fragment = |offset: u16, more: u16| {
        let mut bytes = wanted.bytes(true);
        put(&mut bytes, 6, more << 13 | offset);
        let layout = Layout::plain(true, number::UDP, bytes.len());
        write_header_checksum(&mut bytes, &layout);
        plain(&bytes)
    };
    let mut fragments = super::Fragments::default();
    let (first, last) = (fragment(0, 1), fragment(9, 0));
    assert_eq!(last.layout().transport, Transport::Trailing);
    assert_eq!(fragments.ports(&last), None, "nobody knows yet");
    assert_eq!(fragments.ports(&first), None, "it has its own");
    let ports = fragments.ports(&last);
    assert_eq!(ports, Some((4000, 443)));
    let described = last.packet(0, ports).unwrap();
    assert_eq!((described.source, described.destination), (wanted.source, wanted.destination));
}
