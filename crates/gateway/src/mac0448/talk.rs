//! What a client has with its partner who is no client of this gateway: a port where it calls us,
//! or the one where it waits for our call, the chat there, and texts that wait for it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_protocol::{Delivery, Name, Recipient, Send};

use super::chat::{Chat, Outcome};
use crate::{
    bridge::{Action, Call, CallNews, Door, Now},
    desk::Desk,
};

/// Texts for the client that wait for a chat; the server keeps more of them.
const HELD_MAX: usize = 64;
/// The original caller connects so long after the confirmation; so do we.
const CALL_AFTER: Duration = Duration::from_secs(1);
/// Ours, not the shell's.
const CALL: Call = Call(1);
const DOOR: Door = Door(1);

/// One client's talk.
#[derive(Debug, Default)]
pub(super) struct Talk {
    chat: Option<(Call, Chat)>,
    /// Where the client waits for the one who talks with it.
    listens: Option<SocketAddr>,
    call_at: Option<Instant>,
    has_door: bool,
    held: VecDeque<Delivery>,
}

impl Talk {
    /// Whether we stand in for the partner. Otherwise two old clients talk without us.
    pub(super) fn is_ours(&self) -> bool {
        self.chat.is_some() || self.has_door
    }

    /// Opens a port where the client will call.
    pub(super) fn open_door<P>(&mut self, desk: &mut Desk<P>) {
        self.has_door = true;
        desk.act(Action::OpenDoor(DOOR));
    }

    /// The client waits there for a call.
    pub(super) fn listens_at(&mut self, address: SocketAddr) {
        self.listens = Some(address);
    }

    /// The partner is no client of this gateway: we call in its place.
    pub(super) fn call_soon(&mut self, now: Now) {
        if self.listens.is_some() {
            self.call_at = Some(now.instant + CALL_AFTER);
        }
    }

    /// It is over.
    pub(super) fn hang_up<P>(&mut self, desk: &mut Desk<P>) {
        if let Some((call, _)) = self.chat.take() {
            desk.act(Action::HangUp(call));
        }
        (self.listens, self.call_at) = (None, None);
        if std::mem::take(&mut self.has_door) {
            desk.act(Action::CloseDoor(DOOR));
        }
    }

    /// The client has left: what waits comes again at its next login.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// A text for the client: said in the chat with its sender, or kept for one.
    pub(super) fn deliver<P>(
        &mut self,
        desk: &mut Desk<P>,
        partner: Option<&Name>,
        delivery: Delivery,
    ) {
        if partner == Some(&delivery.from) && self.chat.is_some() {
            self.pass(desk, &delivery);
            self.settle(desk, partner);
        } else if self.held.len() < HELD_MAX {
            self.held.push_back(delivery);
        }
    }

    /// News of a connection beside the client's own.
    pub(super) fn on_call<P>(
        &mut self,
        desk: &mut Desk<P>,
        partner: Option<&Name>,
        (call, news): (Call, CallNews<'_>),
    ) {
        let is_current = self.chat.as_ref().is_some_and(|(current, _)| *current == call);
        match news {
            CallNews::Came(_) if self.chat.is_none() => {
                self.chat = Some((call, Chat::answered()));
                self.flush(desk, partner);
            }
            CallNews::Connected if call == CALL && self.chat.is_none() => {
                self.chat = Some((call, Chat::begun()));
                self.flush(desk, partner);
            }
            CallNews::Said(bytes) if is_current => {
                if let Some((_, chat)) = &mut self.chat {
                    chat.hear(bytes);
                }
                self.settle(desk, partner);
            }
            CallNews::Ended if is_current => self.chat = None,
            CallNews::Came(_) | CallNews::Connected => desk.act(Action::HangUp(call)),
            CallNews::Said(_) | CallNews::Ended => {}
        }
    }

    pub(super) fn handle_timeout<P>(&mut self, desk: &mut Desk<P>, now: Now) {
        if let (Some(at), Some(to)) = (self.call_at, self.listens)
            && at <= now.instant
        {
            self.call_at = None;
            desk.act(Action::Dial { call: CALL, to });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.call_at
    }

    /// Passes on what was said to the client before the chat stood.
    fn flush<P>(&mut self, desk: &mut Desk<P>, partner: Option<&Name>) {
        let Some(with) = partner else { return };
        for delivery in std::mem::take(&mut self.held) {
            if delivery.from == *with {
                self.pass(desk, &delivery);
            } else {
                self.held.push_back(delivery);
            }
        }
        self.settle(desk, partner);
    }

    fn pass<P>(&mut self, desk: &mut Desk<P>, delivery: &Delivery) {
        if let Some((_, chat)) = &mut self.chat {
            chat.say(&delivery.text);
            desk.confirm(delivery.id);
        }
    }

    /// Does what the chat wants.
    fn settle<P>(&mut self, desk: &mut Desk<P>, partner: Option<&Name>) {
        let Some((call, mut chat)) = self.chat.take() else { return };
        let mut is_over = false;
        while let Some(outcome) = chat.poll() {
            match outcome {
                Outcome::Write(bytes) => desk.act(Action::Say { call, bytes }),
                Outcome::Text(text) => {
                    if let Some(with) = partner {
                        let to = Recipient::User(with.clone());
                        desk.tell(Send { to, text, reference: None });
                    }
                }
                Outcome::Over => is_over = true,
            }
        }
        self.chat = Some((call, chat));
        if is_over {
            self.hang_up(desk);
        }
    }
}
