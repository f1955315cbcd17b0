//! Datagrams from the remote: packets, then frames.

use std::time::Instant;

use portolan_mux::{
    Reader, Side, Violation, ViolationCode,
    frame::{Close, CloseCause, Session},
};

use super::{Connection, State};
use crate::{
    CloseReason, ConnectionId, Ecn, Route,
    ack::Arrival,
    cadence::Wish,
    event::ResetToken,
    frame::{Frame, is_of_stream},
    integrity::equal_secrets,
    keys::{DataKeys, KeyChange, Opened, Unopened},
    observe::Dropped,
    packet::{
        DATA_PREFIX, Header, InitHeader, Level, TAG_LEN, VERSION, data_destination, expand_number,
        number_len_of,
    },
};

/// Longest packet in bytes that is kept for the end of the handshake.
pub(super) const EARLY_MAX: usize = 1500;

/// When and how a datagram came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) now: Instant,
    ecn: Option<Ecn>,
    pub(super) route: Route,
    /// Bytes of the datagram.
    pub(super) size: usize,
    /// By which name the packet calls us.
    pub(super) destination: ConnectionId,
}

impl Connection {
    /// Takes a datagram that the endpoint has routed here; it is decrypted in place. A host with
    /// several sockets says by a [`Route`] on which one it came.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: impl Into<Route>,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        match self.state {
            State::Handshaking | State::Established => {}
            State::Closing(_) => return self.on_datagram_while_closing(datagram),
            State::Draining(_) | State::Gone => return,
        }
        self.stats.bytes_received += datagram.len() as u64;
        self.watch_time(now);
        let (route, size) = (from.into(), datagram.len());
        if route == self.path.route {
            let was_blocked = self.path.amplification_budget() == 0;
            self.path.on_received(datagram.len());
            if was_blocked {
                self.update_loss_timer(now);
            }
        } else {
            self.on_received_elsewhere(route, size);
        }
        let when = Circumstances { now, ecn, route, size, destination: self.names.local };
        self.on_packets(when, datagram);
        self.replay_early(when);
        self.schedule_acknowledgement();
    }

    /// Takes datagrams that came together, each but the last of `stride` bytes: the same as
    /// [`Self::handle_datagram`] for each, for less.
    pub fn handle_train(
        &mut self,
        now: Instant,
        from: impl Into<Route>,
        ecn: Option<Ecn>,
        (train, stride): (&mut [u8], usize),
    ) {
        let route = from.into();
        let (size, destination) = (stride, self.names.local);
        let mut when = Circumstances { now, ecn, route, size, destination };
        self.watch_time(now);
        let path = (route == self.path.route && self.path.is_validated).then_some(self.path.number);
        for datagram in train.chunks_mut(stride.max(1)) {
            let is_usual = matches!(self.state, State::Established)
                && path == Some(self.path.number)
                && self.early.is_empty();
            match data_destination(datagram).filter(|_| is_usual) {
                Some(destination) => {
                    (when.size, when.destination) = (datagram.len(), destination);
                    self.stats.bytes_received += datagram.len() as u64;
                    self.path.on_received(datagram.len());
                    self.on_data(&when, DATA_PREFIX, datagram);
                }
                None => self.handle_datagram(now, route, ecn, datagram),
            }
        }
        self.schedule_acknowledgement();
    }

    fn on_packets(&mut self, when: Circumstances, datagram: &mut [u8]) {
        let mut rest = datagram;
        while let Some(header) = Header::parse(rest)
            && !self.is_closed()
        {
            let Some((packet, after)) = rest.split_at_mut_checked(header.end(rest.len())) else {
                return;
            };
            self.on_packet(when, &header, packet);
            rest = after;
        }
    }

    fn on_packet(&mut self, when: Circumstances, header: &Header, packet: &mut [u8]) {
        let when = Circumstances { destination: header.destination(), ..when };
        match header {
            Header::Init(init) => self.on_init(when, init, packet),
            Header::Handshake { number_at, .. } => self.on_handshake(when, *number_at, packet),
            Header::Data { number_at, .. } => self.on_data(&when, *number_at, packet),
            Header::Retry { token, .. } => self.on_retry(when, header, packet, token.clone()),
            Header::Versions { offered, .. } => self.on_versions(header, packet, offered.clone()),
        }
    }

    fn on_init(&mut self, when: Circumstances, header: &InitHeader, packet: &[u8]) {
        let is_ours = header.version == VERSION && self.is_named(header);
        if self.spaces[Level::Init].is_over || !is_ours || !self.integrity.check(packet) {
            return;
        }
        let Some(len) = packet.first().map(|&first| number_len_of(first)) else { return };
        let payload_at = header.number_at + len;
        let Some(number) = packet.get(header.number_at..payload_at) else { return };
        let Some(payload) = packet.get(payload_at..packet.len() - TAG_LEN) else { return };
        let number = expand_number(number, self.spaces[Level::Init].acks.largest());
        self.names.remote = header.source;
        self.names.is_remote_known = true;
        self.watch_received(Level::Init, number, packet.len(), payload);
        // Nothing here is proved: what makes no sense is not the remote's doing.
        let _ = self.on_payload(&when, Level::Init, number, payload);
    }

    fn is_named(&self, header: &InitHeader) -> bool {
        let is_destination = header.destination == self.names.local
            || self.side == Side::Server && header.destination == self.names.original;
        let is_source = !self.names.is_remote_known || header.source == self.names.remote;
        is_destination && is_source
    }

    fn on_handshake(&mut self, when: Circumstances, number_at: usize, packet: &mut [u8]) {
        if self.spaces[Level::Handshake].is_over {
            // A client that still asks has not heard that we are done.
            let is_unheard = self.side == Side::Server && !self.pending.done;
            self.pending.done |= is_unheard && self.spaces[Level::Data].sent.is_empty();
            return;
        }
        let largest = self.spaces[Level::Handshake].acks.largest();
        let Some(keys) = &self.handshake_keys else { return };
        match keys.open(packet, number_at, largest) {
            Ok(opened) => self.on_opened(&when, Level::Handshake, &opened, packet),
            Err(Unopened::Unreadable) => self.watch_dropped(packet.len(), Dropped::KeyUnavailable),
            Err(Unopened::Forged) => {
                self.stats.packets_forged += 1;
                self.watch_dropped(packet.len(), Dropped::Forged);
            }
        }
    }

    fn on_data(&mut self, when: &Circumstances, number_at: usize, packet: &mut [u8]) {
        // A failed try to open it destroys the packet.
        let end = packet.last_chunk().copied();
        // The keys may exist before the client has proved its own: nothing is done with them
        // until then.
        if !matches!(self.state, State::Established) {
            if self.is_reset(end) {
                self.vanish(CloseReason::Reset);
                return;
            }
            let has_room = self.early.len() < self.config.early_packets;
            if has_room && packet.len() <= EARLY_MAX && self.data_keys.is_some() {
                self.early.push((when.ecn, packet.to_vec()));
            }
            return;
        }
        let space = &self.spaces[Level::Data];
        let (largest, next_number) = (space.acks.largest(), space.next_number);
        let Some(keys) = &mut self.data_keys else { return };
        match keys.open(packet, number_at, largest, next_number) {
            Ok((opened, change)) => {
                if change == KeyChange::Switched {
                    self.schedule_key_discard(when.now);
                }
                self.on_opened(when, Level::Data, &opened, packet);
            }
            // What can be opened is no reset (RFC 9000 §10.3.1).
            Err(_) if self.is_reset(end) => self.vanish(CloseReason::Reset),
            Err(Unopened::Unreadable) => self.watch_dropped(packet.len(), Dropped::KeyUnavailable),
            Err(Unopened::Forged) if self.are_keys_attacked() => self.fail(when.now, ATTACKED),
            Err(Unopened::Forged) => self.watch_dropped(packet.len(), Dropped::Forged),
        }
    }

    fn on_opened(&mut self, when: &Circumstances, level: Level, opened: &Opened, packet: &[u8]) {
        if level == Level::Handshake && self.side == Side::Server {
            // It could only be made by who received our answer (RFC 9000 §8.1).
            self.path.is_validated = true;
            self.end_space(when.now, Level::Init);
        }
        let Some(payload) = packet.get(opened.payload.clone()) else { return };
        self.watch_received(level, opened.number, packet.len(), payload);
        if let Err(violation) = self.on_payload(when, level, opened.number, payload) {
            self.fail(when.now, violation);
        }
    }

    fn on_payload(
        &mut self,
        when: &Circumstances,
        level: Level,
        number: u64,
        payload: &[u8],
    ) -> Result<(), Violation> {
        if !self.spaces[level].acks.is_new(number) {
            self.stats.packets_repeated += 1;
            return Ok(());
        }
        self.stats.packets_received += 1;
        let is_newest = self.spaces[level].acks.largest().is_none_or(|largest| largest < number);
        let (mut is_eliciting, mut is_probing, mut has_crypto) = (false, true, false);
        let mut reader = Reader::new(payload);
        while !reader.is_empty() && !self.is_closed() {
            // Of most packets all but a byte or two.
            if let (Level::Data, Some(kind)) = (level, reader.peek().filter(is_of_stream)) {
                (is_eliciting, is_probing) = (true, false);
                let _ = reader.byte();
                self.mux.handle_piece(kind, &mut reader)?;
                continue;
            }
            let frame = Frame::decode(&mut reader)?;
            has_crypto |= matches!(frame, Frame::Crypto { .. });
            is_eliciting |= frame.is_ack_eliciting();
            is_probing &= frame.is_probing();
            match level {
                Level::Init | Level::Handshake => self.on_early_frame(when.now, level, &frame)?,
                Level::Data => self.on_frame(when, frame, &mut reader)?,
            }
        }
        if when.route != self.path.route && is_newest && !is_probing && level == Level::Data {
            self.follow(when);
        }
        let Circumstances { now: at, ecn, .. } = *when;
        let arrival = Arrival { level, number, at, is_eliciting, ecn };
        self.spaces[level].acks.on_received(arrival, self.config.ack_ranges);
        if !matches!((level, &self.state), (Level::Data, State::Established)) || has_crypto {
            self.read_handshake(when.now);
        }
        self.pending.has_sent_since_heard = false;
        // Once for all packets of a train.
        if self.heard.replace(when.now) != Some(when.now) {
            self.rest_idle(when.now);
            self.heartbeat.on_received(when.now, is_eliciting);
            self.rest_heartbeat();
        }
        Ok(())
    }

    fn on_early_frame(
        &mut self,
        now: Instant,
        level: Level,
        frame: &Frame<'_>,
    ) -> Result<(), Violation> {
        match frame {
            Frame::Padding | Frame::Probe => Ok(()),
            Frame::Ack(ack) => self.on_ack(now, level, ack),
            Frame::Crypto { offset, data } => self.on_crypto(level, *offset, data),
            Frame::Session(Session::Close(close)) => self.on_close(now, level, close),
            Frame::NewId(_)
            | Frame::RetireId(_)
            | Frame::PathChallenge(_)
            | Frame::PathResponse(_)
            | Frame::AckFrequency(_)
            | Frame::ImmediateAck
            | Frame::Done
            | Frame::Session(Session::Ping(_) | Session::Pong(_) | Session::Greeting(_))
            | Frame::Mux(_) => Err(MISPLACED),
        }
    }

    fn on_frame(
        &mut self,
        when: &Circumstances,
        frame: Frame<'_>,
        reader: &mut Reader<'_>,
    ) -> Result<(), Violation> {
        let now = when.now;
        match frame {
            Frame::Padding | Frame::Probe => Ok(()),
            Frame::NewId(new) => self.on_new_id(new),
            Frame::RetireId(number) => self.on_retire_id(number),
            Frame::Ack(ack) => self.on_ack(now, Level::Data, &ack),
            Frame::Crypto { offset, data } => self.on_crypto(Level::Data, offset, data),
            Frame::PathChallenge(data) => self.on_path_challenge(when, data),
            Frame::PathResponse(data) => self.on_path_response(now, data),
            Frame::AckFrequency(wish) => self.on_wish(&wish),
            Frame::ImmediateAck => self.on_immediate_ack(),
            Frame::Done => self.on_done(now),
            Frame::Session(Session::Ping(number)) => self.on_ping(now, number),
            Frame::Session(Session::Pong(number)) => self.on_pong(now, number),
            Frame::Session(Session::Close(close)) => self.on_close(now, Level::Data, &close),
            Frame::Session(Session::Greeting(_)) => Err(MISPLACED),
            Frame::Mux(kind) => self.mux.handle_frame(now, kind, reader),
        }
    }

    fn on_crypto(&mut self, level: Level, offset: u64, data: &[u8]) -> Result<(), Violation> {
        if !self.tls.is_listening() {
            return match self.side {
                Side::Client => Ok(()),
                Side::Server => Err(AFTERWARDS),
            };
        }
        self.spaces[level].crypto_in.on_data(offset, data, self.config.crypto_buffer)
    }

    fn on_wish(&mut self, wish: &Wish) -> Result<(), Violation> {
        self.spaces[Level::Data].acks.on_wish(wish, self.config.ack_delay);
        Ok(())
    }

    fn on_immediate_ack(&mut self) -> Result<(), Violation> {
        self.spaces[Level::Data].acks.hurry();
        Ok(())
    }

    fn on_ping(&mut self, now: Instant, number: u64) -> Result<(), Violation> {
        if self.heartbeat.is_quiet(now) {
            self.rest();
        }
        self.pending.pong = Some(number);
        Ok(())
    }

    /// The number is the time at which we asked.
    fn on_pong(&mut self, now: Instant, number: u64) -> Result<(), Violation> {
        let asked = std::time::Duration::from_micros(number);
        self.heartbeat.on_answered();
        self.stats.heartbeat_rtt = now.saturating_duration_since(self.created).checked_sub(asked);
        Ok(())
    }

    fn on_close(&mut self, now: Instant, level: Level, close: &Close<'_>) -> Result<(), Violation> {
        if level != Level::Data && matches!(close.cause, CloseCause::Application(_)) {
            return Err(MISPLACED);
        }
        self.start_draining(now, level, CloseReason::from_remote(close));
        Ok(())
    }

    fn on_retry(
        &mut self,
        when: Circumstances,
        header: &Header,
        packet: &[u8],
        token: std::ops::Range<usize>,
    ) {
        let token = packet.get(token).unwrap_or_default();
        if !self.is_first_answer(header, packet) || self.names.is_retried || token.is_empty() {
            return;
        }
        self.names.token = token.to_vec();
        self.names.is_retried = true;
        let space = &mut self.spaces[Level::Init];
        self.path.in_flight -= space.sent.clear();
        space.crypto_out.start_over();
        self.recovery.probe_count = 0;
        self.update_loss_timer(when.now);
    }

    fn on_versions(&mut self, header: &Header, packet: &[u8], offered: std::ops::Range<usize>) {
        let offered = packet.get(offered).unwrap_or_default();
        if self.is_first_answer(header, packet) && !offered.contains(&VERSION) {
            self.vanish(CloseReason::Version { offered: offered.to_vec() });
        }
    }

    /// Whether this can be the first answer to our Init packets, from one who has read them.
    fn is_first_answer(&self, header: &Header, packet: &[u8]) -> bool {
        let source = match header {
            Header::Retry { source, .. } | Header::Versions { source, .. } => *source,
            Header::Init(_) | Header::Handshake { .. } | Header::Data { .. } => return false,
        };
        self.side == Side::Client
            && !self.names.is_remote_known
            && header.destination() == self.names.local
            && source == self.names.original
            && self.integrity.check(packet)
    }

    /// Whether the remote says that it has forgotten us (RFC 9000 §10.3.1).
    fn is_reset(&self, end: Option<[u8; 16]>) -> bool {
        let Some(ResetToken(expected)) = self.names.reset_token else { return false };
        end.is_some_and(|token| equal_secrets(&token, &expected))
    }

    fn are_keys_attacked(&self) -> bool {
        self.data_keys.as_ref().is_some_and(DataKeys::are_attacked)
    }

    /// Takes what came too early, once it is its time.
    fn replay_early(&mut self, when: Circumstances) {
        if !matches!(self.state, State::Established) || self.early.is_empty() {
            return;
        }
        for (ecn, mut packet) in std::mem::take(&mut self.early) {
            self.on_packets(Circumstances { ecn, size: 0, ..when }, &mut packet);
        }
    }

    fn schedule_acknowledgement(&mut self) {
        let due = self.spaces[Level::Data].acks.due();
        self.timers.set_or_stop(crate::Timer::Acknowledge, due.filter(|_| !self.is_closed()));
    }
}

const MISPLACED: Violation =
    Violation::new(ViolationCode::ProtocolViolation, "a frame that has no place at this level");

const AFTERWARDS: Violation =
    Violation::new(ViolationCode::ProtocolViolation, "handshake bytes after the handshake");

const ATTACKED: Violation = Violation::new(
    ViolationCode::AeadLimitReached,
    "so many packets were forged that one might succeed",
);
