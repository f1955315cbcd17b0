//! The TLS handshake: its bytes between rustls and the packets, its keys, and its end.

use std::{sync::Arc, time::Instant};

use portolan_mux::{Side, Violation, ViolationCode};
use rustls::quic::KeyChange;

use super::{Connection, State};
use crate::{
    CloseReason, ConnectionConfig, Event, Timer,
    close::Farewell,
    event::Notice,
    keys::{DataKeys, HandshakeKeys},
    observe::Stage,
    packet::{DATA_OVERHEAD_MAX, Level, VERSION},
    params::Params,
};

/// Bytes before a datagram in its frame, at most.
const DATAGRAM_OVERHEAD_MAX: usize = 1 + 8 + 4;

/// What a side says of itself before it knows the other.
pub(crate) fn params(config: &Arc<ConnectionConfig>, source: crate::ConnectionId) -> Params {
    let mux = portolan_mux::Mux::new(Side::Client, config.mux).params();
    Params {
        versions: vec![VERSION],
        source,
        original: None,
        is_retried: false,
        idle: config.idle,
        mux,
        packet_max: config.packet_max.max(crate::packet::DATAGRAM_MIN),
        ack_delay: config.ack_delay,
        reset_token: None,
    }
}

impl Connection {
    /// Gives rustls what has arrived in order, level after level.
    pub(super) fn read_handshake(&mut self, now: Instant) {
        loop {
            let level = self.read_level();
            let Some(bytes) = self.spaces[level].crypto_in.read() else { break };
            if let Err(error) = self.tls.read(&bytes) {
                let farewell = Farewell::alert(self.tls.alert());
                self.start_closing(now, farewell, CloseReason::Handshake(error));
                return;
            }
            // After every read: else the bytes of two levels would come out glued together.
            self.write_handshake();
        }
        let is_complete = !self.tls.is_handshaking() && self.data_keys.is_some();
        if is_complete && matches!(self.state, State::Handshaking) {
            self.on_handshake_complete(now);
        }
    }

    /// The level whose bytes rustls expects.
    fn read_level(&self) -> Level {
        match (&self.handshake_keys, self.tls.is_handshaking()) {
            (None, true) => Level::Init,
            (Some(_), true) => Level::Handshake,
            (None | Some(_), false) => Level::Data,
        }
    }

    /// Takes what rustls wants to send, and the keys that it has made.
    pub(super) fn write_handshake(&mut self) {
        loop {
            let level = match (&self.handshake_keys, &self.data_keys) {
                (None, None) => Level::Init,
                (Some(_), None) => Level::Handshake,
                (None | Some(_), Some(_)) => Level::Data,
            };
            let mut bytes = Vec::new();
            let change = self.tls.write(&mut bytes);
            self.spaces[level].crypto_out.push(&bytes);
            match change {
                // From here on: what comes next is of the next level.
                Some(KeyChange::Handshake { keys }) => {
                    self.handshake_keys = Some(HandshakeKeys(keys));
                }
                Some(KeyChange::OneRtt { keys, next }) => {
                    self.data_keys = Some(DataKeys::new(keys, next));
                }
                None if bytes.is_empty() => return,
                None => {}
            }
        }
    }

    fn on_handshake_complete(&mut self, now: Instant) {
        if let Err(violation) = self.take_params() {
            self.fail(now, violation);
            return;
        }
        self.state = State::Established;
        self.watch_stage(Stage::Established);
        self.timers.stop(Timer::Handshake);
        self.events.push_back(Event::Connected);
        self.notify(Notice::Established);
        match self.side {
            Side::Client => {
                if self.names.reset_token.is_some() {
                    self.notify(Notice::ResetToken(self.names.reset_token));
                }
            }
            Side::Server => {
                self.path.is_validated = true;
                self.is_confirmed = true;
                self.watch_stage(Stage::Confirmed);
                self.pending.done = true;
                self.pending.names = true;
                self.end_space(now, Level::Init);
                self.end_space(now, Level::Handshake);
                // A client has no more to say to it (RFC 9001 §4.4 and §6).
                self.tls.rest();
            }
        }
        self.rest_idle(now);
        self.rest_heartbeat();
    }

    /// Believes the remote's parameters, now that the handshake has authenticated them.
    fn take_params(&mut self) -> Result<(), Violation> {
        const ABSENT: Violation =
            Violation::new(ViolationCode::TransportParameter, "no parameters");
        let remote = Params::decode(self.tls.remote_params().ok_or(ABSENT)?)?;
        self.check_names(&remote)?;
        self.mux.on_params(remote.mux)?;
        self.watch_params(&remote);
        self.remote.ack_delay = remote.ack_delay;
        self.path.request.on_delay(remote.ack_delay);
        if !remote.idle.is_zero() {
            self.remote.idle = remote.idle;
        }
        self.heartbeat.limit(self.config.idle.min(self.remote.idle));
        self.remote.packet_max = remote.packet_max;
        self.path.discovery.limit(remote.packet_max);
        self.on_packet_size();
        if self.side == Side::Client {
            self.names.reset_token = remote.reset_token;
        }
        Ok(())
    }

    /// Tells everyone who goes by it how long packets are now.
    pub(super) fn on_packet_size(&mut self) {
        let size = self.path.packet_size();
        self.path.congestion.on_packet_size(size as u64);
        self.mux.set_path_datagram_max(size - DATA_OVERHEAD_MAX - DATAGRAM_OVERHEAD_MAX);
    }

    /// What was said in clear must be what both sides meant (RFC 9000 §7.3).
    fn check_names(&self, remote: &Params) -> Result<(), Violation> {
        let is_right = remote.source == self.names.remote
            && match self.side {
                Side::Client => {
                    // A server that was asked twice, before its Retry and after, may have taken
                    // the first; and a Retry that someone forged has cost a round trip, no more:
                    // it changes no names (unlike QUIC's).
                    remote.original == Some(self.names.original)
                        && (self.names.is_retried || !remote.is_retried)
                }
                Side::Server => {
                    remote.original.is_none() && !remote.is_retried && remote.reset_token.is_none()
                }
            };
        if is_right {
            return Ok(());
        }
        Err(Violation::new(
            ViolationCode::TransportParameter,
            "someone on the way has changed connection ids or forged a Retry",
        ))
    }

    /// The client learns that the server has its last handshake message.
    pub(super) fn on_done(&mut self, now: Instant) -> Result<(), Violation> {
        if self.side == Side::Server {
            return Err(Violation::new(ViolationCode::ProtocolViolation, "DONE from a client"));
        }
        if !self.is_confirmed {
            self.is_confirmed = true;
            self.watch_stage(Stage::Confirmed);
            self.pending.names = true;
            self.recovery.is_validated_by_remote = true;
            self.end_space(now, Level::Init);
            self.end_space(now, Level::Handshake);
        }
        Ok(())
    }

    /// Sends handshake bytes that TLS would not.
    #[cfg(test)]
    pub(crate) fn speak_out_of_turn(&mut self, bytes: &[u8]) {
        self.spaces[Level::Data].crypto_out.push(bytes);
    }

    /// Forgets a level's keys and packets (RFC 9001 §4.9, RFC 9002 §6.4).
    pub(super) fn end_space(&mut self, now: Instant, level: Level) {
        if self.spaces[level].is_over {
            return;
        }
        self.path.in_flight -= self.spaces.end(level);
        if level == Level::Handshake {
            self.handshake_keys = None;
        }
        self.recovery.probe_count = 0;
        self.update_loss_timer(now);
    }
}
