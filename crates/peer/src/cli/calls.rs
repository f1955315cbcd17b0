//! Calls on the command line: who may call, whose request is meant, how long a call lasts.

use std::{str::FromStr, time::Duration};

use portolan_protocol::{Conversation, ConversationState, ErrorCode, Name};

use super::exit::{Exit, Failure};
use crate::{
    AudioUpdate, CallDirection, CallError, CallId, CallMedia, CallPhase, CallRule, CallUpdate, Peer,
};

/// Requests remembered; the server, and the calls' own bound, allow fewer.
const ASKING_MAX: usize = 64;
/// Reports about sound, one a second, of which a person sees one.
const SEEN_EVERY: u32 = 10;
/// Names in one rule.
const NAMES_MAX: usize = 256;

/// What happens to calls of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum AnswerRule {
    /// None is taken.
    #[default]
    None,
    /// A person decides.
    Ask,
    /// Every call is taken at once.
    All,
    /// Those of these users are; about others a person decides.
    Only(Vec<Name>),
}

impl FromStr for AnswerRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "ask" => return Ok(Self::Ask),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let names: Result<Vec<Name>, _> = text.split(',').map(str::trim).map(Name::new).collect();
        match names {
            Ok(names) if names.len() <= NAMES_MAX => Ok(Self::Only(names)),
            Ok(_) => Err(format!("at most {NAMES_MAX} names can be answered at once")),
            Err(error) => Err(format!("{text:.40?} is not none, ask, all or names: {error}")),
        }
    }
}

impl AnswerRule {
    /// What the session is told.
    pub(crate) fn call_rule(&self) -> CallRule {
        match self {
            Self::None => CallRule::None,
            Self::Ask | Self::All | Self::Only(_) => CallRule::Ask,
        }
    }

    /// Whether a call of `who` is taken at once.
    pub(crate) fn answers(&self, who: &Name) -> bool {
        match self {
            Self::None | Self::Ask => false,
            Self::All => true,
            Self::Only(names) => names.contains(who),
        }
    }
}

/// Something that waits for a person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asking {
    Conversation(Name),
    Call(Name, CallId),
}

impl Asking {
    fn who(&self) -> &Name {
        match self {
            Self::Conversation(who) | Self::Call(who, _) => who,
        }
    }
}

/// The calls of one session, and in which order others have asked for something.
#[derive(Debug, Default)]
pub(crate) struct CallBook {
    /// The latest last.
    asking: Vec<Asking>,
    going: Vec<(Name, CallId)>,
    /// Reports about sound since a person saw one.
    unseen: u32,
}

impl CallBook {
    /// Whether a person is to see this report: the first, the last, and one in a while.
    pub(crate) fn is_due(&mut self, update: &AudioUpdate) -> bool {
        let is_due = self.unseen == 0 || update.is_last;
        self.unseen = if update.is_last { 0 } else { (self.unseen + 1) % SEEN_EVERY };
        is_due
    }

    pub(crate) fn on_conversation(&mut self, news: &Conversation) {
        let asking = Asking::Conversation(news.with.clone());
        self.asking.retain(|known| *known != asking);
        if news.state == ConversationState::Requested && !news.elsewhere {
            self.push(asking);
        }
    }

    pub(crate) fn on_call(&mut self, update: &CallUpdate) {
        let (who, id) = (&update.with, update.id);
        self.asking.retain(|known| *known != Asking::Call(who.clone(), id));
        if update.phase.is_last() {
            return self.going.retain(|(_, known)| *known != id);
        }
        if update.phase == CallPhase::Ringing && update.direction == CallDirection::Incoming {
            self.push(Asking::Call(who.clone(), id));
        }
        if !self.going.iter().any(|(_, known)| *known == id) && self.going.len() < ASKING_MAX {
            self.going.push((who.clone(), id));
        }
    }

    fn push(&mut self, asking: Asking) {
        if self.asking.len() < ASKING_MAX {
            self.asking.push(asking);
        }
    }

    /// The call that is meant when a request is answered: of this user, or of all the latest;
    /// `None`: a conversation is meant.
    pub(crate) fn asked(&self, who: Option<&Name>) -> Option<CallId> {
        let meant =
            self.asking.iter().rev().find(|asking| who.is_none_or(|who| asking.who() == who));
        match meant {
            Some(Asking::Call(_, id)) => Some(*id),
            Some(Asking::Conversation(_)) | None => None,
        }
    }

    /// The call that goes on: with this user, or of all the latest.
    pub(crate) fn current(&self, who: Option<&Name>) -> Result<CallId, Failure> {
        let mut going = self.going.iter().rev();
        let found = going.find(|(with, _)| who.is_none_or(|who| with == who));
        found.map(|(_, id)| *id).ok_or_else(|| Failure::usage("there is no such call"))
    }
}

/// Calls and waits until it is over, or hangs up after `at_most`.
pub(crate) async fn call(
    peer: &Peer,
    who: &Name,
    (media, at_most): (CallMedia, Option<Duration>),
) -> Result<(), Failure> {
    let mut watch = peer.watch_call(peer.call(who, media)?)?;
    let end = if watch.accepted().await
        && let Some(time) = at_most
    {
        match tokio::time::timeout(time, watch.over()).await {
            Ok(end) => end,
            Err(_) => CallPhase::Ended { reason: None },
        }
    } else {
        watch.over().await
    };
    failure(who, end).map_or(Ok(()), Err)
}

/// How a program ends whose call has ended so.
fn failure(who: &Name, end: CallPhase) -> Option<Failure> {
    let (exit, code, message) = match end {
        CallPhase::Denied { .. } => (Exit::RefusedByPeer, "denied", format!("{who} said no")),
        CallPhase::Busy => (Exit::RefusedByPeer, "busy", format!("{who} is in another call")),
        CallPhase::TimedOut => (Exit::TimedOut, "timed_out", format!("{who} did not answer")),
        CallPhase::Failed { code: ErrorCode::Internal, reason } => {
            return Some(Failure::failed(reason));
        }
        CallPhase::Failed { code, reason } => (Exit::RefusedByPeer, code.as_str(), reason),
        CallPhase::Ended { .. }
        | CallPhase::Calling
        | CallPhase::Ringing
        | CallPhase::Accepted
        | CallPhase::Interrupted { .. }
        | CallPhase::Resumed
        | CallPhase::Muted { .. }
        | CallPhase::Held { .. } => return None,
    };
    Some(Failure { exit, code, message })
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::NoSuchCall(_) | CallError::Ourselves { .. } => Self::usage(message),
            CallError::InCall { .. } => Self { exit: Exit::Failed, code: "busy", message },
            CallError::TooMany { .. } => Self { exit: Exit::Failed, code: "quota", message },
        }
    }
}

/// Reads a time: `10s`, `2m`, `500ms`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let advice = || format!("{text:.40?} is no time; say 10s, 2m or 500ms");
    let at = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(advice)?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| advice())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(advice()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(advice)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_protocol::{Conversation, ConversationState, Name};

    use super::{AnswerRule, CallBook, duration};
    use crate::{CallDirection, CallId, CallPhase, CallUpdate};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn rings(book: &mut CallBook, with: &str, id: u64) {
        tell(book, with, id, CallPhase::Ringing);
    }

    fn tell(book: &mut CallBook, with: &str, id: u64, phase: CallPhase) {
        let (direction, title) = (CallDirection::Incoming, None);
        book.on_call(&CallUpdate { id: CallId(id), with: name(with), direction, title, phase });
    }

    fn asks(book: &mut CallBook, with: &str, state: ConversationState) {
        let (reason, elsewhere) = (None, false);
        book.on_conversation(&Conversation { with: name(with), state, reason, elsewhere });
    }

    #[test]
    fn the_latest_request_is_meant_call_or_conversation() {
        let mut book = CallBook::default();
        assert_eq!(book.asked(None), None);
        rings(&mut book, "bob", 1);
        assert_eq!(book.asked(None), Some(CallId(1)));
        asks(&mut book, "carol", ConversationState::Requested);
        assert_eq!(book.asked(None), None, "a conversation is meant");
        assert_eq!(book.asked(Some(&name("bob"))), Some(CallId(1)));
        asks(&mut book, "carol", ConversationState::TimedOut);
        assert_eq!(book.asked(None), Some(CallId(1)));
        tell(&mut book, "bob", 1, CallPhase::Accepted);
        assert_eq!(book.asked(None), None);
        assert_eq!(book.current(None).ok(), Some(CallId(1)));
        assert!(book.current(Some(&name("carol"))).is_err());
        tell(&mut book, "bob", 1, CallPhase::Ended { reason: None });
        assert!(book.current(None).is_err());
    }

    #[test]
    fn rules_are_words_or_names() {
        assert_eq!("none".parse(), Ok(AnswerRule::None));
        assert_eq!("all".parse(), Ok(AnswerRule::All));
        let rule: AnswerRule = "bob, carol".parse().unwrap();
        assert!(rule.answers(&name("carol")) && !rule.answers(&name("dave")));
        assert!("two words".parse::<AnswerRule>().is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "10", "s", "1.5s", "10 s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
