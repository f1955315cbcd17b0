//! How lean clients come in to our server: connect, open the control stream, log in.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use bytes::BytesMut;
use portolan::{
    BindConfig, BindError, ConnectError, Connection, Endpoint, Expect, Identity, PeerId, Priority,
    Transport,
    protocol::{
        Command, ErrorBody, Hello, Login, Message, Opened, Opening, OpeningMessage, Reply,
        RequestId, VERSIONS, decode, encode,
    },
};
use tokio::task::JoinSet;

use super::{
    client::Member,
    dialect::{Dialect, Gibberish, Portolan, request},
    pipe::{Pipe, READ_SIZE},
};

/// Clients of one key and endpoint: as many names as a server gives to a key.
const NAMES_PER_KEY: u32 = 16;

/// Endpoints that are filled side by side.
const SIDE_BY_SIDE: u32 = 24;

/// Files that the rest of the program may need.
const FILES_SPARE: u64 = 256;

/// Why a client did not come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    /// The system lets us have too few connections.
    #[error(
        "{clients} clients need {needed} open files here and as many in the server, and {allowed} \
         are allowed; `ulimit -n {needed}` allows it where the system's hard limit does, or ask \
         for fewer with --clients"
    )]
    Files {
        /// How many were wanted.
        clients: u32,
        /// What they take.
        needed: u64,
        /// What there is.
        allowed: u64,
    },
    /// No address to come from.
    #[error("cannot bind an address to connect from")]
    Bind(#[from] BindError),
    /// No connection.
    #[error("client {client} cannot connect")]
    Connect {
        /// Which.
        client: u32,
        /// Why not.
        source: ConnectError,
    },
    /// The stream did not carry what it must.
    #[error("client {client} was cut off while it logged in")]
    Stream {
        /// Which.
        client: u32,
        /// The system's word.
        source: io::Error,
    },
    /// The server said no.
    #[error("client {client} was refused: {error}")]
    Refused {
        /// Which.
        client: u32,
        /// The server's words.
        error: ErrorBody,
    },
}

/// One transport of one server, and under which names clients come in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) transport: &'static dyn Transport,
    /// Stands in every name, so that nobody else's is taken.
    pub(crate) tag: String,
}

/// A client that has logged in, while it still asks one thing after the other.
pub(crate) struct Session {
    pub(crate) name: String,
    number: u32,
    pipe: Pipe,
    dialect: Portolan,
    keep: (Arc<dyn Connection>, Arc<dyn Endpoint>),
}

impl Door {
    /// Logs in `count` clients.
    pub(crate) async fn enter(&self, count: u32) -> Result<Vec<Session>, EnterError> {
        check_files(count)?;
        let next = Arc::new(AtomicU32::new(0));
        let mut entering = JoinSet::new();
        for _ in 0..SIDE_BY_SIDE.min(count.div_ceil(NAMES_PER_KEY)) {
            let (door, next) = (self.clone(), Arc::clone(&next));
            entering.spawn(async move { door.enter_in_turn(count, &next).await });
        }
        let mut sessions = Vec::new();
        while let Some(entered) = entering.join_next().await {
            sessions.extend(entered.unwrap_or_else(|_| Ok(Vec::new()))?);
        }
        sessions.sort_by_key(|session: &Session| session.number);
        Ok(sessions)
    }

    /// Fills one endpoint after the other until all clients are in.
    async fn enter_in_turn(
        &self,
        count: u32,
        next: &AtomicU32,
    ) -> Result<Vec<Session>, EnterError> {
        let mut sessions = Vec::new();
        loop {
            let first = next.fetch_add(NAMES_PER_KEY, Relaxed);
            if first >= count {
                return Ok(sessions);
            }
            let endpoint = self.bind(first).await?;
            for number in first..count.min(first + NAMES_PER_KEY) {
                sessions.push(self.log_in(&endpoint, number).await?);
            }
        }
    }

    async fn bind(&self, first: u32) -> Result<Arc<dyn Endpoint>, BindError> {
        let seed = blake3::hash(format!("{} {first}", self.tag).as_bytes());
        let ip: IpAddr = match self.address.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let identity = Identity::from_seed(*seed.as_bytes());
        self.transport.bind(BindConfig::new(SocketAddr::new(ip, 0), identity)).await
    }

    async fn log_in(
        &self,
        endpoint: &Arc<dyn Endpoint>,
        client: u32,
    ) -> Result<Session, EnterError> {
        let connection = endpoint.connect(self.address, Expect::Id(self.id)).await;
        let connection = connection.map_err(|source| EnterError::Connect { client, source })?;
        let cut_off = |source| EnterError::Stream { client, source };
        let opened = connection.open_stream(Priority::Control).await;
        let (send, receive) = opened.map_err(|error| cut_off(io::Error::other(error)))?;
        let mut session = Session {
            name: format!("load-{}-{client}", self.tag),
            number: client,
            pipe: Pipe::new(receive, send),
            dialect: Portolan::default(),
            keep: (connection, Arc::clone(endpoint)),
        };
        session.open().await.map_err(cut_off)?;
        let software = "portolan-lab".to_owned();
        let hello = Hello { versions: VERSIONS.to_vec(), features: Vec::new(), software };
        session.ask(hello).await?;
        session
            .ask(Login { name: session.name.clone(), password: None, device: None, attempt: None })
            .await?;
        Ok(session)
    }
}

impl Session {
    async fn open(&mut self) -> io::Result<()> {
        let opening: OpeningMessage =
            Message::Request(RequestId(1), Opening::Control(Default::default()));
        encode(&opening, &mut self.pipe.out).map_err(io::Error::other)?;
        let mut frames = portolan::protocol::FrameBuffer::default();
        let frame = loop {
            if let Some(frame) = frames.next_frame().map_err(io::Error::other)? {
                break frame;
            }
            read_more(&mut self.pipe, frames.bytes_mut()).await?;
        };
        // Behind it nothing can have come: nothing was asked.
        match decode(&frame) {
            Ok(OpeningMessage::Answer(_, Opened::Ready(_))) => Ok(()),
            Ok(other) => Err(io::Error::other(format!("an unexpected answer: {other:?}"))),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Asks, and waits for the answer; news that come before it are not looked at.
    pub(crate) async fn ask(&mut self, command: impl Into<Command>) -> Result<Reply, EnterError> {
        let client = self.number;
        let cut_off = |source| EnterError::Stream { client, source };
        request(1, command.into(), &mut self.pipe.out);
        loop {
            let message = self.dialect.next_message();
            let gibberish = |error: Gibberish| cut_off(io::Error::other(error));
            match message.map_err(gibberish)? {
                Some(Message::Answer(RequestId(1), reply)) => return Ok(reply),
                Some(Message::Error(RequestId(1), error)) => {
                    return Err(EnterError::Refused { client, error });
                }
                Some(_) => {}
                None => {
                    read_more(&mut self.pipe, self.dialect.input()).await.map_err(cut_off)?;
                }
            }
        }
    }

    /// Sets it free to work.
    pub(crate) fn into_member(self) -> Member {
        Member { pipe: self.pipe, dialect: Box::new(self.dialect), _keep: Box::new(self.keep) }
    }
}

async fn read_more(pipe: &mut Pipe, into: &mut BytesMut) -> io::Result<()> {
    match pipe.read(into, READ_SIZE).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Whether so many connections may be open here: one file each, and one for each endpoint.
fn check_files(clients: u32) -> Result<(), EnterError> {
    let allowed = crate::bench::machine::raise_open_files();
    let needed = u64::from(clients) + u64::from(clients / NAMES_PER_KEY) + FILES_SPARE;
    if allowed < needed {
        return Err(EnterError::Files { clients, needed, allowed });
    }
    Ok(())
}
