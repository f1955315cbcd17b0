//! Mailboxes: what waits reaches its owner in order, and goes once it is confirmed.

use portolan_protocol::{
    Delivery, DeviceId, ErrorBody, ErrorCode, Limits as MessageLimits, Mailbox, Messages, Receipt,
    ReceiptState, Receipts, RequestId,
};

use super::{
    Core, Remote, SessionId, bans::PendingBan, devices::PendingDevice, grouping::PendingGroup,
    lists::page_size, login::PendingLogin, messages::PendingSend, password::Asker,
    session::LoginState, settings::PendingSettings,
};
use crate::store::{Noted, Operation, Outcome, PasswordHash, UserId};

/// Bytes of text in one page that is asked for; with its names it fits into a frame.
pub(super) const PAGE_BYTES: u64 = 96 << 10;

/// What the core does when the store answers.
#[derive(Debug)]
pub(super) enum Pending {
    Login(PendingLogin),
    Device(PendingDevice),
    Trim { owner: UserId, device: DeviceId },
    Settings(PendingSettings),
    Send(PendingSend),
    Page { session: SessionId },
    Mailbox { session: SessionId, id: RequestId },
    Receipts(PendingReceipts),
    Clear { session: SessionId, id: RequestId, owner: UserId },
    Group(PendingGroup),
    Ban(PendingBan),
    Backup { session: SessionId, id: RequestId },
    Password(Asker, Option<PasswordHash>),
    Move(Asker, Remote),
    Purge,
}

/// Receipts that wait for the store.
#[derive(Debug)]
pub(super) struct PendingReceipts {
    session: SessionId,
    id: RequestId,
    owner: UserId,
    device: Option<DeviceId>,
    state: ReceiptState,
}

impl Core {
    /// Asks for the next page from the mailbox, if the session is behind and has room for it.
    pub(super) fn pump(&mut self, session: SessionId) {
        let limits = self.limits;
        let Some(state) = self.sessions.get(&session) else { return };
        let LoginState::Done(owner) = state.login else { return };
        let device = self.reads_as(session, owner);
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let Some(room) = state.inbox.poll_load(&limits) else { return };
        let operation = Operation::Load {
            owner,
            device,
            after: room.after,
            messages: room.messages,
            bytes: room.bytes,
        };
        self.store(Pending::Page { session }, operation);
    }

    pub(super) fn on_page_loaded(&mut self, session: SessionId, outcome: Outcome) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let Outcome::Page { messages, more } = outcome else {
            // What waits is read when the next message or confirmation comes.
            return state.inbox.on_page(true);
        };
        state.inbox.on_page(more);
        let mut news: Vec<Delivery> = Vec::with_capacity(messages.len());
        for message in messages {
            if state.inbox.on_loaded(message.id, message.text.len() as u64) {
                news.push(message);
            }
        }
        for message in news {
            self.tell(session, message);
        }
        self.pump(session);
    }

    pub(super) fn receipts(&mut self, session: SessionId, id: RequestId, receipts: Receipts) {
        let owner = match self.check_receipts(session, &receipts) {
            Ok(owner) => owner,
            Err(error) => return self.refuse(session, id, error),
        };
        if let Some(state) = self.sessions.get_mut(&session) {
            for &message in &receipts.ids {
                state.inbox.confirm(message);
            }
        }
        let Receipts { ids, state } = receipts;
        let shows_seen = self.user(owner).is_none_or(|known| known.settings.seen);
        let state = if shows_seen { state } else { state.min(ReceiptState::Delivered) };
        let device = self.reads_as(session, owner);
        let pending = PendingReceipts { session, id, owner, device, state };
        let operation = Operation::Receipts { owner, device, ids, state };
        self.store(Pending::Receipts(pending), operation);
        self.pump(session);
    }

    fn check_receipts(&self, session: SessionId, receipts: &Receipts) -> Result<UserId, ErrorBody> {
        let owner = self.logged_in(session)?;
        let limit = MessageLimits::V1.receipts as usize;
        if receipts.ids.len() > limit {
            let message =
                format!("{} receipts at once; at most {limit} are allowed", receipts.ids.len());
            return Err(ErrorBody::new(ErrorCode::TooLarge, message).with_detail("ids"));
        }
        match receipts.state {
            ReceiptState::Delivered | ReceiptState::Seen => Ok(owner),
            ReceiptState::Stored => Err(ErrorBody::new(
                ErrorCode::BadRequest,
                "stored is the server's word; send delivered or seen",
            )
            .with_detail("state")),
        }
    }

    pub(super) fn on_receipts_noted(&mut self, pending: &PendingReceipts, outcome: Outcome) {
        let &PendingReceipts { session, id, owner, device, state } = pending;
        let Outcome::Noted { receipts, freed, copies } = outcome else {
            return self.refuse(session, id, store_failed());
        };
        self.directory.take_waiting(owner, freed);
        if let Some(device) = device {
            self.devices.take_waiting(owner, device, copies);
        }
        self.respond_done(session, id, Ok(()));
        let Some(by) = self.user(owner).map(|user| user.name.clone()) else { return };
        for noted in receipts {
            if let Some(state) = self.told_state(&noted, state) {
                self.tell_user(noted.writer, Receipt { id: noted.id, state, by: by.clone() });
            }
        }
    }

    /// What the writer of a message is told of it; one who tells nobody what was seen is told
    /// nothing of it either.
    fn told_state(&self, noted: &Noted, state: ReceiptState) -> Option<ReceiptState> {
        let may_know = self.user(noted.writer).is_none_or(|known| known.settings.seen);
        match state {
            ReceiptState::Seen if !may_know => {
                (noted.before == ReceiptState::Stored).then_some(ReceiptState::Delivered)
            }
            ReceiptState::Stored | ReceiptState::Delivered | ReceiptState::Seen => Some(state),
        }
    }

    pub(super) fn mailbox(&mut self, session: SessionId, id: RequestId, mailbox: &Mailbox) {
        match self.logged_in(session) {
            Err(error) => self.refuse(session, id, error),
            Ok(owner) => {
                let operation = Operation::Load {
                    owner,
                    device: self.reads_as(session, owner),
                    after: mailbox.after.unwrap_or_default(),
                    messages: page_size(mailbox.limit),
                    bytes: PAGE_BYTES,
                };
                self.store(Pending::Mailbox { session, id }, operation);
            }
        }
    }

    pub(super) fn on_mailbox_read(&mut self, session: SessionId, id: RequestId, outcome: Outcome) {
        let Outcome::Page { messages, more } = outcome else {
            return self.refuse(session, id, store_failed());
        };
        self.answer(session, id, Messages { messages, more });
    }

    pub(super) fn clear_mailbox(&mut self, session: SessionId, id: RequestId) {
        match self.logged_in(session) {
            Err(error) => self.refuse(session, id, error),
            Ok(owner) => {
                self.store(Pending::Clear { session, id, owner }, Operation::Clear { owner });
            }
        }
    }

    pub(super) fn on_cleared(
        &mut self,
        session: SessionId,
        id: RequestId,
        owner: UserId,
        outcome: &Outcome,
    ) {
        let Outcome::Noted { freed, .. } = outcome else {
            return self.refuse(session, id, store_failed());
        };
        self.directory.take_waiting(owner, *freed);
        self.devices.clear_waiting(owner);
        self.respond_done(session, id, Ok(()));
        for session in self.sessions_of(owner) {
            if let Some(state) = self.sessions.get_mut(&session) {
                state.inbox.confirm_all();
            }
            self.pump(session);
        }
    }
}

/// The answer when the store could not do what the answer would have promised.
pub(super) fn store_failed() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Internal,
        "the server could not write to its store, and nothing was kept; try again later",
    )
}
