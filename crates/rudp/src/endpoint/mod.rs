//! All connections of one socket: which packet is whose, who may begin one, and what is answered
//! without one.

mod accept;
mod stateless;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use portolan_mux::Side;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use rustls::{
    pki_types::ServerName,
    quic::{ClientConnection, Version},
};
use thiserror::Error;

use crate::{
    Connection, ConnectionHandle, ConnectionId, Ecn, EndpointConfig, EndpointEvent, SocketId,
    Transmit,
    connection::{Setup, params},
    cookie::Cookies,
    event::{Notice, ResetToken},
    integrity::Integrity,
    packet::Header,
    rate::{Bucket, HostBuckets, SeededHasher},
    secrets::Secrets,
};

use stateless::Replies;

/// All connections of one socket; see the crate's page for who drives it.
#[derive(Debug)]
pub struct Endpoint {
    config: Arc<EndpointConfig>,
    server: Option<Server>,
    random: ChaCha20Rng,
    next_handle: u64,
    connections: HashMap<ConnectionHandle, Known, SeededHasher>,
    /// By each of the names that a connection has now.
    by_id: HashMap<ConnectionId, ConnectionHandle, SeededHasher>,
    /// Clients that do not know our connection id yet, by what they call us.
    by_client: HashMap<(SocketAddr, ConnectionId), ConnectionHandle, SeededHasher>,
    by_token: HashMap<ResetToken, ConnectionHandle, SeededHasher>,
    half_open: u32,
    replies: Replies,
    /// What the tokens are made from by which remotes learn that we have forgotten them.
    reset_key: Arc<[u8; 32]>,
}

/// What an endpoint needs to accept connections.
#[derive(Debug)]
struct Server {
    tls: Arc<rustls::ServerConfig>,
    integrity: Integrity,
    cookies: Cookies,
    hosts: HostBuckets,
    resets: Bucket,
}

/// Where a connection is entered.
#[derive(Debug)]
struct Known {
    ids: Vec<ConnectionId>,
    client: Option<(SocketAddr, ConnectionId)>,
    token: Option<ResetToken>,
    is_half_open: bool,
}

/// What became of a datagram.
#[derive(Debug)]
pub enum Routed {
    /// It is nobody's, or not welcome.
    Dropped,
    /// It is nobody's, and [`Endpoint::poll_transmit`] has an answer.
    Replied,
    /// Give it to this connection.
    To(ConnectionHandle),
    /// Keep this new connection, and give it the datagram.
    New(ConnectionHandle, Box<Connection>),
}

/// Why a connection could not even be tried.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConnectError {
    /// The endpoint has as many connections as its configuration allows.
    #[error("too many connections; close some, or raise the limit")]
    TooMany,
    /// Nothing can be sent there.
    #[error("{0} is not an address to connect to")]
    Address(SocketAddr),
    /// The TLS configuration is of no use here.
    #[error("the TLS configuration cannot be used: {0}")]
    Tls(rustls::Error),
}

impl Endpoint {
    /// An endpoint without connections; it accepts some if it has a TLS configuration to do it
    /// with. All its randomness but that of TLS comes from `seed`, which must be secret.
    ///
    /// # Panics
    /// When the provider of `tls_server` lacks AES-256-GCM for QUIC.
    #[must_use]
    pub fn new(
        config: Arc<EndpointConfig>,
        tls_server: Option<Arc<rustls::ServerConfig>>,
        seed: [u8; 32],
    ) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut secret = [0; 16];
        random.fill_bytes(&mut secret);
        let hasher = SeededHasher::new(secret);
        let server = tls_server.map(|tls| Server::new(tls, &mut random, hasher));
        let reset_key =
            config.reset_key.as_ref().map_or_else(|| secret_of(&mut random), |key| key.0);
        Self {
            server,
            random,
            next_handle: 0,
            connections: HashMap::with_hasher(hasher),
            by_id: HashMap::with_hasher(hasher),
            by_client: HashMap::with_hasher(hasher),
            by_token: HashMap::with_hasher(hasher),
            half_open: 0,
            replies: Replies::new(config.replies),
            reset_key: Arc::new(reset_key),
            config,
        }
    }

    /// Begins a connection to `remote`; its first packets come from the connection's
    /// `poll_transmit`.
    ///
    /// # Errors
    /// [`ConnectError`] when it cannot even be tried.
    pub fn connect(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        tls_client: Arc<rustls::ClientConfig>,
        server_name: ServerName<'static>,
    ) -> Result<(ConnectionHandle, Connection), ConnectError> {
        if self.is_full() {
            return Err(ConnectError::TooMany);
        }
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(ConnectError::Address(remote));
        }
        let integrity = match &self.server {
            Some(server) => Some(server.integrity.clone()),
            None => Integrity::new(tls_client.crypto_provider()),
        };
        let integrity = integrity.ok_or_else(|| ConnectError::Tls(no_suite()))?;
        let id = self.new_id();
        let original = ConnectionId::random(&mut self.random);
        let config = Arc::clone(&self.config.connection);
        let blob = params(&config, id).encode();
        let tls = ClientConnection::new(tls_client, Version::V2, server_name, blob)
            .map_err(ConnectError::Tls)?;
        let setup = Setup {
            side: Side::Client,
            config,
            integrity,
            route: remote.into(),
            secrets: self.secrets(),
            local_id: id,
            remote_id: original,
            original,
            is_retried: false,
            tls: Box::new(tls.into()),
        };
        let known = Known { ids: vec![id], client: None, token: None, is_half_open: false };
        Ok((self.enter(known), Connection::new(now, setup)))
    }

    /// Finds out whose a datagram is. For [`Routed::To`] and [`Routed::New`] the caller gives it
    /// to that connection.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) -> Routed {
        // Marks mean something to connections only.
        let _ = ecn;
        let Some(header) = Header::parse(datagram) else { return Routed::Dropped };
        if let Some(&handle) = self.by_id.get(&header.destination()) {
            return Routed::To(handle);
        }
        match &header {
            Header::Init(init) => self.on_init(now, from, init, datagram),
            Header::Data { .. } => self.on_unknown_data(now, from, datagram),
            Header::Handshake { .. } | Header::Retry { .. } | Header::Versions { .. } => {
                Routed::Dropped
            }
        }
    }

    /// Puts the next answer without a connection into `buf`, which is cleared first.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        let (destination, bytes) = self.replies.pop()?;
        buf.extend_from_slice(&bytes);
        let (socket, size) = (SocketId::default(), bytes.len());
        Some(Transmit { socket, destination, size, segment_size: None, ecn: None })
    }

    /// Learns of a change of one of its connections.
    pub fn on_endpoint_event(&mut self, handle: ConnectionHandle, event: EndpointEvent) {
        let EndpointEvent(notice) = event;
        match notice {
            Notice::Established => self.on_established(handle),
            Notice::ResetToken(token) => self.on_reset_token(handle, token),
            Notice::NewId(id) => self.on_new_id(handle, id),
            Notice::RetiredId(id) => self.on_retired_id(handle, id),
            Notice::Gone => self.forget(handle),
        }
    }

    /// Forgets a connection that its host has dropped; the event that it is gone does the same.
    pub fn forget(&mut self, handle: ConnectionHandle) {
        let Some(known) = self.connections.remove(&handle) else { return };
        for id in known.ids {
            self.by_id.remove(&id);
        }
        if let Some(client) = known.client {
            self.by_client.remove(&client);
        }
        if let Some(token) = known.token {
            self.by_token.remove(&token);
        }
        self.half_open -= u32::from(known.is_half_open);
    }

    /// Connections that are not gone.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Connections that remotes began and whose handshake is under way.
    #[must_use]
    pub fn half_open(&self) -> u32 {
        self.half_open
    }

    fn on_established(&mut self, handle: ConnectionHandle) {
        let Some(known) = self.connections.get_mut(&handle) else { return };
        self.half_open -= u32::from(std::mem::take(&mut known.is_half_open));
        // Not yet forgotten by what the client first called us: late Init packets are no news.
    }

    fn on_reset_token(&mut self, handle: ConnectionHandle, token: Option<ResetToken>) {
        let Some(known) = self.connections.get_mut(&handle) else { return };
        if let Some(before) = std::mem::replace(&mut known.token, token) {
            self.by_token.remove(&before);
        }
        if let Some(token) = token {
            self.by_token.insert(token, handle);
        }
    }

    fn on_new_id(&mut self, handle: ConnectionHandle, id: ConnectionId) {
        let Some(known) = self.connections.get_mut(&handle) else { return };
        // Drawn from 2^64: should another connection have it, that one keeps it.
        if let Entry::Vacant(free) = self.by_id.entry(id) {
            free.insert(handle);
            known.ids.push(id);
        }
    }

    fn on_retired_id(&mut self, handle: ConnectionHandle, id: ConnectionId) {
        let Some(known) = self.connections.get_mut(&handle) else { return };
        if let Some(place) = known.ids.iter().position(|known| *known == id) {
            known.ids.swap_remove(place);
            self.by_id.remove(&id);
        }
    }

    /// What a new connection draws its own secrets from.
    fn secrets(&mut self) -> Secrets {
        Secrets::new(secret_of(&mut self.random), Arc::clone(&self.reset_key))
    }

    fn is_full(&self) -> bool {
        self.connections.len() >= self.config.connections as usize
    }

    /// An id that no connection of ours has.
    fn new_id(&mut self) -> ConnectionId {
        loop {
            let id = ConnectionId::random(&mut self.random);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    fn enter(&mut self, known: Known) -> ConnectionHandle {
        let handle = ConnectionHandle(self.next_handle);
        self.next_handle += 1;
        self.by_id.extend(known.ids.iter().map(|id| (*id, handle)));
        if let Some(client) = known.client {
            self.by_client.insert(client, handle);
        }
        self.half_open += u32::from(known.is_half_open);
        self.connections.insert(handle, known);
        handle
    }
}

impl Server {
    fn new(tls: Arc<rustls::ServerConfig>, random: &mut ChaCha20Rng, hasher: SeededHasher) -> Self {
        let integrity = Integrity::new(tls.crypto_provider());
        let integrity = integrity.expect("the provider has AES-256-GCM with QUIC support");
        Self {
            tls,
            integrity,
            cookies: Cookies::new(secret_of(random)),
            hosts: HostBuckets::new(hasher),
            resets: Bucket::new(),
        }
    }
}

fn secret_of(random: &mut ChaCha20Rng) -> [u8; 32] {
    let mut secret = [0; 32];
    random.fill_bytes(&mut secret);
    secret
}

fn no_suite() -> rustls::Error {
    rustls::Error::General("its provider lacks AES-256-GCM for QUIC".into())
}
