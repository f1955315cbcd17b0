//! An old client's session with the core: it says hello and logs in by itself.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use portolan_gateway::{Entry, Ticket};
use portolan_protocol::{
    Command, ErrorBody, Event, Hello, LoggedIn, Login, Logout, Message, Name, Reply, RequestId,
    VERSIONS, decode,
};
use portolan_transport::PeerId;

use super::{
    super::{clients::Client, hub::Hub, outbox::Outbox},
    Running,
    places::Places,
};
use crate::core::{Input, Proof, Remote, SessionId};

const HELLO: RequestId = RequestId(1);
const LOGIN: RequestId = RequestId(2);
const LOGOUT: RequestId = RequestId(3);
/// Requests of the bridge have the numbers of their tickets behind these.
const FIRST: u64 = 16;

/// A session of the core. Dropped, it is gone.
pub(super) struct Seat {
    hub: Arc<Hub>,
    places: Arc<Places>,
    session: SessionId,
    outbox: Arc<Outbox>,
    name: Name,
    place: u64,
}

/// What the core says to a seat.
pub(super) enum Word {
    Entered(Result<LoggedIn, ErrorBody>),
    Answer(Ticket, Result<Reply, ErrorBody>),
    Event(Event),
}

impl Seat {
    /// Begins a session under the name of which `place` was taken.
    pub(super) fn take(
        running: &Running,
        (id, address): (PeerId, SocketAddr),
        entry: Entry,
        place: u64,
    ) -> Self {
        let hub = Arc::clone(&running.context.hub);
        let outbox = Arc::new(Outbox::new(&running.context.limits));
        outbox.claim_writer();
        let registry = running.registry;
        let client = Client { registry, outbox: Arc::clone(&outbox), connection: None };
        let session = hub.connect(client, Remote { registry, id, address, proof: Proof::Gateway });
        let seat = Self {
            hub,
            places: Arc::clone(&running.places),
            session,
            outbox,
            name: entry.name.clone(),
            place,
        };
        let software = format!("gateway/{}", running.lane.registry);
        let hello = Hello { versions: VERSIONS.to_vec(), features: Vec::new(), software };
        seat.command(HELLO, hello.into());
        let login = Login {
            name: entry.name.as_str().to_owned(),
            password: entry.password,
            device: None,
            attempt: None,
        };
        seat.command(LOGIN, login.into());
        seat
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn ask(&self, ticket: Ticket, command: Command) {
        self.command(RequestId(ticket.0.saturating_add(FIRST)), command);
    }

    /// Ends the session in good order.
    pub(super) fn log_out(self) {
        self.command(LOGOUT, Logout {}.into());
    }

    fn command(&self, id: RequestId, command: Command) {
        self.hub.handle(Input::Command { session: self.session, id, command });
    }

    /// What the core has to say; `None`: the session is over. Cancel safe.
    pub(super) async fn next(&self) -> Option<Vec<Bytes>> {
        self.outbox.next_batch().await
    }

    /// Why it is over, once it is.
    pub(super) async fn reason(&self) -> String {
        self.outbox.farewell().await.reason
    }

    /// Reads a frame of the core; nothing: nobody waits for it.
    pub(super) fn read(frame: &Bytes) -> Option<Word> {
        let body = frame.slice(4.min(frame.len())..);
        match decode::<Command, Reply, Event>(&body).ok()? {
            Message::Answer(LOGIN, Reply::LoggedIn(logged_in)) => {
                Some(Word::Entered(Ok(logged_in)))
            }
            Message::Error(HELLO | LOGIN, error) => Some(Word::Entered(Err(error))),
            Message::Answer(id, reply) => Some(Word::Answer(ticket(id)?, Ok(reply))),
            Message::Error(id, error) => Some(Word::Answer(ticket(id)?, Err(error))),
            Message::Event(event) => Some(Word::Event(event)),
            Message::Request(..) => None,
        }
    }
}

fn ticket(id: RequestId) -> Option<Ticket> {
    id.0.checked_sub(FIRST).map(Ticket)
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.disconnect(self.session, "the client of a gateway is gone".to_owned());
        self.places.release(&self.name, self.place);
    }
}
