//! Acknowledgements, losses and probes (RFC 9002).

use std::time::{Duration, Instant};

use portolan_mux::{Side, Violation, ViolationCode};

use super::Connection;
use crate::{
    congestion::{AckSummary, Acked, CongestionEvent},
    ecn::{EcnCounts, EcnReport, Verdict},
    frame::Ack,
    late::LatePacket,
    packet::Level,
    sent::{Content, Losses, Row, SentPacket},
};

/// Round trips of silence that make all that was learnt of the path void (RFC 9002 §7.6.1).
const PERSISTENT_ROUNDS: u32 = 3;

/// Probe times after which a lost packet is not expected any more.
const LATE_ROUNDS: u32 = 2;

/// After the last message with a deadline live media still counts as under way: pauses of a talk
/// are told every 400 ms.
const LIVE_FOR: Duration = Duration::from_secs(1);

/// What an acknowledgement tells of packets that were under way.
struct NewlyAcked {
    /// The newest of them, and when it was sent.
    number: u64,
    sent: Instant,
    /// The path that it was sent on.
    path: u32,
    /// How many of them routers could mark.
    marked: u64,
}

impl Connection {
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        level: Level,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        let space = &mut self.spaces[level];
        if ack.largest >= space.next_number {
            return Err(Violation::new(
                ViolationCode::ProtocolViolation,
                "an acknowledgement of a packet that was never sent",
            ));
        }
        if level == Level::Data && ack.ranges().any(|range| self.traps.is_in(&range)) {
            return Err(Violation::new(
                ViolationCode::ProtocolViolation,
                "an acknowledgement of a number that was left out: it was not received",
            ));
        }
        let is_newer = space.largest_acked < Some(ack.largest);
        space.largest_acked = space.largest_acked.max(Some(ack.largest));
        if level == Level::Data {
            self.on_late_packets(now, ack);
        }
        let under_way = self.path.in_flight;
        let Some(acked) = self.take_acked(now, level, ack) else { return Ok(()) };
        let is_of_path = acked.path == self.path.number;
        if acked.number == ack.largest && is_of_path {
            self.sample_rtt(now, level, acked.sent, ack.delay_us);
        }
        if level == Level::Handshake {
            self.recovery.is_validated_by_remote = true;
        }
        if self.recovery.is_validated_by_remote || self.side == Side::Server {
            self.recovery.probe_count = 0;
        }
        if is_newer {
            self.on_marks(now, level, &acked, ack.ecn);
        }
        self.detect_losses(now, level);
        if is_of_path {
            self.summarize(now, under_way);
        }
        self.update_loss_timer(now);
        self.watch_estimates();
        Ok(())
    }

    /// Tells the controller what the acknowledgement has shown as a whole.
    fn summarize(&mut self, now: Instant, under_way: u64) {
        let lately = |at| now.saturating_duration_since(at) < LIVE_FOR;
        let is_live = self.mux.deadline_queued().is_some_and(lately);
        let path = &mut self.path;
        let sample = path.delivery.sample(path.rtt.min());
        path.congestion.on_ack(&AckSummary {
            now,
            rtt: path.rtt.latest(),
            delivered: path.delivery.total(),
            in_flight: path.in_flight,
            is_window_limited: std::mem::take(&mut self.recovery.is_window_limited),
            is_live,
            sample,
        });
        path.choose_cadence(now, self.remote.ack_delay, under_way);
        self.mux.on_congestion_window(path.congestion.window());
    }

    /// Takes everything out that the frame acknowledges.
    fn take_acked(&mut self, now: Instant, level: Level, ack: &Ack<'_>) -> Option<NewlyAcked> {
        let mut newly: Option<NewlyAcked> = None;
        for range in ack.ranges() {
            let mut place = self.spaces[level].sent.place_of(*range.start());
            while let Some(row) = self.spaces[level].sent.take_next(&mut place, &range) {
                let SentPacket { time: sent, path, .. } = row.packet;
                let number = row.last();
                let newly = newly.get_or_insert(NewlyAcked { number, sent, path, marked: 0 });
                if newly.number < number {
                    (newly.number, newly.sent, newly.path) = (number, sent, path);
                }
                newly.marked += if row.packet.is_marked { row.count } else { 0 };
                self.on_row_acked(now, level, &row);
            }
        }
        self.spaces[level].sent.trim();
        newly
    }

    fn on_row_acked(&mut self, now: Instant, level: Level, row: &Row) {
        if row.packet.path == self.path.number {
            self.on_path_delivered(now, row);
        } else {
            self.on_packet_of_other_path(row.packet.path, row.size());
        }
        if let (Level::Data, Some(keys)) = (level, &mut self.data_keys) {
            keys.on_acked(row.last());
        }
        let content = &row.packet.content;
        self.on_names_acked(&content.names);
        let space = &mut self.spaces[level];
        if let Some(largest) = content.acked {
            space.acks.on_confirmed(largest);
        }
        if let Some(piece) = content.crypto {
            space.crypto_out.on_acked(piece);
        }
        for frame in row.frames() {
            self.mux.on_acked(now, &frame);
        }
    }

    /// The path in use has carried packets.
    fn on_path_delivered(&mut self, now: Instant, row: &Row) {
        let packet = &row.packet;
        self.path.in_flight -= row.size();
        self.path.delivery.on_acked(now, row.size(), packet.time, packet.then);
        self.path.discovery.on_acked(packet.size);
        if packet.is_size_probe && self.path.discovery.on_probe_acked(packet.size) {
            self.on_packet_size();
        }
        let acked = Acked {
            now,
            sent: packet.time,
            bytes: packet.size,
            is_app_limited: self.recovery.is_app_limited,
            rtt: &self.path.rtt,
        };
        for _ in 0..row.count {
            self.path.congestion.on_acked(&acked);
        }
    }

    fn sample_rtt(&mut self, now: Instant, level: Level, sent: Instant, delay_us: u64) {
        let delay = match level {
            // Handshake packets are not held back (RFC 9002 §5.3).
            Level::Init | Level::Handshake => Duration::ZERO,
            Level::Data => Duration::from_micros(delay_us).min(self.remote.ack_delay),
        };
        self.path.rtt.on_sample(now, now.saturating_duration_since(sent), delay);
        self.mux.on_round_trip(self.path.rtt.min());
    }

    /// Routers may have marked packets instead of dropping them (RFC 9002 §7.1).
    fn on_marks(
        &mut self,
        now: Instant,
        level: Level,
        acked: &NewlyAcked,
        counts: Option<EcnCounts>,
    ) {
        let report = EcnReport { newly_acked: acked.marked, counts };
        match self.path.marking.on_ack(&mut self.spaces[level].ecn, report) {
            Verdict::Quiet => {}
            Verdict::Congested(packets) => {
                self.stats.ecn_marked += packets;
                let event =
                    CongestionEvent { sent: acked.sent, is_persistent: false, is_mark: true };
                self.path.congestion.on_congestion(now, &event);
            }
        }
    }

    pub(super) fn detect_losses(&mut self, now: Instant, level: Level) {
        let patience = self.path.patience();
        let space = &mut self.spaces[level];
        let Some(acked) = space.largest_acked else { return };
        let mut losses = space.sent.take_lost(now, acked, patience);
        space.loss_time = losses.next;
        self.repeat_of_other_paths(now, level, &mut losses);
        self.forget_size_probes(level, &mut losses);
        let Some(newest) = losses.packets.last().map(|(_, packet)| packet.time) else { return };
        if self.path.discovery.on_lost(losses.packets.iter().map(|(_, packet)| packet.size)) {
            self.on_packet_size();
        }
        let is_persistent = self.is_persistent(&losses.packets);
        let event = CongestionEvent { sent: newest, is_persistent, is_mark: false };
        self.path.congestion.on_congestion(now, &event);
        self.stats.packets_lost += losses.packets.len() as u64;
        self.path.reordering.on_lost();
        for (number, packet) in losses.packets {
            self.watch_lost(level, number, &packet);
            self.path.in_flight -= packet.size;
            let lost = self.path.delivery.on_lost(packet.size, packet.then);
            self.path.congestion.on_lost(now, &lost, self.path.delivery.total());
            if !packet.is_probed {
                self.repeat(now, level, &packet.content);
            }
            if level == Level::Data {
                self.remember_lost(now, number, packet);
            }
        }
    }

    /// What was lost on a path that was left says nothing about the one in use; its content is
    /// sent again there.
    fn repeat_of_other_paths(&mut self, now: Instant, level: Level, losses: &mut Losses) {
        let path = self.path.number;
        if losses.packets.iter().all(|(_, packet)| packet.path == path) {
            return;
        }
        let lost = std::mem::take(&mut losses.packets);
        let (ours, others) = lost.into_iter().partition(|(_, packet)| packet.path == path);
        losses.packets = ours;
        for (number, packet) in others {
            self.watch_lost(level, number, &packet);
            self.on_packet_of_other_path(packet.path, packet.size);
            self.stats.packets_lost += 1;
            if !packet.is_probed {
                self.repeat(now, level, &packet.content);
            }
        }
    }

    /// It may be late only.
    fn remember_lost(&mut self, now: Instant, number: u64, packet: SentPacket) {
        self.recovery.late.get_or_insert_default().keep(LatePacket {
            number,
            sent: packet.time,
            size: packet.size,
            path: packet.path,
            frames: packet.content.mux,
            declared: now,
        });
    }

    /// Looks for packets among the acknowledged that were declared lost.
    fn on_late_packets(&mut self, now: Instant, ack: &Ack<'_>) {
        let Some(mut late) = self.recovery.late.take() else { return };
        for range in ack.ranges() {
            while let Some(packet) = late.take_in(*range.start(), *range.end()) {
                self.on_late_packet(now, ack.largest - packet.number, packet);
            }
        }
        let patience = LATE_ROUNDS * self.probe_delay(Level::Data);
        late.forget(now, patience);
        if !late.is_empty() {
            self.recovery.late = Some(late);
        }
    }

    /// A packet that was declared lost has only been overtaken: what it carried need not be sent
    /// again, and the path is neither congested nor to be distrusted so soon.
    fn on_late_packet(&mut self, now: Instant, overtakers: u64, packet: LatePacket) {
        self.stats.packets_late += 1;
        for frame in packet.frames.iter() {
            self.mux.on_acked(now, frame);
        }
        if packet.path == self.path.number {
            let took = now.saturating_duration_since(packet.sent);
            self.path.reordering.on_late(overtakers, took, self.path.rtt.smoothed());
            self.path.delivery.on_late(packet.size);
            self.path.congestion.on_late(packet.sent);
        }
    }

    /// A probe that is too long for the path says nothing about congestion (RFC 8899 §3).
    fn forget_size_probes(&mut self, level: Level, losses: &mut Losses) {
        losses.packets.retain(|(number, packet)| {
            if packet.is_size_probe {
                self.watch_lost(level, *number, packet);
                self.path.in_flight -= packet.size;
                self.path.discovery.on_probe_lost();
            }
            !packet.is_size_probe
        });
    }

    /// Whether packets in a row were lost over so long a time that the path must have changed
    /// (RFC 9002 §7.6.2). Numbers that were skipped in between may have been acknowledged: they
    /// end a row.
    fn is_persistent(&self, lost: &[(u64, SentPacket)]) -> bool {
        let Some(first_sample) = self.path.rtt.first_sample() else { return false };
        let limit = PERSISTENT_ROUNDS * self.probe_delay(Level::Data);
        let mut row: Option<(u64, Instant)> = None;
        lost.iter().any(|(number, packet)| {
            let start = match row {
                Some((last, start)) if last + 1 == *number && start > first_sample => start,
                _ => packet.time,
            };
            row = Some((*number, start));
            packet.time.saturating_duration_since(start) > limit
        })
    }

    /// Sends again what a packet carried, as far as it is still of use.
    fn repeat(&mut self, now: Instant, level: Level, content: &Content) {
        if let Some(piece) = content.crypto {
            self.spaces[level].crypto_out.on_lost(piece);
        }
        self.pending.done |= content.has_done;
        if content.has_wish {
            self.path.request.on_lost();
        }
        self.on_names_lost(&content.names);
        for frame in content.mux.iter() {
            self.mux.on_lost(now, frame);
        }
    }

    /// Puts what the oldest packets carry into the probes: they are not given up, but if they are
    /// lost nothing more needs to be done.
    pub(super) fn repeat_oldest(&mut self, now: Instant, level: Level) {
        for _ in 0..2 {
            let Some(content) = self.spaces[level].sent.probe_oldest() else { return };
            self.repeat(now, level, &content);
        }
    }
}
