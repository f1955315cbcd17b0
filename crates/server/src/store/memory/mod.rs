//! The store of `--ephemeral`: everything in memory, gone with the process.

mod devices;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::{Bound::Excluded, Range},
    sync::Arc,
};

use portolan_identity::PeerId;
use portolan_protocol::{Delivery, DeviceId, MessageId, Name, ReceiptState, Settings, Timestamp};

use super::{
    GroupId, GroupWrite, NewMessage, Noted, Operation, Outcome, Snapshot, Store, StoreError,
    StoredBan, StoredGroup, StoredMember, StoredUser, Talk, UserId, Waiting,
};

/// Marks of copies that were delivered: by them a repeated send and a late receipt are known. With
/// more, the oldest messages are forgotten altogether.
#[derive(Debug)]
struct MarksMax(usize);

impl Default for MarksMax {
    fn default() -> Self {
        Self(500_000)
    }
}

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    users: BTreeMap<UserId, StoredUser>,
    messages: BTreeMap<MessageId, Kept>,
    mailboxes: HashMap<UserId, BTreeSet<MessageId>>,
    groups: BTreeMap<GroupId, StoredGroup>,
    members: BTreeMap<(GroupId, UserId), StoredMember>,
    devices: BTreeMap<(UserId, DeviceId), Device>,
    settings: BTreeMap<UserId, Settings>,
    references: BTreeMap<(UserId, u64), MessageId>,
    group_references: BTreeMap<(UserId, u64), Timestamp>,
    bans: BTreeMap<PeerId, StoredBan>,
    last_group: GroupId,
    last_message: MessageId,
    /// Texts that nobody waits for, and how much of them may be kept.
    read: BTreeSet<MessageId>,
    read_bytes: u64,
    history: u64,
    /// Messages that nobody waits for, with or without their texts, and the marks they hold.
    done: BTreeSet<MessageId>,
    marks: usize,
    marks_max: MarksMax,
}

#[derive(Debug)]
struct Kept {
    message: NewMessage,
    states: BTreeMap<UserId, ReceiptState>,
    /// Devices that still have to get it.
    copies: usize,
    /// Owners who have not got it.
    unread: usize,
}

#[derive(Debug)]
struct Device {
    seen: Timestamp,
    copies: BTreeSet<MessageId>,
}

impl Kept {
    fn size(&self) -> Waiting {
        Waiting { messages: 1, bytes: self.message.text.len() as u64 }
    }

    fn is_read(&self) -> bool {
        self.copies == 0 && self.unread == 0
    }

    /// What is remembered of it: each copy, and that it was.
    fn marks(&self) -> usize {
        self.states.len() + 1
    }
}

/// Who talks with whom, whoever of them asks.
fn talk_key(user: UserId, talk: Talk) -> (u64, Option<u64>) {
    match talk {
        Talk::With(other) => (user.min(other).0, Some(user.max(other).0)),
        Talk::In(group) => (group.0, None),
    }
}

impl Store for MemoryStore {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let users = self.users.values().map(|user| (user.clone(), self.waiting(user.id)));
        Ok(Snapshot {
            users: users.collect(),
            groups: self.groups.values().cloned().collect(),
            members: self.members.values().copied().collect(),
            wrote: self.wrote(),
            devices: self.stored_devices(),
            settings: self.settings.iter().map(|(user, settings)| (*user, *settings)).collect(),
            references: self.stored_references(),
            bans: self.bans.values().cloned().collect(),
            last_group: self.last_group,
            last_message: self.last_message,
        })
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        Ok(operations.iter().map(|operation| self.apply_one(operation)).collect())
    }
}

impl MemoryStore {
    /// Keeps at most `history` bytes of texts that nobody waits for any more; the oldest go first.
    #[must_use]
    pub fn new(history: u64) -> Self {
        Self { history, ..Self::default() }
    }

    /// The same with at most so many marks.
    #[cfg(test)]
    pub(super) fn with_marks(history: u64, marks_max: usize) -> Self {
        Self { history, marks_max: MarksMax(marks_max), ..Self::default() }
    }

    fn wrote(&self) -> Vec<(UserId, UserId)> {
        let pair = |kept: &Kept| match kept.message.talk {
            Some(Talk::With(other)) => Some((kept.message.from, other)),
            Some(Talk::In(_)) | None => None,
        };
        let pairs: BTreeSet<(UserId, UserId)> = self.messages.values().filter_map(pair).collect();
        pairs.into_iter().collect()
    }

    fn apply_one(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::AddUser(user) => self.add_user(user),
            Operation::SetPassword { user, hash } => {
                self.change(*user, |stored| stored.password.clone_from(hash))
            }
            &Operation::MoveName { user, key } => self.change(user, |stored| stored.key = key),
            &Operation::SetSettings { user, settings } => {
                self.settings.insert(user, settings);
                Outcome::Done
            }
            Operation::AddDevices { owner, devices, at } => self.add_devices(*owner, devices, *at),
            &Operation::SeeDevice { owner, device, at } => self.see_device((owner, device), at),
            &Operation::ForgetDevice { owner, device } => self.forget_device((owner, device)),
            &Operation::Trim { owner, device, keep } => self.trim((owner, device), keep),
            Operation::Put(message) => self.put(message),
            &Operation::Load { owner, device, after, messages, bytes } => {
                self.load((owner, device), after, messages, bytes)
            }
            Operation::Receipts { owner, device, ids, state } => {
                self.receipts((*owner, *device), ids, *state)
            }
            &Operation::Clear { owner } => self.clear(owner),
            &Operation::Purge { before } => self.purge(before),
            &Operation::History { reader, talk, after, before, messages, bytes } => {
                self.page_back(reader, talk, after..before, messages, bytes)
            }
            Operation::WriteGroup(writes) => self.write_group(writes),
            Operation::Ban(ban) => {
                self.bans.insert(ban.key, ban.clone());
                Outcome::Done
            }
            Operation::Unban(key) => {
                self.bans.remove(key);
                Outcome::Done
            }
            Operation::Backup => {
                Outcome::Failed(Arc::from("this server keeps everything in memory alone"))
            }
        }
    }

    fn add_user(&mut self, user: &StoredUser) -> Outcome {
        self.users.insert(user.id, user.clone());
        Outcome::Done
    }

    fn change(&mut self, user: UserId, how: impl FnOnce(&mut StoredUser)) -> Outcome {
        if let Some(stored) = self.users.get_mut(&user) {
            how(stored);
        }
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
        let owners = message.owners.iter().map(|&owner| (owner, ReceiptState::Stored));
        let states: BTreeMap<UserId, ReceiptState> = owners.collect();
        let unread = states.len();
        let mut copies = 0;
        for key in &message.copies {
            if let Some(device) = self.devices.get_mut(key) {
                copies += usize::from(device.copies.insert(message.id));
            }
        }
        self.messages.insert(message.id, Kept { message: message.clone(), states, copies, unread });
        self.last_message = self.last_message.max(message.id);
        self.on_read(message.id);
        Outcome::Kept
    }

    fn load(
        &self,
        (owner, device): (UserId, Option<DeviceId>),
        after: MessageId,
        messages: usize,
        bytes: u64,
    ) -> Outcome {
        let mut page = Vec::new();
        let mut used = 0;
        let waiting = match device {
            Some(device) => self.devices.get(&(owner, device)).map(|device| &device.copies),
            None => self.mailboxes.get(&owner),
        };
        let mailbox = waiting.into_iter().flatten().copied();
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

    fn receipts(
        &mut self,
        (owner, device): (UserId, Option<DeviceId>),
        ids: &[MessageId],
        state: ReceiptState,
    ) -> Outcome {
        let mut receipts = Vec::new();
        let (mut freed, mut copies) = (Waiting::default(), Waiting::default());
        for id in ids {
            if let Some(size) = device.and_then(|device| self.take_copy((owner, device), *id)) {
                copies.messages += size.messages;
                copies.bytes += size.bytes;
            }
            let Some(kept) = self.messages.get_mut(id) else { continue };
            let size = kept.size();
            let Some(known) = kept.states.get_mut(&owner) else { continue };
            if state <= *known {
                continue;
            }
            let before = std::mem::replace(known, state);
            kept.unread -= usize::from(before == ReceiptState::Stored);
            receipts.push(Noted { id: *id, writer: kept.message.from, before });
            if self.mailboxes.get_mut(&owner).is_some_and(|mailbox| mailbox.remove(id)) {
                freed.messages += size.messages;
                freed.bytes += size.bytes;
                self.on_read(*id);
            }
        }
        Outcome::Noted { receipts, freed, copies }
    }

    fn clear(&mut self, owner: UserId) -> Outcome {
        let freed = self.waiting(owner);
        for id in self.mailboxes.remove(&owner).into_iter().flatten() {
            if let Some(kept) = self.messages.get_mut(&id) {
                let before = kept.states.remove(&owner);
                kept.unread -= usize::from(before == Some(ReceiptState::Stored));
            }
            self.on_read(id);
        }
        let devices = self.devices.keys().filter(|(of, _)| *of == owner);
        for key in devices.copied().collect::<Vec<_>>() {
            self.drop_copies(key);
        }
        Outcome::Noted { receipts: Vec::new(), freed, copies: Waiting::default() }
    }

    fn purge(&mut self, before: Timestamp) -> Outcome {
        let mailboxes = &self.mailboxes;
        self.messages.retain(|id, kept| {
            let waits = |owner: &UserId| mailboxes.get(owner).is_some_and(|m| m.contains(id));
            kept.message.at >= before || kept.copies > 0 || kept.states.keys().any(waits)
        });
        let messages = &self.messages;
        self.read.retain(|id| messages.contains_key(id));
        let sizes = self.read.iter().filter_map(|id| Some(messages.get(id)?.size().bytes));
        self.read_bytes = sizes.sum();
        self.done.retain(|id| messages.contains_key(id));
        self.marks = self.done.iter().filter_map(|id| Some(messages.get(id)?.marks())).sum();
        self.references.retain(|_, id| messages.contains_key(id));
        Outcome::Done
    }

    /// If nobody waits for this message any more, it is history.
    fn on_read(&mut self, id: MessageId) {
        let Some(kept) = self.messages.get_mut(&id).filter(|kept| kept.is_read()) else { return };
        if self.done.insert(id) {
            self.marks += kept.marks();
        }
        if kept.message.talk.is_none() || self.history == 0 {
            kept.message.text = Arc::from("");
        } else if self.read.insert(id) {
            self.read_bytes += kept.size().bytes;
        }
        while self.read_bytes > self.history
            && let Some(oldest) = self.read.pop_first()
        {
            if let Some(kept) = self.messages.get_mut(&oldest) {
                self.read_bytes -= kept.size().bytes;
                kept.message.text = Arc::from("");
            }
        }
        while self.marks > self.marks_max.0
            && let Some(oldest) = self.done.pop_first()
        {
            self.forget(oldest);
        }
    }

    /// Nothing remains of a message that nobody waits for.
    fn forget(&mut self, id: MessageId) {
        let Some(kept) = self.messages.remove(&id) else { return };
        self.marks -= kept.marks();
        if self.read.remove(&id) {
            self.read_bytes -= kept.size().bytes;
        }
        if let Some(reference) = kept.message.reference {
            self.references.remove(&(kept.message.from, reference));
        }
    }

    fn page_back(
        &self,
        reader: UserId,
        talk: Talk,
        ids: Range<MessageId>,
        messages: usize,
        bytes: u64,
    ) -> Outcome {
        let wanted = talk_key(reader, talk);
        let (mut page, mut used) = (Vec::new(), 0);
        let between = (Excluded(ids.start), Excluded(ids.end.max(MessageId(ids.start.0 + 1))));
        for (_, kept) in self.messages.range(between).rev() {
            let message = &kept.message;
            let is_its = message.talk.is_some_and(|talk| talk_key(message.from, talk) == wanted);
            let may_read = matches!(talk, Talk::In(_))
                || message.from == reader
                || kept.states.contains_key(&reader);
            if !is_its || !may_read || message.text.is_empty() {
                continue;
            }
            used += message.text.len() as u64;
            if page.len() >= messages || (used > bytes && !page.is_empty()) {
                page.reverse();
                return Outcome::Page { messages: page, more: true };
            }
            page.extend(self.delivery(kept));
        }
        page.reverse();
        Outcome::Page { messages: page, more: false }
    }

    fn write_group(&mut self, writes: &[GroupWrite]) -> Outcome {
        for write in writes {
            match write {
                GroupWrite::Save(group) => {
                    self.last_group = self.last_group.max(group.id);
                    self.groups.insert(group.id, group.clone());
                }
                GroupWrite::Member(member) => {
                    self.members.insert((member.group, member.user), *member);
                }
                GroupWrite::Drop { group, user } => {
                    self.members.remove(&(*group, *user));
                }
                GroupWrite::Note(noted) => {
                    self.group_references.insert((noted.user, noted.reference), noted.at);
                }
                GroupWrite::Unnote(noted) => {
                    self.group_references.remove(&(noted.user, noted.reference));
                }
                GroupWrite::End(group) => {
                    self.groups.remove(group);
                    self.members.retain(|(of, _), _| of != group);
                }
            }
        }
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
