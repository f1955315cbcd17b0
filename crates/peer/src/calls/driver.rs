//! The task of one call: it carries signals between the machine, the stream and the application,
//! and opens another stream when one breaks.

use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use portolan_protocol::{
    Answered, CODEC_OPUS, Call, Clock, ErrorCode, Listen, Name, PeerCommand, PeerEvent,
    PeerMessage, Position, RequestId,
};
use portolan_transport::Priority;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, sleep_until, timeout},
};

use super::{
    CallDirection, CallId, CallUpdate, Order,
    clock::ClockWatch,
    link::{Heard, Hold, Link},
    machine::{Machine, Patience, Role, Signal},
    registry::Calls,
    sound::{Aim, Control, Part, Sound, SoundNews, SoundParts},
    watch::Standing,
};
use crate::{
    Event, ReachError,
    remote::{DatagramInbox, Sessions},
};

/// How long news may wait for the application.
const NEWS_PATIENCE: Duration = Duration::from_secs(2);
/// The pause before a broken stream is replaced; doubled for each try that fails.
const REDIAL_FIRST: Duration = Duration::from_millis(200);
const REDIAL_LONGEST: Duration = Duration::from_secs(2);

/// How a call begins.
pub(crate) enum Start {
    Outgoing { part: Part, listen: Option<Listen> },
    Incoming { link: Link, stream: u32, listen: Option<Listen> },
}

/// What the task is made with.
pub(crate) struct DriverParts {
    pub(crate) id: CallId,
    pub(crate) with: Name,
    pub(crate) key: u64,
    pub(crate) start: Start,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) calls: Weak<Calls>,
    pub(crate) sessions: Weak<Sessions>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) patience: Patience,
    pub(crate) inbox: DatagramInbox,
    pub(crate) is_calling: Arc<AtomicBool>,
    pub(crate) standing: watch::Sender<Standing>,
}

type Dial = Pin<Box<dyn Future<Output = Result<Link, ReachError>> + Send>>;

/// The task of one call.
pub(crate) struct Driver {
    id: CallId,
    with: Name,
    direction: CallDirection,
    key: u64,
    listen: Option<Listen>,
    machine: Machine,
    clock: ClockWatch,
    orders: mpsc::Receiver<Order>,
    link: Option<Link>,
    dial: Option<Dial>,
    pause: Duration,
    /// The number that our datagrams carry.
    stream: Option<u32>,
    /// The number that theirs carry.
    number: u32,
    /// Until the call is taken.
    inbox: Option<DatagramInbox>,
    part: Option<Part>,
    /// From then on.
    sound: Option<Sound>,
    /// When what is listened to together is to be heard.
    aim: Option<Aim>,
    calls: Weak<Calls>,
    sessions: Weak<Sessions>,
    events: mpsc::Sender<Event>,
    is_calling: Arc<AtomicBool>,
    standing: watch::Sender<Standing>,
    /// Both have called, and the other's call stays: it is the other's to open.
    yields: bool,
}

/// What woke the task.
enum Woken {
    Order(Option<Order>),
    Heard(Result<Heard, String>),
    Sound(Option<SoundNews>),
    Dialed(Result<Link, ReachError>),
    Time,
}

impl Driver {
    pub(crate) fn new(parts: DriverParts) -> Self {
        let now = Instant::now();
        let DriverParts { patience, start, .. } = parts;
        let (direction, machine, link, stream, listen, part) = match start {
            Start::Outgoing { part, listen } => {
                let machine = Machine::calling(now, patience);
                (CallDirection::Outgoing, machine, None, None, listen, Some(part))
            }
            Start::Incoming { link, stream, listen } => {
                let machine = Machine::ringing(now, patience);
                (CallDirection::Incoming, machine, Some(link), Some(stream), listen, None)
            }
        };
        Self {
            id: parts.id,
            with: parts.with,
            direction,
            key: parts.key,
            listen,
            machine,
            clock: ClockWatch::new(now),
            orders: parts.orders,
            link,
            dial: None,
            pause: Duration::ZERO,
            stream,
            number: parts.inbox.number(),
            inbox: Some(parts.inbox),
            part,
            sound: None,
            aim: None,
            calls: parts.calls,
            sessions: parts.sessions,
            events: parts.events,
            is_calling: parts.is_calling,
            standing: parts.standing,
            yields: false,
        }
    }

    /// Runs until the call is over.
    pub(crate) async fn run(mut self) {
        loop {
            self.drain().await;
            self.move_sound();
            if self.machine.has_ended() {
                break;
            }
            self.begin_dial();
            let woken = self.wait().await;
            self.on_woken(woken);
        }
        if let Some(link) = self.link.take() {
            link.finish().await;
        }
        self.end().await;
        if let Some(calls) = self.calls.upgrade() {
            calls.forget(self.id);
        }
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self.deadline();
        tokio::select! {
            order = self.orders.recv() => Woken::Order(order),
            heard = async {
                match &mut self.link {
                    Some(link) => link.step().await,
                    None => std::future::pending().await,
                }
            } => Woken::Heard(heard),
            news = async {
                match &mut self.sound {
                    Some(sound) => sound.next().await,
                    None => std::future::pending().await,
                }
            } => Woken::Sound(news),
            dialed = async {
                match &mut self.dial {
                    Some(dial) => dial.await,
                    None => std::future::pending().await,
                }
            } => Woken::Dialed(dialed),
            () = sleep_until(deadline) => Woken::Time,
        }
    }

    fn on_woken(&mut self, woken: Woken) {
        match woken {
            Woken::Order(Some(order)) => self.on_order(order),
            // The peer is gone, and its calls with it.
            Woken::Order(None) => self.machine.hang_up(None),
            Woken::Heard(Ok(heard)) => self.on_heard(heard),
            Woken::Heard(Err(why)) => self.lose(why),
            Woken::Sound(news) => self.on_sound(news),
            Woken::Dialed(dialed) => self.on_dialed(dialed),
            Woken::Time => self.on_time(),
        }
    }

    fn deadline(&self) -> Instant {
        let clock = self.link.is_some().then(|| self.clock.deadline());
        let far = Instant::now() + Duration::from_secs(60);
        self.machine.poll_timeout().into_iter().chain(clock).fold(far, Instant::min)
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Accept(media) => {
                let part = match self.listen {
                    Some(_) => Part::Guest(media),
                    None => Part::Talk(media),
                };
                self.part.get_or_insert(part);
                self.machine.accept();
            }
            Order::Deny(reason) => drop(self.machine.deny(reason)),
            Order::HangUp(reason) => self.machine.hang_up(reason),
            Order::Mute(on) => self.machine.set_muted(on),
            Order::Hold(on) => self.machine.set_held(on),
            Order::Link(link) => {
                self.put(link);
                self.machine.handle_link();
            }
            Order::Yield { link, stream } => self.on_yield(link, stream),
        }
    }

    /// Both have called at once, and theirs stays.
    fn on_yield(&mut self, link: Link, stream: u32) {
        if self.machine.yield_to_theirs() {
            self.dial = None;
            self.stream = Some(stream);
            self.put(link);
        }
    }

    fn put(&mut self, link: Link) {
        self.link = Some(link);
        self.pause = REDIAL_FIRST;
        self.clock.restart(Instant::now());
    }

    fn lose(&mut self, why: String) {
        self.link = None;
        self.machine.handle_loss(Instant::now(), why);
    }

    fn on_heard(&mut self, heard: Heard) {
        let now = Instant::now();
        self.clock.on_heard(now);
        match heard {
            Heard::Signal(signal) => self.on_signal(now, signal),
            Heard::Answered(answered) => {
                self.stream = Some(answered.stream);
                self.machine.handle_signal(now, Signal::Answered);
            }
            Heard::Clock(clock) => self.on_clock(now, clock),
            Heard::Position(position) => self.on_position(position),
            Heard::Unknown => {}
        }
    }

    fn on_signal(&mut self, now: Instant, signal: Signal) {
        if let Signal::Refused(body) = &signal
            && body.code == ErrorCode::Conflict
            && self.machine.is_calling()
        {
            self.yields = true;
            self.link = None;
        }
        self.machine.handle_signal(now, signal);
    }

    fn on_clock(&mut self, now: Instant, clock: Clock) {
        if let Some(answer) = self.clock.on_clock(now, clock) {
            self.tell(answer.into());
        }
    }

    /// The host tells where the sound is.
    fn on_position(&mut self, position: Position) {
        if let Some(at) = self.clock.instant_of(position.at) {
            let at_ms = Duration::from_millis(position.position_ms);
            self.aim = Some(Aim { timestamp: position.timestamp, at, position: at_ms });
        }
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        self.machine.handle_timeout(now);
        if self.link.is_none() {
            return;
        }
        if self.clock.is_silent(now) {
            self.lose("nothing was heard for too long".to_owned());
        } else if let Some(question) = self.clock.question(now) {
            self.tell(question.into());
        }
    }

    fn tell(&mut self, event: PeerEvent) {
        let told = self.link.as_mut().map_or(Ok(()), |link| link.tell(event));
        if let Err(why) = told {
            self.lose(why);
        }
    }

    /// The caller opens a stream when none is there; one that has yielded waits for the other's.
    fn begin_dial(&mut self) {
        let wanted = self.machine.role() == Role::Caller
            && self.link.is_none()
            && self.dial.is_none()
            && !self.yields;
        if !wanted {
            return;
        }
        let call = Call {
            id: self.key,
            stream: self.number,
            codecs: vec![CODEC_OPUS.to_owned()],
            resumes: self.machine.is_talking(),
            listen: self.listen.clone(),
        };
        let (sessions, with, pause) = (self.sessions.clone(), self.with.clone(), self.pause);
        self.pause = (pause * 2).clamp(REDIAL_FIRST, REDIAL_LONGEST);
        self.dial = Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            dial(sessions, &with, call).await
        }));
    }

    fn on_dialed(&mut self, dialed: Result<Link, ReachError>) {
        self.dial = None;
        match dialed {
            Ok(link) => {
                self.link = Some(link);
                self.clock.restart(Instant::now());
                self.machine.handle_link();
            }
            // Who could be reached before may be on the way back.
            Err(error) if self.machine.is_lost() => {
                tracing::debug!(%error, "the call to {} is not carried yet", self.with);
            }
            Err(error) => self.machine.fail(error.code(), error.to_string()),
        }
    }

    /// Lets sound begin when the call is taken, and tells it how the call stands.
    fn move_sound(&mut self) {
        let control = Control {
            flows: self.machine.flows(),
            muted: self.machine.is_muted(),
            round_trip: self.clock.rtt(),
            aim: self.aim,
        };
        if let Some(sound) = &self.sound {
            return sound.control(control);
        }
        if !self.machine.is_talking() {
            return;
        }
        let (Some(part), Some(inbox), Some(stream)) =
            (self.part.take(), self.inbox.take(), self.stream)
        else {
            return;
        };
        let (id, with, sessions) = (self.id, self.with.clone(), self.sessions.clone());
        let parts = SoundParts { id, with, sessions, inbox, part, stream };
        match Sound::start(parts, control) {
            Ok(sound) => self.sound = Some(sound),
            Err(error) => self.machine.fail(ErrorCode::Internal, error.to_string()),
        }
    }

    fn on_sound(&mut self, news: Option<SoundNews>) {
        match news {
            Some(SoundNews::Report(update)) => {
                let _ = self.events.try_send(Event::Audio(update));
            }
            Some(SoundNews::Mark(mark)) => self.tell(
                Position {
                    timestamp: mark.timestamp,
                    at: self.clock.micros(mark.at),
                    position_ms: u64::try_from(mark.position.as_millis()).unwrap_or(u64::MAX),
                    plays: mark.plays,
                }
                .into(),
            ),
            Some(SoundNews::Over) => self.machine.hang_up(Some("it is over".to_owned())),
            Some(SoundNews::Failed(why)) => self.machine.fail(ErrorCode::Internal, why),
            None => self.machine.fail(ErrorCode::Internal, "the sound has ended".to_owned()),
        }
    }

    /// Lets the sink have everything, and tells the last of it.
    async fn end(&mut self) {
        if let Some(sound) = self.sound.take()
            && let Some(last) = sound.finish().await
        {
            let _ = timeout(NEWS_PATIENCE, self.events.send(Event::Audio(Box::new(last)))).await;
        }
    }

    /// Says and tells everything that the machine has to.
    async fn drain(&mut self) {
        let answered = Answered { codec: CODEC_OPUS.to_owned(), stream: self.number };
        while let Some(signal) = self.machine.poll_signal() {
            let said = self.link.as_mut().map_or(Ok(()), |link| link.say(signal, &answered));
            if let Err(why) = said {
                self.lose(why);
            }
        }
        self.is_calling.store(self.machine.is_calling(), Ordering::Relaxed);
        while let Some(phase) = self.machine.poll_event() {
            self.standing.send_modify(|standing| standing.note(&phase));
            let (id, with, direction) = (self.id, self.with.clone(), self.direction);
            let title = self.listen.as_ref().map(|listen| listen.title.clone());
            let update = CallUpdate { id, with, direction, title, phase };
            // An application that does not read its news is not waited for.
            let _ = timeout(NEWS_PATIENCE, self.events.send(Event::Call(update))).await;
        }
    }
}

/// Opens a stream to `with` and asks for the call.
async fn dial(sessions: Weak<Sessions>, with: &Name, call: Call) -> Result<Link, ReachError> {
    let broken = |detail: String| ReachError::Broken { who: with.clone(), detail };
    let sessions = sessions.upgrade().ok_or_else(|| broken("the session is over".to_owned()))?;
    let mut stream = sessions.open(with, Priority::Control).await?;
    let id = RequestId(1);
    let request = PeerMessage::Request(id, PeerCommand::Call(call));
    let sent = timeout(sessions.host().timing.request, stream.writer.send(&request)).await;
    match sent {
        Ok(Ok(())) => {
            let hold = Hold::Ours { _lease: stream.lease };
            Ok(Link::new((stream.reader, stream.writer), id, hold))
        }
        Ok(Err(error)) => Err(broken(error.to_string())),
        Err(_) => Err(ReachError::TimedOut { who: with.clone() }),
    }
}
