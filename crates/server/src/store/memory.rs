//! The store of `--ephemeral`: everything in memory, gone with the process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use portolan_protocol::{Delivery, MessageId, Name, ReceiptState, Timestamp};

use super::{
    NewMessage, Operation, Outcome, Snapshot, Store, StoreError, StoredUser, UserId, Waiting,
};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    users: BTreeMap<UserId, StoredUser>,
    messages: BTreeMap<MessageId, Kept>,
    references: HashMap<(UserId, u64), MessageId>,
    mailboxes: HashMap<UserId, BTreeSet<MessageId>>,
    last_message: MessageId,
}

#[derive(Debug)]
struct Kept {
    message: NewMessage,
    states: BTreeMap<UserId, ReceiptState>,
}

impl Kept {
    fn size(&self) -> Waiting {
        Waiting { messages: 1, bytes: self.message.text.len() as u64 }
    }

    /// Throws the text away once nobody waits for it.
    fn forget_text(&mut self) {
        if self.states.values().all(|state| *state > ReceiptState::Stored) {
            self.message.text = Arc::from("");
        }
    }
}

impl Store for MemoryStore {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let users = self.users.values().map(|user| (user.clone(), self.waiting(user.id)));
        Ok(Snapshot { users: users.collect(), last_message: self.last_message })
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        Ok(operations.iter().map(|operation| self.apply_one(operation)).collect())
    }
}

impl MemoryStore {
    fn apply_one(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::AddUser(user) => self.add_user(user),
            Operation::Put(message) => self.put(message),
            &Operation::Load { owner, after, messages, bytes } => {
                self.load(owner, after, messages, bytes)
            }
            Operation::Receipts { owner, ids, state } => self.receipts(*owner, ids, *state),
            &Operation::Clear { owner } => self.clear(owner),
            &Operation::Purge { before } => self.purge(before),
        }
    }

    fn add_user(&mut self, user: &StoredUser) -> Outcome {
        self.users.insert(user.id, user.clone());
        Outcome::Done
    }

    fn put(&mut self, message: &NewMessage) -> Outcome {
        if let Some(reference) = message.reference {
            let key = (message.from, reference);
            if let Some(first) = self.references.get(&key).and_then(|id| self.messages.get(id)) {
                return Outcome::Repeated { id: first.message.id, at: first.message.at };
            }
            self.references.insert(key, message.id);
        }
        for &owner in &message.owners {
            self.mailboxes.entry(owner).or_default().insert(message.id);
        }
        let states = message.owners.iter().map(|&owner| (owner, ReceiptState::Stored)).collect();
        self.messages.insert(message.id, Kept { message: message.clone(), states });
        self.last_message = self.last_message.max(message.id);
        Outcome::Kept
    }

    fn load(&self, owner: UserId, after: MessageId, messages: usize, bytes: u64) -> Outcome {
        let mut page = Vec::new();
        let mut used = 0;
        let mailbox = self.mailboxes.get(&owner).into_iter().flatten().copied();
        for kept in mailbox.filter(|&id| id > after).filter_map(|id| self.messages.get(&id)) {
            used += kept.message.text.len() as u64;
            if page.len() >= messages || (used > bytes && !page.is_empty()) {
                return Outcome::Page { messages: page, more: true };
            }
            if let Some(delivery) = self.delivery(kept) {
                page.push(delivery);
            }
        }
        Outcome::Page { messages: page, more: false }
    }

    fn delivery(&self, kept: &Kept) -> Option<Delivery> {
        let from: Name = self.users.get(&kept.message.from)?.name.clone();
        Some(Delivery {
            id: kept.message.id,
            from,
            to: kept.message.to.clone(),
            text: kept.message.text.as_ref().to_owned(),
            at: kept.message.at,
        })
    }

    fn receipts(&mut self, owner: UserId, ids: &[MessageId], state: ReceiptState) -> Outcome {
        let mut receipts = Vec::new();
        let mut freed = Waiting::default();
        for id in ids {
            let Some(kept) = self.messages.get_mut(id) else { continue };
            let size = kept.size();
            let Some(known) = kept.states.get_mut(&owner) else { continue };
            if state <= *known {
                continue;
            }
            *known = state;
            receipts.push((*id, kept.message.from));
            if self.mailboxes.get_mut(&owner).is_some_and(|mailbox| mailbox.remove(id)) {
                freed.messages += size.messages;
                freed.bytes += size.bytes;
                kept.forget_text();
            }
        }
        Outcome::Noted { receipts, freed }
    }

    fn clear(&mut self, owner: UserId) -> Outcome {
        let freed = self.waiting(owner);
        for id in self.mailboxes.remove(&owner).into_iter().flatten() {
            if let Some(kept) = self.messages.get_mut(&id) {
                kept.states.remove(&owner);
                kept.forget_text();
            }
        }
        Outcome::Noted { receipts: Vec::new(), freed }
    }

    fn purge(&mut self, before: Timestamp) -> Outcome {
        let mailboxes = &self.mailboxes;
        self.messages.retain(|id, kept| {
            let waits = |owner: &UserId| mailboxes.get(owner).is_some_and(|m| m.contains(id));
            kept.message.at >= before || kept.states.keys().any(waits)
        });
        let messages = &self.messages;
        self.references.retain(|_, id| messages.contains_key(id));
        Outcome::Done
    }

    fn waiting(&self, owner: UserId) -> Waiting {
        let mut waiting = Waiting::default();
        for id in self.mailboxes.get(&owner).into_iter().flatten() {
            if let Some(kept) = self.messages.get(id) {
                waiting.messages += 1;
                waiting.bytes += kept.size().bytes;
            }
        }
        waiting
    }
}
