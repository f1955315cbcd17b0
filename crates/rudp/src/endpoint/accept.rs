//! Who may begin a connection. Everything up to the token's check is done without memory for the
//! client.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use portolan_mux::{Side, Violation, ViolationCode};
use rustls::quic::{ServerConnection, Version};

use super::{Endpoint, Known, Routed, Server};
use crate::{
    Connection, CookiePolicy,
    connection::{Setup, params},
    cookie::Client,
    packet::{DATAGRAM_MIN, InitHeader, VERSION},
};

/// What to do with a client that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    /// It must show first that it receives at its address.
    Prove,
    Refuse,
    Ignore,
}

impl Endpoint {
    /// An Init packet for a connection id that is not ours.
    pub(super) fn on_init(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &InitHeader,
        datagram: &[u8],
    ) -> Routed {
        let Some(server) = &mut self.server else { return Routed::Dropped };
        if datagram.len() < DATAGRAM_MIN.into() {
            return Routed::Dropped;
        }
        if header.version != VERSION {
            return self.replies.versions(&server.integrity, from, header);
        }
        if let Some(&handle) = self.by_client.get(&(from, header.destination)) {
            return Routed::To(handle);
        }
        if !datagram.get(..header.end).is_some_and(|packet| server.integrity.check(packet)) {
            return Routed::Dropped;
        }
        let client = Client { from, source: header.source, destination: header.destination };
        let token = datagram.get(header.token.clone()).unwrap_or_default();
        let is_proved =
            !token.is_empty() && server.cookies.is_valid(&server.integrity, now, client, token);
        match self.judge(now, from, is_proved) {
            Verdict::Accept => self.accept(now, client, is_proved),
            Verdict::Prove => self.ask_for_proof(now, client),
            Verdict::Refuse => self.refuse(client),
            Verdict::Ignore => Routed::Dropped,
        }
    }

    fn judge(&mut self, now: Instant, from: SocketAddr, is_proved: bool) -> Verdict {
        let Some(server) = &mut self.server else { return Verdict::Ignore };
        let wants_proof = match self.config.cookies {
            CookiePolicy::Always => true,
            CookiePolicy::Above(half_open) => self.half_open >= half_open,
        };
        if !is_proved && wants_proof {
            return Verdict::Prove;
        }
        if !server.hosts.take(now, from, self.config.openings) {
            return if is_proved { Verdict::Ignore } else { Verdict::Prove };
        }
        if self.is_full() || self.half_open >= self.config.half_open {
            return if is_proved { Verdict::Refuse } else { Verdict::Prove };
        }
        Verdict::Accept
    }

    fn accept(&mut self, now: Instant, client: Client, is_proved: bool) -> Routed {
        let id = self.new_id();
        let secrets = self.secrets();
        let Some(server) = &self.server else { return Routed::Dropped };
        let config = Arc::clone(&self.config.connection);
        let mut own = params(&config, id);
        own.original = Some(client.destination);
        own.is_retried = is_proved;
        own.reset_token = Some(secrets.reset_token(&server.integrity, id));
        let tls = ServerConnection::new(Arc::clone(&server.tls), Version::V2, own.encode());
        // A configuration of no use (early data of a wrong size): nobody can be accepted.
        let Ok(tls) = tls else { return Routed::Dropped };
        let setup = Setup {
            side: Side::Server,
            config,
            integrity: server.integrity.clone(),
            route: client.from.into(),
            secrets,
            local_id: id,
            remote_id: client.source,
            original: client.destination,
            is_retried: is_proved,
            tls: Box::new(tls.into()),
        };
        let known = Known {
            ids: vec![id],
            client: Some((client.from, client.destination)),
            token: None,
            is_half_open: true,
        };
        let handle = self.enter(known);
        Routed::New(handle, Box::new(Connection::new(now, setup)))
    }

    fn ask_for_proof(&mut self, now: Instant, client: Client) -> Routed {
        let Some(Server { cookies, integrity, .. }) = &mut self.server else {
            return Routed::Dropped;
        };
        let token = cookies.mint(integrity, now, client);
        self.replies.retry(integrity, client, &token)
    }

    fn refuse(&mut self, client: Client) -> Routed {
        const BUSY: Violation =
            Violation::new(ViolationCode::ConnectionRefused, "no room for another connection");
        let Some(server) = &self.server else { return Routed::Dropped };
        self.replies.refusal(&server.integrity, client, BUSY)
    }
}
