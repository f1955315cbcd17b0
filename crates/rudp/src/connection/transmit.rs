//! Packets for the remote: which, how many, and what goes into them.

use std::time::Instant;

use portolan_mux::{Side, frame::Session};

use super::{Connection, State};
use crate::{
    Route, Timer, Transmit,
    frame::{PATH_FRAME_LEN, put_done, put_immediate_ack, put_path_response, put_probe},
    packet::{DATAGRAM_MIN, Draft, InitNames, Level, TAG_LEN, whole_blocks},
    sent::{Content, Frames, SentPacket},
    waiting::WaitsFor,
};

/// Longest train in bytes: what one UDP datagram can carry over IPv4, which is what the kernel
/// takes at once.
const TRAIN_BYTES_MAX: usize = 65_507;

/// A packet of a train that lacks no more than this is padded to the length of the others.
const PADDING_MAX: usize = 64;

/// Bytes that are too few for another packet in a datagram.
const COALESCE_MIN: usize = 128;

/// Datagrams of one flight of the handshake that are sent together.
const FLIGHT_MAX: usize = 4;

/// Packets under way, beside data that waits, that make sending a transfer.
const SIZE_PROBE_AFTER: u64 = 2;

/// Room for frames under construction that is kept for the next packet.
const FRAMES_KEPT: usize = 64;

/// Bytes of a PING or PONG.
const HEARTBEAT_LEN: usize = 9;

/// What may be sent now at the Data level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permit {
    Anything,
    /// Datagrams with a deadline: the window is full or the pacer waits, and leaves a little for
    /// them.
    Live,
    /// The window is full or the pacer waits.
    Acknowledgement,
}

impl Connection {
    /// Puts the next datagrams into `buf`, which is cleared first: one, or a train of equal ones.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        self.watch_time(now);
        match self.state {
            State::Closing(_) => self.transmit_farewell(buf),
            State::Draining(_) => self.transmit_answer(buf),
            State::Gone => None,
            State::Handshaking | State::Established => self
                .transmit_handshake(now, buf)
                .or_else(|| self.transmit_path(now, buf))
                .or_else(|| self.transmit_size_probe(now, buf))
                .or_else(|| self.transmit_train(now, buf)),
        }
    }

    pub(super) fn transmit_of(&mut self, buf: &[u8], segment_size: Option<usize>) -> Transmit {
        self.path.on_sent(buf.len());
        let ecn = self.path.marking.mark();
        let datagrams = segment_size.map_or(1, |size| buf.len().div_ceil(size.max(1)));
        self.path.marking.on_sent(datagrams);
        self.stats.bytes_sent += buf.len() as u64;
        let Route { socket, remote } = self.path.route;
        Transmit { socket, destination: remote, size: buf.len(), segment_size, ecn }
    }

    /// The present flight of the handshake: one datagram, or a train, so that its reader sees it
    /// as a whole.
    fn transmit_handshake(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.put_flight(now, buf, self.path.packet_size());
        let first = buf.len();
        if first == 0 {
            return None;
        }
        for _ in 1..FLIGHT_MAX {
            let start = buf.len();
            self.put_flight(now, buf, first);
            // Only the last one of a train may be shorter than the first.
            if buf.len() - start < first {
                break;
            }
        }
        self.update_loss_timer(now);
        Some(self.transmit_of(buf, (buf.len() > first).then_some(first)))
    }

    /// Appends one datagram with packets of the handshake's levels, and what fits behind them,
    /// of at most `size_max` bytes.
    fn put_flight(&mut self, now: Instant, buf: &mut Vec<u8>, size_max: usize) {
        let start = buf.len();
        let budget = self.path.amplification_budget().saturating_sub(start);
        let size = size_max.min(budget);
        if size < COALESCE_MIN {
            return;
        }
        let end = start + size;
        self.put_handshake(now, Level::Init, buf, end);
        let has_init = buf.len() > start;
        self.put_handshake(now, Level::Handshake, buf, end);
        if self.side == Side::Client && self.spaces[Level::Handshake].next_number > 0 {
            // Nothing that the server still says at the Init level can matter (RFC 9001 §4.9.1).
            self.end_space(now, Level::Init);
        }
        if has_init && self.side == Side::Client {
            buf.resize(buf.len().max(start + usize::from(DATAGRAM_MIN)), 0);
        } else if buf.len() > start && end - buf.len() >= COALESCE_MIN && self.can_send_data() {
            let permit = self.permit(now);
            self.put_data(now, buf, end, permit);
        }
    }

    fn wants_handshake(&self, level: Level) -> bool {
        let space = &self.spaces[level];
        let has_crypto = space.crypto_out.wants_to_send() && !self.path.is_congested();
        self.can_seal(level) && (space.acks.is_urgent() || has_crypto || space.probes > 0)
    }

    /// Appends one packet of the level if there is something to say.
    fn put_handshake(&mut self, now: Instant, level: Level, buf: &mut Vec<u8>, end: usize) {
        if !self.wants_handshake(level) || end.saturating_sub(buf.len()) < COALESCE_MIN {
            return;
        }
        let draft = self.draft(level, buf);
        let end = end - TAG_LEN;
        let space = &mut self.spaces[level];
        let mut content = Content { acked: space.acks.put(now, buf, end), ..Content::default() };
        if space.probes > 0 || !self.path.is_congested() {
            content.crypto = self.spaces[level].crypto_out.put(buf, end);
        }
        let space = &mut self.spaces[level];
        let is_probe = space.probes > 0 && content.crypto.is_none();
        if is_probe {
            put_probe(buf);
        }
        if draft.is_empty(buf) {
            buf.truncate(draft.start);
            return;
        }
        self.seal(&draft, buf);
        if content.crypto.is_some() || is_probe {
            self.on_sent(now, &draft, buf.len() - draft.start, content);
        }
    }

    /// A packet of nothing but length, to learn whether it passes (RFC 8899 §5.3). Only in the
    /// middle of a transfer: what arrives faster then is worth the padding.
    fn transmit_size_probe(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        let is_busy = self.path.in_flight >= SIZE_PROBE_AFTER * self.path.packet_size() as u64;
        let is_known = self.is_confirmed && self.path.is_validated;
        if !is_known || !self.can_send_data() || !is_busy || !self.mux.wants_to_send() {
            return None;
        }
        let size = self.path.discovery.poll(now)?;
        if !self.path.has_room(size) || self.path.pacing_delay(now).is_some() {
            return None;
        }
        if !self.renew_keys(now) {
            return None;
        }
        let draft = self.draft(Level::Data, buf);
        put_probe(buf);
        buf.resize(size - TAG_LEN, 0);
        self.seal(&draft, buf);
        let mut packet = self.depart(now, size, Content::default());
        packet.is_size_probe = true;
        self.remember(&draft, packet);
        self.path.discovery.on_sent(size);
        self.update_loss_timer(now);
        Some(self.transmit_of(buf, None))
    }

    /// Packets of the Data level: as many as fit into a train and may be sent now.
    fn transmit_train(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if !self.can_send_data() {
            return None;
        }
        let budget = self.path.amplification_budget();
        if budget < COALESCE_MIN {
            return None;
        }
        // One at a time where each must be counted.
        let count = if self.path.is_validated { self.config.train_max.max(1) } else { 1 };
        let mut segment = None;
        let mut made = 0;
        while made < count {
            let limit = segment.unwrap_or_else(|| self.segment_max().min(budget));
            if buf.len() + limit > TRAIN_BYTES_MAX.max(limit) {
                break;
            }
            if segment.is_some() {
                let fit = (TRAIN_BYTES_MAX - buf.len()) / limit;
                let row = self.put_row(now, buf, (limit, fit.min(count - made)));
                if row > 0 {
                    made += row;
                    continue;
                }
            }
            made += 1;
            let start = buf.len();
            let permit = self.permit(now);
            if !self.put_data(now, buf, start + limit, permit) {
                break;
            }
            if buf.len() - start < limit {
                break;
            }
            segment = Some(limit);
        }
        if buf.is_empty() {
            return None;
        }
        self.update_loss_timer(now);
        let is_train = segment.is_some_and(|segment| segment < buf.len());
        Some(self.transmit_of(buf, segment.filter(|_| is_train)))
    }

    /// Bytes of the packets of the next train. Where the network limits a transfer, a byte on the
    /// wire is worth more than the cipher's time.
    fn segment_max(&self) -> usize {
        let size = self.path.packet_size();
        if !self.path.is_short() {
            return size;
        }
        let space = &self.spaces[Level::Data];
        whole_blocks(size, space.next_number, space.largest_acked)
    }

    fn can_send_data(&self) -> bool {
        matches!(self.state, State::Established) && self.can_seal(Level::Data)
    }

    /// Whether there is something that the remote must acknowledge.
    fn has_data(&self) -> bool {
        let pending = &self.pending;
        pending.done
            || pending.ping
            || pending.pong.is_some()
            || pending.path_response.is_some()
            || self.spaces[Level::Data].crypto_out.wants_to_send()
            || self.mux.wants_to_send()
    }

    fn permit(&mut self, now: Instant) -> Permit {
        self.timers.stop(Timer::Pacing);
        if self.spaces[Level::Data].probes > 0 {
            return Permit::Anything;
        }
        if !self.has_data() {
            self.recovery.is_app_limited = true;
            self.recovery.was_app_limited = true;
            self.path.delivery.on_app_limited(self.path.in_flight);
            self.waiting.is_for(now, self.idle_reason());
            return Permit::Anything;
        }
        self.recovery.is_app_limited = false;
        let has_live = self.mux.has_live() && self.path.has_room_for_live();
        let otherwise = if has_live { Permit::Live } else { Permit::Acknowledgement };
        if self.path.is_congested() {
            self.recovery.is_window_limited = true;
            self.waiting.is_for(now, WaitsFor::Window);
            return otherwise;
        }
        match self.path.pacing_delay(now) {
            None => {
                self.waiting.is_for(now, WaitsFor::Nothing);
                Permit::Anything
            }
            Some(until) => {
                self.waiting.is_for(now, WaitsFor::Pacer);
                self.timers.set(Timer::Pacing, until);
                otherwise
            }
        }
    }

    /// What keeps a connection still that has nothing to send.
    fn idle_reason(&self) -> WaitsFor {
        match self.mux.stats().stream_bytes_queued {
            0 => WaitsFor::Application,
            _ => WaitsFor::Remote,
        }
    }

    /// Appends one packet that ends before `end`; answers whether there was something to say.
    fn put_data(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize, permit: Permit) -> bool {
        let may_elicit = match permit {
            Permit::Anything => self.has_data() || self.spaces[Level::Data].probes > 0,
            Permit::Live => self.mux.has_live(),
            Permit::Acknowledgement => false,
        };
        if !may_elicit && !self.spaces[Level::Data].acks.is_urgent() {
            return false;
        }
        if !self.renew_keys(now) {
            return false;
        }
        let draft = self.draft(Level::Data, buf);
        let content_end = end - TAG_LEN;
        let space = &mut self.spaces[Level::Data];
        let mut content =
            Content { acked: space.acks.put(now, buf, content_end), ..Content::default() };
        if may_elicit {
            self.put_pong(buf, content_end);
        }
        let answers_end = buf.len();
        if may_elicit && permit == Permit::Live {
            self.put_live(now, buf, content_end, &mut content);
        } else if may_elicit {
            self.put_content(now, buf, content_end, &mut content);
            self.pad(buf, draft.start, content_end);
        } else if self.spaces[Level::Data].acks.wants_confirmation() && buf.len() < content_end {
            put_probe(buf);
        }
        if draft.is_empty(buf) {
            buf.truncate(draft.start);
            return false;
        }
        let is_eliciting = buf.len() > answers_end;
        let goes_on = permit == Permit::Anything && self.mux.wants_to_send();
        if content_end - buf.len() <= PADDING_MAX && is_eliciting && goes_on {
            buf.resize(content_end, 0);
        }
        self.seal(&draft, buf);
        self.timers.stop(Timer::Acknowledge);
        if is_eliciting {
            let size = buf.len() - draft.start;
            if permit == Permit::Live {
                self.path.pacer.on_sent_ahead(size as u64);
            }
            self.on_sent(now, &draft, size, content);
        }
        true
    }

    /// Answers a PING. The answer asks for none itself: an idle connection's heartbeat is two
    /// packets, and who asked asks again if it does not come.
    fn put_pong(&mut self, buf: &mut Vec<u8>, end: usize) {
        if let Some(number) = self.pending.pong.filter(|_| end - buf.len() >= HEARTBEAT_LEN) {
            self.pending.pong = None;
            Session::Pong(number).encode(buf);
        }
    }

    /// Everything that is to be acknowledged, the most urgent first.
    fn put_content(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize, content: &mut Content) {
        let room = |buf: &Vec<u8>| end - buf.len();
        if self.pending.done && room(buf) > 0 {
            self.pending.done = false;
            content.has_done = true;
            put_done(buf);
        }
        self.put_names(buf, end, content);
        if let Some(data) = self.pending.path_response.filter(|_| room(buf) >= PATH_FRAME_LEN) {
            self.pending.path_response = None;
            put_path_response(buf, data);
        }
        if self.pending.ping && room(buf) >= HEARTBEAT_LEN {
            self.pending.ping = false;
            let asked = now.saturating_duration_since(self.created).as_micros();
            Session::Ping(u64::try_from(asked).unwrap_or(0)).encode(buf);
        }
        content.has_wish = self.path.request.put(buf, end);
        content.crypto = self.spaces[Level::Data].crypto_out.put(buf, end);
        if self.spaces[Level::Data].probes > 0 && room(buf) > 0 {
            put_immediate_ack(buf);
        }
        let max = end - buf.len();
        self.mux.poll_frames(now, buf, max, &mut self.frames);
        content.mux = Frames::of(&self.frames);
        self.frames.clear();
        self.frames.shrink_to(FRAMES_KEPT);
    }

    /// Datagrams alone.
    fn put_live(&mut self, now: Instant, buf: &mut Vec<u8>, end: usize, content: &mut Content) {
        let max = end - buf.len();
        self.mux.poll_live(now, buf, max, &mut self.frames);
        content.mux = Frames::of(&self.frames);
        self.frames.clear();
    }

    /// Lengthens a packet that is to raise what the remote may send here.
    fn pad(&mut self, buf: &mut Vec<u8>, start: usize, end: usize) {
        if self.pending.padded > 0 && buf.len() > start {
            self.pending.padded -= 1;
            let full = start + usize::from(DATAGRAM_MIN) - TAG_LEN;
            buf.resize(buf.len().max(full.min(end)), 0);
        }
    }

    /// Changes the keys when they are worn or when it was asked for; answers whether there are
    /// keys that may seal.
    pub(super) fn renew_keys(&mut self, now: Instant) -> bool {
        let next_number = self.spaces[Level::Data].next_number;
        let after = self.config.key_update_after;
        let Some(keys) = &mut self.data_keys else { return false };
        let wants = std::mem::take(&mut self.pending.key_update) || keys.are_worn(after);
        if wants && self.is_confirmed && keys.can_update() {
            keys.update(next_number);
        }
        if keys.are_spent() {
            self.fail(now, super::SPENT);
            return false;
        }
        true
    }

    pub(crate) fn draft(&mut self, level: Level, buf: &mut Vec<u8>) -> Draft {
        let space = &self.spaces[level];
        let (number, acked) = (space.next_number, space.largest_acked);
        let destination = self.names.remote;
        match level {
            Level::Init => {
                let (source, token) = (self.names.local, &self.names.token[..]);
                Draft::init(buf, InitNames { destination, source, token }, number, acked)
            }
            Level::Handshake => Draft::handshake(buf, destination, number, acked),
            Level::Data => {
                let phase = self
                    .data_keys
                    .as_ref()
                    .map_or(crate::packet::KeyPhase::Even, crate::keys::DataKeys::phase);
                Draft::data(buf, destination, phase, number, acked)
            }
        }
    }

    fn on_sent(&mut self, now: Instant, draft: &Draft, size: usize, content: Content) {
        let packet = self.depart(now, size, content);
        self.remember(draft, packet);
    }

    /// Counts a packet as under way.
    fn depart(&mut self, now: Instant, size: usize, content: Content) -> SentPacket {
        let size = size as u64;
        if self.path.in_flight == 0 && self.recovery.was_app_limited {
            self.path.congestion.on_sent_after_pause(now);
        }
        self.recovery.was_app_limited = false;
        self.path.in_flight += size;
        let then = self.path.delivery.on_sent(now, size, self.path.in_flight);
        let mut packet = SentPacket::new(now, size, content, then);
        packet.is_marked = self.path.marking.mark().is_some();
        packet.path = self.path.number;
        packet
    }

    /// Remembers a packet that is to be acknowledged.
    fn remember(&mut self, draft: &Draft, packet: SentPacket) {
        let (now, size) = (packet.time, packet.size);
        let space = &mut self.spaces[draft.level];
        space.sent.insert(draft.number, packet);
        let is_first = space.last_eliciting.replace(now) != Some(now);
        space.probes = space.probes.saturating_sub(1);
        self.path.pacer.on_sent(size);
        if !std::mem::replace(&mut self.pending.has_sent_since_heard, true) {
            self.rest_idle(now);
        }
        if is_first {
            self.heartbeat.on_sent(now);
            self.rest_heartbeat();
        }
    }
}
