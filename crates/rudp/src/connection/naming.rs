//! Further names for both sides, told in advance (RFC 9000 §5.1.1).

use portolan_mux::{Violation, ViolationCode};

use super::Connection;
use crate::{
    ConnectionId,
    event::Notice,
    frame::{NEW_ID_LEN, RETIRE_ID_LEN, put_new_id, put_retire_id},
    ids::{Learnt, RemoteId, Retired},
    sent::{Content, NameFrame},
};

impl Connection {
    pub(super) fn on_new_id(&mut self, new: RemoteId) -> Result<(), Violation> {
        let is_in_use = new.id == self.names.remote;
        if is_in_use != (new.number == self.names.remote_number) {
            return Err(CONTRADICTION);
        }
        match self.remote_ids.on_new(new) {
            Learnt::Fine => Ok(()),
            Learnt::TooMany => Err(TOO_MANY),
            Learnt::Contradiction => Err(CONTRADICTION),
        }
    }

    pub(super) fn on_retire_id(&mut self, number: u64) -> Result<(), Violation> {
        match self.local_ids.on_retired(number) {
            Retired::Id(id) => {
                self.notify(Notice::RetiredId(id));
                // Another is made when there is a packet to tell it in: not for every frame of
                // one packet.
                self.pending.names = true;
            }
            Retired::Before => {}
            Retired::Unknown => return Err(NEVER_ISSUED),
        }
        Ok(())
    }

    /// Says what is new about names, in a packet that goes anyway: nothing of it is urgent.
    pub(super) fn put_names(&mut self, buf: &mut Vec<u8>, end: usize, content: &mut Content) {
        if !self.pending.names {
            return;
        }
        while let Some(id) = self.issue_id() {
            self.notify(Notice::NewId(id));
        }
        let mut said: Vec<_> = self.put_new_ids(buf, end).into_iter().map(NameFrame::New).collect();
        let due: Vec<u64> = self.remote_ids.due().collect();
        for number in due {
            if end - buf.len() < RETIRE_ID_LEN {
                break;
            }
            put_retire_id(buf, number);
            said.push(NameFrame::Retire(number));
        }
        for frame in &said {
            match *frame {
                NameFrame::New(number) => self.local_ids.on_sent(number),
                NameFrame::Retire(number) => self.remote_ids.on_sent(number),
            }
        }
        self.pending.names =
            self.local_ids.due().next().is_some() || self.remote_ids.due().next().is_some();
        content.names = said.into();
    }

    fn issue_id(&mut self) -> Option<ConnectionId> {
        let Self { secrets, integrity, local_ids, .. } = self;
        local_ids.issue(|| ConnectionId(secrets.draw(integrity)))
    }

    /// Appends the names that the remote has yet to be told; answers their numbers.
    pub(super) fn put_new_ids(&mut self, buf: &mut Vec<u8>, end: usize) -> Vec<u64> {
        let mut said = Vec::new();
        for (number, id) in self.local_ids.due() {
            if end.saturating_sub(buf.len()) < NEW_ID_LEN {
                break;
            }
            put_new_id(buf, number, id, self.secrets.reset_token(&self.integrity, id));
            said.push(number);
        }
        said
    }

    pub(super) fn on_names_acked(&mut self, names: &[NameFrame]) {
        for frame in names {
            match *frame {
                // That the remote knows a name shows when it gives it up.
                NameFrame::New(_) => {}
                NameFrame::Retire(number) => self.remote_ids.on_acked(number),
            }
        }
    }

    pub(super) fn on_names_lost(&mut self, names: &[NameFrame]) {
        for frame in names {
            match *frame {
                NameFrame::New(number) => self.local_ids.on_lost(number),
                NameFrame::Retire(number) => self.remote_ids.on_lost(number),
            }
        }
        self.pending.names |= !names.is_empty();
    }
}

const TOO_MANY: Violation =
    Violation::new(ViolationCode::ConnectionIdLimit, "more connection ids than may be in use");

const CONTRADICTION: Violation = Violation::new(
    ViolationCode::ProtocolViolation,
    "one connection id under two numbers, or two under one",
);

const NEVER_ISSUED: Violation =
    Violation::new(ViolationCode::ProtocolViolation, "a connection id that was never issued ends");
