//! The stream that carries a call now.

use portolan_protocol::{
    Answered, Clock, ErrorBody, HangUp, Held, Message, Muted, PeerCommand, PeerEvent, PeerMessage,
    PeerReply, Position, RequestId, Ringing, Table,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{RecvStream, SendStream};
use tokio::{
    sync::oneshot,
    time::{Duration, timeout},
};

use super::{Signal, Switch};
use crate::remote::Lease;

/// Bytes that may wait for a side that does not read; a call's signals are a few at a time.
const PENDING_MAX: usize = 16 << 10;
/// How long last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What keeps the session from being idle while the call lasts.
pub(crate) enum Hold {
    /// We have opened the stream.
    Ours { _lease: Lease },
    /// The other has; dropping it tells the task that serves the stream.
    Theirs { _served: oneshot::Sender<()> },
}

/// The stream that carries a call now.
pub(crate) struct Link {
    reader: FrameReader<RecvStream>,
    writer: FrameWriter<SendStream>,
    id: RequestId,
    is_flushed: bool,
    _hold: Hold,
}

/// What the other side has said.
#[derive(Debug)]
pub(crate) enum Heard {
    Signal(Signal),
    Answered(Answered),
    Clock(Clock),
    Position(Position),
    /// Something of a newer version.
    Unknown,
}

impl Link {
    pub(crate) fn new(
        (reader, writer): (FrameReader<RecvStream>, FrameWriter<SendStream>),
        id: RequestId,
        hold: Hold,
    ) -> Self {
        Self { reader, writer, id, is_flushed: true, _hold: hold }
    }

    /// Says it as soon as [`Self::step`] runs; `answered` is what an answer says.
    pub(crate) fn say(&mut self, signal: Signal, answered: &Answered) -> Result<(), String> {
        let message = match signal {
            Signal::Answered => Message::Answer(self.id, answered.clone().into()),
            Signal::Refused(body) => Message::Error(self.id, body),
            Signal::Ringing => Message::Event(Ringing {}.into()),
            Signal::HangUp(reason) => Message::Event(HangUp { reason }.into()),
            Signal::Muted(on) => Message::Event(Muted { on: on.is_on() }.into()),
            Signal::Held(on) => Message::Event(Held { on: on.is_on() }.into()),
        };
        self.push(&message)
    }

    /// The same for what has no state.
    pub(crate) fn tell(&mut self, event: PeerEvent) -> Result<(), String> {
        self.push(&Message::Event(event))
    }

    fn push(&mut self, message: &PeerMessage) -> Result<(), String> {
        self.is_flushed = false;
        self.writer.push(message).map_err(|error| error.to_string())?;
        if self.writer.pending() > PENDING_MAX {
            return Err("the other side does not read what it is told".to_owned());
        }
        Ok(())
    }

    /// Writes what waits, and reads the next thing that is said. Cancel safe.
    pub(crate) async fn step(&mut self) -> Result<Heard, String> {
        loop {
            let Self { reader, writer, is_flushed, .. } = self;
            tokio::select! {
                biased;
                flushed = writer.flush(), if !*is_flushed => {
                    flushed.map_err(|error| error.to_string())?;
                    *is_flushed = true;
                }
                message = reader.next_message() => return heard(message),
            }
        }
    }

    /// Writes what waits and ends the stream.
    pub(crate) async fn finish(mut self) {
        let flushed = timeout(LAST_WORDS, self.writer.flush()).await;
        if let Ok(Ok(())) = flushed {
            let _ = self.writer.get_mut().finish();
            // What still comes is read, so that the other side's last words meet no closed door.
            let _ = timeout(LAST_WORDS, async {
                while self.reader.next_frame().await.is_ok_and(|frame| frame.is_some()) {}
            })
            .await;
        }
    }

    /// Refuses the call and ends the stream.
    pub(crate) async fn refuse(mut self, body: ErrorBody) {
        if self.push(&Message::Error(self.id, body)).is_ok() {
            self.finish().await;
        }
    }
}

fn heard(message: Result<PeerMessage, ReadMessageError>) -> Result<Heard, String> {
    use portolan_protocol::DecodeError;

    match message {
        Ok(Message::Answer(_, PeerReply::Answered(answered))) => Ok(Heard::Answered(answered)),
        Ok(Message::Answer(_, reply)) => Err(format!("{:?} is no answer to a call", reply.kind())),
        Ok(Message::Error(_, body)) => Ok(Heard::Signal(Signal::Refused(body))),
        Ok(Message::Event(event)) => Ok(heard_event(event)),
        Ok(Message::Request(_, command)) => on_request(&command),
        Err(ReadMessageError::Decode(DecodeError::UnknownKind { .. })) => Ok(Heard::Unknown),
        Err(ReadMessageError::Ended) => Err("the other side has ended the stream".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn heard_event(event: PeerEvent) -> Heard {
    match event {
        PeerEvent::Ringing(Ringing {}) => Heard::Signal(Signal::Ringing),
        PeerEvent::HangUp(HangUp { reason }) => Heard::Signal(Signal::HangUp(reason)),
        PeerEvent::Muted(Muted { on }) => Heard::Signal(Signal::Muted(Switch::from_bool(on))),
        PeerEvent::Held(Held { on }) => Heard::Signal(Signal::Held(Switch::from_bool(on))),
        PeerEvent::Clock(clock) => Heard::Clock(clock),
        PeerEvent::Position(position) => Heard::Position(position),
        // Words of other requests.
        PeerEvent::Hashing(_)
        | PeerEvent::Want(_)
        | PeerEvent::End(_)
        | PeerEvent::Entries(_)
        | PeerEvent::Small(_)
        | PeerEvent::Compared(_)
        | PeerEvent::Unsent(_) => Heard::Unknown,
    }
}

fn on_request(command: &PeerCommand) -> Result<Heard, String> {
    Err(format!("a request ({:?}) came where a call is carried", command.kind()))
}
