//! Who hosts where nobody has set up a server: one machine a program, pure.
//!
//! ```text
//!            nobody seen for a while            our server is up
//!   search ───────────────────────────▶ start ───────────────────▶ host
//!     │ somebody seen                                               │ a better one, and it answers
//!     ▼                                                             ▼
//!    join                                                        give way, then search
//! ```
//!
//! Of several hosts the better one is who was set up, and of passing ones who has the lower key:
//! everybody decides alike without asking anybody. A host gives way only to one that has answered
//! it: an announcement alone moves nobody.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use portolan_identity::PeerId;
use portolan_nat_io::LanRole;
use tokio::time::Instant;

/// From the first host seen to the choice, so that others have answered too.
pub(crate) const SETTLE: Duration = Duration::from_millis(400);
/// So long somebody is looked for before we host ourselves.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1500);
/// At most so much longer, by chance: of those who lost the same host one is first.
pub(crate) const JITTER: Duration = Duration::from_millis(1500);
/// Between two questions whether another host is really there.
pub(crate) const RECHECK: Duration = Duration::from_secs(5);
/// A host that had better given way, and has not for so long, cannot reach us. We go then.
pub(crate) const STUBBORN: Duration = Duration::from_secs(12);
/// A host that could not be reached is left alone for so long.
pub(crate) const SHUNNED: Duration = Duration::from_secs(30);
/// Hosts that are remembered.
pub(crate) const HOSTS_MAX: usize = 32;

/// Whether this program hosts if nobody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayHost {
    Yes,
    No,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Log in there.
    Join(PeerId),
    /// Start a server, and say which key it has.
    Host,
    /// Nobody is there, and we do not host.
    Nobody,
    /// Find out whether that host can be reached.
    Check(PeerId),
    /// End our server in good order and search anew: that host is there and counts more.
    GiveWay(PeerId),
}

/// Another host, as it announces itself.
#[derive(Debug, Clone, Copy)]
struct Other {
    role: LanRole,
    since: Instant,
    check_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is nothing to decide.
    Idle,
    Searching {
        host_at: Instant,
        /// When the best of those who were seen is taken.
        settle_at: Option<Instant>,
    },
    /// A server is being started.
    Starting,
    Hosting {
        own: PeerId,
        /// Whose answer is waited for.
        checking: Option<PeerId>,
    },
}

/// Decides who hosts.
#[derive(Debug)]
pub(crate) struct Gathering {
    may_host: MayHost,
    phase: Phase,
    others: BTreeMap<PeerId, Other>,
    /// Who could not be reached, and until when that counts.
    shunned: BTreeMap<PeerId, Instant>,
    actions: VecDeque<Action>,
}

impl Gathering {
    pub(crate) fn new(may_host: MayHost) -> Self {
        Self {
            may_host,
            phase: Phase::Idle,
            others: BTreeMap::new(),
            shunned: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Leaves a host alone that was not reached at `when`, and says so if that counts yet.
    pub(crate) fn shun(&mut self, when: Instant, key: PeerId, now: Instant) -> Option<Instant> {
        let until = when + SHUNNED;
        (until > now && self.shunned.len() < HOSTS_MAX).then(|| {
            self.shunned.insert(key, until);
            when
        })
    }

    /// Begins to look for a host; what was seen before counts no more.
    pub(crate) fn handle_search(&mut self, now: Instant, random: u64) {
        let most = u64::try_from(JITTER.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let jitter = Duration::from_millis(random.checked_rem(most).unwrap_or(0));
        self.others.clear();
        self.actions.clear();
        self.shunned.retain(|_, until| *until > now);
        self.phase = Phase::Searching { host_at: now + PATIENCE + jitter, settle_at: None };
    }

    /// A host announces itself.
    pub(crate) fn handle_seen(&mut self, now: Instant, key: PeerId, role: LanRole) {
        let is_ours = matches!(self.phase, Phase::Hosting { own, .. } if own == key);
        let has_room = self.others.len() < HOSTS_MAX || self.others.contains_key(&key);
        if is_ours || !has_room {
            return;
        }
        let other = Other { role, since: now, check_at: now };
        self.others.entry(key).or_insert(other).role = role;
        let is_shunned = self.shunned.contains_key(&key);
        if let Phase::Searching { settle_at, .. } = &mut self.phase
            && !is_shunned
        {
            settle_at.get_or_insert(now + SETTLE);
        }
    }

    /// A host says that it goes.
    pub(crate) fn handle_gone(&mut self, key: PeerId) {
        self.others.remove(&key);
    }

    /// Our server is up, and has this key.
    pub(crate) fn handle_hosting(&mut self, own: PeerId) {
        self.others.remove(&own);
        self.phase = Phase::Hosting { own, checking: None };
    }

    /// A host was not reached: by the check, or by who wanted to join it.
    pub(crate) fn handle_unreachable(&mut self, now: Instant, key: PeerId) {
        if let Some(other) = self.others.get_mut(&key) {
            other.check_at = now + RECHECK;
        }
        match &mut self.phase {
            Phase::Hosting { checking, .. } if *checking == Some(key) => *checking = None,
            Phase::Hosting { .. } => {}
            Phase::Idle | Phase::Searching { .. } | Phase::Starting => {
                if self.shunned.len() < HOSTS_MAX {
                    self.shunned.insert(key, now + SHUNNED);
                }
            }
        }
    }

    /// The host that was checked is there.
    pub(crate) fn handle_reachable(&mut self, key: PeerId) {
        if let Phase::Hosting { checking: Some(checked), .. } = self.phase
            && checked == key
        {
            self.phase = Phase::Idle;
            self.actions.push_back(Action::GiveWay(key));
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Idle | Phase::Starting => {}
            Phase::Searching { host_at, settle_at } => self.search(now, host_at, settle_at),
            Phase::Hosting { own, checking: None } => self.look_around(now, own),
            Phase::Hosting { checking: Some(_), .. } => {}
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle | Phase::Starting | Phase::Hosting { checking: Some(_), .. } => None,
            Phase::Searching { host_at, settle_at } => {
                Some(settle_at.map_or(host_at, |settle_at| settle_at.min(host_at)))
            }
            Phase::Hosting { own, checking: None } => {
                self.others.iter().map(|(key, other)| check_at(own, *key, other)).min()
            }
        }
    }

    fn search(&mut self, now: Instant, host_at: Instant, settle_at: Option<Instant>) {
        let is_settled = settle_at.is_some_and(|settle_at| settle_at <= now);
        if !is_settled && now < host_at {
            return;
        }
        if let Some(best) = self.best() {
            self.phase = Phase::Idle;
            self.actions.push_back(Action::Join(best));
        } else if now < host_at {
            // Whoever it was has gone meanwhile.
            self.phase = Phase::Searching { host_at, settle_at: None };
        } else {
            self.on_nobody();
        }
    }

    fn on_nobody(&mut self) {
        let (phase, action) = match self.may_host {
            MayHost::Yes => (Phase::Starting, Action::Host),
            MayHost::No => (Phase::Idle, Action::Nobody),
        };
        self.phase = phase;
        self.actions.push_back(action);
    }

    fn best(&self) -> Option<PeerId> {
        let here = self.others.iter().filter(|(key, _)| !self.shunned.contains_key(key));
        here.min_by_key(|(key, other)| rank(other.role, **key)).map(|(key, _)| *key)
    }

    /// Asks after the best of those to whom we may have to give way.
    fn look_around(&mut self, now: Instant, own: PeerId) {
        let due = self.others.iter().filter(|(key, other)| check_at(own, **key, other) <= now);
        let best = due.min_by_key(|(key, other)| rank(other.role, **key)).map(|(key, _)| *key);
        if let Some(key) = best {
            self.phase = Phase::Hosting { own, checking: Some(key) };
            self.actions.push_back(Action::Check(key));
        }
    }
}

/// The lower, the better.
fn rank(role: LanRole, key: PeerId) -> (bool, PeerId) {
    (role == LanRole::Passing, key)
}

/// When a host asks after another one: at once after a better one, after others when they do not
/// give way.
fn check_at(own: PeerId, key: PeerId, other: &Other) -> Instant {
    let is_better = rank(other.role, key) < rank(LanRole::Passing, own);
    let first = if is_better { other.since } else { other.since + STUBBORN };
    first.max(other.check_at)
}

#[cfg(test)]
mod tests;
