//! One client of a gateway, from its connection to its end.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_gateway::{
    Action, Bridge, CallNews, End, Entry, Now, Refused, Ticket, Visitor, legacy_id,
};
use portolan_protocol::{Command, ErrorBody, ErrorCode, Name};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    super::clock,
    Running,
    places::{NOTES_MAX, Note},
    seat::{Seat, Word},
    sides::{SideNews, Sides},
    wire::Wire,
};

/// After a client has closed its side, what it asked before is still answered for so long.
const EOF_TIME: Duration = Duration::from_secs(2);

/// Drives one bridge.
pub(super) struct Visit {
    running: Arc<Running>,
    visitor: Visitor,
    wire: Wire,
    bridge: Box<dyn Bridge>,
    seat: Option<Seat>,
    /// Its number among the strangers, until it enters.
    stranger: Option<u64>,
    /// Cancelled when a newer stranger takes its place.
    evicted: CancellationToken,
    silent_at: Instant,
    queue: VecDeque<Action>,
    notes: (mpsc::Sender<Note>, mpsc::Receiver<Note>),
    sides: Sides,
    last_write: Option<Instant>,
    /// When it is over at the latest, once the last was said or the client has closed its side.
    over_at: Option<Instant>,
    is_closing: bool,
    has_ended: bool,
    is_finished: bool,
}

/// What a visit waits for.
enum News {
    Read(io::Result<usize>),
    Frames(Option<Vec<Bytes>>),
    Note(Note),
    Side(SideNews),
    Time,
    Evicted,
    Closing,
}

impl Visit {
    pub(super) fn new(running: Arc<Running>, address: SocketAddr, wire: Wire) -> Self {
        let (stranger, evicted) = running.strangers.meet(address.ip());
        let visitor = Visitor {
            address,
            lane: running.lane_index,
            // The standard library's keys are the system's randomness.
            seed: RandomState::new().build_hasher().finish(),
            server: running.context.server,
        };
        Self {
            bridge: running.service.accept(visitor),
            visitor,
            wire,
            seat: None,
            stranger: Some(stranger),
            evicted,
            silent_at: now().instant + running.service.patience(),
            queue: VecDeque::new(),
            notes: mpsc::channel(NOTES_MAX),
            sides: Sides::new(address.ip()),
            last_write: None,
            over_at: None,
            is_closing: false,
            has_ended: false,
            is_finished: false,
            running,
        }
    }

    /// Serves the client to its end.
    pub(super) async fn run(mut self) {
        self.bridge.handle_connected(now());
        let mut buffer = Vec::new();
        while self.carry_out().await.is_ok() && !self.is_over() {
            let news = self.next(&mut buffer).await;
            self.on_news(news, &buffer).await;
            buffer = Vec::new();
        }
    }

    fn is_over(&self) -> bool {
        let is_late = self.over_at.is_some_and(|at| at <= now().instant);
        let is_answered = self.queue.is_empty() && (self.is_finished || self.bridge.is_idle());
        is_late || (self.has_ended && is_answered)
    }

    async fn next(&mut self, buffer: &mut Vec<u8>) -> News {
        let can_take = self.queue.is_empty() && !self.is_finished;
        let can_read = self.is_finished || (can_take && self.bridge.wants_input());
        let wake = self.wake_at();
        let frames = async {
            match &self.seat {
                Some(seat) => seat.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = self.wire.read(buffer), if can_read && !self.has_ended => News::Read(read),
            frames = frames, if can_take => News::Frames(frames),
            Some(note) = self.notes.1.recv(), if can_take => News::Note(note),
            news = self.sides.next(), if can_take => News::Side(news),
            () = tokio::time::sleep_until(wake.into()) => News::Time,
            () = self.evicted.cancelled(), if self.stranger.is_some() => News::Evicted,
            () = self.running.closing.cancelled(), if !self.is_closing => News::Closing,
        }
    }

    /// When there is something to be done without news.
    fn wake_at(&self) -> Instant {
        let paced = self.queue.front().map(|_| self.write_at());
        let silent = self.stranger.map(|_| self.silent_at).filter(|_| !self.is_finished);
        let times = [paced, silent, self.over_at, self.bridge.poll_timeout()];
        let far = now().instant + Duration::from_secs(3_600);
        times.into_iter().flatten().min().unwrap_or(far)
    }

    /// When the client may be written to again.
    fn write_at(&self) -> Instant {
        let pacing = self.running.service.pacing();
        self.last_write.map_or_else(|| now().instant, |last| last + pacing)
    }

    async fn on_news(&mut self, news: News, buffer: &[u8]) {
        match news {
            News::Read(Ok(length)) if length > 0 => self.on_bytes(buffer),
            News::Read(Ok(_)) => self.on_eof(EOF_TIME),
            // Nobody is there to be answered.
            News::Read(Err(_)) => self.on_eof(Duration::ZERO),
            News::Frames(Some(frames)) => frames.iter().for_each(|frame| self.on_frame(frame)),
            News::Frames(None) => self.on_session_over().await,
            News::Note(note) => self.bridge.handle_note(now(), &note.from, &note.bytes),
            News::Side(news) => self.on_side(news),
            News::Time => self.on_time(),
            News::Evicted => self.on_silent(),
            News::Closing => {
                self.is_closing = true;
                // At the server's end the core tells those who have entered, in better words.
                if self.seat.is_none() || !self.running.stopping.is_cancelled() {
                    self.bridge.handle_end(now(), &End::Closing);
                }
            }
        }
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        self.traffic(|traffic| traffic.count_in(bytes.len()));
        if !self.is_finished {
            self.bridge.handle_bytes(now(), bytes);
        }
    }

    fn on_eof(&mut self, grace: Duration) {
        self.has_ended = true;
        let at = now().instant + if self.is_finished { Duration::ZERO } else { grace };
        self.over_at = Some(self.over_at.map_or(at, |before| before.min(at)));
    }

    fn on_frame(&mut self, frame: &Bytes) {
        match Seat::read(frame) {
            None => {}
            Some(Word::Entered(Ok(logged_in))) => {
                if let Some(stranger) = self.stranger.take() {
                    self.running.strangers.part(stranger);
                }
                self.bridge.handle_entered(now(), Ok(logged_in));
            }
            Some(Word::Entered(Err(error))) => {
                self.seat = None;
                self.bridge.handle_entered(now(), Err(Refused::Server(error)));
            }
            Some(Word::Answer(ticket, answer)) => {
                self.bridge.handle_answer(now(), ticket, answer);
            }
            Some(Word::Event(event)) => self.bridge.handle_event(now(), event),
        }
    }

    async fn on_session_over(&mut self) {
        if let Some(seat) = self.seat.take() {
            let reason = seat.reason().await;
            self.bridge.handle_end(now(), &End::SessionOver(reason));
        }
    }

    fn on_side(&mut self, news: SideNews) {
        let bridge = &mut self.bridge;
        match news {
            SideNews::Opened(door, opened) => bridge.handle_door(now(), door, opened),
            SideNews::Came(door, stream) => {
                if let Some(call) = self.sides.take(stream) {
                    bridge.handle_call(now(), call, CallNews::Came(door));
                }
            }
            SideNews::Connected(call) => bridge.handle_call(now(), call, CallNews::Connected),
            SideNews::Said(call, bytes) => {
                bridge.handle_call(now(), call, CallNews::Said(&bytes));
            }
            SideNews::Ended(call) => bridge.handle_call(now(), call, CallNews::Ended),
        }
    }

    fn on_time(&mut self) {
        let time = now();
        if self.stranger.is_some() && self.silent_at <= time.instant && !self.is_finished {
            self.on_silent();
        }
        if self.bridge.poll_timeout().is_some_and(|at| at <= time.instant) {
            self.bridge.handle_timeout(time);
        }
    }

    fn on_silent(&mut self) {
        if let Some(stranger) = self.stranger.take() {
            self.running.strangers.part(stranger);
        }
        self.bridge.handle_end(now(), &End::Silent);
    }

    /// Does what the bridge wants, as far as the time for it has come.
    async fn carry_out(&mut self) -> io::Result<()> {
        loop {
            while let Some(action) = self.bridge.poll_action() {
                self.queue.push_back(action);
            }
            let is_early = self.write_at() > now().instant;
            match self.queue.pop_front() {
                None => return Ok(()),
                Some(Action::Write(bytes)) if is_early => {
                    self.queue.push_front(Action::Write(bytes));
                    return Ok(());
                }
                Some(action) => self.act(action).await?,
            }
        }
    }

    async fn act(&mut self, action: Action) -> io::Result<()> {
        match action {
            Action::Write(bytes) => self.write(&bytes).await?,
            Action::Enter(entry) => self.enter(entry),
            Action::Ask(ticket, command) => self.ask(ticket, command).await,
            Action::Leave => {
                if let Some(seat) = self.seat.take() {
                    seat.log_out();
                }
            }
            Action::Note { to, bytes } => self.leave_note(&to, bytes),
            Action::OpenDoor(door) => self.sides.open_door(door),
            Action::CloseDoor(door) => self.sides.close_door(door),
            Action::Dial { call, to } => self.sides.dial(call, to),
            Action::Say { call, bytes } => self.sides.say(call, bytes),
            Action::HangUp(call) => self.sides.hang_up(call),
            Action::Finish(linger) => self.finish(linger),
            Action::CloseGateway => self.running.closing.cancel(),
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.traffic(|traffic| traffic.count_out(1, bytes.len()));
        let result = self.wire.write(bytes).await;
        self.last_write = Some(now().instant);
        result
    }

    fn enter(&mut self, entry: Entry) {
        self.seat = None;
        let running = &self.running;
        let notes = self.notes.0.clone();
        let Some(place) =
            running.places.claim(&entry.name, running.registry, entry.duplicates, notes)
        else {
            return self.bridge.handle_entered(now(), Err(Refused::InUse));
        };
        let id = legacy_id(self.visitor.server, &entry.name);
        self.seat = Some(Seat::take(running, (id, self.visitor.address), entry, place));
    }

    async fn ask(&mut self, ticket: Ticket, command: Command) {
        let hub = &self.running.context.hub;
        match &self.seat {
            Some(seat) => {
                hub.wait_for_room().await;
                hub.meter.request(self.running.registry, &command);
                seat.ask(ticket, command);
            }
            None => {
                let error = ErrorBody::new(ErrorCode::NotLoggedIn, "log in first");
                self.bridge.handle_answer(now(), ticket, Err(error));
            }
        }
    }

    fn leave_note(&mut self, to: &Name, bytes: Vec<u8>) {
        let Some(seat) = &self.seat else { return };
        let bytes = Bytes::from(bytes);
        let note = Note { from: seat.name().clone(), bytes: bytes.clone() };
        if !self.running.places.leave_note(to, self.running.registry, note) {
            self.bridge.handle_note_missed(now(), to, &bytes);
        }
    }

    fn finish(&mut self, linger: Duration) {
        self.is_finished = true;
        self.seat = None;
        let at = now().instant + linger;
        self.over_at = Some(self.over_at.map_or(at, |before| before.min(at)));
    }

    fn traffic(&self, count: impl FnOnce(&crate::core::Traffic)) {
        if let Some(traffic) = self.running.context.traffic.get(self.running.registry) {
            count(traffic);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(stranger) = self.stranger.take() {
            self.running.strangers.part(stranger);
        }
    }
}

fn now() -> Now {
    let now = clock::now();
    Now { instant: now.instant, wall: now.wall }
}
