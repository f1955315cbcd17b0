//! The way to the remote: its address, what may be sent there, and what is known of it.

use std::time::{Duration, Instant};

use crate::{
    ConnectionConfig, Route,
    cadence::{Cadence, PACKETS_MAX, Request},
    congestion::{Controller, controller},
    delivery::Delivery,
    discovery::Discovery,
    ecn::Marking,
    late::Reordering,
    pacing::{Pace, Pacer},
    rtt::Rtt,
    sent::Patience,
};

/// An address that has not proved itself is sent at most this many times what came from it
/// (RFC 9000 §8.1).
pub(crate) const AMPLIFICATION_MAX: u64 = 3;

/// On ways shorter than this it is the computers that limit a transfer: every acknowledgement costs
/// them a packet at each end.
const SHORT_WAY: Duration = Duration::from_millis(2);

/// So many times fewer acknowledgements are asked for on short ways: four a window, which is twice
/// what the way holds.
const FEWER: u64 = 4;

#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) route: Route,
    /// Every path of a connection has its own: what is heard of packets that were sent on
    /// another says nothing about this one (RFC 9000 §9.4).
    pub(crate) number: u32,
    /// The remote has shown that it receives at this address.
    pub(crate) is_validated: bool,
    received: u64,
    sent: u64,
    pub(crate) discovery: Discovery,
    pub(crate) rtt: Rtt,
    pub(crate) congestion: Box<dyn Controller>,
    pub(crate) pacer: Pacer,
    pub(crate) delivery: Delivery,
    /// Whether datagrams are sent so that routers may mark them.
    pub(crate) marking: Marking,
    /// How far packets are overtaken on it.
    pub(crate) reordering: Reordering,
    /// How often we wish to be acknowledged.
    pub(crate) request: Request,
    /// Bytes under way.
    pub(crate) in_flight: u64,
    /// The most that was under way lately.
    used: u64,
}

/// Packets of live media that go ahead of window and pacer.
const LIVE_PACKETS: u64 = 2;

impl Path {
    /// What is done by chance comes from `seed`.
    pub(crate) fn new(now: Instant, route: Route, config: &ConnectionConfig, seed: u64) -> Self {
        let packet_size = config.packet_size.max(crate::packet::DATAGRAM_MIN);
        Self {
            route,
            number: 0,
            is_validated: false,
            received: 0,
            sent: 0,
            discovery: Discovery::new(packet_size, config.packet_limit),
            rtt: Rtt::new(config.initial_rtt),
            congestion: controller(config.congestion, packet_size.into(), seed),
            pacer: Pacer::new(),
            delivery: Delivery::new(now),
            marking: Marking::new(),
            reordering: Reordering::new(),
            request: Request::new(config.ack_delay),
            in_flight: 0,
            used: 0,
        }
    }

    /// The same way leads to another port now: all that was learnt of it still holds, but who
    /// receives there must show itself.
    pub(crate) fn rebind(&mut self, route: Route, number: u32) {
        (self.route, self.number) = (route, number);
        self.is_validated = false;
        (self.received, self.sent, self.in_flight) = (0, 0, 0);
        self.pacer = Pacer::new();
        self.discovery.forget_probe();
    }

    /// What came and went there while it was only tried.
    pub(crate) fn count(&mut self, received: u64, sent: u64) {
        self.received += received;
        self.sent += sent;
    }

    /// Bytes of the longest datagram that we send, probes of its length aside.
    pub(crate) fn packet_size(&self) -> usize {
        self.discovery.size()
    }

    pub(crate) fn on_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// Bytes that may be sent before more has come from there.
    pub(crate) fn amplification_budget(&self) -> usize {
        if self.is_validated {
            return usize::MAX;
        }
        let budget = (self.received * AMPLIFICATION_MAX).saturating_sub(self.sent);
        usize::try_from(budget).unwrap_or(usize::MAX)
    }

    /// Whether the way is so short that the computers are what limits a transfer.
    pub(crate) fn is_short(&self) -> bool {
        self.rtt.min() < SHORT_WAY
    }

    /// Whether another packet would exceed the window.
    pub(crate) fn is_congested(&self) -> bool {
        !self.has_room(self.packet_size())
    }

    /// Whether the window leaves room for a packet of this size.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.in_flight + size as u64 <= self.congestion.window()
    }

    /// Whether a packet of live media may go although window or pacer hold everything else back: a
    /// talk is not what fills the path, and in the time that a transfer needs to make room it
    /// would be late.
    pub(crate) fn has_room_for_live(&self) -> bool {
        let ahead = LIVE_PACKETS * self.packet_size() as u64;
        self.in_flight < self.congestion.window() + ahead && self.pacer.debt() < ahead
    }

    /// How far a packet may be overtaken before it counts as lost.
    pub(crate) fn patience(&self) -> Patience {
        let delay = self.rtt.loss_delay(self.reordering.eighths());
        Patience { packets: self.reordering.packets(), delay }
    }

    /// Asks for acknowledgements as often as what is under way needs them, `under_way` bytes before
    /// the last one; the remote holds them back for `longest` at most. A thin flow is acknowledged
    /// as ever, however large its window has become: it waits for the repair of each loss.
    pub(crate) fn choose_cadence(&mut self, now: Instant, longest: Duration, under_way: u64) {
        let rtt = self.rtt.smoothed();
        self.used = under_way.max(self.used - self.used / 8);
        let packets = self.used.min(self.congestion.window()) / self.packet_size() as u64;
        let packets = if self.is_short() { packets * FEWER } else { packets };
        let usual = Cadence::usual(longest);
        let wish = match Cadence::of_window(packets, rtt, longest) {
            _ if self.congestion.is_starting() => usual,
            wish if wish == usual => usual,
            wish => Cadence { reorder: self.reordering.packets().min(PACKETS_MAX), ..wish },
        };
        self.request.wish(now, rtt, wish);
    }

    /// When the next packet may go; `None`: now.
    pub(crate) fn pacing_delay(&mut self, now: Instant) -> Option<Instant> {
        let packet_size = self.packet_size() as u64;
        let pace = match self.congestion.pacing_rate() {
            Some(rate) => Pace { bytes: rate, time: Duration::from_secs(1), packet_size },
            None if self.congestion.is_starting() => {
                Pace::of_start(self.congestion.window(), self.rtt.smoothed(), packet_size)
            }
            None => Pace::of_window(self.congestion.window(), self.rtt.smoothed(), packet_size),
        };
        self.pacer.delay(now, pace)
    }
}
