//! A server among people who mean it no good.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan::{
    ALL_TRANSPORTS, BindConfig, Connection, Endpoint, Expect, Identity, Priority, Transport,
    protocol::{
        Command, ControlMessage, Empty, ErrorCode, Hello, Login, Message, Opening, OpeningMessage,
        Reply, RequestId, VERSIONS,
    },
    server::{Config, Server},
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client that can misbehave below the level of the client library.
struct Rogue {
    reader: FrameReader<portolan::RecvStream>,
    writer: FrameWriter<portolan::SendStream>,
    connection: Arc<dyn Connection>,
    _endpoint: Arc<dyn Endpoint>,
}

async fn server() -> Server {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::start(Config::new(local, ALL_TRANSPORTS, Identity::from_seed([1; 32]))).await.unwrap()
}

fn address(server: &Server, transport: &dyn Transport) -> SocketAddr {
    let addresses = server.addresses();
    addresses.iter().find(|(scheme, _)| *scheme == transport.scheme()).unwrap().1
}

impl Rogue {
    async fn connect(server: &Server, transport: &dyn Transport, seed: u8) -> Self {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let identity = Identity::from_seed([seed; 32]);
        let endpoint = transport.bind(BindConfig::new(local, identity)).await.unwrap();
        let to = address(server, transport);
        let connection = endpoint.connect(to, Expect::Id(server.id())).await.unwrap();
        let (send, receive) = connection.open_stream(Priority::Control).await.unwrap();
        Self {
            reader: FrameReader::new(receive),
            writer: FrameWriter::new(send),
            connection,
            _endpoint: endpoint,
        }
    }

    async fn opened(server: &Server, transport: &dyn Transport, seed: u8) -> Self {
        let mut rogue = Self::connect(server, transport, seed).await;
        let opening: OpeningMessage = Message::Request(RequestId(0), Opening::Control(Empty {}));
        rogue.writer.send(&opening).await.unwrap();
        let _: OpeningMessage = rogue.reader.next_message().await.unwrap();
        rogue
    }

    async fn logged_in(server: &Server, transport: &dyn Transport, seed: u8, name: &str) -> Self {
        let mut rogue = Self::opened(server, transport, seed).await;
        rogue.hello().await;
        let login = Login { name: name.into(), password: None, device: None, attempt: None };
        assert!(matches!(rogue.ask(login.into()).await, Ok(Reply::LoggedIn(_))));
        rogue
    }

    async fn hello(&mut self) {
        let software = "rogue".to_owned();
        let hello = Hello { versions: VERSIONS.to_vec(), features: vec![], software };
        assert!(matches!(self.ask(hello.into()).await, Ok(Reply::Welcome(_))));
    }

    /// Asks and waits for the answer; events in between are not its matter.
    async fn ask(&mut self, command: Command) -> Result<Reply, ErrorCode> {
        let message: ControlMessage = Message::Request(RequestId(9), command);
        self.writer.send(&message).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Reply, ErrorCode> {
        loop {
            match self.reader.next_message().await.unwrap() {
                ControlMessage::Answer(_, reply) => return Ok(reply),
                ControlMessage::Error(_, error) => return Err(error.code),
                ControlMessage::Event(_) | ControlMessage::Request(..) => {}
            }
        }
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.writer.get_mut().write_all(bytes).await.unwrap();
        self.writer.get_mut().flush().await.unwrap();
    }

    /// Waits until the server has had enough of this stream or connection.
    async fn await_cut_off(mut self) {
        let closed = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                _ = self.connection.closed() => {}
                () = async { while let Ok(Some(_)) = self.reader.next_frame().await {} } => {}
            }
        });
        closed.await.expect("the server goes on listening to garbage");
    }
}

/// A frame whose header is good and whose kind and body are given.
fn frame(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut content = vec![0x83];
    for (key, value) in [("type", "request"), ("kind", kind)] {
        for text in [key, value] {
            content.push(0xa0 | u8::try_from(text.len()).unwrap());
            content.extend_from_slice(text.as_bytes());
        }
    }
    content.extend_from_slice(b"\xa2id\x09");
    content.extend_from_slice(body);
    let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(content);
    bytes
}

/// The server serves a newcomer on every transport.
async fn is_alive(server: &Server, seed: u8) {
    for (index, transport) in ALL_TRANSPORTS.iter().enumerate() {
        let seed = seed + u8::try_from(index).unwrap();
        let name = format!("newcomer-{seed}");
        let mut client = Rogue::logged_in(server, *transport, seed, &name).await;
        let echo = portolan::protocol::Echo { text: "alive".into() };
        assert!(matches!(client.ask(echo.into()).await, Ok(Reply::Echo(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_behind_a_valid_handshake_ends_only_its_own_connection() {
    let server = server().await;
    for (index, transport) in ALL_TRANSPORTS.iter().enumerate() {
        let index = u8::try_from(index).unwrap();
        let mut bystander =
            Rogue::logged_in(&server, *transport, 10 + index, &format!("bystander-{index}")).await;
        let mut rogue = Rogue::connect(&server, *transport, 20 + index).await;
        rogue.raw(&[0xff; 64]).await;
        rogue.await_cut_off().await;
        let mut rogue =
            Rogue::logged_in(&server, *transport, 20 + index, &format!("rogue-{index}")).await;
        rogue.raw(&u32::MAX.to_be_bytes()).await;
        rogue.await_cut_off().await;
        let echo = portolan::protocol::Echo { text: "here".into() };
        assert!(matches!(bystander.ask(echo.into()).await, Ok(Reply::Echo(_))));
        let logout = portolan::protocol::Logout {};
        let _ = bystander.ask(logout.into()).await;
    }
    is_alive(&server, 40).await;
    server.shutdown("done").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_kind_is_answered_and_the_session_goes_on() {
    let server = server().await;
    for (index, transport) in ALL_TRANSPORTS.iter().enumerate() {
        let seed = 10 + u8::try_from(index).unwrap();
        let mut client = Rogue::logged_in(&server, *transport, seed, &format!("c{index}")).await;
        client.raw(&frame("teleport", &[0x80])).await;
        assert_eq!(client.answer().await, Err(ErrorCode::Unsupported));
        client.raw(&frame("lookup", &[0xc0])).await;
        assert_eq!(client.answer().await, Err(ErrorCode::BadRequest));
        let long = Login { name: "n".repeat(10_000), password: None, device: None, attempt: None };
        assert!(client.ask(long.into()).await.is_err());
        let echo = portolan::protocol::Echo { text: "here".into() };
        assert!(matches!(client.ask(echo.into()).await, Ok(Reply::Echo(_))));
    }
    server.shutdown("done").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_hello_and_login_is_done_for_strangers() {
    let server = server().await;
    for (index, transport) in ALL_TRANSPORTS.iter().enumerate() {
        let seed = 10 + u8::try_from(index).unwrap();
        let mut client = Rogue::opened(&server, *transport, seed).await;
        client.hello().await;
        let list = portolan::protocol::List::default();
        assert_eq!(client.ask(list.into()).await, Err(ErrorCode::NotLoggedIn));
        let bye = portolan::protocol::Shutdown { reason: "mine now".into(), ..Default::default() };
        let refused = client.ask(bye.into()).await.unwrap_err();
        assert!(matches!(refused, ErrorCode::NotLoggedIn | ErrorCode::Forbidden), "{refused}");
    }
    is_alive(&server, 40).await;
    server.shutdown("done").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_noise_on_the_port_disturbs_nobody() {
    let server = server().await;
    let to = server.addresses()[0].1;
    let noise: Vec<Vec<u8>> =
        (0..=255u8).map(|byte| vec![byte; 40 + usize::from(byte) * 5]).collect();
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for datagram in &noise {
        udp.send_to(datagram, to).await.unwrap();
    }
    for bytes in noise.iter().step_by(16) {
        let mut tcp = tokio::net::TcpStream::connect(to).await.unwrap();
        // The server may hang up at the first byte.
        let _ = tcp.write_all(bytes).await;
        let _ = tcp.shutdown().await;
        let _ = tcp.read(&mut [0; 64]).await;
    }
    is_alive(&server, 40).await;
    server.shutdown("done").await;
}

#[test]
fn the_frame_of_these_tests_is_one() {
    let bytes = frame("heartbeat", b"\x81\xa5nonce\x07");
    let message: ControlMessage = portolan::protocol::decode(&bytes[4..]).unwrap();
    let expected = Command::Heartbeat(portolan::protocol::Heartbeat { nonce: 7 });
    assert_eq!(message, Message::Request(RequestId(9), expected));
}
