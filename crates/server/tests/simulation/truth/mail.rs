//! Messages: what the disk has, for whom it waits, what may be shown to whom.

use std::collections::{BTreeMap, BTreeSet};

use portolan_protocol::{Delivery, MessageId, Receipt, ReceiptState, Recipient, Send, Sent};
use portolan_server::store::{NewMessage, Operation, Outcome, Talk, UserId, Waiting};

use crate::{
    person::Person,
    world::{limits, user_name, user_of},
};

/// A message on the disk.
#[derive(Debug, Clone)]
struct Kept {
    from: usize,
    to: Recipient,
    text: String,
    reference: Option<u64>,
    /// Copies, and what became of each; one that was thrown away is none.
    copies: BTreeMap<usize, ReceiptState>,
    waits_for: BTreeSet<usize>,
    /// Who was in the group then.
    audience: BTreeSet<usize>,
}

/// What a mailbox holds, messages on their way to the disk included.
#[derive(Debug, Clone, Copy, Default)]
struct Room {
    messages: u64,
    bytes: u64,
}

#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) ids: BTreeMap<UserId, usize>,
    kept: BTreeMap<MessageId, Kept>,
    references: BTreeMap<(usize, u64), MessageId>,
    /// On their way to the disk.
    queued: BTreeMap<MessageId, Kept>,
    rooms: BTreeMap<usize, Room>,
    /// Whose, by whom: what was written since a mailbox was empty, as long as a process remembers.
    written: BTreeMap<usize, BTreeMap<usize, Room>>,
}

impl Mail {
    pub(crate) fn user(&self, id: UserId) -> usize {
        self.ids[&id]
    }

    /// The greatest id on the disk.
    pub(crate) fn last(&self) -> MessageId {
        self.kept.last_key_value().map_or(MessageId(0), |(id, _)| *id)
    }

    /// Half of a mailbox is for those who have not filled a quarter of it.
    pub(crate) fn has_room(&self, from: usize, user: usize, bytes: u64) -> bool {
        let room = self.rooms.get(&user).copied().unwrap_or_default();
        let (messages_max, bytes_max) = (limits().mailbox_messages, limits().mailbox_bytes);
        let is_crowded = room.messages > messages_max / 2 || room.bytes > bytes_max / 2;
        let written = self.written.get(&user).and_then(|by| by.get(&from));
        let has_enough = written.is_some_and(|written| {
            written.messages >= messages_max / 4 || written.bytes >= bytes_max / 4
        });
        if is_crowded && has_enough {
            return false;
        }
        room.messages < limits().mailbox_messages && room.bytes + bytes <= limits().mailbox_bytes
    }

    /// What the core believes to wait for a user.
    pub(crate) fn waiting(&self, user: usize) -> u64 {
        self.rooms.get(&user).map_or(0, |room| room.messages)
    }

    /// What waits for a user on the disk.
    pub(crate) fn stored_waiting(&self, user: usize) -> Waiting {
        let mut waiting = Waiting::default();
        for kept in self.kept.values().filter(|kept| kept.waits_for.contains(&user)) {
            waiting.messages += 1;
            waiting.bytes += kept.text.len() as u64;
        }
        waiting
    }

    pub(crate) fn on_put(
        &mut self,
        message: &NewMessage,
        owners: BTreeSet<usize>,
        audience: BTreeSet<usize>,
    ) {
        let last = self.queued.last_key_value().map_or(self.last(), |(id, _)| *id);
        assert!(message.id > last.max(self.last()), "ids must grow");
        let bytes = message.text.len() as u64;
        for &owner in &owners {
            let room = self.rooms.entry(owner).or_default();
            room.messages += 1;
            room.bytes += bytes;
            let by = self.written.entry(owner).or_default();
            let written = by.entry(self.ids[&message.from]).or_default();
            written.messages += 1;
            written.bytes += bytes;
        }
        let kept = Kept {
            from: self.user(message.from),
            to: message.to.clone(),
            text: message.text.as_ref().to_owned(),
            reference: message.reference,
            copies: owners.iter().map(|&owner| (owner, ReceiptState::Stored)).collect(),
            waits_for: owners,
            audience,
        };
        self.queued.insert(message.id, kept);
    }

    pub(crate) fn on_killed(&mut self) {
        self.queued.clear();
        self.rooms.clear();
        self.written.clear();
        for kept in self.kept.values() {
            for &owner in &kept.waits_for {
                let room = self.rooms.entry(owner).or_default();
                room.messages += 1;
                room.bytes += kept.text.len() as u64;
            }
        }
    }

    /// The disk has carried something out: was it right?
    pub(crate) fn on_committed(&mut self, operation: &Operation, outcome: &Outcome) {
        match operation {
            Operation::Put(message) => self.on_written(message, outcome),
            &Operation::Load { owner, after, messages, .. } => {
                let owner = self.user(owner);
                let waits =
                    self.kept.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
                let waits = waits.filter(|(_, kept)| kept.waits_for.contains(&owner));
                let all: Vec<MessageId> = waits.map(|(id, _)| *id).collect();
                let (page, more) = page_of(outcome);
                assert!(page.len() <= messages && all.starts_with(&page), "{all:?} {page:?}");
                assert_eq!(more, page.len() < all.len(), "whether more waits");
                assert!(page.is_empty() == all.is_empty(), "a page moves on");
            }
            Operation::Receipts { owner, ids, state, .. } => {
                let owner = self.user(*owner);
                self.on_receipts(owner, ids, *state, outcome);
            }
            Operation::Clear { owner } => self.on_cleared(self.user(*owner), outcome),
            &Operation::History { reader, talk: Talk::With(other), before, messages, .. } => {
                let (reader, other) = (self.user(reader), self.user(other));
                let said = self.kept.range(..before).rev();
                let said = said.filter(|(_, kept)| is_between(kept, reader, other));
                let mut page: Vec<MessageId> = said.map(|(id, _)| *id).take(messages).collect();
                page.reverse();
                assert_eq!(page_of(outcome).0, page, "what user{reader} and user{other} said");
            }
            _ => {}
        }
    }

    fn on_written(&mut self, message: &NewMessage, outcome: &Outcome) {
        let kept = self.queued.remove(&message.id).expect("it was queued");
        let known = kept.reference.and_then(|number| self.references.get(&(kept.from, number)));
        if let Some(&first) = known {
            let is_known = matches!(outcome, Outcome::Repeated { id, .. } if *id == first);
            assert!(is_known, "one reference, two messages: {outcome:?}");
            return;
        }
        assert_eq!(*outcome, Outcome::Kept);
        if let Some(number) = kept.reference {
            self.references.insert((kept.from, number), message.id);
        }
        self.kept.insert(message.id, kept);
    }

    fn on_receipts(
        &mut self,
        owner: usize,
        ids: &[MessageId],
        state: ReceiptState,
        outcome: &Outcome,
    ) {
        let (mut news, mut right) = (Vec::new(), Waiting::default());
        for id in ids {
            let Some(kept) = self.kept.get_mut(id) else { continue };
            let Some(known) = kept.copies.get_mut(&owner).filter(|known| state > **known) else {
                continue;
            };
            *known = state;
            news.push((*id, kept.from));
            if kept.waits_for.remove(&owner) {
                right.messages += 1;
                right.bytes += kept.text.len() as u64;
            }
        }
        let Outcome::Noted { receipts, freed, .. } = outcome else { panic!("{outcome:?}") };
        let told: Vec<(MessageId, usize)> =
            receipts.iter().map(|noted| (noted.id, self.user(noted.writer))).collect();
        assert_eq!((told, *freed), (news, right));
    }

    fn on_cleared(&mut self, owner: usize, outcome: &Outcome) {
        let right = self.stored_waiting(owner);
        for kept in self.kept.values_mut() {
            if kept.waits_for.remove(&owner) {
                kept.copies.remove(&owner);
            }
        }
        let Outcome::Noted { freed, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(*freed, right);
    }

    /// The core is told.
    pub(crate) fn on_outcome(&mut self, operation: &Operation, outcome: &Outcome) {
        match (operation, outcome) {
            (Operation::Put(message), Outcome::Repeated { .. } | Outcome::Failed(_)) => {
                self.queued.remove(&message.id);
                let bytes = message.text.len() as u64;
                for owner in &message.owners {
                    self.take(self.user(*owner), Waiting { messages: 1, bytes });
                }
            }
            (
                Operation::Receipts { owner, .. } | Operation::Clear { owner },
                Outcome::Noted { freed, .. },
            ) => self.take(self.user(*owner), *freed),
            _ => {}
        }
    }

    fn take(&mut self, user: usize, freed: Waiting) {
        if freed.messages > 0 {
            let room = self.rooms.get_mut(&user).expect("something waited");
            room.messages -= freed.messages;
            room.bytes -= freed.bytes;
            if room.messages == 0 {
                self.written.remove(&user);
            }
        }
    }

    pub(crate) fn check_group_page(&self, reader: usize, has_history: bool, outcome: &Outcome) {
        for id in page_of(outcome).0 {
            let kept = &self.kept[&id];
            let was_there = kept.from == reader || kept.audience.contains(&reader);
            assert!(has_history || was_there, "user{reader} was not in the group at {id:?}");
        }
    }

    pub(crate) fn check_sent(&self, user: usize, send: &Send, sent: &Sent) {
        self.check_promise(user, send, sent.id);
    }

    /// Stored means: it is on the disk.
    pub(crate) fn check_promise(&self, user: usize, send: &Send, id: MessageId) {
        let kept = self.kept.get(&id).unwrap_or_else(|| panic!("{id:?} is not on the disk"));
        assert_eq!((kept.from, &kept.text), (user, &send.text));
        assert_eq!(kept.reference, send.reference);
    }

    /// A message reaches only those for whom it was kept, as it was written, once it is safe.
    pub(crate) fn check_delivery(&self, user: usize, delivery: &Delivery) {
        let kept = self.kept.get(&delivery.id);
        let kept = kept.unwrap_or_else(|| panic!("told before it is on the disk: {delivery:?}"));
        assert!(kept.audience.contains(&user) || kept.is_for(user), "{delivery:?} for {user}");
        assert_eq!((user_of(&delivery.from), &delivery.text), (kept.from, &kept.text));
        assert_eq!(delivery.to, kept.to);
    }

    pub(crate) fn check_readable(&self, user: usize, delivery: &Delivery) {
        let kept = &self.kept[&delivery.id];
        let is_group = matches!(kept.to, Recipient::Group(_));
        assert!(is_group || kept.from == user || kept.is_for(user), "not for user{user}");
        assert_eq!(delivery.text, kept.text);
    }

    pub(crate) fn check_writer(&self, user: usize, receipt: &Receipt) {
        let kept = &self.kept[&receipt.id];
        assert_eq!(kept.from, user, "a receipt for somebody else's message");
        assert!(kept.is_for(user_of(&receipt.by)), "a receipt of somebody else");
    }

    /// Everything that is on the disk has reached everyone for whom it was kept.
    pub(crate) fn check_end(&self, people: &[Person]) {
        for (id, kept) in &self.kept {
            assert!(kept.waits_for.is_empty(), "{id:?} still waits for {:?}", kept.waits_for);
            for user in kept.copies.keys() {
                let heard = people[*user].heard.get(id);
                let is_known = heard == Some(&kept.text) || people[*user].seen.contains(id);
                assert!(is_known, "{id:?} {:?} never reached {}", kept.text, user_name(*user));
            }
        }
        for person in people {
            let texts: BTreeSet<&String> = person.heard.values().collect();
            assert_eq!(texts.len(), person.heard.len(), "a message was doubled");
            assert!(person.heard.keys().all(|id| self.kept.contains_key(id)));
        }
    }
}

impl Kept {
    /// Whether a copy was made for the user; one that was thrown away may still be on its way.
    fn is_for(&self, user: usize) -> bool {
        let is_direct = match &self.to {
            Recipient::User(name) => user_of(name) == user,
            Recipient::All | Recipient::Others => true,
            Recipient::Group(_) => self.audience.contains(&user),
        };
        self.copies.contains_key(&user) || is_direct
    }
}

fn is_between(kept: &Kept, reader: usize, other: usize) -> bool {
    let Recipient::User(to) = &kept.to else { return false };
    let to = user_of(to);
    let is_theirs = (kept.from, to) == (reader, other) || (kept.from, to) == (other, reader);
    is_theirs && (kept.from == reader || kept.copies.contains_key(&reader))
}

fn page_of(outcome: &Outcome) -> (Vec<MessageId>, bool) {
    let Outcome::Page { messages, more } = outcome else { panic!("no page: {outcome:?}") };
    (messages.iter().map(|message| message.id).collect(), *more)
}
