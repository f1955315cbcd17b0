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
    Elsewhere, ErrorBody, ErrorCode, Message, Name, Opened, Opening, OpeningMessage, Ready,
    RelayChannel, RelayPlace, Relayed, RequestId,
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
    channels::Quota,
    elsewhere::Meeting,
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
    /// Whether the caller can go to another relay.
    pub(super) elsewhere: Option<Elsewhere>,
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
    let pair = (grant.caller_id, grant.callee_id);
    let meetings = call.elsewhere.map(|wish| context.relays.places(&wish, pair));
    let meetings = meetings.unwrap_or_default();
    let offered = Offered {
        channel: channel.as_ref().map(|channel| channel.callee.clone()),
        places: meetings.iter().map(|meeting| meeting.callee.clone()).collect(),
    };
    let opening = ask_callee(&*connection, &grant, offered);
    let (callee, entered) = match timeout(context.timing.relay_open, opening).await {
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
    let place = entered.and_then(|relay| place_of(meetings, relay));
    let handed = place.as_ref().map(|place| place.id);
    let own = channel.as_ref().filter(|_| handed.is_none());
    let ready = Opened::Ready(Ready {
        id: Some(grant.callee_id),
        channel: own.map(|channel| channel.caller.clone()),
        place: place.map(Box::new),
        ..Ready::default()
    });
    let ready: OpeningMessage = Message::Answer(call.id, ready);
    if let Err(error) = writer.send(&ready).await {
        ending.how = error.to_string();
        return;
    }
    if let Some(relay) = handed {
        context.relays.on_handed(relay);
        ending.how = format!("handed to the relay {relay}");
        let _ended = writer.get_mut().finish();
        return;
    }
    let (mut caller, mut callee) =
        (End { recv: reader.into_raw(), send: writer.into_inner() }, callee);
    let bounds = Bounds::new(context, Quota::none());
    let carrying = splice(context, (&mut caller, &mut callee), &bounds, &ending.bytes);
    ending.how = carrying.await.to_owned();
}

/// The caller's place at the relay where the callee waits.
fn place_of(meetings: Vec<Meeting>, relay: portolan_identity::PeerId) -> Option<RelayPlace> {
    let mut places = meetings.into_iter().map(|meeting| meeting.caller);
    places.find(|place| place.id == relay)
}

/// What a callee may choose from.
struct Offered {
    /// Here, for datagrams.
    channel: Option<RelayChannel>,
    /// Elsewhere.
    places: Vec<RelayPlace>,
}

/// One end of a relay.
pub(super) struct End {
    pub(super) recv: RawReader<RecvStream>,
    pub(super) send: SendStream,
}

/// Opens a stream to the callee and waits until it is taken, or the callee waits elsewhere: then it
/// says at which relay.
async fn ask_callee(
    connection: &dyn Connection,
    grant: &RelayGrant,
    Offered { channel, places }: Offered,
) -> Result<(End, Option<portolan_identity::PeerId>), ErrorBody> {
    let gone = |error: &dyn std::fmt::Display| {
        ErrorBody::new(ErrorCode::Offline, format!("the other side cannot be reached: {error}"))
    };
    let (send, recv) =
        connection.open_stream(Priority::Interactive).await.map_err(|error| gone(&error))?;
    let (mut reader, mut writer) = (FrameReader::new(recv), FrameWriter::new(send));
    let (from, id) = (grant.caller_name.clone(), grant.caller_id);
    let relayed = Relayed { from, id, channel, places };
    let question: OpeningMessage = Message::Request(RequestId(1), Opening::Relayed(relayed));
    writer.send(&question).await.map_err(|error| gone(&error))?;
    let answer: OpeningMessage = reader.next_message().await.map_err(|error| gone(&error))?;
    match answer {
        Message::Answer(_, Opened::Ready(ready)) => {
            let end = End { recv: reader.into_raw(), send: writer.into_inner() };
            Ok((end, ready.entered))
        }
        Message::Error(_, error) => Err(error),
        Message::Answer(_, Opened::Load(_)) | Message::Request(..) => {
            Err(ErrorBody::new(ErrorCode::BadRequest, "the other side answered something else"))
        }
        Message::Event(nothing) => match nothing {},
    }
}

/// Tells the core that a relay has ended, even if its task is aborted.
pub(super) struct Ending<'a> {
    hub: &'a Hub,
    relay: RelayId,
    pub(super) bytes: AtomicU64,
    pub(super) how: String,
}

impl<'a> Ending<'a> {
    pub(super) fn new(hub: &'a Hub, relay: RelayId) -> Self {
        Self { hub, relay, bytes: AtomicU64::new(0), how: "the caller's session ended".into() }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.hub.end_relay(self.relay, bytes, std::mem::take(&mut self.how));
    }
}

/// What one relay may do.
pub(super) struct Bounds {
    buffer: usize,
    idle: Duration,
    quota: Quota,
}

impl Bounds {
    pub(super) fn new(context: &Context, quota: Quota) -> Self {
        Self { buffer: context.limits.relay_buffer, idle: context.timing.relay_idle, quota }
    }
}

/// Carries bytes both ways until both directions have ended, or nothing moves for too long.
pub(super) async fn splice(
    context: &Context,
    (caller, callee): (&mut End, &mut End),
    bounds: &Bounds,
    bytes: &AtomicU64,
) -> &'static str {
    let size = bounds.buffer;
    let is_idle = {
        let count = |count| {
            bytes.fetch_add(count, Ordering::Relaxed);
            context.hub.relay_bytes.fetch_add(count, Ordering::Relaxed);
            bounds.quota.take(count)
        };
        let up = carry(&mut caller.recv, &mut callee.send, size, &count);
        let down = carry(&mut callee.recv, &mut caller.send, size, &count);
        tokio::select! {
            ((), ()) = async { tokio::join!(up, down) } => false,
            () = idle(bytes, bounds.idle) => true,
        }
    };
    if !is_idle {
        return if bounds.quota.is_spent() { "the bytes of the pass are spent" } else { "ended" };
    }
    reset([caller, callee], close_code::RELAY_IDLE);
    "idle"
}

/// Ends streams both ways.
pub(super) fn reset<'a>(ends: impl IntoIterator<Item = &'a mut End>, code: StreamCode) {
    for end in ends {
        end.send.reset(code);
        end.recv.get_mut().stop(code);
    }
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
    carried: &impl Fn(u64) -> bool,
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
        if !carried(count as u64) {
            to.reset(close_code::RELAY_SPENT);
            return from.get_mut().stop(close_code::RELAY_SPENT);
        }
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
