//! QUIC by quinn's state machine as a [`Machine`].

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use portolan_identity::Expect;
use portolan_mux::Priority;
use portolan_netsim::Ecn;
use portolan_transport::ConnectionConfig;
use portolan_transport_quic::Configs;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint,
    Event as Told, Incoming, SendDatagramError, StreamId, Transmit, TransportConfig,
};

use super::{
    keys::Keys,
    machine::{Event, Machine, Stream, Train},
};

/// Datagrams in one train: as many as quinn's own driver asks for.
const TRAIN_MAX: usize = 10;

/// Messages that wait in front of quinn; the oldest make room, as in the transport.
const WAITING_MAX: usize = 1024;

/// quinn's endpoint, its connection and the streams that it knows.
pub(crate) struct Quic {
    endpoint: Endpoint,
    client: ClientConfig,
    remote: Expect,
    session: Option<(ConnectionHandle, Connection)>,
    streams: Vec<StreamId>,
    events: VecDeque<Event>,
    /// Answers without a connection.
    replies: VecDeque<(Transmit, Vec<u8>)>,
    /// Messages that quinn has no room for yet, as the transport holds them.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    payload: Bytes,
    expires: Option<Instant>,
}

impl Quic {
    /// One end, set up as the transport does it but for what `other` says.
    pub(crate) fn new(keys: &Keys, other: Option<TransportConfig>) -> Self {
        let config = ConnectionConfig::new(keys.own.clone());
        let Configs { mut endpoint, mut server, mut client } = Configs::new(&config);
        endpoint.rng_seed(Some(keys.seed));
        if let Some(transport) = other {
            let transport = Arc::new(transport);
            server.transport_config(Arc::clone(&transport));
            client.transport_config(transport);
        }
        Self {
            endpoint: Endpoint::new(Arc::new(endpoint), Some(Arc::new(server)), true, None),
            client,
            remote: Expect::Id(keys.remote),
            session: None,
            streams: Vec::new(),
            events: VecDeque::new(),
            replies: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        self.session.as_mut().map(|(_, connection)| connection)
    }

    fn accept_connection(&mut self, now: Instant, incoming: Incoming) {
        let mut buffer = Vec::new();
        match self.endpoint.accept(incoming, now, &mut buffer, None) {
            Ok(session) => self.session = Some(session),
            Err(refused) => {
                self.replies.extend(refused.response.map(|transmit| (transmit, buffer)));
            }
        }
    }

    /// Takes what the connection tells: the endpoint's part and the application's.
    fn listen(&mut self) {
        let Some((handle, connection)) = &mut self.session else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Told::Connected => self.events.push_back(Event::Connected),
                Told::ConnectionLost { reason } => {
                    self.events.push_back(Event::Closed(reason.to_string()));
                }
                // Everything is tried after every input, so that edges tell nothing new.
                Told::HandshakeDataReady
                | Told::Stream(_)
                | Told::DatagramReceived
                | Told::DatagramsUnblocked => {}
            }
        }
    }

    /// Hands waiting messages to quinn as it has room; those whose time has passed are not sent.
    fn send_waiting(&mut self, now: Instant) {
        let Some((_, connection)) = &mut self.session else { return };
        while let Some(Waiting { payload, expires }) = self.waiting.pop_front() {
            if expires.is_some_and(|expires| expires <= now) {
                continue;
            }
            match connection.datagrams().send(payload, false) {
                Ok(()) => {}
                Err(SendDatagramError::Blocked(payload)) => {
                    self.waiting.push_front(Waiting { payload, expires });
                    return;
                }
                Err(error) => debug_assert!(false, "messages of the workloads fit: {error}"),
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

impl Machine for Quic {
    fn connect(&mut self, now: Instant, remote: SocketAddr) {
        let name = self.remote.dns_name();
        let begun = self.endpoint.connect(now, self.client.clone(), remote, &name);
        self.session = Some(begun.expect("a first connection can always be tried"));
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ecn: Option<Ecn>,
        bytes: Vec<u8>,
    ) {
        let bytes = BytesMut::from(Bytes::from(bytes));
        let mut buffer = Vec::new();
        match self.endpoint.handle(now, from, None, ecn.map(from_model), bytes, &mut buffer) {
            None => {}
            Some(DatagramEvent::NewConnection(incoming)) => self.accept_connection(now, incoming),
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some(connection) = self.connection() {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(transmit)) => self.replies.push_back((transmit, buffer)),
        }
        self.listen();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = self.connection() {
            connection.handle_timeout(now);
        }
        self.listen();
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Train> {
        if let Some((transmit, bytes)) = self.replies.pop_front() {
            *buffer = bytes;
            return Some(train(&transmit));
        }
        self.send_waiting(now);
        buffer.clear();
        let transmit = self.connection()?.poll_transmit(now, TRAIN_MAX, buffer)?;
        self.listen();
        Some(train(&transmit))
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.connection()?.poll_timeout()
    }

    fn open(&mut self, priority: Priority) -> Option<Stream> {
        let connection = self.connection()?;
        let id = connection.streams().open(Dir::Bi)?;
        let set = connection.send_stream(id).set_priority(number(priority));
        debug_assert!(set.is_ok(), "the stream has just been opened");
        Some(self.remember(id))
    }

    fn accept(&mut self) -> Option<Stream> {
        let id = self.connection()?.streams().accept(Dir::Bi)?;
        Some(self.remember(id))
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) -> usize {
        let Some((id, connection)) = self.stream(stream) else { return 0 };
        connection.send_stream(id).write(bytes).unwrap_or(0)
    }

    fn read(&mut self, stream: Stream, out: &mut [u8]) -> usize {
        let Some((id, connection)) = self.stream(stream) else { return 0 };
        let mut stream = connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return 0 };
        let mut read = 0;
        while let Some(rest) = out.get_mut(read..).filter(|rest| !rest.is_empty())
            && let Ok(Some(chunk)) = chunks.next(rest.len())
        {
            rest[..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
            read += chunk.bytes.len();
        }
        // What it answers is moot: transmits are polled after every turn of the application.
        let _ = chunks.finalize();
        read
    }

    fn send_message(&mut self, now: Instant, payload: Bytes, lifetime: Option<Duration>) {
        let expires = lifetime.map(|lifetime| now + lifetime);
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { payload, expires });
        self.send_waiting(now);
    }

    fn recv_message(&mut self) -> Option<Bytes> {
        self.connection()?.datagrams().recv()
    }
}

fn train(transmit: &Transmit) -> Train {
    Train {
        destination: transmit.destination,
        segment: transmit.segment_size,
        ecn: transmit.ecn.map(to_model),
    }
}

/// quinn sends higher numbers first; the numbers are the transport's.
const fn number(priority: Priority) -> i32 {
    match priority {
        Priority::Control => 2,
        Priority::Live => 1,
        Priority::Interactive => 0,
        Priority::Bulk => -1,
    }
}

const fn from_model(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

const fn to_model(mark: EcnCodepoint) -> Ecn {
    match mark {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}
