//! A client that speaks frames by hand, and a server for it.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::{Expect, Identity};
use portolan_protocol::{
    Closing, Command, ControlMessage, ErrorBody, ErrorCode, Event, Hello, LoggedIn, Login, Message,
    Name, Opened, Opening, OpeningMessage, Presence, Reply, RequestId, Send,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_server::{Config, Rate, Server};
use portolan_transport::{
    BindConfig, Connection, Endpoint, Priority, RecvStream, SendStream, Shared, Transport,
};
use portolan_transport_mem::MemTransport;

/// The only transport here.
pub(crate) static TRANSPORTS: &[&dyn Transport] = &[&MemTransport];

/// Nothing here takes so long unless it never ends.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The key of a user, by the first byte of its seed.
pub(crate) fn key(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

/// A server in memory that lets its clients ask as often as the tests want.
pub(crate) fn config() -> Config {
    let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), TRANSPORTS, key(0));
    config.timing.farewell = Duration::from_millis(300);
    config.limits.commands = Rate { per_second: 1e9, burst: 1e9 };
    config
}

/// A server and where it listens.
pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    shared: Shared,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let shared = config.shared.clone();
        let server = within(Server::start(config)).await.unwrap();
        let address = server.addresses()[0].1;
        Self { server, address, shared }
    }

    /// Connects with the key of `seed`, and says hello.
    pub(crate) async fn connect(&self, seed: u8) -> Client {
        let mut client = self.connect_silently(seed).await;
        client.hello().await;
        client
    }

    /// Connects and opens the control stream, no more.
    pub(crate) async fn connect_silently(&self, seed: u8) -> Client {
        let (endpoint, connection) = self.dial(seed).await;
        let (send, recv) = connection.open_stream(Priority::Control).await.unwrap();
        let mut writer = FrameWriter::new(send);
        let mut reader = FrameReader::new(recv);
        let opening: OpeningMessage =
            Message::Request(RequestId(0), Opening::Control(portolan_protocol::Empty {}));
        writer.send(&opening).await.unwrap();
        let opened: OpeningMessage = within(reader.next_message()).await.unwrap();
        assert!(matches!(opened, Message::Answer(RequestId(0), Opened::Ready(_))));
        Client {
            connection,
            _endpoint: endpoint,
            reader,
            writer,
            last_id: 0,
            events: VecDeque::new(),
        }
    }

    pub(crate) async fn dial(&self, seed: u8) -> (Arc<dyn Endpoint>, Arc<dyn Connection>) {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config =
            BindConfig { shared: self.shared.clone(), ..BindConfig::new(local, key(seed)) };
        // Little enough that a client which does not read is soon full.
        config.connection.limits.stream_window = 1 << 20;
        let endpoint = MemTransport.bind(config).await.unwrap();
        let expect = Expect::Id(self.server.id());
        let connection = within(endpoint.connect(self.address, expect)).await.unwrap();
        (endpoint, connection)
    }

    /// Logs in with the key of `seed`.
    pub(crate) async fn login(&self, seed: u8, text: &str) -> Client {
        let mut client = self.connect(seed).await;
        client.login(text).await.unwrap();
        client
    }
}

/// One client's control stream.
pub(crate) struct Client {
    pub(crate) connection: Arc<dyn Connection>,
    _endpoint: Arc<dyn Endpoint>,
    pub(crate) reader: FrameReader<RecvStream>,
    pub(crate) writer: FrameWriter<SendStream>,
    last_id: u64,
    events: VecDeque<Event>,
}

impl Client {
    pub(crate) async fn hello(&mut self) {
        let hello = Hello { versions: vec![1], features: Vec::new(), software: "test".to_owned() };
        let reply = self.ask(hello).await.unwrap();
        assert!(matches!(reply, Reply::Welcome(welcome) if welcome.version == 1));
    }

    pub(crate) async fn login(&mut self, text: &str) -> Result<LoggedIn, ErrorBody> {
        let login = Login { name: text.to_owned(), password: None, device: None, attempt: None };
        match self.ask(login).await? {
            Reply::LoggedIn(logged_in) => Ok(logged_in),
            other => panic!("{other:?}"),
        }
    }

    /// Asks, and waits for the answer; events that come before it are kept.
    pub(crate) async fn ask(&mut self, command: impl Into<Command>) -> Result<Reply, ErrorBody> {
        let id = self.request(command).await;
        self.answer(id).await
    }

    /// Asks and does not wait.
    pub(crate) async fn request(&mut self, command: impl Into<Command>) -> RequestId {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        let message: ControlMessage = Message::Request(id, command.into());
        within(self.writer.send(&message)).await.unwrap();
        id
    }

    pub(crate) async fn answer(&mut self, expected: RequestId) -> Result<Reply, ErrorBody> {
        loop {
            match self.message().await {
                Message::Answer(id, reply) if id == expected => return Ok(reply),
                Message::Error(id, error) if id == expected => return Err(error),
                Message::Event(event) => self.events.push_back(event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code with which a request is refused.
    pub(crate) async fn refusal(&mut self, command: impl Into<Command>) -> ErrorCode {
        self.ask(command).await.unwrap_err().code
    }

    async fn message(&mut self) -> ControlMessage {
        within(self.reader.next_message()).await.unwrap()
    }

    /// The next event of any kind.
    pub(crate) async fn any_event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.message().await {
            Message::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The next event that is not about presence.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match self.any_event().await {
                Event::Presence(_) => {}
                event => return event,
            }
        }
    }

    pub(crate) async fn presence(&mut self) -> Presence {
        match self.any_event().await {
            Event::Presence(presence) => presence,
            other => panic!("{other:?}"),
        }
    }

    /// The next event, which must be the end of the session.
    pub(crate) async fn closing(&mut self) -> Closing {
        match self.event().await {
            Event::Closing(closing) => closing,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn say(to: &str, text: &str) -> Send {
    Send {
        to: portolan_protocol::Recipient::User(name(to)),
        text: text.to_owned(),
        reference: None,
    }
}
