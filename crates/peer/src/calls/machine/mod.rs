//! One call as one side sees it: who rings, who waits for how long, who is silent. No I/O: signals
//! in and out, news for the application, a deadline.
//!
//! ```text
//!   Calling ──answered──► Talking ──hang-up, nobody comes back──► Ended
//!   Ringing ──accept────►    │ ▲
//!      │                     ▼ │   the stream breaks; the caller opens another one
//!      └──deny, time────► (lost)
//! ```

use std::{collections::VecDeque, time::Duration};

use portolan_protocol::{ErrorBody, ErrorCode};
use tokio::time::Instant;

use super::{CallPhase, Switch};

/// Which end of the call we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Called,
}

/// What goes over the call's stream, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Called to caller.
    Ringing,
    /// Called to caller: taken, or on again after the stream broke.
    Answered,
    /// Called to caller.
    Refused(ErrorBody),
    HangUp(Option<String>),
    Muted(Switch),
    Held(Switch),
}

/// How long the sides of a call wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a person to answer.
    pub(crate) ring: Duration,
    /// For the other side's own time to run out first, so that its words arrive.
    pub(crate) words: Duration,
    /// For a broken stream to be replaced.
    pub(crate) resume: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// We ring at the other's.
    Calling {
        until: Instant,
    },
    /// The other rings.
    Ringing {
        until: Instant,
    },
    Talking,
    Ended,
}

/// What one side has switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    muted: Switch,
    held: Switch,
}

impl Side {
    const OPEN: Self = Self { muted: Switch::Off, held: Switch::Off };
}

/// One call as one side sees it.
#[derive(Debug)]
pub(crate) struct Machine {
    role: Role,
    stage: Stage,
    /// No stream carries the call; it is over unless one does by then.
    lost_until: Option<Instant>,
    ours: Side,
    theirs: Side,
    patience: Patience,
    signals: VecDeque<Signal>,
    news: VecDeque<CallPhase>,
}

impl Machine {
    /// We call; the stream is there and the request on its way.
    pub(crate) fn calling(now: Instant, patience: Patience) -> Self {
        let until = now + patience.ring + patience.words;
        let mut machine = Self::new(Role::Caller, Stage::Calling { until }, patience);
        machine.news.push_back(CallPhase::Calling);
        machine
    }

    /// Somebody calls.
    pub(crate) fn ringing(now: Instant, patience: Patience) -> Self {
        let until = now + patience.ring;
        let mut machine = Self::new(Role::Called, Stage::Ringing { until }, patience);
        machine.say(Signal::Ringing);
        machine.news.push_back(CallPhase::Ringing);
        machine
    }

    fn new(role: Role, stage: Stage, patience: Patience) -> Self {
        Self {
            role,
            stage,
            lost_until: None,
            ours: Side::OPEN,
            theirs: Side::OPEN,
            patience,
            signals: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn is_calling(&self) -> bool {
        matches!(self.stage, Stage::Calling { .. })
    }

    pub(crate) fn is_ringing(&self) -> bool {
        matches!(self.stage, Stage::Ringing { .. })
    }

    pub(crate) fn is_talking(&self) -> bool {
        self.stage == Stage::Talking
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether a stream is missed; the caller opens another one.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost_until.is_some() && !self.has_ended()
    }

    /// Whether sound goes over now.
    pub(crate) fn flows(&self) -> bool {
        self.is_talking() && self.ours.held == Switch::Off && self.theirs.held == Switch::Off
    }

    /// Whether our microphone is off.
    pub(crate) fn is_muted(&self) -> bool {
        self.ours.muted == Switch::On
    }

    /// A person takes the call. `false`: nobody rings any more.
    pub(crate) fn accept(&mut self) -> bool {
        if !self.is_ringing() {
            return false;
        }
        self.begin();
        self.say(Signal::Answered);
        self.say_switches();
        true
    }

    /// A person does not want the call. `false`: nobody rings any more.
    pub(crate) fn deny(&mut self, reason: String) -> bool {
        if !self.is_ringing() {
            return false;
        }
        self.refuse(ErrorCode::Denied, &reason, CallPhase::Denied { reason: reason.clone() });
        true
    }

    /// A person has had enough.
    pub(crate) fn hang_up(&mut self, reason: Option<String>) {
        match self.stage {
            Stage::Ringing { .. } => drop(self.deny(reason.unwrap_or_default())),
            Stage::Calling { .. } | Stage::Talking => {
                self.say(Signal::HangUp(reason));
                self.end(CallPhase::Ended { reason: None });
            }
            Stage::Ended => {}
        }
    }

    pub(crate) fn set_muted(&mut self, muted: Switch) {
        if self.ours.muted != muted && !self.has_ended() {
            self.ours.muted = muted;
            self.news.push_back(CallPhase::Muted { by_us: true, on: muted });
            self.say_if_talking(Signal::Muted(muted));
        }
    }

    pub(crate) fn set_held(&mut self, held: Switch) {
        if self.ours.held != held && !self.has_ended() {
            self.ours.held = held;
            self.news.push_back(CallPhase::Held { by_us: true, on: held });
            self.say_if_talking(Signal::Held(held));
        }
    }

    /// Both have called each other at once, and theirs is the call that stays: it is taken, for we
    /// want to talk. `false`: ours has been answered or is over.
    pub(crate) fn yield_to_theirs(&mut self) -> bool {
        if !self.is_calling() {
            return false;
        }
        self.role = Role::Called;
        self.lost_until = None;
        self.signals.clear();
        self.begin();
        self.say(Signal::Answered);
        self.say_switches();
        true
    }

    /// There is no way to the other side, or none for sound.
    pub(crate) fn fail(&mut self, code: ErrorCode, reason: String) {
        if !self.has_ended() {
            self.say(Signal::HangUp(None));
            self.end(CallPhase::Failed { code, reason });
        }
    }

    /// A stream carries the call again.
    pub(crate) fn handle_link(&mut self) {
        match (self.role, self.stage) {
            // The caller is on again when it is told so.
            (Role::Caller, _) | (Role::Called, Stage::Ended | Stage::Calling { .. }) => {}
            (Role::Called, Stage::Ringing { .. }) => {
                self.lost_until = None;
                self.say(Signal::Ringing);
            }
            (Role::Called, Stage::Talking) => {
                self.on_again();
                self.say(Signal::Answered);
                self.say_switches();
            }
        }
    }

    /// The stream that carried the call has broken.
    pub(crate) fn handle_loss(&mut self, now: Instant, why: String) {
        self.signals.clear();
        if self.has_ended() || self.lost_until.is_some() {
            return;
        }
        self.lost_until = Some(now + self.patience.resume);
        if self.is_talking() {
            self.news.push_back(CallPhase::Interrupted { reason: why });
        }
    }

    /// The other side says something.
    pub(crate) fn handle_signal(&mut self, now: Instant, signal: Signal) {
        match (self.stage, signal) {
            (Stage::Ended, _) => {}
            (Stage::Calling { .. }, Signal::Ringing) => self.on_ringing(),
            (Stage::Calling { .. }, Signal::Answered) => {
                self.lost_until = None;
                self.begin();
                self.say_switches();
            }
            (Stage::Calling { .. } | Stage::Talking, Signal::Refused(body))
                if self.role == Role::Caller =>
            {
                self.on_refused(now, body);
            }
            (Stage::Talking, Signal::Answered) if self.role == Role::Caller && self.is_lost() => {
                self.on_again();
                self.say_switches();
            }
            (_, Signal::HangUp(reason)) => self.end(CallPhase::Ended { reason }),
            (_, Signal::Muted(on)) => self.on_muted(on),
            (_, Signal::Held(on)) => self.on_held(on),
            // Said twice, or by the wrong side: it changes nothing.
            (
                Stage::Ringing { .. } | Stage::Talking,
                Signal::Ringing | Signal::Answered | Signal::Refused(_),
            )
            | (Stage::Calling { .. }, Signal::Refused(_)) => {}
        }
    }

    /// A deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Calling { until } if until <= now => {
                self.say(Signal::HangUp(None));
                return self.end(CallPhase::TimedOut);
            }
            Stage::Ringing { until } if until <= now => {
                let reason = "nobody took the call in time";
                return self.refuse(ErrorCode::TimedOut, reason, CallPhase::TimedOut);
            }
            Stage::Calling { .. } | Stage::Ringing { .. } | Stage::Talking | Stage::Ended => {}
        }
        if self.lost_until.is_some_and(|until| until <= now) {
            let reason = Some("the connection did not come back".to_owned());
            // There may be a stream that has only not been answered yet.
            self.say(Signal::HangUp(reason.clone()));
            self.end(CallPhase::Ended { reason });
        }
    }

    /// The next thing to say. What is said while no stream is there is lost with it.
    pub(crate) fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    /// The next news for the application.
    pub(crate) fn poll_event(&mut self) -> Option<CallPhase> {
        self.news.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Calling { until } | Stage::Ringing { until } => Some(until),
            Stage::Talking => None,
            Stage::Ended => return None,
        };
        stage.into_iter().chain(self.lost_until).min()
    }

    fn on_ringing(&mut self) {
        // A second time: the stream was replaced, and it still rings.
        if self.lost_until.take().is_none() {
            self.news.push_back(CallPhase::Ringing);
        }
    }

    fn on_refused(&mut self, now: Instant, body: ErrorBody) {
        let reason = body.message;
        match body.code {
            // Both have called, and the other's call stays: it is on its way to us.
            ErrorCode::Conflict if self.is_calling() => self.handle_loss(now, reason),
            ErrorCode::Denied => self.end(CallPhase::Denied { reason }),
            ErrorCode::Busy => self.end(CallPhase::Busy),
            ErrorCode::TimedOut => self.end(CallPhase::TimedOut),
            ErrorCode::NoConversation => self.end(CallPhase::Ended { reason: None }),
            code => self.end(CallPhase::Failed { code, reason }),
        }
    }

    fn on_muted(&mut self, on: Switch) {
        if std::mem::replace(&mut self.theirs.muted, on) != on {
            self.news.push_back(CallPhase::Muted { by_us: false, on });
        }
    }

    fn on_held(&mut self, on: Switch) {
        if std::mem::replace(&mut self.theirs.held, on) != on {
            self.news.push_back(CallPhase::Held { by_us: false, on });
        }
    }

    fn on_again(&mut self) {
        if self.lost_until.take().is_some() {
            self.news.push_back(CallPhase::Resumed);
        }
    }

    fn begin(&mut self) {
        self.stage = Stage::Talking;
        self.news.push_back(CallPhase::Accepted);
    }

    fn refuse(&mut self, code: ErrorCode, reason: &str, phase: CallPhase) {
        self.say(Signal::Refused(ErrorBody::new(code, reason)));
        self.end(phase);
    }

    fn end(&mut self, phase: CallPhase) {
        self.stage = Stage::Ended;
        self.lost_until = None;
        self.news.push_back(phase);
    }

    fn say(&mut self, signal: Signal) {
        self.signals.push_back(signal);
    }

    fn say_if_talking(&mut self, signal: Signal) {
        if self.is_talking() {
            self.say(signal);
        }
    }

    /// Tells how our switches stand to a side that may not know. The last word counts.
    fn say_switches(&mut self) {
        let Side { muted, held } = self.ours;
        self.say(Signal::Muted(muted));
        self.say(Signal::Held(held));
    }
}

#[cfg(test)]
mod tests;
