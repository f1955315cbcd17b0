//! The task that owns the control stream: pairs requests with answers, passes events on, keeps
//! the session alive.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use portolan_protocol::{
    Closing, Command, ControlMessage, DecodeError, Delivery, ErrorBody, ErrorCode,
    Event as ServerEvent, Heartbeat, Limits as MessageLimits, Message, MessageId, Reply, RequestId,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{CloseCode, CloseReason, Connection, RecvStream, SendStream};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Ask,
    inbox::Inbox,
    login::{Control, read_end, write_end},
};
use crate::{Event, Limits, ReceiptRule, RequestError, SessionEnd, Timing};

/// Bytes of requests that wait for the stream before more are taken.
const WRITE_AHEAD: usize = 512 << 10;

/// Owns the control stream until the session ends.
pub(crate) struct SessionTask {
    connection: Arc<dyn Connection>,
    reader: FrameReader<RecvStream>,
    writer: FrameWriter<SendStream>,
    asks: mpsc::Receiver<Ask>,
    events: mpsc::Sender<Event>,
    end: Arc<OnceLock<SessionEnd>>,
    pending: BTreeMap<RequestId, Pending>,
    next_id: u64,
    inbox: Inbox,
    receipts: ReceiptRule,
    /// An event for which the application had no room: while it is here nothing more is read.
    held: Option<Event>,
    closing: Option<Closing>,
    logging_out: bool,
    heartbeat_every: Duration,
    heartbeat_at: Instant,
    limits: Limits,
    timing: Timing,
}

struct Pending {
    asker: Asker,
    deadline: Instant,
}

/// Who waits for an answer.
enum Asker {
    Application(oneshot::Sender<Result<Reply, RequestError>>),
    Heartbeat,
    Receipt,
}

/// What the task is made with, besides the stream.
pub(crate) struct SessionParts {
    pub(crate) connection: Arc<dyn Connection>,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) end: Arc<OnceLock<SessionEnd>>,
    pub(crate) heartbeat_ms: u32,
    pub(crate) receipts: ReceiptRule,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
}

impl SessionTask {
    pub(crate) fn new(control: Control, parts: SessionParts) -> Self {
        let heartbeat_every = heartbeat_interval(parts.heartbeat_ms);
        Self {
            connection: parts.connection,
            reader: control.reader,
            writer: control.writer,
            asks: parts.asks,
            events: parts.events,
            end: parts.end,
            pending: BTreeMap::new(),
            next_id: control.next_id,
            inbox: Inbox::new(parts.limits.seen_messages),
            receipts: parts.receipts,
            held: None,
            closing: None,
            logging_out: false,
            heartbeat_every,
            heartbeat_at: Instant::now() + heartbeat_every,
            limits: parts.limits,
            timing: parts.timing,
        }
    }

    /// Runs until the session is over, then tells everyone who waits.
    pub(crate) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let _ = self.end.set(end.clone());
        self.asks.close();
        while let Ok(ask) = self.asks.try_recv() {
            let _ = ask.answer.send(Err(RequestError::Closed(end.clone())));
        }
        for (_, pending) in std::mem::take(&mut self.pending) {
            pending.asker.answer(Err(RequestError::Closed(end.clone())));
        }
        self.connection.close(CloseCode::DONE, "the session is over");
        if let Some(held) = self.held.take() {
            let _ = self.events.send(held).await;
        }
        let _ = self.events.send(Event::Closed(end)).await;
    }

    /// Waits for one thing and handles it. Everything waited for is cancel safe.
    async fn step(&mut self) -> Result<(), SessionEnd> {
        let deadline = self.next_deadline();
        let room = self.pending.len() < self.limits.requests && self.writer.pending() < WRITE_AHEAD;
        tokio::select! {
            message = self.reader.next_message(), if self.held.is_none() => self.on_read(message)?,
            result = self.writer.flush(), if self.writer.pending() > 0 => {
                result.map_err(|error| self.ended(write_end(&error)))?;
            }
            ask = self.asks.recv(), if room => {
                let ask = ask.ok_or(SessionEnd::Local)?;
                self.request(ask.command, Asker::Application(ask.answer));
            }
            handed_out = hand_over(&self.events, &mut self.held), if self.held.is_some() => {
                if let Some(id) = handed_out {
                    self.on_handed_out(id);
                }
            }
            () = sleep_until(deadline) => self.on_time(Instant::now())?,
        }
        self.send_receipts();
        match &self.closing {
            // The server waits for us to close first, so that its last words are not lost.
            Some(closing) if self.held.is_none() => Err(SessionEnd::Server(closing.clone())),
            Some(_) | None => Ok(()),
        }
    }

    fn on_read(
        &mut self,
        message: Result<ControlMessage, ReadMessageError>,
    ) -> Result<(), SessionEnd> {
        match message {
            Ok(Message::Answer(id, reply)) => self.on_answer(id, Ok(reply)),
            Ok(Message::Error(id, body)) => self.on_answer(id, Err(RequestError::Refused(body))),
            Ok(Message::Event(event)) => self.on_event(event),
            Ok(Message::Request(id, _)) => {
                let body = ErrorBody::new(ErrorCode::Unsupported, "a client answers no requests");
                self.write(&ControlMessage::Error(id, body));
            }
            Err(ReadMessageError::Decode(error)) => self.on_undecodable(&error)?,
            Err(error) => return Err(self.ended(read_end(&error))),
        }
        Ok(())
    }

    /// Unknown kinds are skipped; a broken answer is an answer; only framing ends the session.
    fn on_undecodable(&mut self, error: &DecodeError) -> Result<(), SessionEnd> {
        match error {
            DecodeError::FrameTooLarge { .. } => {
                return Err(self.ended(SessionEnd::Protocol(error.to_string())));
            }
            DecodeError::Header(_) => {}
            DecodeError::UnknownKind { id, .. } | DecodeError::Body { id, .. } => {
                if let Some((id, body)) = error.answer() {
                    self.write(&ControlMessage::Error(id, body));
                } else if let Some(pending) = self.pending.remove(id) {
                    pending.asker.answer(Err(RequestError::Unexpected("an unreadable message")));
                }
            }
        }
        tracing::debug!(%error, "skipped a message of the server");
        Ok(())
    }

    fn on_answer(&mut self, id: RequestId, result: Result<Reply, RequestError>) {
        // An answer without a question is one to a request that has timed out.
        if let Some(pending) = self.pending.remove(&id) {
            pending.asker.answer(result);
        }
    }

    fn on_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Message(delivery) => self.on_delivery(delivery),
            ServerEvent::Receipt(receipt) => self.held = Some(Event::Receipt(receipt)),
            ServerEvent::Conversation(news) => self.held = Some(Event::Conversation(news)),
            ServerEvent::Presence(presence) => self.held = Some(Event::Presence(presence)),
            ServerEvent::Group(news) => self.held = Some(Event::Group(news)),
            ServerEvent::Candidates(candidates) => {
                tracing::debug!(from = %candidates.from, "candidates are not used yet");
            }
            ServerEvent::Announcement(words) => self.held = Some(Event::Announcement(words)),
            ServerEvent::Closing(closing) => {
                self.closing = Some(closing.clone());
                self.held = Some(Event::Closing(closing));
            }
        }
    }

    fn on_delivery(&mut self, delivery: Delivery) {
        if !self.inbox.knows(delivery.id) {
            self.held = Some(Event::Message(delivery));
        } else if self.receipts == ReceiptRule::Automatic {
            self.inbox.confirm(delivery.id);
        }
    }

    fn on_handed_out(&mut self, id: MessageId) {
        self.inbox.on_handed_out(id);
        if self.receipts == ReceiptRule::Automatic {
            self.inbox.confirm(id);
        }
    }

    fn send_receipts(&mut self) {
        let max = MessageLimits::V1.receipts as usize;
        while self.pending.len() < self.limits.requests && self.writer.pending() < WRITE_AHEAD {
            let Some(receipts) = self.inbox.poll_receipt(max) else { return };
            self.request(Command::Receipts(receipts), Asker::Receipt);
        }
    }

    fn request(&mut self, command: Command, asker: Asker) {
        self.logging_out |= matches!(command, Command::Logout(_));
        let id = RequestId(self.next_id);
        self.next_id += 1;
        if let Err(error) = self.writer.push(&ControlMessage::Request(id, command)) {
            let body = ErrorBody::new(ErrorCode::TooLarge, error.to_string());
            return asker.answer(Err(RequestError::Refused(body)));
        }
        let now = Instant::now();
        self.heartbeat_at = now + self.heartbeat_every;
        self.pending.insert(id, Pending { asker, deadline: now + self.timing.request });
    }

    fn write(&mut self, message: &ControlMessage) {
        if self.writer.pending() < WRITE_AHEAD {
            let _ = self.writer.push(message);
        }
    }

    /// Ids grow and all requests have the same time, so the first is the first to expire.
    fn next_deadline(&self) -> Instant {
        let first = self.pending.values().next().map(|pending| pending.deadline);
        first.map_or(self.heartbeat_at, |deadline| deadline.min(self.heartbeat_at))
    }

    fn on_time(&mut self, now: Instant) -> Result<(), SessionEnd> {
        while let Some(entry) = self.pending.first_entry() {
            if entry.get().deadline > now {
                break;
            }
            match entry.remove().asker {
                // While the application does not read its events we do not read answers either.
                Asker::Heartbeat if self.held.is_none() => {
                    return Err(self.ended(SessionEnd::Silent));
                }
                asker => asker.answer(Err(RequestError::TimedOut)),
            }
        }
        if self.heartbeat_at <= now {
            self.request(Command::Heartbeat(Heartbeat { nonce: self.next_id }), Asker::Heartbeat);
        }
        Ok(())
    }

    /// The server's own words, if it has said any, are better than what the stream says.
    fn ended(&self, end: SessionEnd) -> SessionEnd {
        match (&self.closing, end) {
            (Some(closing), _) => SessionEnd::Server(closing.clone()),
            (None, SessionEnd::Lost(CloseReason::Local { .. })) => SessionEnd::Local,
            (None, _) if self.logging_out => SessionEnd::Local,
            (None, end) => end,
        }
    }
}

impl Asker {
    fn answer(self, result: Result<Reply, RequestError>) {
        match self {
            Self::Application(answer) => drop(answer.send(result)),
            Self::Heartbeat => {}
            Self::Receipt => {
                if let Err(error) = result {
                    // The messages come again, are recognised and confirmed once more.
                    tracing::debug!(%error, "a receipt was not taken");
                }
            }
        }
    }
}

/// Three chances within the time after which the server gives up.
fn heartbeat_interval(server_patience_ms: u32) -> Duration {
    let patience = match server_patience_ms {
        0 => Duration::from_secs(30),
        ms => Duration::from_millis(u64::from(ms)),
    };
    (patience / 3).max(Duration::from_millis(50))
}

/// Waits for room and hands the held event over; says which message it was. Cancel safe.
///
/// When nobody listens any more the event is dropped: what is not confirmed waits at the server.
async fn hand_over(events: &mpsc::Sender<Event>, held: &mut Option<Event>) -> Option<MessageId> {
    let permit = events.reserve().await;
    let event = held.take()?;
    let id = message_id(&event);
    permit.ok()?.send(event);
    id
}

fn message_id(event: &Event) -> Option<MessageId> {
    match event {
        Event::Message(delivery) => Some(delivery.id),
        Event::Receipt(_)
        | Event::Conversation(_)
        | Event::Presence(_)
        | Event::Group(_)
        | Event::Announcement(_)
        | Event::File(_)
        | Event::Path(_)
        | Event::Warning(_)
        | Event::Closing(_)
        | Event::Closed(_) => None,
    }
}
