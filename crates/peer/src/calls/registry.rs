//! All calls of this peer: who rings, who is busy, which of two calls at once stays.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use portolan_protocol::{CODEC_OPUS, Call, ErrorBody, ErrorCode, Listen, Name};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Duration, Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    CallDirection, CallError, CallId, CallMedia, CallPhase, CallRule, CallUpdate, CallWatch, Order,
    Switch,
    driver::{Driver, DriverParts, Start},
    link::{Hold, Link},
    machine::Patience,
    sound::Part,
    watch::Standing,
};
use crate::{
    Config, Event,
    remote::{Datagrams, Rate, Sessions},
    session::random,
};

/// Orders of the application that one call may not have carried out yet.
const ORDERS_MAX: usize = 32;
/// How often all others together may make it ring.
const RINGS_PER_MINUTE: u32 = 30;
/// How long hanging up everything may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// All calls of this peer. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Calls {
    rule: CallRule,
    max: usize,
    patience: Patience,
    events: mpsc::Sender<Event>,
    datagrams: Arc<Datagrams>,
    sessions: OnceLock<Weak<Sessions>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: u64,
    by_id: HashMap<CallId, Entry>,
    /// How often others may make it ring.
    rings: Rate,
}

#[derive(Debug)]
struct Entry {
    with: Name,
    /// The call's number on the wire.
    key: u64,
    kind: Kind,
    direction: CallDirection,
    /// We ring, and nobody has answered.
    is_calling: Arc<AtomicBool>,
    orders: mpsc::Sender<Order>,
    standing: watch::Receiver<Standing>,
    _task: AbortOnDropHandle<()>,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Talk,
    Listen,
}

impl Kind {
    fn of(listen: Option<&Listen>) -> Self {
        if listen.is_some() { Self::Listen } else { Self::Talk }
    }
}

/// What becomes of a call that has come in.
enum Verdict {
    /// It goes on with one that we know.
    Known(mpsc::Sender<Order>),
    /// It stays, and ours to the same peer does not.
    Yields(mpsc::Sender<Order>),
    /// It rings.
    New,
    Refused(ErrorBody),
}

impl Calls {
    pub(crate) fn new(
        config: &Config,
        events: mpsc::Sender<Event>,
        datagrams: Arc<Datagrams>,
    ) -> Self {
        let patience = Patience {
            ring: config.timing.ring,
            words: config.timing.request,
            resume: config.timing.call_resume,
        };
        Self {
            rule: config.accept_calls,
            max: config.limits.calls,
            patience,
            events,
            datagrams,
            sessions: OnceLock::new(),
            state: Mutex::new(State {
                last: 0,
                by_id: HashMap::new(),
                rings: Rate::new(Instant::now(), RINGS_PER_MINUTE, Duration::from_secs(60)),
            }),
        }
    }

    /// Names the sessions over which calls go.
    pub(crate) fn attach(&self, sessions: Weak<Sessions>) {
        let _ = self.sessions.set(sessions);
    }

    /// Calls `who`; what becomes of it is told by events.
    pub(crate) fn call(
        self: &Arc<Self>,
        who: &Name,
        part: Part,
        listen: Option<Listen>,
    ) -> Result<CallId, CallError> {
        let kind = Kind::of(listen.as_ref());
        let mut state = self.lock();
        let in_the_way = state.by_id.values().find(|entry| match kind {
            Kind::Talk => !entry.is_hosted() && !entry.has_ended(),
            Kind::Listen => entry.with == *who && !entry.has_ended(),
        });
        if let Some(entry) = in_the_way {
            return Err(CallError::InCall { with: entry.with.clone() });
        }
        if state.by_id.len() >= self.max {
            return Err(CallError::TooMany { max: self.max });
        }
        Ok(self.start(&mut state, who, random(), Start::Outgoing { part, listen }))
    }

    /// Serves the stream of a call that `who` makes, for as long as it lasts.
    pub(crate) async fn on_call(
        self: &Arc<Self>,
        who: &Name,
        call: Call,
        link: impl FnOnce(Hold) -> Link,
    ) {
        let (served, serving) = oneshot::channel();
        let link = link(Hold::Theirs { _served: served });
        if let Some(link) = self.take(who, call, link) {
            let (link, body) = link;
            link.refuse(body).await;
        }
        // The call's task has the stream; it drops its end when it is done with it.
        let _ = serving.await;
    }

    /// Passes the stream to the call that it belongs to; gives it back if there is none.
    fn take(self: &Arc<Self>, who: &Name, call: Call, link: Link) -> Option<(Link, ErrorBody)> {
        if let Err(body) = call.check() {
            return Some((link, body));
        }
        let mut state = self.lock();
        let (orders, order) = match self.judge(&mut state, who, &call) {
            Verdict::Known(orders) => (orders, Order::Link(link)),
            Verdict::Yields(orders) => (orders, Order::Yield { link, stream: call.stream }),
            Verdict::New => {
                let start = Start::Incoming { link, stream: call.stream, listen: call.listen };
                self.start(&mut state, who, call.id, start);
                return None;
            }
            Verdict::Refused(body) => {
                if body.code == ErrorCode::Busy {
                    self.tell_missed(&mut state, who);
                }
                return Some((link, body));
            }
        };
        match orders.try_send(order) {
            Ok(()) => None,
            Err(refused) => match refused.into_inner() {
                Order::Link(link) | Order::Yield { link, .. } => Some((link, over())),
                Order::Accept(_)
                | Order::Deny(_)
                | Order::HangUp(_)
                | Order::Mute(_)
                | Order::Hold(_) => None,
            },
        }
    }

    fn judge(&self, state: &mut State, who: &Name, call: &Call) -> Verdict {
        let known = state.by_id.values().find(|entry| {
            entry.with == *who && entry.key == call.id && entry.direction == CallDirection::Incoming
        });
        if let Some(entry) = known {
            return Verdict::Known(entry.orders.clone());
        }
        if call.resumes {
            return Verdict::Refused(over());
        }
        if !call.codecs.iter().any(|codec| codec == CODEC_OPUS) {
            let message = format!("this peer speaks {CODEC_OPUS:?} only");
            return Verdict::Refused(ErrorBody::new(ErrorCode::Unsupported, message));
        }
        let kind = Kind::of(call.listen.as_ref());
        if kind == Kind::Talk
            && let Some(verdict) = both_at_once(state, who, call)
        {
            return verdict;
        }
        if self.rule == CallRule::None {
            let message = "calls are not taken here";
            return Verdict::Refused(ErrorBody::new(ErrorCode::Denied, message));
        }
        let mut entries = state.by_id.values();
        let is_busy = entries.any(|entry| !entry.is_hosted() && !entry.has_ended());
        if is_busy || state.by_id.len() >= self.max {
            return Verdict::Refused(ErrorBody::new(ErrorCode::Busy, "in another call"));
        }
        if state.rings.take(Instant::now()).is_err() {
            let message = "too many calls in too short a time; try later";
            return Verdict::Refused(ErrorBody::new(ErrorCode::RateLimited, message));
        }
        Verdict::New
    }

    fn start(self: &Arc<Self>, state: &mut State, who: &Name, key: u64, start: Start) -> CallId {
        state.last += 1;
        let id = CallId(state.last);
        let (orders_in, orders) = mpsc::channel(ORDERS_MAX);
        let (direction, kind) = match &start {
            Start::Outgoing { listen, .. } => (CallDirection::Outgoing, Kind::of(listen.as_ref())),
            Start::Incoming { listen, .. } => (CallDirection::Incoming, Kind::of(listen.as_ref())),
        };
        let (standing_in, standing) = watch::channel(Standing::default());
        let is_calling = Arc::new(AtomicBool::new(direction == CallDirection::Outgoing));
        let driver = Driver::new(DriverParts {
            id,
            with: who.clone(),
            key,
            start,
            orders,
            calls: Arc::downgrade(self),
            sessions: self.sessions.get().cloned().unwrap_or_default(),
            events: self.events.clone(),
            patience: self.patience,
            inbox: self.datagrams.register(who),
            is_calling: Arc::clone(&is_calling),
            standing: standing_in,
        });
        // Under the lock, so that the task cannot take itself off before it is on the list.
        let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        let (with, orders) = (who.clone(), orders_in);
        state.by_id.insert(
            id,
            Entry { with, key, kind, direction, is_calling, orders, standing, _task: task },
        );
        id
    }

    /// Somebody has called while we were in another call.
    fn tell_missed(&self, state: &mut State, who: &Name) {
        state.last += 1;
        let update = CallUpdate {
            id: CallId(state.last),
            with: who.clone(),
            direction: CallDirection::Incoming,
            title: None,
            phase: CallPhase::Busy,
        };
        let _ = self.events.try_send(Event::Call(update));
    }

    /// Takes the call `id`.
    pub(crate) fn accept(&self, id: CallId, media: CallMedia) -> Result<(), CallError> {
        self.order(id, Order::Accept(media))
    }

    pub(crate) fn deny(&self, id: CallId, reason: String) -> Result<(), CallError> {
        self.order(id, Order::Deny(reason))
    }

    pub(crate) fn hang_up(&self, id: CallId, reason: Option<String>) -> Result<(), CallError> {
        self.order(id, Order::HangUp(reason))
    }

    pub(crate) fn mute(&self, id: CallId, on: Switch) -> Result<(), CallError> {
        self.order(id, Order::Mute(on))
    }

    pub(crate) fn hold(&self, id: CallId, on: Switch) -> Result<(), CallError> {
        self.order(id, Order::Hold(on))
    }

    fn order(&self, id: CallId, order: Order) -> Result<(), CallError> {
        let state = self.lock();
        let entry = state.by_id.get(&id).ok_or(CallError::NoSuchCall(id.0))?;
        entry.orders.try_send(order).map_err(|_| CallError::NoSuchCall(id.0))
    }

    /// Lets the application wait for what becomes of a call.
    pub(crate) fn watch(&self, id: CallId) -> Result<CallWatch, CallError> {
        let state = self.lock();
        let entry = state.by_id.get(&id).ok_or(CallError::NoSuchCall(id.0))?;
        Ok(CallWatch::new(entry.standing.clone()))
    }

    /// Hangs everything up, and waits a little until it was said.
    pub(crate) async fn hang_up_all(&self) {
        let all: Vec<mpsc::Sender<Order>> = {
            let state = self.lock();
            state.by_id.values().map(|entry| entry.orders.clone()).collect()
        };
        let until = Instant::now() + FAREWELL;
        for orders in all {
            if orders.try_send(Order::HangUp(None)).is_ok() {
                let _ = timeout_at(until, orders.closed()).await;
            }
        }
    }

    /// A call's task is done: its last act.
    pub(super) fn forget(&self, id: CallId) {
        self.lock().by_id.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Only last words are still said.
    fn has_ended(&self) -> bool {
        self.standing.borrow().has_ended()
    }

    /// We play to somebody who listens: that keeps nobody from calling.
    fn is_hosted(&self) -> bool {
        self.kind == Kind::Listen && self.direction == CallDirection::Outgoing
    }
}

/// Both call each other at once: the call with the smaller number stays, and is taken.
fn both_at_once(state: &mut State, who: &Name, call: &Call) -> Option<Verdict> {
    let ours = state.by_id.values_mut().find(|entry| {
        entry.with == *who
            && entry.kind == Kind::Talk
            && entry.direction == CallDirection::Outgoing
            && entry.is_calling.load(Ordering::Relaxed)
    })?;
    if call.id < ours.key {
        (ours.key, ours.direction) = (call.id, CallDirection::Incoming);
        ours.is_calling.store(false, Ordering::Relaxed);
        return Some(Verdict::Yields(ours.orders.clone()));
    }
    let message = "both call each other; the other call is the one that stays";
    Some(Verdict::Refused(ErrorBody::new(ErrorCode::Conflict, message)))
}

fn over() -> ErrorBody {
    ErrorBody::new(ErrorCode::NoConversation, "there is no such call any more")
}
