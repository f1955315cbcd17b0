//! What is told of a connection while it lives: to a qlog file, and to `tracing`.
//!
//! A connection has one span for its whole life, target `portolan_transport_udp::connection` and
//! level DEBUG; its beginning and its end are events of it. At TRACE each packet is one too. Both
//! this and the file come through the machine's observer, which exists only if somebody listens.

mod events;
mod frames;
mod qlog;

use std::{net::SocketAddr, time::Instant};

use portolan_identity::PeerId;
use portolan_mux::Side;
use portolan_qlog::Qlog;
use portolan_rudp::{CloseReason, Connection, Observation, Observer, PacketView};
use tracing::{
    Level, Span, debug, debug_span, enabled,
    field::{Empty, display},
    trace,
};

pub use qlog::QlogObserver;

/// The target of a connection's span and events.
const TARGET: &str = "portolan_transport_udp::connection";

/// The target of events about packets.
const PACKETS: &str = "portolan_transport_udp::packets";

/// The span of a connection that begins; its peer is recorded once it has proved its key.
pub(crate) fn span(connection: &Connection) -> Span {
    let remote = connection.remote_addr();
    let side = match connection.side() {
        Side::Client => "client",
        Side::Server => "server",
    };
    let id = connection.original_id();
    debug_span!(target: TARGET, "connection", transport = "udp", side, %remote, ?id, peer = Empty)
}

/// Lets those listen to `connection` who want to.
pub(crate) fn attach(
    connection: &mut Connection,
    (now, local): (Instant, SocketAddr),
    (qlog, span): (&Qlog, &Span),
) {
    let file = qlog
        .open(|| qlog::trace(connection, now))
        .map(|log| QlogObserver::new(log, connection, (now, local)));
    let speaks = enabled!(target: PACKETS, Level::TRACE);
    if file.is_some() || speaks {
        let speaker = speaks.then(|| Speaker { span: span.clone() });
        connection.observe(now, Box::new(Audience { file, speaker }));
    }
}

/// The remote has proved its key.
pub(crate) fn connected(span: &Span, peer: PeerId) {
    span.record("peer", display(peer));
    debug!(target: TARGET, parent: span, "connected");
}

/// The connection is over, or never came to be.
pub(crate) fn closed(span: &Span, reason: &CloseReason) {
    debug!(target: TARGET, parent: span, %reason, "closed");
}

/// Whoever listens.
#[derive(Debug)]
struct Audience {
    file: Option<QlogObserver>,
    speaker: Option<Speaker>,
}

impl Observer for Audience {
    fn observe(&mut self, now: Instant, event: Observation<'_>) {
        if let Some(speaker) = &self.speaker {
            speaker.say(&event);
        }
        if let Some(file) = &mut self.file {
            file.observe(now, event);
        }
    }
}

/// Makes events of `tracing`.
#[derive(Debug)]
struct Speaker {
    span: Span,
}

impl Speaker {
    fn say(&self, event: &Observation<'_>) {
        let _inside = self.span.enter();
        match event {
            Observation::Sent(packet) => packet_event("sent", packet),
            Observation::Received(packet) => packet_event("received", packet),
            Observation::Dropped { size, why } => trace!(target: PACKETS, size, ?why, "dropped"),
            Observation::Lost(packet) => {
                let (kind, number, why) = (packet.kind, packet.number, packet.why);
                trace!(target: PACKETS, ?kind, number, ?why, "lost");
            }
            Observation::Phase { new, .. } => trace!(target: PACKETS, phase = new, "congestion"),
            Observation::PacketSize { old, new } => {
                trace!(target: PACKETS, old, new, "packet size");
            }
            Observation::KeysUpdated { generation, by } => {
                trace!(target: PACKETS, generation, ?by, "keys updated");
            }
            Observation::RemoteMoved { old, new } => {
                trace!(target: PACKETS, %old, %new, "the remote has moved");
            }
            Observation::Stage(stage) => trace!(target: PACKETS, ?stage, "stage"),
            // Too much for people; in the file.
            Observation::Metrics(_)
            | Observation::LossTimer(_)
            | Observation::Parameters(_)
            | Observation::Closed(_) => {}
        }
    }
}

fn packet_event(what: &'static str, packet: &PacketView<'_>) {
    let (kind, number, size, frames) = (packet.kind, packet.number, packet.size, packet.frames());
    trace!(target: PACKETS, ?kind, number, size, ?frames, "{what}");
}
