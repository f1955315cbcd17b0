//! Messages on their way from the sender into the store and on to those who are there.

use std::{collections::HashSet, sync::Arc};

use portolan_protocol::{
    Delivery, ErrorBody, ErrorCode, MessageId, Name, Recipient, RequestId, Send, Sent, Timestamp,
};

use super::{
    Core, Effect, Now, SessionId,
    commands::{check_text, rate_limited},
    directory::{Online, Room},
    mailbox::{Pending, store_failed},
    rates::Action,
};
use crate::{
    event_log::LogEntry,
    store::{NewMessage, Operation, Outcome, Talk, UserId, Waiting},
};

/// Ids of one millisecond of the server's clock. Ids thus go on growing when a server without a
/// disk starts anew, and stay exact in JSON numbers.
const IDS_PER_MS: u64 = 1 << 12;

/// A message that waits for the store.
#[derive(Debug)]
pub(super) struct PendingSend {
    session: SessionId,
    id: RequestId,
    message: NewMessage,
}

impl Core {
    pub(super) fn send(&mut self, now: Now, session: SessionId, id: RequestId, send: Send) {
        let checked = self.logged_in(session).and_then(|from| {
            check_text(&send.text)?;
            let size = Waiting { messages: 1, bytes: send.text.len() as u64 };
            let owners = self.owners(now, from, &send.to, size)?;
            Ok((from, owners, size))
        });
        let (from, owners, size) = match checked {
            Ok(checked) => checked,
            Err(error) => return self.refuse(session, id, error),
        };
        for &owner in &owners {
            self.directory.add_waiting(owner, size);
            self.directory.note_writer(owner, from, size, self.limits.mailbox_messages);
        }
        let (to, talk) = self.talk_of_message(from, send.to, &owners);
        let copies = self.copies(session, from, &owners);
        let message = NewMessage {
            id: self.next_message_id(now.wall),
            from,
            to,
            owners,
            copies,
            talk,
            text: Arc::from(send.text),
            at: now.wall,
            reference: send.reference,
        };
        let pending = PendingSend { session, id, message: message.clone() };
        self.store(Pending::Send(pending), Operation::Put(message.clone()));
        self.count_copies(&message);
    }

    /// For whom a copy is kept.
    fn owners(
        &mut self,
        now: Now,
        from: UserId,
        to: &Recipient,
        size: Waiting,
    ) -> Result<Vec<UserId>, ErrorBody> {
        match to {
            Recipient::User(name) => self.owner(from, name, size).map(|owner| vec![owner]),
            Recipient::Group(group) => self.group_members(now, from, group, size),
            Recipient::All => self.everyone(now, from, size, None),
            Recipient::Others => self.everyone(now, from, size, Some(from)),
        }
    }

    fn owner(&self, from: UserId, name: &Name, size: Waiting) -> Result<UserId, ErrorBody> {
        let owner = self.known_user(name)?;
        let message = match self.mailbox_room(owner, from, size) {
            Room::Free => return Ok(owner),
            Room::ForOthers => format!(
                "what is left of the mailbox of {name} is for others; try again when they have \
                 read what you wrote"
            ),
            Room::Full => {
                format!("the mailbox of {name} is full; try again when they have read it")
            }
        };
        Err(ErrorBody::new(ErrorCode::Quota, message).with_detail(name.as_str()))
    }

    /// The members of a group but the sender, as far as their mailboxes have room.
    fn group_members(
        &mut self,
        now: Now,
        from: UserId,
        group: &str,
        size: Waiting,
    ) -> Result<Vec<UserId>, ErrorBody> {
        let group = self.group_of(from, group)?;
        if group.role(from).is_none() {
            return Err(ErrorBody::new(ErrorCode::Forbidden, "join the group first"));
        }
        let others: Vec<UserId> = group.joined().filter(|&user| user != from).collect();
        let key = self.user(from).map(|user| user.key);
        if key.is_some_and(|key| !self.rates.take(now.instant, key, Action::GroupMessage)) {
            return Err(rate_limited("messages to groups", self.limits.group_messages.per_second));
        }
        Ok(others
            .into_iter()
            .filter(|&user| self.mailbox_room(user, from, size) == Room::Free)
            .collect())
    }

    /// The recipient as the directory writes it, and where the message is found again.
    fn talk_of_message(
        &self,
        from: UserId,
        to: Recipient,
        owners: &[UserId],
    ) -> (Recipient, Option<Talk>) {
        match to {
            Recipient::User(_) => {
                let talk = owners.first().map(|&owner| Talk::With(owner));
                (to, talk)
            }
            Recipient::Group(ref group) => match self.group_of(from, group) {
                Ok(group) => {
                    let name = group.stored.name.to_string();
                    (Recipient::Group(name), Some(Talk::In(group.stored.id)))
                }
                Err(_) => (to, None),
            },
            Recipient::All | Recipient::Others => (to, None),
        }
    }

    fn everyone(
        &mut self,
        now: Now,
        from: UserId,
        size: Waiting,
        except: Option<UserId>,
    ) -> Result<Vec<UserId>, ErrorBody> {
        let Some(key) = self.user(from).map(|user| user.key) else { return Ok(Vec::new()) };
        if !self.admins.contains(&key) && !self.rights.broadcast.is_given_to(key) {
            let message = "you have no right to write to everyone on this server; write to a user \
                           or a #group, or ask an admin";
            return Err(ErrorBody::new(ErrorCode::Forbidden, message));
        }
        if !self.rates.take(now.instant, key, Action::Broadcast) {
            return Err(rate_limited("messages to everyone", self.limits.broadcasts.per_second));
        }
        let users = self.directory.online.values().copied();
        let others = users.filter(|&user| Some(user) != except);
        Ok(others.filter(|&user| self.mailbox_room(user, from, size) == Room::Free).collect())
    }

    fn mailbox_room(&self, owner: UserId, from: UserId, size: Waiting) -> Room {
        let limits = &self.limits;
        let most = Waiting { messages: limits.mailbox_messages, bytes: limits.mailbox_bytes };
        self.directory.has_room(owner, from, size, most)
    }

    fn next_message_id(&mut self, wall: Timestamp) -> MessageId {
        let by_clock = wall.0.saturating_mul(IDS_PER_MS);
        self.last_message = by_clock.max(self.last_message + 1);
        MessageId(self.last_message)
    }

    pub(super) fn on_message_stored(&mut self, send: PendingSend, outcome: &Outcome) {
        let PendingSend { session, id, message } = send;
        match outcome {
            Outcome::Kept => self.on_kept(session, id, message),
            Outcome::Repeated { id: first, at } => {
                self.take_back(&message);
                let (online, waiting) = self.count_present(&message.owners);
                self.answer(session, id, Sent { id: *first, at: *at, online, waiting });
            }
            Outcome::Done
            | Outcome::Page { .. }
            | Outcome::Noted { .. }
            | Outcome::Trimmed { .. }
            | Outcome::BackedUp { .. }
            | Outcome::Failed(_) => {
                self.take_back(&message);
                self.refuse(session, id, store_failed());
            }
        }
    }

    fn take_back(&mut self, message: &NewMessage) {
        let size = Waiting { messages: 1, bytes: message.text.len() as u64 };
        for &owner in &message.owners {
            self.directory.take_waiting(owner, size);
        }
        self.take_copies_back(message);
    }

    fn on_kept(&mut self, session: SessionId, id: RequestId, message: NewMessage) {
        let (online, waiting) = self.count_present(&message.owners);
        self.answer(session, id, Sent { id: message.id, at: message.at, online, waiting });
        let Some(from) = self.user(message.from).map(|user| user.name.clone()) else { return };
        self.log(LogEntry::Message {
            id: message.id,
            from: from.clone(),
            to: recipient_text(&message.to),
            bytes: message.text.len(),
            copies: message.owners.len(),
        });
        if let Some(Talk::With(other)) = message.talk {
            self.acquaintances.note(message.from, other);
        }
        let to = self.admit_to_inboxes(&message);
        if !to.is_empty() {
            let delivery = Delivery {
                id: message.id,
                from,
                to: message.to,
                text: message.text.as_ref().to_owned(),
                at: message.at,
            };
            self.effects.push(Effect::Tell { to, event: delivery.into() });
        }
    }

    /// The sessions that may be sent the message at once; the others get it from the mailbox.
    fn admit_to_inboxes(&mut self, message: &NewMessage) -> Vec<SessionId> {
        let bytes = message.text.len() as u64;
        let mut to = Vec::new();
        for session in self.recipients(message) {
            let Some(state) = self.sessions.get_mut(&session) else { continue };
            if state.inbox.admit(message.id, bytes, &self.limits) {
                to.push(session);
            } else {
                self.pump(session);
            }
        }
        to
    }

    /// The sessions for which there are copies: those of owners without devices, and of devices.
    fn recipients(&self, message: &NewMessage) -> Vec<SessionId> {
        let online = |user| self.user(user).and_then(|known| known.online.as_ref());
        let has_devices: HashSet<UserId> = message.copies.iter().map(|(user, _)| *user).collect();
        let alone = message.owners.iter().filter(|owner| !has_devices.contains(owner));
        let alone = alone.filter_map(|&owner| online(owner)).flat_map(Online::sessions);
        let devices = message.copies.iter().filter_map(|&(user, device)| {
            let stands = &online(user)?.stands;
            stands.iter().find(|stand| stand.device == device).map(|stand| stand.session)
        });
        alone.chain(devices).collect()
    }

    fn count_present(&self, owners: &[UserId]) -> (u32, u32) {
        let is_online = |owner: &&UserId| self.user(**owner).is_some_and(|u| u.online.is_some());
        let online = owners.iter().filter(is_online).count();
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        (count(online), count(owners.len() - online))
    }
}

fn recipient_text(to: &Recipient) -> String {
    match to {
        Recipient::User(name) => name.to_string(),
        Recipient::Group(group) => format!("group {group}"),
        Recipient::All => "all".to_owned(),
        Recipient::Others => "others".to_owned(),
    }
}
