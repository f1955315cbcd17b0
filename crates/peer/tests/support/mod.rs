//! A real server in this process, honest peers, and one that says what it likes.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::allow_attributes, reason = "unused parts differ from program to program")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![allow(unreachable_pub, reason = "shared by several test programs")]

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use portolan_identity::{Expect, Identity, PeerId};
use portolan_peer::{Config, Event, Events, FileRule, Peer, Stack};
use portolan_protocol::{
    Command, ControlMessage, Empty, ErrorBody, ErrorCode, Hello, Login, Name, Opened, Opening,
    OpeningMessage, PeerCommand, PeerMessage, PeerReply, Ready, Relay, RequestId, Table, VERSIONS,
    Welcome,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_server::Server;
use portolan_transport::{
    BindConfig, Connection, ConnectionConfig, Endpoint, Path as ConnectionPath, PathKind, Priority,
    RecvStream, SendStream, Transport, Tunnel,
};
use portolan_transport_tcp::{Tcp, TcpTunnel};

pub static TRANSPORTS: &[&dyn Transport] = &[&Tcp];
pub const STACK: Stack = Stack { transports: TRANSPORTS, tunnel: &TcpTunnel, hosting: None };

/// Long enough for a loaded machine; nothing is asserted about time.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, work).await;
    result.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn identity(of: &str) -> Identity {
    let mut seed = [0; 32];
    seed[..of.len()].copy_from_slice(of.as_bytes());
    Identity::from_seed(seed)
}

/// A server on a free port.
pub struct Harbour {
    pub server: Server,
    pub addr: SocketAddr,
    pub transport: &'static dyn Transport,
    pub directory: tempfile::TempDir,
}

impl Harbour {
    pub async fn open() -> Self {
        Self::open_with(TRANSPORTS).await
    }

    /// The same with other transports; peers use the first one.
    pub async fn open_with(transports: &'static [&'static dyn Transport]) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        Self::open_as(portolan_server::Config::new(listen, transports, identity("server"))).await
    }

    /// The same as a configuration says.
    pub async fn open_as(config: portolan_server::Config) -> Self {
        let transports = config.transports;
        let server = within("starting", Server::start(config)).await.unwrap();
        let addr = server.addresses()[0].1;
        let directory = tempfile::tempdir().unwrap();
        Self { server, addr, transport: transports[0], directory }
    }

    pub fn id(&self) -> PeerId {
        self.server.id()
    }

    /// A configuration with a download directory of its own, which takes every file.
    pub fn config(&self, of: &str) -> Config {
        let expect = Expect::Id(self.id());
        let tunnel: &'static dyn Tunnel = &TcpTunnel;
        let mut config =
            Config::new(name(of), identity(of), self.addr, expect, self.transport, tunnel);
        config.downloads = self.downloads(of);
        config.accept_files = FileRule::All;
        config
    }

    pub fn downloads(&self, of: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(format!("{of}-downloads"));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub async fn peer(&self, of: &str) -> (Peer, Events) {
        self.peer_with(self.config(of)).await
    }

    pub async fn peer_with(&self, config: Config) -> (Peer, Events) {
        within("connecting", Peer::connect(config)).await.unwrap()
    }

    /// A file with different bytes everywhere.
    pub fn file(&self, of: &str, size: usize) -> std::path::PathBuf {
        let path = self.directory.path().join(of);
        std::fs::write(&path, bytes(size)).unwrap();
        path
    }

    /// A peer that is logged in and otherwise does what the test says.
    pub async fn raw(&self, of: &str) -> RawPeer {
        within("connecting", RawPeer::connect(self, of)).await
    }
}

pub fn bytes(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..size.div_ceil(8)).flat_map(|_| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    });
    words.take(size).collect()
}

/// Waits for the first event that `wanted` likes.
pub async fn wait_for(events: &mut Events, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    within(what, async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("no {what}: the end"));
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

/// What a directory holds, hidden files too.
pub fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until a directory holds exactly that.
pub async fn wait_entries(directory: &Path, wanted: &[&str]) {
    within("the directory's content", async {
        while entries(directory) != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub type Reader = FrameReader<RecvStream>;
pub type Writer = FrameWriter<SendStream>;

/// A peer without manners.
pub struct RawPeer {
    pub identity: Identity,
    pub connection: Arc<dyn Connection>,
    pub control: (Writer, Reader),
    _endpoint: Arc<dyn Endpoint>,
}

impl RawPeer {
    async fn connect(harbour: &Harbour, of: &str) -> Self {
        let identity = identity(of);
        let local = "127.0.0.1:0".parse().unwrap();
        let endpoint =
            harbour.transport.bind(BindConfig::new(local, identity.clone())).await.unwrap();
        let connection = endpoint.connect(harbour.addr, Expect::Id(harbour.id())).await.unwrap();
        let mut control = open(&connection).await;
        let opening = OpeningMessage::Request(RequestId(1), Opening::Control(Empty {}));
        control.0.send(&opening).await.unwrap();
        let _: OpeningMessage = control.1.next_message().await.unwrap();
        let hello =
            Hello { versions: VERSIONS.to_vec(), features: vec![], software: String::new() };
        let login = Login { name: of.to_owned(), password: None, device: None, attempt: None };
        for (id, command) in [Command::from(hello), Command::from(login)].into_iter().enumerate() {
            let request = ControlMessage::Request(RequestId(id as u64 + 1), command);
            control.0.send(&request).await.unwrap();
            let answer: ControlMessage = control.1.next_message().await.unwrap();
            assert!(matches!(answer, ControlMessage::Answer(..)), "{answer:?}");
        }
        Self { identity, connection, control, _endpoint: endpoint }
    }

    /// Waits until someone calls, and lets them in.
    pub async fn answer_call(&self) -> Arc<dyn Connection> {
        let (send, receive) = self.connection.accept_stream().await.unwrap();
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        let relayed = match reader.next_message().await.unwrap() {
            OpeningMessage::Request(id, Opening::Relayed(relayed)) => {
                let ready = OpeningMessage::Answer(id, Opened::Ready(Ready::default()));
                writer.send(&ready).await.unwrap();
                relayed
            }
            other => panic!("not a relayed stream: {other:?}"),
        };
        let carrier = Box::new(tokio::io::join(reader.into_raw(), writer.into_inner()));
        let config = ConnectionConfig::new(self.identity.clone());
        TcpTunnel.accept(carrier, self.path(), config, Expect::Id(relayed.id)).await.unwrap()
    }

    /// Calls someone.
    pub async fn call(&self, who: &str, id: PeerId) -> Arc<dyn Connection> {
        let (mut writer, mut reader) = open(&self.connection).await;
        let opening = Opening::Relay(Relay { to: name(who), elsewhere: None });
        writer.send(&OpeningMessage::Request(RequestId(1), opening)).await.unwrap();
        let answer: OpeningMessage = reader.next_message().await.unwrap();
        assert!(matches!(answer, OpeningMessage::Answer(..)), "{answer:?}");
        let carrier = Box::new(tokio::io::join(reader.into_raw(), writer.into_inner()));
        let config = ConnectionConfig::new(self.identity.clone());
        TcpTunnel.connect(carrier, self.path(), config, Expect::Id(id)).await.unwrap()
    }

    fn path(&self) -> ConnectionPath {
        ConnectionPath { kind: PathKind::Relayed, ..self.connection.path() }
    }
}

/// Opens a stream for frames.
pub async fn open(connection: &Arc<dyn Connection>) -> (Writer, Reader) {
    let (send, receive) = connection.open_stream(Priority::Interactive).await.unwrap();
    (FrameWriter::new(send), FrameReader::new(receive))
}

/// Waits for the next request of a peer, and welcomes those that only say hello.
pub async fn next_request(connection: &Arc<dyn Connection>) -> (PeerCommand, Writer, Reader) {
    loop {
        let (send, receive) = connection.accept_stream().await.unwrap();
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        match reader.next_message().await.unwrap() {
            PeerMessage::Request(id, PeerCommand::Hello(_)) => {
                let welcome = Welcome {
                    version: 1,
                    features: vec![],
                    software: String::new(),
                    limits: portolan_protocol::Limits::V1,
                    heartbeat_ms: 0,
                    keep_alive_ms: 0,
                    attention_ms: 0,
                    seen_as: String::new(),
                };
                let answer = PeerMessage::Answer(id, PeerReply::Welcome(welcome));
                writer.send(&answer).await.unwrap();
                writer.get_mut().finish().unwrap();
            }
            PeerMessage::Request(id, PeerCommand::Meet(_)) => {
                let body = ErrorBody::new(ErrorCode::Unsupported, "the relay's stream will do");
                writer.send(&PeerMessage::Error(id, body)).await.unwrap();
                writer.get_mut().finish().unwrap();
            }
            PeerMessage::Request(_, command) => return (command, writer, reader),
            other => panic!("not a request: {other:?}"),
        }
    }
}

/// Answers the one request of a stream.
pub async fn reply(writer: &mut Writer, reply: PeerReply) {
    writer.send(&PeerMessage::Answer(RequestId(1), reply)).await.unwrap();
}

/// The kind of a message, for assertions.
pub fn kind(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Request(_, command) => command.kind(),
        PeerMessage::Answer(_, reply) => reply.kind(),
        PeerMessage::Error(_, body) => body.code.as_str(),
        PeerMessage::Event(event) => event.kind(),
    }
}
