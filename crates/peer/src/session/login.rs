//! From a connection to a session: opening, hello, login.

use std::sync::Arc;

use portolan_protocol::{
    Command, ControlMessage, Empty, ErrorBody, ErrorCode, Hello, LoggedIn, Login, Message, Opening,
    OpeningMessage, Reply, RequestId, VERSIONS, Welcome,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError, WriteMessageError};
use portolan_transport::{
    CloseReason, Connection, Priority, ReadError, RecvStream, SendStream, WriteError,
};

use crate::{Config, ConnectError, SessionEnd, software};

/// The control stream.
pub(crate) struct Control {
    pub(crate) reader: FrameReader<RecvStream>,
    pub(crate) writer: FrameWriter<SendStream>,
    pub(crate) next_id: u64,
}

/// Opens the control stream of `connection` and logs in.
pub(crate) async fn log_in(
    connection: &Arc<dyn Connection>,
    config: &Config,
) -> Result<(Control, Welcome, LoggedIn), ConnectError> {
    let result = async {
        let mut control = open(connection).await?;
        let welcome = control.hello().await?;
        let logged_in = control.login(config).await?;
        Ok((control, welcome, logged_in))
    };
    match tokio::time::timeout(config.timing.request, result).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut),
    }
}

async fn open(connection: &Arc<dyn Connection>) -> Result<Control, ConnectError> {
    let (send, receive) = connection.open_stream(Priority::Control).await.map_err(|error| {
        let portolan_transport::OpenStreamError::Closed(reason) = error;
        ConnectError::Ended(SessionEnd::Lost(reason))
    })?;
    let mut writer = FrameWriter::new(send);
    let mut reader = FrameReader::new(receive);
    let opening = OpeningMessage::Request(RequestId(1), Opening::Control(Empty {}));
    writer.send(&opening).await.map_err(|error| ConnectError::Ended(write_end(&error)))?;
    let answer: OpeningMessage =
        reader.next_message().await.map_err(|error| ConnectError::Ended(read_end(&error)))?;
    match answer {
        Message::Answer(..) => Ok(Control { reader, writer, next_id: 1 }),
        Message::Error(_, body) => Err(ConnectError::Refused(body)),
        Message::Request(..) => Err(broken("it opened a control stream towards a client")),
        Message::Event(never) => match never {},
    }
}

/// What this client does beyond the first version: in a conversation it shows signs of life.
fn features() -> Vec<String> {
    vec!["attentive".to_owned()]
}

impl Control {
    async fn hello(&mut self) -> Result<Welcome, ConnectError> {
        let hello =
            Hello { versions: VERSIONS.to_vec(), features: features(), software: software() };
        match self.ask(Command::Hello(hello)).await? {
            Reply::Welcome(welcome) if VERSIONS.contains(&welcome.version) => Ok(welcome),
            Reply::Welcome(welcome) => Err(ConnectError::Version(welcome.version)),
            other => Err(unexpected(&other)),
        }
    }

    async fn login(&mut self, config: &Config) -> Result<LoggedIn, ConnectError> {
        let name = config.name.as_str().to_owned();
        let login = Login {
            name,
            password: config.password.clone(),
            device: config.device,
            attempt: Some(config.attempts.next()),
        };
        match self.ask(Command::Login(login)).await? {
            Reply::LoggedIn(logged_in) => Ok(logged_in),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, command: Command) -> Result<Reply, ConnectError> {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let request = ControlMessage::Request(id, command);
        let sent = self.writer.send(&request).await;
        // A server that says no may have closed before it read everything: its words come first.
        loop {
            match self.reader.next_message().await {
                Ok(ControlMessage::Answer(answered, reply)) if answered == id => return Ok(reply),
                Ok(ControlMessage::Error(answered, body)) if answered == id => {
                    return Err(ConnectError::Refused(body));
                }
                Ok(Message::Event(portolan_protocol::Event::Closing(closing))) => {
                    return Err(ConnectError::Ended(SessionEnd::Server(closing)));
                }
                // Nothing else is due before the login; what matters comes again after it.
                Ok(Message::Event(_) | Message::Answer(..) | Message::Error(..)) => {}
                Ok(Message::Request(..)) => return Err(broken("it asked instead of answering")),
                Err(error) => {
                    let end = match (&sent, read_end(&error)) {
                        (Err(error), SessionEnd::Lost(CloseReason::Lost { .. })) => {
                            write_end(error)
                        }
                        (_, end) => end,
                    };
                    return Err(ConnectError::Ended(end));
                }
            }
        }
    }
}

fn unexpected(reply: &Reply) -> ConnectError {
    use portolan_protocol::Table;

    let message = format!("the server answered the login with {:?}", reply.kind());
    ConnectError::Refused(ErrorBody::new(ErrorCode::Internal, message))
}

fn broken(what: &str) -> ConnectError {
    ConnectError::Ended(SessionEnd::Protocol(what.to_owned()))
}

/// What a failed read of the control stream says about the session.
pub(crate) fn read_end(error: &ReadMessageError) -> SessionEnd {
    match error {
        ReadMessageError::Stream(io) => match ReadError::from_io(io) {
            Some(ReadError::Closed(reason)) => SessionEnd::Lost(reason.clone()),
            Some(ReadError::Reset(_)) | None => lost(io),
        },
        ReadMessageError::Ended | ReadMessageError::Truncated => {
            let detail = "the server ended the session without a word".to_owned();
            SessionEnd::Lost(CloseReason::Lost { detail })
        }
        ReadMessageError::Decode(_) => SessionEnd::Protocol(error.to_string()),
    }
}

/// What a failed write to the control stream says about the session.
pub(crate) fn write_end(error: &WriteMessageError) -> SessionEnd {
    match error {
        WriteMessageError::Stream(io) => match WriteError::from_io(io) {
            Some(WriteError::Closed(reason)) => SessionEnd::Lost(reason.clone()),
            Some(WriteError::Stopped(_) | WriteError::Ended) | None => lost(io),
        },
        WriteMessageError::Encode(error) => SessionEnd::Protocol(error.to_string()),
    }
}

fn lost(error: &std::io::Error) -> SessionEnd {
    SessionEnd::Lost(CloseReason::Lost { detail: error.to_string() })
}
