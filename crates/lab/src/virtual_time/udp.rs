//! Our UDP as a [`Machine`].

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_identity::{Alpn, Expect, Identity};
use portolan_mux::{Priority, StreamId};
use portolan_netsim::Ecn;
use portolan_rudp::{
    Congestion, Connection, ConnectionHandle, Ecn as Mark, Endpoint, Event as Told, Routed,
};
use portolan_transport::ConnectionConfig;
use portolan_transport_udp::{QlogObserver, machine_config};

use super::{
    keys::Keys,
    machine::{Event, Machine, Stream, Train},
};
use crate::watch;

/// Our endpoint, its connection and the streams that it knows.
pub(crate) struct Udp {
    endpoint: Endpoint,
    identity: Identity,
    remote: Expect,
    session: Option<(ConnectionHandle, Connection)>,
    streams: Vec<StreamId>,
    events: VecDeque<Event>,
}

impl Udp {
    /// One end, set up as the transport does it; with `congestion` instead of its default.
    pub(crate) fn new(keys: &Keys, congestion: Option<Congestion>) -> Self {
        let mut config = machine_config(&ConnectionConfig::new(keys.own.clone()));
        if let Some(congestion) = congestion {
            Arc::make_mut(&mut config.connection).congestion = congestion;
        }
        let tls = keys.own.server_config(Alpn::Udp);
        Self {
            endpoint: Endpoint::new(Arc::new(config), Some(tls), keys.seed),
            identity: keys.own.clone(),
            remote: Expect::Id(keys.remote),
            session: None,
            streams: Vec::new(),
            events: VecDeque::new(),
        }
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        self.session.as_mut().map(|(_, connection)| connection)
    }

    fn adopt(&mut self, now: Instant, handle: ConnectionHandle, mut connection: Connection) {
        // In a model, one address is as good as another.
        let local = SocketAddr::from(([0; 4], 0));
        if let Some(observer) = QlogObserver::open(&watch::qlog(), &connection, (now, local)) {
            connection.observe(now, Box::new(observer));
        }
        self.session = Some((handle, connection));
    }

    fn route(&mut self, now: Instant, from: SocketAddr, mark: Option<Mark>, bytes: &mut [u8]) {
        match self.endpoint.handle_datagram(now, from, mark, bytes) {
            Routed::Dropped | Routed::Replied => return,
            Routed::To(_) => {}
            Routed::New(handle, connection) => self.adopt(now, handle, *connection),
        }
        if let Some(connection) = self.connection() {
            connection.handle_datagram(now, from, mark, bytes);
        }
    }

    /// Takes what the connection tells: the endpoint's part and the application's.
    fn listen(&mut self) {
        let Some((handle, connection)) = &mut self.session else { return };
        // Everything is tried after every input, so that edges tell nothing new.
        while connection.mux().poll_event().is_some() {}
        while let Some(event) = connection.poll_event() {
            match event {
                Told::Connected => self.events.push_back(Event::Connected),
                Told::Path(_) => {}
                Told::Closed(reason) => self.events.push_back(Event::Closed(reason.to_string())),
                Told::Endpoint(event) => self.endpoint.on_endpoint_event(*handle, event),
            }
        }
    }

    fn remember(&mut self, id: StreamId) -> Stream {
        self.streams.push(id);
        Stream(self.streams.len() - 1)
    }

    fn stream(&mut self, stream: Stream) -> Option<(StreamId, &mut Connection)> {
        let id = self.streams.get(stream.0).copied()?;
        self.connection().map(|connection| (id, connection))
    }
}

impl Machine for Udp {
    fn connect(&mut self, now: Instant, remote: SocketAddr) {
        let tls = self.identity.client_config(Alpn::Udp);
        let name = self.remote.server_name();
        let begun = self.endpoint.connect(now, remote, tls, name);
        let (handle, connection) = begun.expect("a first connection can always be tried");
        self.adopt(now, handle, connection);
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ecn: Option<Ecn>,
        mut bytes: Vec<u8>,
    ) {
        self.route(now, from, ecn.map(from_model), &mut bytes);
        self.listen();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = self.connection() {
            connection.handle_timeout(now);
        }
        self.listen();
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Train> {
        let transmit = match self.endpoint.poll_transmit(buffer) {
            Some(transmit) => transmit,
            None => self.connection()?.poll_transmit(now, buffer)?,
        };
        self.listen();
        Some(Train {
            destination: transmit.destination,
            segment: transmit.segment_size,
            ecn: transmit.ecn.map(to_model),
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        Some(self.connection()?.poll_timeout()?.at)
    }

    fn open(&mut self, priority: Priority) -> Option<Stream> {
        let id = self.connection()?.mux().open(priority)?;
        Some(self.remember(id))
    }

    fn accept(&mut self) -> Option<Stream> {
        let id = self.connection()?.mux().accept()?;
        Some(self.remember(id))
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) -> usize {
        let Some((id, connection)) = self.stream(stream) else { return 0 };
        connection.mux().write(id, bytes).unwrap_or(0)
    }

    fn read(&mut self, stream: Stream, out: &mut [u8]) -> usize {
        let Some((id, connection)) = self.stream(stream) else { return 0 };
        connection.mux().read(id, out).unwrap_or(0)
    }

    fn send_message(&mut self, now: Instant, payload: Bytes, lifetime: Option<Duration>) {
        let Some(connection) = self.connection() else { return };
        let expires = lifetime.map(|lifetime| now + lifetime);
        let queued = connection.mux().send_datagram(now, payload, expires);
        debug_assert!(queued.is_ok(), "messages of the workloads fit any packet");
    }

    fn recv_message(&mut self) -> Option<Bytes> {
        self.connection()?.mux().recv_datagram()
    }
}

const fn from_model(ecn: Ecn) -> Mark {
    match ecn {
        Ecn::Ect0 => Mark::Ect0,
        Ecn::Ect1 => Mark::Ect1,
        Ecn::Ce => Mark::Ce,
    }
}

const fn to_model(mark: Mark) -> Ecn {
    match mark {
        Mark::Ect0 => Ecn::Ect0,
        Mark::Ect1 => Ecn::Ect1,
        Mark::Ce => Ecn::Ce,
    }
}
