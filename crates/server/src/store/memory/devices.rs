//! Devices of a name, and the copies that each of them still has to get.

use std::collections::BTreeSet;

use portolan_protocol::{DeviceId, MessageId, Timestamp};

use super::{Device, MemoryStore};
use crate::store::{Outcome, StoredDevice, StoredReference, UserId, Waiting};

impl MemoryStore {
    pub(super) fn stored_devices(&self) -> Vec<StoredDevice> {
        let devices = self.devices.iter().map(|(&(owner, device), known)| StoredDevice {
            owner,
            device,
            seen: known.seen,
            waiting: self.size_of(known.copies.iter().copied()),
        });
        devices.collect()
    }

    pub(super) fn stored_references(&self) -> Vec<StoredReference> {
        let references = self.group_references.iter();
        let mut references: Vec<StoredReference> = references
            .map(|(&(user, reference), &at)| StoredReference { user, reference, at })
            .collect();
        references.sort_by_key(|stored| (stored.user, stored.at));
        references
    }

    fn size_of(&self, ids: impl Iterator<Item = MessageId>) -> Waiting {
        let mut waiting = Waiting::default();
        for kept in ids.filter_map(|id| self.messages.get(&id)) {
            waiting.messages += 1;
            waiting.bytes += kept.size().bytes;
        }
        waiting
    }

    pub(super) fn add_devices(
        &mut self,
        owner: UserId,
        devices: &[DeviceId],
        at: Timestamp,
    ) -> Outcome {
        let waiting: BTreeSet<MessageId> = self.mailboxes.get(&owner).cloned().unwrap_or_default();
        for &device in devices {
            if let Some(known) = self.devices.get_mut(&(owner, device)) {
                known.seen = at;
                continue;
            }
            for id in &waiting {
                if let Some(kept) = self.messages.get_mut(id) {
                    kept.copies += 1;
                }
            }
            self.devices.insert((owner, device), Device { seen: at, copies: waiting.clone() });
        }
        Outcome::Done
    }

    pub(super) fn see_device(&mut self, key: (UserId, DeviceId), at: Timestamp) -> Outcome {
        if let Some(known) = self.devices.get_mut(&key) {
            known.seen = at;
        }
        Outcome::Done
    }

    pub(super) fn forget_device(&mut self, key: (UserId, DeviceId)) -> Outcome {
        self.drop_copies(key);
        self.devices.remove(&key);
        Outcome::Done
    }

    /// A device has a message; says what it held, if that was news.
    pub(super) fn take_copy(&mut self, key: (UserId, DeviceId), id: MessageId) -> Option<Waiting> {
        if !self.devices.get_mut(&key)?.copies.remove(&id) {
            return None;
        }
        let kept = self.messages.get_mut(&id)?;
        kept.copies -= 1;
        let size = kept.size();
        self.on_read(id);
        Some(size)
    }

    pub(super) fn drop_copies(&mut self, key: (UserId, DeviceId)) {
        let copies = self.devices.get(&key).map(|known| known.copies.clone()).unwrap_or_default();
        for id in copies {
            self.take_copy(key, id);
        }
    }

    pub(super) fn trim(&mut self, key: (UserId, DeviceId), keep: Waiting) -> Outcome {
        let copies = self.devices.get(&key).map(|known| known.copies.clone()).unwrap_or_default();
        let (mut left, mut is_full) = (Waiting::default(), false);
        for id in copies.into_iter().rev() {
            let size = self.size_of(std::iter::once(id));
            is_full |= left.messages + 1 > keep.messages || left.bytes + size.bytes > keep.bytes;
            if is_full {
                self.take_copy(key, id);
            } else {
                left.messages += size.messages;
                left.bytes += size.bytes;
            }
        }
        Outcome::Trimmed { left }
    }
}
