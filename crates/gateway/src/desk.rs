//! What a bridge has to do and to wait for.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use portolan_protocol::{Command, MessageId, Name, Password, ReceiptState, Receipts};

use crate::bridge::{Action, Duplicates, Entry, Ticket};

/// Actions on their way out, and questions without an answer; `P` says what each was for.
#[derive(Debug)]
pub(crate) struct Desk<P> {
    actions: VecDeque<Action>,
    asked: BTreeMap<Ticket, P>,
    last: u64,
    is_finished: bool,
}

impl<P> Default for Desk<P> {
    fn default() -> Self {
        Self { actions: VecDeque::new(), asked: BTreeMap::new(), last: 0, is_finished: false }
    }
}

impl<P> Desk<P> {
    /// Writes to the client, as one piece.
    pub(crate) fn write(&mut self, bytes: impl Into<Vec<u8>>) {
        self.act(Action::Write(bytes.into()));
    }

    /// Asks the server; the answer is for `purpose`.
    pub(crate) fn ask(&mut self, command: impl Into<Command>, purpose: P) {
        let ticket = self.ticket();
        self.asked.insert(ticket, purpose);
        self.act(Action::Ask(ticket, command.into()));
    }

    /// Asks the server for what is done or not: nobody waits for the answer.
    pub(crate) fn tell(&mut self, command: impl Into<Command>) {
        let ticket = self.ticket();
        self.act(Action::Ask(ticket, command.into()));
    }

    /// Confirms that what was written before is with the client.
    pub(crate) fn confirm(&mut self, id: MessageId) {
        self.tell(Receipts { ids: vec![id], state: ReceiptState::Delivered });
    }

    pub(crate) fn enter(&mut self, name: Name, duplicates: Duplicates, password: Option<Password>) {
        self.act(Action::Enter(Entry { name, duplicates, password }));
    }

    /// Does what needs no bookkeeping.
    pub(crate) fn act(&mut self, action: Action) {
        if !self.is_finished {
            self.actions.push_back(action);
        }
    }

    /// What is to be done before this is the last.
    pub(crate) fn finish(&mut self, linger: Duration) {
        self.act(Action::Finish(linger));
        self.is_finished = true;
        self.asked.clear();
    }

    /// The session is over: nobody waits for what was asked in it.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
    }

    /// What an answer is for; `None`: nobody waits for it.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<P> {
        self.asked.remove(&ticket)
    }

    /// Whether an answer is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether the last has been said.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn ticket(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }
}
