//! One client's connection: its control stream, its relays, its end.

use std::sync::Arc;

use bytes::Bytes;
use portolan_protocol::{
    ControlMessage, DecodeError, ErrorBody, ErrorCode, Message, Opened, Opening, OpeningMessage,
    Ready, RequestId, decode,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{CloseCode, Connection, PeerId, RecvStream, SendStream};
use tokio::{io::AsyncWriteExt, task::JoinSet, time::timeout};

use super::{
    clients::Client,
    elsewhere::Relays,
    hub::{Hub, encode_answer},
    lobby,
    outbox::Outbox,
    relay::{self, Call},
};
use crate::{
    close_code,
    config::{Limits, Timing},
    core::{Frame, Input, Proof, Remote, SessionId, Traffic},
};

/// Bytes of a frame's length before it.
const PREFIX: usize = 4;

/// What every session needs to know.
pub(super) struct Context {
    pub(super) hub: Arc<Hub>,
    /// The server's key.
    pub(super) server: PeerId,
    pub(super) limits: Limits,
    pub(super) timing: Timing,
    /// Other relays.
    pub(super) relays: Arc<Relays>,
    /// What each registry's clients send and are sent.
    pub(super) traffic: Vec<Arc<Traffic>>,
}

/// Serves a connection to its end.
pub(super) async fn serve(context: Arc<Context>, registry: usize, connection: Arc<dyn Connection>) {
    let outbox = Arc::new(Outbox::new(&context.limits));
    let (id, address) = (connection.remote_id(), connection.remote_addr());
    let client =
        Client { registry, outbox: Arc::clone(&outbox), connection: Some(Arc::clone(&connection)) };
    let session = context.hub.connect(client, Remote { registry, id, address, proof: Proof::Key });
    let mut ending = Ending { hub: &context.hub, session, reason: None };
    let traffic = context.traffic.get(registry).map(Arc::clone).unwrap_or_default();
    let serving = Serving {
        context: &context,
        registry,
        session,
        outbox: &outbox,
        connection: &connection,
        traffic,
    };
    let reason = serving.run().await;
    ending.reason = Some(reason);
}

/// Tells the hub that the connection is gone, even if the task is aborted.
struct Ending<'a> {
    hub: &'a Hub,
    session: SessionId,
    reason: Option<String>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let reason = self.reason.take().unwrap_or_else(|| "the server went down".to_owned());
        self.hub.disconnect(self.session, reason);
    }
}

struct Serving<'a> {
    context: &'a Arc<Context>,
    registry: usize,
    session: SessionId,
    outbox: &'a Arc<Outbox>,
    connection: &'a Arc<dyn Connection>,
    traffic: Arc<Traffic>,
}

impl Serving<'_> {
    async fn run(&self) -> String {
        // Dropped at the end, which aborts what still runs.
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                stream = self.connection.accept_stream() => match stream {
                    Ok(stream) => drop(streams.spawn(self.stream().serve(stream))),
                    Err(_) => return self.connection.closed().await.to_string(),
                },
                Some(_) = streams.join_next() => {}
                farewell = self.outbox.farewell() => {
                    self.see_off(farewell.has_writer).await;
                    self.connection.close(farewell.code, &farewell.reason);
                    return farewell.reason;
                }
            }
        }
    }

    /// Lets the client read what was written, and close first: a closed connection may lose it.
    async fn see_off(&self, has_writer: bool) {
        if has_writer {
            let read = async {
                self.outbox.flushed().await;
                self.connection.closed().await;
            };
            let _in_time = timeout(self.context.timing.farewell, read).await;
        }
    }

    fn stream(&self) -> StreamTask {
        StreamTask {
            context: Arc::clone(self.context),
            registry: self.registry,
            session: self.session,
            outbox: Arc::clone(self.outbox),
            traffic: Arc::clone(&self.traffic),
        }
    }
}

/// Serves one stream that the client opened.
struct StreamTask {
    context: Arc<Context>,
    registry: usize,
    session: SessionId,
    outbox: Arc<Outbox>,
    traffic: Arc<Traffic>,
}

impl StreamTask {
    async fn serve(self, (send, recv): (SendStream, RecvStream)) {
        let mut reader = FrameReader::new(recv);
        let mut writer = FrameWriter::new(send);
        let opening = timeout(self.context.timing.login, read_opening(&mut reader)).await;
        let (id, opening) = match opening {
            Ok(Ok(opening)) => opening,
            Ok(Err(Some((id, error)))) => return refuse(&mut writer, id, error).await,
            Ok(Err(None)) | Err(_) => return writer.get_mut().reset(close_code::NO_OPENING),
        };
        match opening {
            Opening::Control(_) => self.control(id, reader, writer).await,
            Opening::Relay(relay) => {
                let (to, elsewhere) = (relay.to, relay.elsewhere);
                let call = Call { session: self.session, id, to, elsewhere };
                relay::serve(&self.context, call, reader, writer).await;
            }
            Opening::Enter(enter) => {
                lobby::serve(&self.context, (self.session, id, enter), reader, writer).await;
            }
            Opening::Load(_) => match self.context.hub.load(self.session) {
                Ok(load) => {
                    let answer: OpeningMessage = Message::Answer(id, Opened::Load(load));
                    if writer.send(&answer).await.is_ok() {
                        let _ended = writer.get_mut().finish();
                    }
                }
                Err(error) => refuse(&mut writer, id, error).await,
            },
            Opening::Relayed(_) => {
                let message = "only the server opens relayed streams; ask for a relay";
                refuse(&mut writer, id, ErrorBody::new(ErrorCode::BadRequest, message)).await;
            }
        }
    }

    async fn control(
        &self,
        id: RequestId,
        reader: FrameReader<RecvStream>,
        mut writer: FrameWriter<SendStream>,
    ) {
        if !self.outbox.claim_writer() {
            let message = "this connection has a control stream already; use that one";
            return refuse(&mut writer, id, ErrorBody::new(ErrorCode::Conflict, message)).await;
        }
        let ready: OpeningMessage = Message::Answer(id, Opened::Ready(Ready::default()));
        if writer.send(&ready).await.is_ok() {
            let writing = self.write_frames(writer.into_inner());
            tokio::pin!(writing);
            tokio::select! {
                () = self.read_commands(reader) => writing.await,
                () = &mut writing => {}
            }
        }
        self.outbox.set_flushed();
    }

    /// Reads commands until the stream ends, fails, or cannot be followed any further.
    async fn read_commands(&self, mut reader: FrameReader<RecvStream>) {
        loop {
            self.outbox.wait_for_request().await;
            self.context.hub.wait_for_room().await;
            let frame = reader.next_frame().await;
            match frame {
                Ok(Some(frame)) => self.on_frame(&frame),
                Ok(None) | Err(ReadMessageError::Ended) => {
                    return self.end(CloseCode::DONE, "the client ended its control stream".into());
                }
                Err(error) => return self.end(close_code::PROTOCOL, error.to_string()),
            }
        }
    }

    fn on_frame(&self, frame: &Bytes) {
        self.traffic.count_in(frame.len() + PREFIX);
        match decode(frame) {
            Ok(message) => self.on_message(message),
            Err(error) => self.on_undecodable(&error),
        }
    }

    fn on_message(&self, message: ControlMessage) {
        match message {
            Message::Request(id, command) => {
                self.context.hub.meter.request(self.registry, &command);
                self.context.hub.handle(Input::Command { session: self.session, id, command });
            }
            // A client has nothing to answer and nothing to tell.
            Message::Answer(..) | Message::Error(..) | Message::Event(_) => {
                self.on_frame_without_answer(Frame::Skipped);
            }
        }
    }

    fn on_undecodable(&self, error: &DecodeError) {
        match error.answer() {
            Some((id, body)) => {
                let answer = encode_answer(id, &ControlMessage::Error(id, body));
                self.outbox.push_answer(answer);
            }
            None if matches!(error, DecodeError::Header(_)) => {
                self.on_frame_without_answer(Frame::Garbage);
            }
            None => self.on_frame_without_answer(Frame::Skipped),
        }
    }

    fn on_frame_without_answer(&self, frame: Frame) {
        self.outbox.forgive_request();
        self.context.hub.meter.skipped(self.registry);
        self.context.hub.handle(Input::NoRequest { session: self.session, frame });
    }

    /// Writes what is queued until the end has come or the stream fails.
    async fn write_frames(&self, mut stream: SendStream) {
        while let Some(frames) = self.outbox.next_batch().await {
            let bytes: usize = frames.iter().map(Bytes::len).sum();
            self.traffic.count_out(frames.len(), bytes);
            if let Err(error) = write_batch(&mut stream, frames).await {
                // The connection is gone, or the client has stopped reading.
                return self.outbox.close(close_code::PROTOCOL, error.to_string());
            }
        }
        let _ended = stream.finish();
    }

    fn end(&self, code: CloseCode, reason: String) {
        self.context.hub.handle(Input::Gone { session: self.session, reason: reason.clone() });
        self.outbox.close(code, reason);
    }
}

/// Reads what a stream is for. `Err(Some)`: what the client is owed; `Err(None)`: nothing.
async fn read_opening(
    reader: &mut FrameReader<RecvStream>,
) -> Result<(RequestId, Opening), Option<(RequestId, ErrorBody)>> {
    let message: Result<OpeningMessage, _> = reader.next_message().await;
    match message {
        Ok(Message::Request(id, opening)) => Ok((id, opening)),
        Ok(Message::Answer(..) | Message::Error(..)) => Err(None),
        Ok(Message::Event(nothing)) => match nothing {},
        Err(ReadMessageError::Decode(error)) => Err(error.answer()),
        Err(
            ReadMessageError::Stream(_) | ReadMessageError::Truncated | ReadMessageError::Ended,
        ) => Err(None),
    }
}

/// Refuses what a stream was opened for, and ends it.
pub(super) async fn refuse(writer: &mut FrameWriter<SendStream>, id: RequestId, error: ErrorBody) {
    let message: OpeningMessage = Message::Error(id, error);
    if writer.send(&message).await.is_ok() {
        // An error means that the client does not listen any more.
        let _ended = writer.get_mut().finish();
    }
}

/// Writes frames one behind the other: each write is a turn of the transport's lock.
async fn write_batch(stream: &mut SendStream, frames: Vec<Bytes>) -> std::io::Result<()> {
    match frames.as_slice() {
        [frame] => stream.write_all(frame).await?,
        frames => stream.write_all(&frames.concat()).await?,
    }
    stream.flush().await
}
