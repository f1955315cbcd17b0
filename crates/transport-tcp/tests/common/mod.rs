//! Alice's endpoint, and a remote that says what it likes.

#![allow(dead_code, reason = "each test uses its part")]

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::{Alpn, Expect, Identity};
use portolan_mux::{
    Params, Reader,
    frame::{Close, Frame, Greeting, Session, VERSION, is_session_frame},
};
use portolan_transport::{BindConfig, Endpoint, Transport};
use portolan_transport_tcp::Tcp;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub(crate) const PARAMS: Params =
    Params { streams: 8, stream_window: 9_999, connection_window: 9_999, datagram_max: 99 };

pub(crate) fn alice() -> Identity {
    Identity::from_seed([1; 32])
}

pub(crate) fn bob() -> Identity {
    Identity::from_seed([2; 32])
}

/// Runs a test, which fails if it never ends.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        timeout(Duration::from_secs(60), test).await.expect("the test ends");
    });
}

/// Alice, listening, with a changed configuration.
pub(crate) async fn listening(change: impl FnOnce(&mut BindConfig)) -> Arc<dyn Endpoint> {
    let mut config = BindConfig::new(([127, 0, 0, 1], 0).into(), alice());
    change(&mut config);
    Tcp.bind(config).await.expect("a free port")
}

/// Bob, who says what he likes once TLS is done.
pub(crate) struct Raw {
    tls: TlsStream<TcpStream>,
}

impl Raw {
    /// Connects to alice.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let tcp = TcpStream::connect(to).await.expect("somebody listens");
        let connector = TlsConnector::from(bob().client_config(Alpn::Tcp));
        let name = Expect::Id(alice().id()).server_name();
        Self { tls: connector.connect(name, tcp).await.expect("alice's key").into() }
    }

    /// Waits for alice.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (tcp, _) = listener.accept().await.expect("somebody comes");
        let acceptor = TlsAcceptor::from(bob().server_config(Alpn::Tcp));
        Self { tls: acceptor.accept(tcp).await.expect("any key").into() }
    }

    pub(crate) async fn greet(&mut self) {
        self.greet_as(VERSION).await;
    }

    pub(crate) async fn greet_as(&mut self, version: u64) {
        let greeting = Greeting { version, idle_ms: 20_000, params: PARAMS };
        self.say_session(Session::Greeting(greeting)).await;
    }

    pub(crate) async fn say_session(&mut self, session: Session<'_>) {
        let mut bytes = Vec::new();
        session.encode(&mut bytes);
        self.say(&bytes).await;
    }

    pub(crate) async fn say_frame(&mut self, frame: Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.say(&bytes).await;
    }

    /// Says `bytes`, if alice still listens.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let _ = self.tls.write_all(bytes).await;
        let _ = self.tls.flush().await;
    }

    /// All that alice says until her end.
    pub(crate) async fn hear_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.tls.read_to_end(&mut bytes).await;
        bytes
    }

    /// The plaintext of one record.
    pub(crate) async fn hear_record(&mut self) -> Vec<u8> {
        let record = self.tls.fill_buf().await.expect("alive").to_vec();
        assert!(!record.is_empty(), "alice has not ended");
        self.tls.consume(record.len());
        record
    }

    /// What alice says until `enough` is content.
    pub(crate) async fn hear_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !enough(&bytes) {
            assert!(self.tls.read_buf(&mut bytes).await.expect("alive") > 0);
        }
        bytes
    }
}

/// The session frames in `bytes`, those of streams left out.
pub(crate) fn sessions(bytes: &[u8]) -> Vec<Session<'_>> {
    let mut reader = Reader::new(bytes);
    let mut sessions = Vec::new();
    while let Ok(kind) = reader.varint() {
        if is_session_frame(kind) {
            match Session::decode(kind, &mut reader) {
                Ok(session) => sessions.push(session),
                Err(_) => break,
            }
        } else if Frame::decode(kind, &mut reader).is_err() {
            break;
        }
    }
    sessions
}

/// The farewell in `bytes`.
pub(crate) fn farewell(bytes: &[u8]) -> Option<Close<'_>> {
    sessions(bytes).into_iter().find_map(|session| match session {
        Session::Close(close) => Some(close),
        Session::Ping(_) | Session::Pong(_) | Session::Greeting(_) => None,
    })
}
