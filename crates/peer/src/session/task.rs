//! The task that owns the control stream: pairs requests with answers, passes events on, keeps
//! the session alive.

use std::{collections::BTreeMap, time::Duration};

use portolan_protocol::{
    Closing, Command, ControlMessage, DecodeError, Delivery, ErrorBody, ErrorCode,
    Event as ServerEvent, Heartbeat, Limits as MessageLimits, Message, Reply, RequestId, Welcome,
};
use portolan_protocol_io::{FrameReader, FrameWriter, ReadMessageError};
use portolan_transport::{CloseReason, RecvStream, SendStream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Answer, Ask,
    ending::is_for_good,
    lasting::{Lasting, Open},
    login::{Control, read_end, write_end},
    repeat::{Repetition, repetition, settle},
};
use crate::{
    Event, Limits, Reconnect, RequestError, SessionEnd, Timing,
    network::{Consequence, Moved, Roaming},
};

/// Bytes of requests that wait for the stream before more are taken.
const WRITE_AHEAD: usize = 512 << 10;

/// A server that reads no more has so long to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Owns the control stream of one connection until it ends.
pub(crate) struct SessionTask<'a> {
    reader: FrameReader<RecvStream>,
    writer: FrameWriter<SendStream>,
    asks: &'a mut mpsc::Receiver<Ask>,
    lasting: &'a mut Lasting,
    rules: Rules,
    roaming: Roaming,
    pending: BTreeMap<RequestId, Pending>,
    next_id: u64,
    /// What was open on the connection before.
    before: Open,
    closing: Option<Closing>,
    /// The server reads no more: what that means, and until when its last words are waited for.
    /// Without them a session that was replaced while it hung would come back, and replace.
    unheard: Option<(SessionEnd, Instant)>,
    logging_out: bool,
    /// A logout that waits for the answers to the receipts before this number: what the
    /// application has must not come again at the next login.
    farewell: Option<(RequestId, Ask)>,
    heartbeats: Heartbeats,
    asked_at: Instant,
    /// Whether the server is still there is to be known soon.
    is_in_doubt: bool,
    heard_at: Instant,
}

/// What holds on every connection of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) reconnect: Reconnect,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
}

struct Pending {
    asker: Asker,
    command: Command,
    asked_at: Instant,
    deadline: Instant,
}

/// Who waits for an answer.
enum Asker {
    Application {
        answer: Answer,
        broken: Option<SessionEnd>,
    },
    Heartbeat,
    /// The first of a connection: by its answer the server has told everything that is open.
    Arrival,
    Receipt,
}

impl<'a> SessionTask<'a> {
    pub(crate) fn new(
        control: Control,
        heartbeats: Heartbeats,
        (asks, lasting): (&'a mut mpsc::Receiver<Ask>, &'a mut Lasting),
        rules: Rules,
        roaming: Roaming,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader: control.reader,
            writer: control.writer,
            before: lasting.take_open(),
            asks,
            lasting,
            rules,
            roaming,
            pending: BTreeMap::new(),
            next_id: control.next_id,
            closing: None,
            unheard: None,
            logging_out: false,
            farewell: None,
            heartbeats,
            asked_at: now,
            is_in_doubt: false,
            heard_at: now,
        }
    }

    /// Runs until the connection ends, and leaves what is to be asked again with what lasts.
    pub(crate) async fn run(mut self) -> SessionEnd {
        self.resume();
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.keep(pending, &end);
        }
        end
    }

    /// Asks what was open on the connection before, and again what got no answer on it.
    fn resume(&mut self) {
        if !self.before.is_empty() {
            let nonce = self.next_id;
            self.request(Command::Heartbeat(Heartbeat { nonce }), Asker::Arrival);
        }
        self.send_receipts();
        while let Some(ask) = self.lasting.carried.pop_front() {
            self.request_for(ask);
        }
    }

    /// Decides what becomes of a request without an answer.
    fn keep(&mut self, pending: Pending, end: &SessionEnd) {
        let Pending { asker, command, .. } = pending;
        match (asker, command) {
            (Asker::Application { answer, .. }, command) => match repetition(&command) {
                Repetition::Again { .. } => {
                    let broken = Some(end.clone());
                    self.lasting.carried.push_back(Ask { command, answer, broken });
                }
                Repetition::Never
                    if self.rules.reconnect == Reconnect::Never || is_for_good(end) =>
                {
                    drop(answer.send(Err(RequestError::Closed(end.clone()))));
                }
                Repetition::Never => drop(answer.send(Err(RequestError::Broken(end.clone())))),
            },
            (Asker::Receipt, Command::Receipts(receipts)) => {
                receipts.ids.into_iter().for_each(|id| self.lasting.inbox.confirm(id));
            }
            (Asker::Arrival, _) => self.lasting.put_back(&std::mem::take(&mut self.before)),
            (Asker::Heartbeat | Asker::Receipt, _) => {}
        }
    }

    /// Waits for one thing and handles it. Everything waited for is cancel safe.
    async fn step(&mut self) -> Result<(), SessionEnd> {
        let deadline = self.next_deadline();
        let speaks = self.unheard.is_none();
        let room = speaks && self.has_room();
        tokio::select! {
            message = self.reader.next_message(), if !self.lasting.holds() => self.on_read(message)?,
            result = self.writer.flush(), if speaks && self.writer.pending() > 0 => {
                if let Err(error) = result {
                    self.unheard = Some((write_end(&error), Instant::now() + LAST_WORDS));
                }
            }
            ask = self.asks.recv(), if room => {
                self.request_for(ask.ok_or(SessionEnd::Local)?);
            }
            () = self.lasting.hand_over(), if self.lasting.holds() => {}
            () = sleep_until(deadline) => self.on_time(Instant::now())?,
            moved = self.roaming.moved() => self.on_moved(moved).await?,
        }
        self.send_receipts();
        self.send_farewell();
        match &self.closing {
            // The server waits for us to close first, so that its last words are not lost.
            Some(closing) if !self.lasting.holds() => Err(SessionEnd::Server(closing.clone())),
            Some(_) | None => Ok(()),
        }
    }

    /// Another of our addresses leads to the server.
    async fn on_moved(&mut self, moved: Moved) -> Result<(), SessionEnd> {
        match self.roaming.follow(moved).await {
            Consequence::GoesOn => self.lasting.hold_move(self.roaming.describe(moved)),
            Consequence::Stays => {}
            Consequence::Lost => {
                let detail = moved.to_string();
                return Err(self.ended(SessionEnd::Lost(CloseReason::Lost { detail })));
            }
        }
        self.is_in_doubt = true;
        Ok(())
    }

    fn on_read(
        &mut self,
        message: Result<ControlMessage, ReadMessageError>,
    ) -> Result<(), SessionEnd> {
        self.heard_at = Instant::now();
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
                    pending.answer(Err(RequestError::Unexpected("an unreadable message")));
                }
            }
        }
        tracing::debug!(%error, "skipped a message of the server");
        Ok(())
    }

    fn on_answer(&mut self, id: RequestId, result: Result<Reply, RequestError>) {
        // An answer without a question is one to a request that has timed out.
        let Some(pending) = self.pending.remove(&id) else { return };
        let result = match (&pending.asker, result) {
            (Asker::Application { broken: Some(end), .. }, Err(RequestError::Refused(body))) => {
                settle(&pending.command, body, self.lasting.talking(), end)
            }
            (_, result) => result,
        };
        if let Asker::Arrival = pending.asker {
            self.lasting.miss(std::mem::take(&mut self.before));
        }
        if let (Command::Converse(converse), Ok(Reply::Requested(requested))) =
            (&pending.command, &result)
            && requested.expires_ms > 0
        {
            self.lasting.on_asked(&converse.with);
        }
        pending.answer(result);
    }

    fn on_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Message(delivery) => self.on_delivery(delivery),
            ServerEvent::Receipt(receipt) => self.lasting.hold(Event::Receipt(receipt)),
            ServerEvent::Conversation(news) => self.lasting.hold(Event::Conversation(news)),
            ServerEvent::Presence(presence) => self.lasting.hold(Event::Presence(presence)),
            ServerEvent::Group(news) => self.lasting.hold(Event::Group(news)),
            ServerEvent::Settings(settings) => self.lasting.hold(Event::Settings(settings)),
            ServerEvent::Candidates(candidates) => self.lasting.vouched.note(&candidates),
            ServerEvent::Announcement(words) => self.lasting.hold(Event::Announcement(words)),
            ServerEvent::Closing(closing) => {
                self.closing = Some(closing.clone());
                self.lasting.hold(Event::Closing(closing));
            }
        }
    }

    fn on_delivery(&mut self, delivery: Delivery) {
        if !self.lasting.inbox.knows(delivery.id) {
            self.lasting.hold(Event::Message(delivery));
        } else if self.lasting.is_automatic() {
            self.lasting.inbox.confirm(delivery.id);
        }
    }

    fn has_room(&self) -> bool {
        self.pending.len() < self.rules.limits.requests && self.writer.pending() < WRITE_AHEAD
    }

    fn send_receipts(&mut self) {
        let max = MessageLimits::V1.receipts as usize;
        while self.has_room() {
            let Some(receipts) = self.lasting.inbox.poll_receipt(max) else { return };
            self.request(Command::Receipts(receipts), Asker::Receipt);
        }
    }

    /// Logs out when the server has noted what the application has.
    fn send_farewell(&mut self) {
        let is_owed = |(id, _): &(RequestId, Ask)| {
            let mut earlier = self.pending.range(..id);
            earlier.any(|(_, pending)| matches!(pending.asker, Asker::Receipt))
        };
        if let Some((_, ask)) = self.farewell.take_if(|farewell| !is_owed(farewell)) {
            self.request(ask.command, Asker::Application { answer: ask.answer, broken: None });
        }
    }

    /// Asks for the application, if it still waits.
    fn request_for(&mut self, ask: Ask) {
        if let Command::Logout(_) = ask.command {
            self.logging_out = true;
            self.farewell = Some((RequestId(self.next_id), ask));
            return;
        }
        let Ask { command, answer, broken } = ask;
        if !answer.is_closed() {
            self.request(command, Asker::Application { answer, broken });
        }
    }

    fn request(&mut self, command: Command, asker: Asker) {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let message = ControlMessage::Request(id, command);
        let pushed = self.writer.push(&message);
        let ControlMessage::Request(_, command) = message else { return };
        let asked_at = Instant::now();
        let deadline = asked_at + self.rules.timing.request;
        let pending = Pending { asker, command, asked_at, deadline };
        if let Err(error) = pushed {
            let body = ErrorBody::new(ErrorCode::TooLarge, error.to_string());
            return pending.answer(Err(RequestError::Refused(body)));
        }
        self.asked_at = asked_at;
        self.is_in_doubt = false;
        self.pending.insert(id, pending);
    }

    fn write(&mut self, message: &ControlMessage) {
        if self.writer.pending() < WRITE_AHEAD {
            let _ = self.writer.push(message);
        }
    }

    /// Ids grow and all requests have the same time, so the first is the first to expire.
    fn next_deadline(&self) -> Instant {
        let first = self.pending.values().next().map(|pending| pending.deadline);
        let last_words = self.unheard.as_ref().map(|(_, until)| *until);
        first.into_iter().chain(last_words).fold(self.heartbeat_at(), Instant::min)
    }

    /// When to ask for a sign of life, if nothing else is asked until then.
    fn heartbeat_at(&self) -> Instant {
        let is_talking = !self.lasting.talking().is_empty();
        let pause = match (self.is_in_doubt, is_talking) {
            (true, _) => Duration::ZERO,
            (false, true) => self.heartbeats.talking,
            (false, false) => self.heartbeats.quiet,
        };
        self.asked_at + pause
    }

    fn on_time(&mut self, now: Instant) -> Result<(), SessionEnd> {
        if let Some((end, until)) = &self.unheard
            && *until <= now
        {
            return Err(self.ended(end.clone()));
        }
        // While the application does not read its events we do not read answers either.
        let reads = !self.lasting.holds();
        while let Some(entry) = self.pending.first_entry() {
            let pending = entry.get();
            if pending.deadline > now {
                break;
            }
            if reads && pending.means_silence(self.heard_at, self.rules.reconnect) {
                return Err(self.ended(SessionEnd::Silent));
            }
            entry.remove().answer(Err(RequestError::TimedOut));
        }
        if self.heartbeat_at() <= now {
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

impl Pending {
    /// Whether the lack of this answer shows that the connection is dead. Where there is another
    /// one to be had, it is enough that nothing at all came since the request.
    fn means_silence(&self, heard_at: Instant, reconnect: Reconnect) -> bool {
        match self.asker {
            Asker::Heartbeat => true,
            Asker::Application { .. } | Asker::Arrival | Asker::Receipt => {
                reconnect != Reconnect::Never && heard_at < self.asked_at
            }
        }
    }

    fn answer(self, result: Result<Reply, RequestError>) {
        match self.asker {
            Asker::Application { answer, .. } => drop(answer.send(result)),
            Asker::Heartbeat | Asker::Arrival => {}
            Asker::Receipt => {
                if let Err(error) = result {
                    // The messages come again, are recognised and confirmed once more.
                    tracing::debug!(%error, "a receipt was not taken");
                }
            }
        }
    }
}

/// How often the server is asked for a sign of life. Whether the connection lives is the transport's
/// matter; these show that the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heartbeats {
    /// While there is no conversation.
    quiet: Duration,
    /// While there is one: the server, too, wants to know soon that we are gone.
    talking: Duration,
}

impl Heartbeats {
    /// By what the server has said about its patience.
    pub(crate) fn new(welcome: &Welcome) -> Self {
        let patience = match welcome.heartbeat_ms {
            0 => Duration::from_secs(60),
            ms => Duration::from_millis(u64::from(ms)),
        };
        let quiet = 4 * patience;
        // Three chances within the time after which the server gives us up.
        let talking = match welcome.attention_ms {
            0 => quiet,
            ms => Duration::from_millis(u64::from(ms)) / 3,
        };
        let least = Duration::from_millis(50);
        Self { quiet: quiet.max(least), talking: talking.max(least) }
    }
}
