//! A user, and the program that they run: what the client library does, in virtual time.
//!
//! What is pure in the library is the library's own (`backoff`, `inbox`, `repeat`); the task
//! around it is told again here, without its channels.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use portolan_peer::{Backoff, SessionEnd};
use portolan_protocol::{
    Command, Conversation, ConversationState, Delivery, MessageId, Name, Receipt, ReceiptState,
    RequestId,
};

use crate::{
    backoff::Waits,
    inbox::Inbox,
    line::{Down, LineId},
    truth::Truth,
};

/// A user through all programs they ever run.
pub(crate) struct Person {
    pub(crate) user: usize,
    /// The key of the device that they use now.
    pub(crate) key: u8,
    /// Whether the server has said that the name has its password.
    pub(crate) has_password: bool,
    /// A login that has to prove itself by the password.
    pub(crate) is_moving: bool,
    pub(crate) program: Option<Program>,
    pub(crate) processes: u64,
    pub(crate) references: u64,
    /// Until when no connection of theirs comes through.
    pub(crate) away_until: u64,
    /// What any of their programs has been given.
    pub(crate) heard: BTreeMap<MessageId, String>,
    /// What they say they have seen.
    pub(crate) seen: BTreeSet<MessageId>,
    /// For which the server has taken a receipt.
    pub(crate) confirmed: BTreeSet<MessageId>,
}

/// One run of the program.
pub(crate) struct Program {
    pub(crate) process: u64,
    /// How often it has logged in.
    pub(crate) attempts: u64,
    pub(crate) line: Option<LineId>,
    pub(crate) stage: Stage,
    pub(crate) logged_in_at: u64,
    pub(crate) waits: Waits,
    pub(crate) inbox: Inbox,
    pub(crate) carried: VecDeque<Ask>,
    pub(crate) pending: BTreeMap<RequestId, Ask>,
    pub(crate) next_id: u64,
    pub(crate) talking: BTreeSet<Name>,
    pub(crate) asking: BTreeSet<Name>,
    pub(crate) rest: Option<Duration>,
    pub(crate) is_sent_away: bool,
    pub(crate) is_leaving: bool,
    pub(crate) reads: bool,
    pub(crate) unread: VecDeque<Down>,
    /// What this process has been given, and the last of each sender.
    pub(crate) heard: BTreeSet<MessageId>,
    pub(crate) last_of: BTreeMap<Name, u64>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Dialling,
    Greeting,
    LoggingIn,
    In,
}

/// A request of the program.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    pub(crate) kind: AskKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskKind {
    /// The application's; whether it was asked on a connection before.
    Application { is_repeated: bool },
    /// Delivered, says the library.
    Receipt,
    /// Hello and login.
    Opening,
}

impl Person {
    pub(crate) fn new(user: usize) -> Self {
        Self {
            user,
            key: user as u8 * 20 + 1,
            has_password: false,
            is_moving: false,
            program: None,
            processes: 0,
            references: 0,
            away_until: 0,
            heard: BTreeMap::new(),
            seen: BTreeSet::new(),
            confirmed: BTreeSet::new(),
        }
    }

    /// The program hands a message to the application; whether it is the first time.
    pub(crate) fn hear(&mut self, delivery: &Delivery, truth: &Truth) -> bool {
        let Some(program) = &mut self.program else { return false };
        if program.inbox.knows(delivery.id) {
            program.inbox.confirm(delivery.id);
            return false;
        }
        let last = program.heard.last().copied().unwrap_or_default();
        assert!(last < delivery.id, "a message overtook another: {last:?} {delivery:?}");
        assert!(program.heard.insert(delivery.id), "a program was given a message twice");
        assert!(
            !self.confirmed.contains(&delivery.id),
            "a message came again although its receipt was taken"
        );
        let number = number_of(delivery);
        let last = program.last_of.entry(delivery.from.clone()).or_default();
        let is_late = truth.was_refused(&delivery.from, number);
        assert!(*last < number || is_late, "a sender's messages changed their order");
        *last = number.max(*last);
        program.inbox.on_handed_out(delivery.id);
        program.inbox.confirm(delivery.id);
        let before = self.heard.insert(delivery.id, delivery.text.clone());
        assert!(before.is_none_or(|text| text == delivery.text), "one id, two texts");
        true
    }
}

/// The sender's number of a message.
fn number_of(delivery: &Delivery) -> u64 {
    let number = delivery.text.split(':').nth(1).and_then(|number| number.parse().ok());
    number.expect("a text of ours")
}

/// A receipt is true: who is said to have the message, or to have seen it, has.
pub(crate) fn check_receipt(people: &[Person], receipt: &Receipt) {
    let by = &people[crate::world::user_of(&receipt.by)];
    match receipt.state {
        ReceiptState::Stored => panic!("stored is no receipt"),
        ReceiptState::Delivered => {
            assert!(by.heard.contains_key(&receipt.id), "not delivered: {receipt:?}");
        }
        ReceiptState::Seen => assert!(by.seen.contains(&receipt.id), "not seen: {receipt:?}"),
    }
}

impl Program {
    pub(crate) fn new(process: u64) -> Self {
        let backoff = Backoff {
            start: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            give_up_after: None,
        };
        Self {
            process,
            attempts: 0,
            line: None,
            stage: Stage::Dialling,
            logged_in_at: 0,
            waits: Waits::new(backoff),
            inbox: Inbox::new(4_096),
            carried: VecDeque::new(),
            pending: BTreeMap::new(),
            next_id: 1,
            talking: BTreeSet::new(),
            asking: BTreeSet::new(),
            rest: None,
            is_sent_away: false,
            is_leaving: false,
            reads: true,
            unread: VecDeque::new(),
            heard: BTreeSet::new(),
            last_of: BTreeMap::new(),
        }
    }

    pub(crate) fn on_conversation(&mut self, news: &Conversation) {
        self.asking.remove(&news.with);
        self.talking.remove(&news.with);
        match news.state {
            ConversationState::Accepted => drop(self.talking.insert(news.with.clone())),
            ConversationState::Requested => drop(self.asking.insert(news.with.clone())),
            ConversationState::Asked
            | ConversationState::Denied
            | ConversationState::Busy
            | ConversationState::TimedOut
            | ConversationState::Ended
            | ConversationState::Vanished => {}
        }
    }

    /// How a connection ended of which nothing more is known.
    pub(crate) fn silence() -> SessionEnd {
        SessionEnd::Silent
    }
}
