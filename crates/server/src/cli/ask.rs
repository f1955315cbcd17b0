//! A client of the server for one question, by the right of a key.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::Identity;
use portolan_protocol::{
    Command, ControlMessage, Empty, Hello, Message, Opened, Opening, OpeningMessage, Reply,
    RequestId, VERSIONS,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{
    BindConfig, CloseCode, Connection, Endpoint, Expect, Priority, RecvStream, SendStream,
    Transport,
};
use tokio::time::timeout;

use super::exit::{Failure, TIMED_OUT, UNREACHABLE};

/// A server that is there answers sooner.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection on which hello was said.
pub(super) struct Asker {
    endpoint: Arc<dyn Endpoint>,
    connection: Arc<dyn Connection>,
    reader: FrameReader<RecvStream>,
    writer: FrameWriter<SendStream>,
    last_id: u64,
}

impl Asker {
    pub(super) async fn connect(
        transport: &dyn Transport,
        address: SocketAddr,
        identity: Identity,
        expect: Expect,
    ) -> Result<Self, Failure> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let endpoint = transport
            .bind(BindConfig::new(any, identity))
            .await
            .map_err(|error| Failure::error(&error))?;
        let connection =
            endpoint.connect(address, expect).await.map_err(|error| Failure::connect(&error))?;
        let (send, recv) = connection
            .open_stream(Priority::Control)
            .await
            .map_err(|error| Failure::error(&error).with_code(UNREACHABLE))?;
        let (reader, writer) = (FrameReader::new(recv), FrameWriter::new(send));
        let mut asker = Self { endpoint, connection, reader, writer, last_id: 0 };
        in_time(asker.begin()).await?;
        Ok(asker)
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let opening: OpeningMessage = Message::Request(RequestId(0), Opening::Control(Empty {}));
        self.writer.send(&opening).await.map_err(|error| Failure::error(&error))?;
        let answer: Result<OpeningMessage, _> = self.reader.next_message().await;
        match self.explain(answer).await? {
            Message::Answer(_, Opened::Ready(_)) => {}
            Message::Error(_, error) => return Err(Failure::refusal(&error)),
            Message::Answer(_, Opened::Load(_)) | Message::Request(..) => {
                return Err(out_of_turn());
            }
            Message::Event(nothing) => match nothing {},
        }
        let hello = Hello {
            versions: VERSIONS.to_vec(),
            features: Vec::new(),
            software: concat!("portolan-server-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        self.request(hello.into()).await.map(drop)
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, command: impl Into<Command>) -> Result<Reply, Failure> {
        in_time(self.request(command.into())).await
    }

    async fn request(&mut self, command: Command) -> Result<Reply, Failure> {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        let request: ControlMessage = Message::Request(id, command);
        self.writer.send(&request).await.map_err(|error| Failure::error(&error))?;
        loop {
            let message: Result<ControlMessage, _> = self.reader.next_message().await;
            match self.explain(message).await? {
                Message::Answer(answered, reply) if answered == id => return Ok(reply),
                Message::Error(answered, error) if answered == id => {
                    return Err(Failure::refusal(&error));
                }
                Message::Event(_) => {}
                Message::Answer(..) | Message::Error(..) | Message::Request(..) => {
                    return Err(out_of_turn());
                }
            }
        }
    }

    /// If the stream has failed, the connection knows why.
    async fn explain<T>(&self, result: Result<T, ReadMessageError>) -> Result<T, Failure> {
        match result {
            Ok(message) => Ok(message),
            Err(ReadMessageError::Decode(error)) => Err(Failure::error(&error)),
            Err(
                error @ (ReadMessageError::Stream(_)
                | ReadMessageError::Truncated
                | ReadMessageError::Ended),
            ) => match timeout(Duration::from_secs(1), self.connection.closed()).await {
                Ok(reason) => Err(Failure::new(UNREACHABLE, reason.to_string())),
                Err(_) => Err(Failure::error(&error)),
            },
        }
    }

    pub(super) async fn close(self) {
        self.connection.close(CloseCode::DONE, "done");
        let _in_time =
            timeout(Duration::from_secs(2), self.endpoint.close(CloseCode::DONE, "done")).await;
    }
}

fn out_of_turn() -> Failure {
    Failure::new(super::exit::ERROR, "the server answered something that was not asked")
}

async fn in_time<T>(asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        let seconds = PATIENCE.as_secs();
        Err(Failure::new(TIMED_OUT, format!("no answer within {seconds} s; try again")))
    })
}
