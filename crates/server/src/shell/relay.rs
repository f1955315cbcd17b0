//! Carries bytes between two clients: a buffer of fixed size each way, so that a slow receiver
//! stops its sender; ends and resets are passed on.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portolan_protocol::{
    ErrorBody, ErrorCode, Message, Name, Opened, Opening, OpeningMessage, Ready, RelayChannel,
    Relayed, RequestId,
};
use portolan_protocol_io::{FrameReader, FrameWriter, RawReader};
use portolan_transport::{
    Connection, Priority, ReadError, RecvStream, SendStream, StreamCode, WriteError,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    hub::{Callee, Hub},
    session::{Context, refuse},
};
use crate::{
    close_code,
    core::{RelayGrant, RelayId, SessionId},
};

/// Who calls whom.
pub(super) struct Call {
    pub(super) session: SessionId,
    pub(super) id: RequestId,
    pub(super) to: Name,
}

/// Serves a stream on which a client asked for another.
pub(super) async fn serve(
    context: &Arc<Context>,
    call: Call,
    reader: FrameReader<RecvStream>,
    mut writer: FrameWriter<SendStream>,
) {
    let Callee { grant, connection } = match context.hub.open_relay(call.session, &call.to) {
        Ok(callee) => callee,
        Err(error) => return refuse(&mut writer, call.id, error).await,
    };
    let mut ending = Ending::new(&context.hub, grant.relay);
    // Closed when this task ends, whichever way.
    let channel = context.hub.open_channel();
    let offered = channel.as_ref().map(|channel| channel.callee.clone());
    let opening = ask_callee(&*connection, &grant, offered);
    let callee = match timeout(context.timing.relay_open, opening).await {
        Ok(Ok(callee)) => callee,
        Ok(Err(error)) => {
            ending.how = format!("refused: {}", error.code);
            return refuse(&mut writer, call.id, error).await;
        }
        Err(_) => {
            ending.how = "refused: timed_out".into();
            let message = format!("{} did not take the stream in time", call.to);
            let error = ErrorBody::new(ErrorCode::TimedOut, message);
            return refuse(&mut writer, call.id, error).await;
        }
    };
    let ready = Opened::Ready(Ready {
        id: Some(grant.callee_id),
        channel: channel.as_ref().map(|channel| channel.caller.clone()),
    });
    let ready: OpeningMessage = Message::Answer(call.id, ready);
    if let Err(error) = writer.send(&ready).await {
        ending.how = error.to_string();
        return;
    }
    let caller = End { recv: reader.into_raw(), send: writer.into_inner() };
    ending.how = splice(context, caller, callee, &ending.bytes).await.to_owned();
}

/// One end of a relay.
struct End {
    recv: RawReader<RecvStream>,
    send: SendStream,
}

/// Opens a stream to the callee and waits until it is taken.
async fn ask_callee(
    connection: &dyn Connection,
    grant: &RelayGrant,
    channel: Option<RelayChannel>,
) -> Result<End, ErrorBody> {
    let gone = |error: &dyn std::fmt::Display| {
        ErrorBody::new(ErrorCode::Offline, format!("the other side cannot be reached: {error}"))
    };
    let (send, recv) =
        connection.open_stream(Priority::Interactive).await.map_err(|error| gone(&error))?;
    let (mut reader, mut writer) = (FrameReader::new(recv), FrameWriter::new(send));
    let relayed = Relayed { from: grant.caller_name.clone(), id: grant.caller_id, channel };
    let question: OpeningMessage = Message::Request(RequestId(1), Opening::Relayed(relayed));
    writer.send(&question).await.map_err(|error| gone(&error))?;
    let answer: OpeningMessage = reader.next_message().await.map_err(|error| gone(&error))?;
    match answer {
        Message::Answer(_, Opened::Ready(_)) => {
            Ok(End { recv: reader.into_raw(), send: writer.into_inner() })
        }
        Message::Error(_, error) => Err(error),
        Message::Request(..) => {
            Err(ErrorBody::new(ErrorCode::BadRequest, "the other side answered with a request"))
        }
        Message::Event(nothing) => match nothing {},
    }
}

/// Tells the core that a relay has ended, even if its task is aborted.
struct Ending<'a> {
    hub: &'a Hub,
    relay: RelayId,
    bytes: AtomicU64,
    how: String,
}

impl<'a> Ending<'a> {
    fn new(hub: &'a Hub, relay: RelayId) -> Self {
        Self { hub, relay, bytes: AtomicU64::new(0), how: "the caller's session ended".into() }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.hub.end_relay(self.relay, bytes, std::mem::take(&mut self.how));
    }
}

/// Carries bytes both ways until both directions have ended, or nothing moves for too long.
async fn splice(
    context: &Context,
    mut caller: End,
    mut callee: End,
    bytes: &AtomicU64,
) -> &'static str {
    let size = context.limits.relay_buffer;
    let is_idle = {
        let count = |count| {
            bytes.fetch_add(count, Ordering::Relaxed);
            context.hub.relay_bytes.fetch_add(count, Ordering::Relaxed);
        };
        let up = carry(&mut caller.recv, &mut callee.send, size, &count);
        let down = carry(&mut callee.recv, &mut caller.send, size, &count);
        tokio::select! {
            ((), ()) = async { tokio::join!(up, down) } => false,
            () = idle(bytes, context.timing.relay_idle) => true,
        }
    };
    if !is_idle {
        return "ended";
    }
    for end in [&mut caller, &mut callee] {
        end.send.reset(close_code::RELAY_IDLE);
        end.recv.get_mut().stop(close_code::RELAY_IDLE);
    }
    "idle"
}

/// Waits until nothing has moved for at least `limit`.
async fn idle(bytes: &AtomicU64, limit: Duration) {
    let mut before = bytes.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(limit).await;
        let now = bytes.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// Carries one direction to its end.
async fn carry(
    from: &mut RawReader<RecvStream>,
    to: &mut SendStream,
    size: usize,
    carried: &impl Fn(u64),
) {
    let mut buffer = vec![0; size];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) => return drop(to.finish()),
            Ok(count) => count,
            Err(error) => return to.reset(reset_code(&error)),
        };
        if let Err(error) = write(to, buffer.get(..count).unwrap_or_default()).await {
            return from.get_mut().stop(stop_code(&error));
        }
        carried(count as u64);
    }
}

async fn write(to: &mut SendStream, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

fn reset_code(error: &io::Error) -> StreamCode {
    match ReadError::from_io(error) {
        Some(ReadError::Reset(code)) => *code,
        Some(ReadError::Closed(_)) | None => close_code::RELAY_GONE,
    }
}

fn stop_code(error: &io::Error) -> StreamCode {
    match WriteError::from_io(error) {
        Some(WriteError::Stopped(code)) => *code,
        Some(WriteError::Ended | WriteError::Closed(_)) | None => close_code::RELAY_GONE,
    }
}
