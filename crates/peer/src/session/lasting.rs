//! What outlives a connection: requests without an answer, news that wait for the application,
//! the messages that it has.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use portolan_protocol::{Conversation, ConversationState, MessageId, Name};
use tokio::sync::mpsc;

use super::{Ask, inbox::Inbox};
use crate::{Event, PathInfo, ReceiptRule, Reconnecting, remote::Vouched};

/// Users with whom something is open that are remembered, to miss it after a reconnection.
const TALKS_MAX: usize = 64;

/// What outlives a connection.
pub(crate) struct Lasting {
    /// Requests to ask again, in the order in which they were asked first.
    pub(crate) carried: VecDeque<Ask>,
    pub(crate) inbox: Inbox,
    /// Where the server sees others.
    pub(crate) vouched: Arc<Vouched>,
    receipts: ReceiptRule,
    events: mpsc::Sender<Event>,
    /// Events for which the application had no room: while there are any, nothing is read.
    held: VecDeque<Event>,
    /// With whom there are conversations.
    talking: BTreeSet<Name>,
    /// Who asks for one.
    asking: BTreeSet<Name>,
    /// Whom we have asked.
    asked: BTreeSet<Name>,
}

/// What was open on a connection that is lost.
#[derive(Debug, Default)]
pub(crate) struct Open {
    talks: BTreeSet<Name>,
    asked: BTreeSet<Name>,
}

impl Open {
    pub(crate) fn is_empty(&self) -> bool {
        self.talks.is_empty() && self.asked.is_empty()
    }
}

impl Lasting {
    pub(crate) fn new(events: mpsc::Sender<Event>, inbox: Inbox, receipts: ReceiptRule) -> Self {
        Self {
            carried: VecDeque::new(),
            inbox,
            vouched: Arc::default(),
            receipts,
            events,
            held: VecDeque::new(),
            talking: BTreeSet::new(),
            asking: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Shares what the server says of others.
    pub(crate) fn with_vouched(self, vouched: Arc<Vouched>) -> Self {
        Self { vouched, ..self }
    }

    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub(crate) fn is_automatic(&self) -> bool {
        self.receipts == ReceiptRule::Automatic
    }

    pub(crate) fn talking(&self) -> &BTreeSet<Name> {
        &self.talking
    }

    /// Keeps an event of the server until the application has room for it.
    pub(crate) fn hold(&mut self, event: Event) {
        if let Event::Conversation(news) = &event {
            self.on_conversation(news);
        }
        self.held.push_back(event);
    }

    /// Keeps word of an attempt to come back. Those that the application has not seen are
    /// replaced, so that few wait however often the connection comes and goes.
    pub(crate) fn hold_attempt(&mut self, attempt: Reconnecting) {
        while let Some(Event::Reconnecting(_) | Event::Reconnected(_)) = self.held.back() {
            self.held.pop_back();
        }
        self.held.push_back(Event::Reconnecting(attempt));
    }

    /// Keeps word of another way to the server, in place of one that was not seen yet.
    pub(crate) fn hold_move(&mut self, path: PathInfo) {
        if let Some(Event::Path(PathInfo { with: None, .. })) = self.held.back() {
            self.held.pop_back();
        }
        self.held.push_back(Event::Path(path));
    }

    /// Waits for room and hands the first held event over. Cancel safe.
    ///
    /// When nobody listens any more the event is dropped: what is not confirmed waits at the
    /// server.
    pub(crate) async fn hand_over(&mut self) {
        if let Some(id) = hand_over(&self.events, &mut self.held).await {
            self.on_handed_out(id);
        }
    }

    fn on_handed_out(&mut self, id: MessageId) {
        self.inbox.on_handed_out(id);
        if self.is_automatic() {
            self.inbox.confirm(id);
        }
    }

    fn on_conversation(&mut self, news: &Conversation) {
        let with = &news.with;
        self.asking.remove(with);
        self.talking.remove(with);
        self.asked.remove(with);
        if news.elsewhere {
            // Another session holds it; it does not end with our connection.
            return;
        }
        match news.state {
            ConversationState::Asked => remember(&mut self.asked, with),
            ConversationState::Requested => remember(&mut self.asking, with),
            ConversationState::Accepted => remember(&mut self.talking, with),
            ConversationState::Denied
            | ConversationState::Busy
            | ConversationState::TimedOut
            | ConversationState::Ended
            | ConversationState::Vanished => {}
        }
    }

    /// Forgets what was open: the server tells what still is.
    pub(crate) fn take_open(&mut self) -> Open {
        let mut talks = std::mem::take(&mut self.talking);
        talks.append(&mut self.asking);
        Open { talks, asked: std::mem::take(&mut self.asked) }
    }

    /// The server has taken our request to somebody.
    pub(crate) fn on_asked(&mut self, with: &Name) {
        if !self.talking.contains(with) {
            remember(&mut self.asked, with);
        }
    }

    /// Remembers for the next connection what this one was not told of.
    pub(crate) fn put_back(&mut self, before: &Open) {
        before.talks.iter().for_each(|with| remember(&mut self.talking, with));
        before.asked.iter().for_each(|with| remember(&mut self.asked, with));
    }

    /// The server has told everything that still is open; what was open before and is not among
    /// it ended with the connection.
    pub(crate) fn miss(&mut self, before: Open) {
        let lost_talk = "it ended while the connection was lost";
        let lost_request = "the request was lost with the connection; ask again";
        let talks = before.talks.into_iter().map(|with| (with, lost_talk));
        let asked = before.asked.into_iter().map(|with| (with, lost_request));
        for (with, reason) in talks.chain(asked) {
            let known = [&self.talking, &self.asking, &self.asked];
            if known.iter().any(|names| names.contains(&with)) {
                continue;
            }
            let (state, reason) = (ConversationState::Vanished, Some(reason.to_owned()));
            self.hold(Event::Conversation(Conversation { with, state, reason, elsewhere: false }));
        }
    }

    /// Hands over what is held, then the last event.
    pub(crate) async fn finish(mut self, last: Event) {
        self.held.push_back(last);
        while let Some(event) = self.held.pop_front() {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

fn remember(names: &mut BTreeSet<Name>, name: &Name) {
    if names.len() < TALKS_MAX {
        names.insert(name.clone());
    }
}

/// Says which message it was, if it was one.
async fn hand_over(events: &mpsc::Sender<Event>, held: &mut VecDeque<Event>) -> Option<MessageId> {
    let permit = events.reserve().await;
    let event = held.pop_front()?;
    let id = event.message_id();
    permit.ok()?.send(event);
    id
}
