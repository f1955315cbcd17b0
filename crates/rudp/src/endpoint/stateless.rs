//! Answers without a connection: always shorter than what they answer, and in a bounded queue.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use portolan_mux::{Violation, frame::Session};
use rand_core::RngCore;

use super::{Endpoint, Routed};
use crate::{
    ConnectionId,
    close::Farewell,
    cookie::Client,
    event::ResetToken,
    integrity::Integrity,
    packet::{Draft, InitHeader, InitNames, VERSION, disguise_as_data, put_retry, put_versions},
    secrets::reset_token,
};

/// Bytes of a reset, at most, and at least: it must look like a Data packet (RFC 9000 §10.3).
const RESET_MAX: usize = 42;
const RESET_MIN: usize = 1 + ConnectionId::LEN + 4 + ResetToken::LEN;

/// Answers that wait to be sent.
#[derive(Debug)]
pub(super) struct Replies {
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    max: usize,
}

impl Replies {
    pub(super) fn new(max: usize) -> Self {
        Self { queue: VecDeque::new(), max }
    }

    pub(super) fn pop(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.queue.pop_front()
    }

    fn push(&mut self, to: SocketAddr, bytes: Vec<u8>) -> Routed {
        if self.queue.len() >= self.max {
            return Routed::Dropped;
        }
        self.queue.push_back((to, bytes));
        Routed::Replied
    }

    /// Asks a client to come back with a token.
    pub(super) fn retry(&mut self, integrity: &Integrity, client: Client, token: &[u8]) -> Routed {
        let mut bytes = Vec::with_capacity(64);
        put_retry(&mut bytes, client.source, client.destination, token);
        integrity.seal(&mut bytes, 0);
        self.push(client.from, bytes)
    }

    /// Tells a client of another version which ones we speak.
    pub(super) fn versions(
        &mut self,
        integrity: &Integrity,
        from: SocketAddr,
        header: &InitHeader,
    ) -> Routed {
        let mut bytes = Vec::with_capacity(64);
        put_versions(&mut bytes, header.source, header.destination, &[VERSION]);
        integrity.seal(&mut bytes, 0);
        self.push(from, bytes)
    }

    /// Turns a client away.
    pub(super) fn refusal(
        &mut self,
        integrity: &Integrity,
        client: Client,
        why: Violation,
    ) -> Routed {
        let mut bytes = Vec::with_capacity(128);
        let names =
            InitNames { destination: client.source, source: client.destination, token: b"" };
        let draft = Draft::init(&mut bytes, names, 0, None);
        Session::Close(Farewell::violation(why).frame()).encode(&mut bytes);
        draft.close(&mut bytes);
        integrity.seal(&mut bytes, 0);
        self.push(client.from, bytes)
    }
}

impl Endpoint {
    /// A Data packet for a connection that nobody knows: either a reset for one of ours, or from
    /// a remote that should hear that its connection is no more.
    pub(super) fn on_unknown_data(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Routed {
        let token = datagram.last_chunk().map(|token| ResetToken(*token));
        if let Some(&handle) = token.and_then(|token| self.by_token.get(&token)) {
            return Routed::To(handle);
        }
        self.reset(now, from, datagram)
    }

    fn reset(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Routed {
        let Some(server) = &mut self.server else { return Routed::Dropped };
        let Some(id) = datagram.get(1..).and_then(|rest| rest.first_chunk()) else {
            return Routed::Dropped;
        };
        // Shorter than its cause, so that two endpoints that both have forgotten fall silent.
        let len = (datagram.len() - 1).min(RESET_MAX);
        if len < RESET_MIN || !server.resets.take(now, self.config.resets) {
            return Routed::Dropped;
        }
        let ResetToken(token) = reset_token(&server.integrity, &self.reset_key, ConnectionId(*id));
        let mut bytes = vec![0; len - ResetToken::LEN];
        self.random.fill_bytes(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            disguise_as_data(first);
        }
        bytes.extend_from_slice(&token);
        self.replies.push(from, bytes)
    }
}
