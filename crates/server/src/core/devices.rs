//! Several sessions of one name beside each other.
//!
//! A login that names no device **replaces** every session of its name. One that names a device
//! stands **beside** the others; the same device again replaces its own session alone, so that a
//! device which comes back over another address or transport moves, and the others stay.
//!
//! | what | with several sessions |
//! |---|---|
//! | a message to the name | reaches every device, each in order and once: a device has a cursor of its own, kept by the store while it is away |
//! | `delivered` | is told when the first device confirms, `seen` when the first has shown it; the others are told nothing |
//! | the mailbox bound | counts what no device has confirmed; a device that stays away costs senders nothing, beyond the same bound its oldest copies go (the history has them) |
//! | a message from the name | is copied to its other devices |
//! | receipts, groups, announcements, settings | are told to every session |
//! | a request for a conversation | rings everywhere; the first to answer has the conversation, the others are told the same with `elsewhere` |
//! | a conversation | belongs to one session; asking for it again from another one moves it there; it ends with its session |
//! | free, busy, the settings | belong to the name |
//! | the list | has the name once, with the transports of all sessions |
//! | a relay | goes to the session that talks with the caller, else to the one that came last |
//! | logout, a lost connection | end one session; the name is gone with the last one |
//! | kick, ban | end all of them |
//! | clearing the mailbox | throws away what waits for any of them |
//!
//! A name whose owner never named a device has its mailbox alone and costs what it always did.
//! From the first named device on, a session without one counts as the device [`PLAIN`]. Devices
//! are forgotten when they were away for [`Timing::retention`](crate::Timing::retention); when the
//! bound is reached, the one that has been away longest makes room.

use std::collections::HashMap;

use portolan_protocol::{DeviceId, ErrorBody, ErrorCode, LoginAttempt, RequestId, Timestamp};

use super::{
    Core, Now, SessionId,
    mailbox::{Pending, store_failed},
    session::LoginState,
};
use crate::store::{NewMessage, Operation, Outcome, Snapshot, UserId, Waiting};

/// The device of sessions that name none.
pub(super) const PLAIN: DeviceId = DeviceId(0);

/// One session of a user who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) session: SessionId,
    pub(super) registry: usize,
    pub(super) device: DeviceId,
    /// Which of its client's logins it is.
    pub(super) attempt: Option<LoginAttempt>,
}

/// A device for which copies are kept.
#[derive(Debug, Clone, Copy)]
struct Known {
    device: DeviceId,
    seen: Timestamp,
    /// Copies on their way into the store included.
    waiting: Waiting,
    is_saved: bool,
}

/// The devices of every name that has some.
#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<UserId, Vec<Known>>);

/// A login that waits until its device is kept.
#[derive(Debug)]
pub(super) struct PendingDevice {
    session: SessionId,
    id: RequestId,
    user: UserId,
    added: Vec<DeviceId>,
    moved: bool,
}

impl Devices {
    pub(super) fn load(snapshot: &Snapshot) -> Self {
        let mut devices = Self::default();
        for stored in &snapshot.devices {
            devices.0.entry(stored.owner).or_default().push(Known {
                device: stored.device,
                seen: stored.seen,
                waiting: stored.waiting,
                is_saved: true,
            });
        }
        devices
    }

    /// Whether the name has devices, and so no mailbox alone.
    pub(super) fn has_some(&self, user: UserId) -> bool {
        self.0.contains_key(&user)
    }

    pub(super) fn of(&self, user: UserId) -> impl Iterator<Item = DeviceId> {
        self.known(user).iter().map(|known| known.device)
    }

    /// What waits for one device.
    pub(super) fn waiting(&self, user: UserId, device: DeviceId) -> Option<Waiting> {
        self.find(user, device).map(|known| known.waiting)
    }

    fn known(&self, user: UserId) -> &[Known] {
        self.0.get(&user).map_or(&[], Vec::as_slice)
    }

    fn find(&self, user: UserId, device: DeviceId) -> Option<&Known> {
        self.known(user).iter().find(|known| known.device == device)
    }

    fn find_mut(&mut self, user: UserId, device: DeviceId) -> Option<&mut Known> {
        self.0.get_mut(&user)?.iter_mut().find(|known| known.device == device)
    }

    fn forget(&mut self, user: UserId, device: DeviceId) {
        let Some(known) = self.0.get_mut(&user) else { return };
        known.retain(|known| known.device != device);
        if known.is_empty() {
            self.0.remove(&user);
        }
    }

    fn add_waiting(&mut self, message: &NewMessage) {
        for &(user, device) in &message.copies {
            if let Some(known) = self.find_mut(user, device) {
                known.waiting.messages += 1;
                known.waiting.bytes += message.text.len() as u64;
            }
        }
    }

    pub(super) fn take_waiting(&mut self, user: UserId, device: DeviceId, less: Waiting) {
        if let Some(known) = self.find_mut(user, device) {
            known.waiting.messages = known.waiting.messages.saturating_sub(less.messages);
            known.waiting.bytes = known.waiting.bytes.saturating_sub(less.bytes);
        }
    }

    pub(super) fn clear_waiting(&mut self, user: UserId) {
        for known in self.0.get_mut(&user).into_iter().flatten() {
            known.waiting = Waiting::default();
        }
    }
}

impl Core {
    /// Logs in a session whose owner has proved the name: at once, or when a new device is kept.
    pub(super) fn enter_as_device(
        &mut self,
        now: Now,
        (session, id): (SessionId, RequestId),
        user: UserId,
        moved: bool,
    ) {
        let checked = self.check_attempt(session, user);
        match checked.and_then(|()| self.plan_device(now, session, user)) {
            Err(error) => {
                self.expect_login(now, session);
                self.log_refused_login(session, &error);
                self.refuse(session, id, error);
            }
            Ok(added) if added.is_empty() => self.enter(now, session, id, user, moved),
            Ok(added) => {
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.login = LoginState::Saving(user);
                }
                let operation =
                    Operation::AddDevices { owner: user, devices: added.clone(), at: now.wall };
                let pending = PendingDevice { session, id, user, added, moved };
                self.store(Pending::Device(pending), operation);
            }
        }
    }

    /// The devices that have to be kept before the session may stand where it wants to.
    fn plan_device(
        &mut self,
        now: Now,
        session: SessionId,
        user: UserId,
    ) -> Result<Vec<DeviceId>, ErrorBody> {
        let Some(state) = self.sessions.get(&session) else { return Ok(Vec::new()) };
        let asked = state.device;
        if asked == Some(PLAIN) {
            let message = "a device has a number of its own, chosen at random; 0 is none";
            return Err(ErrorBody::new(ErrorCode::BadRequest, message).with_detail("device"));
        }
        let device = asked.unwrap_or(PLAIN);
        if asked.is_some() {
            self.check_stands(user, device)?;
        }
        match self.devices.find(user, device) {
            Some(known) if !known.is_saved => {
                let message = "this device is being taken in by another session; try again";
                Err(ErrorBody::new(ErrorCode::Conflict, message))
            }
            Some(_) => Ok(Vec::new()),
            None if asked.is_none() && !self.devices.has_some(user) => Ok(Vec::new()),
            None => Ok(self.take_in(now, user, device)),
        }
    }

    fn check_stands(&self, user: UserId, device: DeviceId) -> Result<(), ErrorBody> {
        let online = self.user(user).and_then(|known| known.online.as_ref());
        let others = online.map_or(0, |online| {
            online.stands.iter().filter(|stand| stand.device != device).count()
        });
        let limit = self.limits.devices;
        if others < limit {
            return Ok(());
        }
        let message = format!(
            "{limit} sessions of this name are there already; log out on another device, or log \
             in without standing beside them"
        );
        Err(ErrorBody::new(ErrorCode::Quota, message))
    }

    /// Notes a new device, and those that have to go for it.
    fn take_in(&mut self, now: Now, user: UserId, device: DeviceId) -> Vec<DeviceId> {
        while self.devices.known(user).len() > self.limits.devices {
            let Some(oldest) = self.longest_away(user) else { break };
            self.forget_device(user, oldest);
        }
        let waiting = self.user(user).map(|known| known.waiting).unwrap_or_default();
        let mut added = vec![device];
        if device != PLAIN && !self.devices.has_some(user) {
            added.push(PLAIN);
        }
        let known =
            added.iter().map(|&device| Known { device, seen: now.wall, waiting, is_saved: false });
        self.devices.0.entry(user).or_default().extend(known);
        added
    }

    fn longest_away(&self, user: UserId) -> Option<DeviceId> {
        let known = self.devices.known(user).iter();
        let away = known.filter(|known| known.is_saved && !self.stands(user, known.device));
        away.min_by_key(|known| known.seen).map(|known| known.device)
    }

    fn stands(&self, user: UserId, device: DeviceId) -> bool {
        let online = self.user(user).and_then(|known| known.online.as_ref());
        online.is_some_and(|online| online.stands.iter().any(|stand| stand.device == device))
    }

    pub(super) fn on_device_kept(&mut self, now: Now, pending: PendingDevice, outcome: &Outcome) {
        let PendingDevice { session, id, user, added, moved } = pending;
        if matches!(outcome, Outcome::Failed(_)) {
            added.iter().for_each(|&device| self.devices.forget(user, device));
            self.expect_login(now, session);
            return self.refuse(session, id, store_failed());
        }
        for &device in &added {
            if let Some(known) = self.devices.find_mut(user, device) {
                known.is_saved = true;
            }
        }
        if self.sessions.contains_key(&session) {
            self.enter(now, session, id, user, moved);
        }
    }

    /// Notes that a device is, or was, there.
    pub(super) fn see_device(&mut self, now: Now, user: UserId, device: DeviceId) {
        let Some(known) = self.devices.find_mut(user, device) else { return };
        known.seen = now.wall;
        let operation = Operation::SeeDevice { owner: user, device, at: now.wall };
        self.store(Pending::Purge, operation);
    }

    /// Forgets the devices that have not been there since `before`.
    pub(super) fn forget_devices(&mut self, before: Timestamp) {
        let is_over = |known: &Known| known.is_saved && known.seen < before;
        let mut over: Vec<(UserId, DeviceId)> = self
            .devices
            .0
            .iter()
            .flat_map(|(&user, known)| known.iter().map(move |known| (user, known)))
            .filter(|&(user, known)| is_over(known) && !self.stands(user, known.device))
            .map(|(user, known)| (user, known.device))
            .collect();
        over.sort_unstable();
        for (user, device) in over {
            self.forget_device(user, device);
        }
    }

    fn forget_device(&mut self, user: UserId, device: DeviceId) {
        self.devices.forget(user, device);
        self.store(Pending::Purge, Operation::ForgetDevice { owner: user, device });
    }

    /// The device whose copies a session reads; `None`: it reads the name's mailbox.
    pub(super) fn reads_as(&self, session: SessionId, user: UserId) -> Option<DeviceId> {
        let device = self.sessions.get(&session)?.device;
        self.devices.has_some(user).then(|| device.unwrap_or(PLAIN))
    }

    /// For which devices copies of a message are kept: all of its owners', and those of the
    /// sender but for the one that sent it.
    pub(super) fn copies(
        &self,
        session: SessionId,
        from: UserId,
        owners: &[UserId],
    ) -> Vec<(UserId, DeviceId)> {
        if self.devices.0.is_empty() {
            return Vec::new();
        }
        let of_owners =
            owners.iter().flat_map(|&user| self.devices.of(user).map(move |d| (user, d)));
        let mut copies: Vec<(UserId, DeviceId)> = of_owners.collect();
        if !owners.contains(&from) {
            let sender = self.reads_as(session, from);
            let others = self.devices.of(from).filter(|&device| Some(device) != sender);
            copies.extend(others.map(|device| (from, device)));
        }
        copies
    }

    /// Counts the copies of a message that is on its way into the store. Devices that are away for
    /// long lose their oldest ones.
    pub(super) fn count_copies(&mut self, message: &NewMessage) {
        self.devices.add_waiting(message);
        let (messages, bytes) = (self.limits.mailbox_messages, self.limits.mailbox_bytes);
        for &(owner, device) in &message.copies {
            let Some(waiting) = self.devices.waiting(owner, device) else { continue };
            if waiting.messages > messages || waiting.bytes > bytes {
                // Not one at a time: then each further message would cost another round.
                let keep = Waiting { messages: messages - messages / 8, bytes: bytes - bytes / 8 };
                self.devices.take_waiting(owner, device, waiting);
                self.store(
                    Pending::Trim { owner, device },
                    Operation::Trim { owner, device, keep },
                );
            }
        }
    }

    pub(super) fn on_trimmed(&mut self, owner: UserId, device: DeviceId, outcome: &Outcome) {
        if let (Outcome::Trimmed { left }, Some(known)) =
            (outcome, self.devices.find_mut(owner, device))
        {
            known.waiting.messages += left.messages;
            known.waiting.bytes += left.bytes;
        }
    }

    pub(super) fn take_copies_back(&mut self, message: &NewMessage) {
        let size = Waiting { messages: 1, bytes: message.text.len() as u64 };
        for &(user, device) in &message.copies {
            self.devices.take_waiting(user, device, size);
        }
    }

    /// Every session of a user.
    pub(super) fn sessions_of(&self, user: UserId) -> Vec<SessionId> {
        let online = self.user(user).and_then(|known| known.online.as_ref());
        online.map(|online| online.sessions().collect()).unwrap_or_default()
    }
}
