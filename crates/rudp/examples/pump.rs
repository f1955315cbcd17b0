//! Moves bytes from one connection to another inside this program, in virtual time, so that every
//! run executes the same instructions: for counting them.
//!
//! ```text
//! pump [PACKET_SIZE [MIB]]
//! valgrind --tool=callgrind target/release/examples/pump 1452 64
//! ```
//!
//! What the kernel and the tasks of a transport cost is not in it; `saturate`, the example of
//! `portolan-transport-udp`, has both.

#![expect(clippy::print_stdout, reason = "a program that prints a figure")]

use std::{
    collections::VecDeque,
    error::Error,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Alpn, Expect, Identity};
use portolan_mux::{Priority, ReadError, StreamId, WriteError};
use portolan_rudp::{
    Connection, ConnectionConfig, ConnectionHandle, Endpoint, EndpointConfig, Event, Routed,
    leading_run,
};

type Failure = Box<dyn Error>;

/// From one end to the other: about what loopback takes.
const DELAY: Duration = Duration::from_micros(30);

const CHUNK: usize = 64 << 10;

/// Bytes of the longest train.
const TRAIN_MAX: usize = 64 << 10;

/// A train on the way.
struct Flight {
    at: Instant,
    bytes: Vec<u8>,
    segment: usize,
}

/// One end, and what is on the way to it.
struct End {
    address: SocketAddr,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    arriving: VecDeque<Flight>,
    is_connected: bool,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().map_or(Ok(1452), |word| word.parse())?;
    let mib: usize = arguments.next().map_or(Ok(64), |word| word.parse())?;
    let mut now = epoch();
    let mut ends = connect(now, size)?;
    while !ends.iter().all(|end| end.is_connected) {
        now = step(now, &mut ends)?;
    }
    let stream = ends[0].connection()?.mux().open(Priority::Bulk).ok_or("no stream allowed")?;
    let (chunk, mut buffer) = (vec![0x5a; CHUNK], vec![0; 4 * CHUNK]);
    let (start, mut moved) = (now, 0);
    while moved < mib << 20 {
        write_all(ends[0].connection()?, stream, &chunk)?;
        now = step(now, &mut ends)?;
        moved += read_all(ends[1].connection()?, stream, &mut buffer)?;
    }
    let stats = ends[0].connection()?.stats();
    println!(
        "{mib} MiB in {} packets of {} bytes, {} came back, {} lost, {:?} of virtual time",
        stats.packets_sent,
        stats.packet_size,
        stats.packets_received,
        stats.packets_lost,
        now - start,
    );
    Ok(())
}

fn connect(now: Instant, size: u16) -> Result<[End; 2], Failure> {
    let connection =
        ConnectionConfig { packet_size: size, packet_limit: size, ..ConnectionConfig::default() };
    let config = Arc::new(EndpointConfig::new(connection));
    let (alice, bob) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let tls = bob.server_config(Alpn::Udp);
    let mut client = End::new(1, Endpoint::new(Arc::clone(&config), None, [3; 32]));
    let server = End::new(2, Endpoint::new(config, Some(tls), [4; 32]));
    let name = Expect::Id(bob.id()).server_name();
    let tls = alice.client_config(Alpn::Udp);
    client.connection = Some(client.endpoint.connect(now, server.address, tls, name)?);
    Ok([client, server])
}

/// Lets everything happen that comes next.
fn step(now: Instant, ends: &mut [End; 2]) -> Result<Instant, Failure> {
    let [alice, bob] = ends;
    alice.send(now, bob);
    bob.send(now, alice);
    let next = [alice.next(), bob.next()].into_iter().flatten().min();
    let now = next.ok_or("everything is still")?.max(now);
    let (from_alice, from_bob) = (alice.address, bob.address);
    alice.receive(now, from_bob);
    bob.receive(now, from_alice);
    Ok(now)
}

impl End {
    fn new(host: u8, endpoint: Endpoint) -> Self {
        Self {
            address: ([10, 0, 0, host], 7275).into(),
            endpoint,
            connection: None,
            arriving: VecDeque::new(),
            is_connected: false,
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        let (_, connection) = self.connection.as_mut().ok_or("there is no connection")?;
        Ok(connection)
    }

    fn next(&self) -> Option<Instant> {
        let timer = self.connection.as_ref().and_then(|(_, connection)| connection.poll_timeout());
        let flight = self.arriving.front().map(|flight| flight.at);
        timer.map(|deadline| deadline.at).into_iter().chain(flight).min()
    }

    fn receive(&mut self, now: Instant, from: SocketAddr) {
        while self.arriving.front().is_some_and(|flight| flight.at <= now)
            && let Some(mut flight) = self.arriving.pop_front()
        {
            self.receive_train(now, from, (&mut flight.bytes, flight.segment));
        }
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    /// As the driver of a socket does it: all of a train goes where its first datagram goes.
    fn receive_train(
        &mut self,
        now: Instant,
        from: SocketAddr,
        (train, segment): (&mut [u8], usize),
    ) {
        let first_len = segment.min(leading_run(train, segment));
        let first = &mut train[..first_len];
        match self.endpoint.handle_datagram(now, from, None, first) {
            Routed::Dropped | Routed::Replied => return,
            Routed::To(_) => {}
            Routed::New(handle, connection) => self.connection = Some((handle, *connection)),
        }
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_train(now, from, None, (train, segment));
        }
    }

    fn send(&mut self, now: Instant, to: &mut Self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        let mut bytes = Vec::with_capacity(TRAIN_MAX);
        while let Some(transmit) = connection.poll_transmit(now, &mut bytes) {
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            let flight = Flight { at: now + DELAY, bytes, segment };
            bytes = Vec::with_capacity(TRAIN_MAX);
            to.arriving.push_back(flight);
        }
        while connection.mux().poll_event().is_some() {}
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::Path(_) => {}
                Event::Closed(reason) => println!("closed: {reason}"),
                Event::Endpoint(event) => self.endpoint.on_endpoint_event(*handle, event),
            }
        }
    }
}

fn write_all(connection: &mut Connection, id: StreamId, chunk: &[u8]) -> Result<(), Failure> {
    loop {
        match connection.mux().write(id, chunk) {
            Ok(_) => {}
            Err(WriteError::Blocked) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn read_all(connection: &mut Connection, id: StreamId, out: &mut [u8]) -> Result<usize, Failure> {
    let mut moved = 0;
    loop {
        match connection.mux().read(id, out) {
            Ok(read) => moved += read,
            // Unknown: its first frame is still on the way.
            Err(ReadError::Blocked | ReadError::UnknownStream) => return Ok(moved),
            Err(error @ ReadError::Reset(_)) => return Err(error.into()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
fn epoch() -> Instant {
    Instant::now()
}
