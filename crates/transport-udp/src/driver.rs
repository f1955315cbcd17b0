//! The one task of an endpoint: it moves datagrams, time and work between socket and machines.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_datagram_io::{Batch, EcnCodepoint, LaneSocket, Received};
use portolan_identity::{Alpn, remote_id};
use portolan_qlog::Qlog;
use portolan_rudp::{
    CloseReason as Ended, Connection, ConnectionHandle, Ecn, Endpoint, Event, PathEvent, Routed,
    Transmit, leading_run,
};
use portolan_transport::{Backlog, CloseCode, CloseReason, ConnectionConfig};
use tokio::time::{Sleep, sleep_until};

use crate::{
    connection::UdpConnection,
    host::Host,
    inbox::{Inbox, Letters, Request},
    outbox::{Label, Outbox},
    reason::{close_reason, closed, connect_error, start_error},
    table::{Stage, Table},
    watch,
};

/// Trains that one connection may send before the next has its turn: on a short way half of what
/// its writer may be ahead, so that there is always more.
const TRAINS_PER_TURN: usize = 2;

/// Turns and stateless answers before the socket and the inbox are looked at again.
const TURNS_PER_ROUND: usize = 32;

/// How long farewells may be repeated for peers that have not heard them, before the port is
/// given back.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Owns the socket and the endpoint machine, and looks after every connection.
pub(crate) struct Driver {
    socket: Arc<LaneSocket>,
    machine: Endpoint,
    config: ConnectionConfig,
    qlog: Qlog,
    inbox: Arc<Inbox>,
    backlog: Arc<Backlog<UdpConnection>>,
    table: Table,
    outbox: Outbox,
    letters: Letters,
    // Buffers that are used again.
    events: Vec<Event>,
    // Connections were put into the backlog in this round.
    has_callers: bool,
    // When to end although some remote has not answered the farewell.
    end: Option<Instant>,
}

/// Where programs meet the driver.
type Doors = (Arc<Inbox>, Arc<Backlog<UdpConnection>>);

impl Driver {
    pub(crate) fn new(
        socket: Arc<LaneSocket>,
        machine: Endpoint,
        (config, qlog): (&ConnectionConfig, Qlog),
        (inbox, backlog): Doors,
    ) -> Self {
        Self {
            socket,
            machine,
            config: config.clone(),
            qlog,
            inbox,
            backlog,
            table: Table::default(),
            outbox: Outbox::default(),
            letters: Letters::default(),
            events: Vec::new(),
            has_callers: false,
            end: None,
        }
    }

    /// Serves until the endpoint is closed and the farewells are sent.
    pub(crate) async fn run(mut self) {
        let mut batch = Batch::new();
        let mut alarm = Box::pin(sleep_until(tokio::time::Instant::now()));
        while self.is_needed() {
            match self.wait(&mut batch, alarm.as_mut()).await {
                Woke::Received => self.receive(&mut batch),
                Woke::Shutdown => return,
                Woke::Else => {}
            }
            self.read_inbox();
            self.fire_timers();
            self.serve_ready();
            if std::mem::take(&mut self.has_callers) {
                // Who accepts may wait for this very thread, which may never be idle while many
                // call: the backlog would fill up, and callers be turned away without need.
                tokio::task::yield_now().await;
            }
        }
    }

    fn is_needed(&self) -> bool {
        self.end.is_none_or(|end| !self.table.is_empty() && now() < end)
    }

    async fn wait(&self, batch: &mut Batch, mut alarm: Pin<&mut Sleep>) -> Woke {
        let deadline = self.table.next_deadline().into_iter().chain(self.end).min();
        if let Some(deadline) = deadline.map(Into::into)
            && alarm.deadline() != deadline
        {
            alarm.as_mut().reset(deadline);
        }
        let blocked = self.outbox.is_blocked();
        tokio::select! {
            biased;
            received = self.socket.recv(batch) => match received {
                Ok(()) => Woke::Received,
                Err(_) => Woke::Shutdown,
            },
            () = self.inbox.arrived() => Woke::Else,
            () = alarm, if deadline.is_some() => Woke::Else,
            writable = self.socket.writable(), if blocked => match writable {
                Ok(()) => Woke::Else,
                Err(_) => Woke::Shutdown,
            },
            // More to send: let other tasks of this worker run, then go on.
            () = tokio::task::yield_now(), if !blocked && self.table.has_ready() => Woke::Else,
        }
    }

    fn receive(&mut self, batch: &mut Batch) {
        let now = now();
        batch.for_each(|Received { bytes, stride, from, ecn, .. }| {
            let ecn = ecn.map(ecn_from_wire);
            let mut rest = bytes;
            while !rest.is_empty() {
                // Nearly always all of them.
                let (run, after) = rest.split_at_mut(leading_run(rest, stride));
                self.on_run(now, (from, ecn), (run, stride));
                rest = after;
            }
        });
    }

    /// Datagrams of one remote for one connection: it is looked up and locked once for all.
    fn on_run(
        &mut self,
        now: Instant,
        (from, ecn): (SocketAddr, Option<Ecn>),
        (run, stride): (&mut [u8], usize),
    ) {
        let first = run.get_mut(..stride.min(run.len())).unwrap_or_default();
        let handle = match self.machine.handle_datagram(now, from, ecn, first) {
            Routed::Dropped | Routed::Replied => return,
            Routed::To(handle) => handle,
            Routed::New(handle, connection) => {
                self.insert(handle, *connection, Stage::Answering);
                handle
            }
        };
        let Some(slot) = self.table.get_mut(handle) else { return };
        let mut state = slot.host.lock();
        state.connection.handle_train(now, from, ecn, (run, stride));
        drop(state);
        self.table.make_ready(handle);
    }

    fn insert(&mut self, handle: ConnectionHandle, mut connection: Connection, stage: Stage) {
        let local = self.socket.local_addr();
        let span = watch::span(&connection);
        watch::attach(&mut connection, (now(), local), (&self.qlog, &span));
        let inbox = Arc::clone(&self.inbox);
        let host = Arc::new(Host::new((connection, handle), local, inbox, span));
        if let Some((code, reason)) = self.inbox.farewell() {
            host.close(*code, reason);
        }
        self.table.insert(handle, host, stage);
    }

    fn read_inbox(&mut self) {
        let mut letters = std::mem::take(&mut self.letters);
        self.inbox.take(&mut letters);
        for handle in letters.touched.drain(..) {
            if let Some(slot) = self.table.get_mut(handle) {
                slot.host.unlist();
                self.table.make_ready(handle);
            }
        }
        if let Some(socket) = letters.socket.take() {
            self.move_to(socket);
        }
        for request in letters.requests.drain(..) {
            self.dial(request);
        }
        if std::mem::take(&mut letters.given_up) {
            self.drop_given_up();
        }
        self.letters = letters;
        if self.end.is_none() && self.inbox.farewell().is_some() {
            self.begin_close();
        }
    }

    /// Everything goes through another socket from now on; the old one is given back.
    fn move_to(&mut self, socket: Arc<LaneSocket>) {
        let (now, local) = (now(), socket.local_addr());
        self.socket = socket;
        let handles: Vec<_> = self.table.slots().map(|(handle, _)| handle).collect();
        for handle in handles {
            if let Some(slot) = self.table.get_mut(handle) {
                slot.host.move_to(now, local);
                self.table.make_ready(handle);
            }
        }
    }

    fn dial(&mut self, request: Request) {
        let Request { remote, expect, reply } = request;
        if self.inbox.farewell().is_some() {
            let _ = reply.send(Err(closed(remote)));
            return;
        }
        let tls = self.config.identity.client_config(Alpn::Udp);
        match self.machine.connect(now(), remote, tls, expect.server_name()) {
            Ok((handle, connection)) => {
                self.insert(handle, connection, Stage::Dialling { expect, reply });
            }
            Err(error) => {
                let _ = reply.send(Err(start_error(&error, remote)));
            }
        }
    }

    /// Ends attempts for which nobody waits any more.
    fn drop_given_up(&mut self) {
        for (_, slot) in self.table.slots() {
            match &slot.stage {
                Stage::Dialling { reply, .. } if reply.is_closed() => {
                    slot.host.close(CloseCode::DROPPED, "");
                }
                Stage::Dialling { .. } | Stage::Answering | Stage::Settled => {}
            }
        }
    }

    fn begin_close(&mut self) {
        self.end = Some(now() + FAREWELL_MAX);
        if let Some((code, reason)) = self.inbox.farewell() {
            for (_, slot) in self.table.slots() {
                slot.host.close(*code, reason);
            }
        }
        self.backlog.close();
    }

    fn fire_timers(&mut self) {
        let now = now();
        while let Some(handle) = self.table.next_due(now) {
            if let Some(slot) = self.table.get_mut(handle) {
                slot.host.lock().connection.handle_timeout(now);
                self.table.make_ready(handle);
            }
        }
    }

    /// Gives those with something to do a turn each, as long as the socket has room.
    fn serve_ready(&mut self) {
        self.outbox.flush(&self.socket);
        for _ in 0..TURNS_PER_ROUND {
            if self.outbox.is_blocked() {
                return;
            }
            let machine = &mut self.machine;
            let fill = |buffer: &mut Vec<u8>| machine.poll_transmit(buffer).as_ref().map(label);
            if !self.outbox.send(&self.socket, fill) {
                break;
            }
        }
        for _ in 0..TURNS_PER_ROUND.min(self.table.ready_count()) {
            if self.outbox.is_blocked() {
                return;
            }
            let Some(handle) = self.table.next_ready() else { return };
            self.serve(handle);
        }
    }

    /// One connection's turn: tell its program, send, and see when to look again.
    fn serve(&mut self, handle: ConnectionHandle) {
        let Some(slot) = self.table.get_mut(handle) else { return };
        let host = Arc::clone(&slot.host);
        self.tell(handle, &host);
        if self.send(&host) {
            self.table.make_ready(handle);
        }
        // Sending may have changed the connection too, up to its end.
        self.tell(handle, &host);
        let (deadline, gone) = {
            let state = host.lock();
            (state.connection.poll_timeout(), state.connection.is_gone())
        };
        if gone {
            self.table.remove(handle);
        } else {
            self.table.set_deadline(handle, deadline.map(|deadline| deadline.at));
        }
    }

    /// Passes on what has happened to a connection.
    fn tell(&mut self, handle: ConnectionHandle, host: &Arc<Host>) {
        let mut events = std::mem::take(&mut self.events);
        let mut woken = {
            let mut state = host.lock();
            events.extend(std::iter::from_fn(|| state.connection.poll_event()));
            host.dispatch(&mut state)
        };
        for event in events.drain(..) {
            match event {
                Event::Connected => self.on_connected(handle, host),
                Event::Closed(reason) => {
                    self.on_closed(handle, &reason);
                    woken.extend(host.end(&mut host.lock(), close_reason(&reason)));
                }
                Event::Path(path) => self.on_path(handle, host, path),
                Event::Endpoint(event) => self.machine.on_endpoint_event(handle, event),
            }
        }
        self.events = events;
        woken.wake();
    }

    fn on_path(&mut self, handle: ConnectionHandle, host: &Host, path: PathEvent) {
        tracing::debug!(?path, "path");
        match path {
            PathEvent::Works(route) => {
                host.on_path_works(now(), route);
                self.table.make_ready(handle);
            }
            PathEvent::Fails(route) => host.on_path_fails(route),
            PathEvent::Moved(_) => {}
        }
    }

    /// Hands an authenticated connection to whoever waits for it.
    fn on_connected(&mut self, handle: ConnectionHandle, host: &Arc<Host>) {
        let Some(slot) = self.table.get_mut(handle) else { return };
        let stage = std::mem::replace(&mut slot.stage, Stage::Settled);
        let remote_id = remote_id(host.lock().connection.remote_certificates());
        let Ok(remote_id) = remote_id else {
            return host.close(CloseCode::DROPPED, "no key was shown");
        };
        watch::connected(host.span(), remote_id);
        let connection = UdpConnection::new(Arc::clone(host), remote_id);
        match stage {
            // Nobody waits any more: dropping the connection closes it.
            Stage::Dialling { reply, .. } => drop(reply.send(Ok(connection))),
            Stage::Answering => {
                self.has_callers = true;
                if let Err(connection) = self.backlog.push(connection) {
                    let reason = "too many connections wait to be accepted";
                    connection.host().close(CloseCode::BUSY, reason);
                }
            }
            Stage::Settled => {}
        }
    }

    /// Tells whoever waits for a connection that it failed.
    fn on_closed(&mut self, handle: ConnectionHandle, reason: &Ended) {
        let Some(slot) = self.table.get_mut(handle) else { return };
        watch::closed(slot.host.span(), reason);
        let remote = slot.host.lock().connection.remote_addr();
        match std::mem::replace(&mut slot.stage, Stage::Settled) {
            Stage::Dialling { expect, reply } => {
                // Nobody waits any more: nobody is told.
                let _ = reply.send(Err(connect_error(reason, remote, expect)));
            }
            // The span has told it.
            Stage::Answering | Stage::Settled => {}
        }
    }

    /// Sends what a connection has to send, up to its share; whether there is more.
    fn send(&mut self, host: &Host) -> bool {
        for _ in 0..TRAINS_PER_TURN {
            if self.outbox.is_blocked() {
                return true;
            }
            let fill = |buffer: &mut Vec<u8>| {
                host.lock().connection.poll_transmit(now(), buffer).as_ref().map(label)
            };
            if !self.outbox.send(&self.socket, fill) {
                return false;
            }
        }
        true
    }
}

impl Drop for Driver {
    /// The runtime is shutting down, or all is over: nobody must wait for what cannot come.
    fn drop(&mut self) {
        self.inbox.shut();
        self.backlog.close();
        for (_, slot) in self.table.slots() {
            let detail = "the endpoint's task has ended".to_owned();
            let woken = slot.host.end(&mut slot.host.lock(), CloseReason::Lost { detail });
            woken.wake();
        }
    }
}

fn ecn_from_wire(ecn: EcnCodepoint) -> Ecn {
    match ecn {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

fn ecn_to_wire(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

/// Why the driver woke.
enum Woke {
    Received,
    Shutdown,
    Else,
}

fn label(transmit: &Transmit) -> Label {
    Label {
        destination: transmit.destination,
        ecn: transmit.ecn.map(ecn_to_wire),
        segment_size: transmit.segment_size,
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
