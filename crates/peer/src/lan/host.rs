//! A server in our own program, for as long as it is the one of its network.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_identity::PeerId;
use portolan_nat_io::{Announcement, LanBrowser, LanRole, interfaces};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    FoundServer, RunningHost,
    finder::{Check, LanNews, Tell},
    gathering::{Action, Gathering},
    sightings::{Change, Sightings},
};

/// What those hear who are logged in when we leave.
const LEAVING: &str = "the program that hosted this network is closed; the others go on";
/// What they hear when another host counts more.
const MOVING: &str = "another host is on this network; everybody goes there";
/// The end of our server and its farewell may take so long.
const END_TIME: Duration = Duration::from_secs(8);
/// Addresses of ours that we dial ourselves at.
const OWN_MAX: usize = 4;

/// The server that we host, and the task that looks after it.
#[derive(Debug)]
pub(super) struct Hosted {
    id: PeerId,
    port: u16,
    /// It is the one of its network no longer.
    over: CancellationToken,
    leaving: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Hosted {
    /// Announces `host` and looks after it from now on.
    pub(super) fn start(host: Box<dyn RunningHost>, watch: Watch) -> Self {
        let (id, port) = (host.id(), host.port());
        let (over, leaving) = (watch.over.clone(), watch.leaving.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(watch.run(host)));
        Self { id, port, over, leaving, task }
    }

    /// Where it is, if it still is the one of its network.
    pub(super) fn found(&self) -> Option<FoundServer> {
        // Our addresses change with the networks that we are on.
        let found = || FoundServer { id: self.id, addresses: own_addresses(self.port) };
        (!self.over.is_cancelled()).then(found)
    }

    /// Ends it in good order.
    pub(super) async fn leave(self) {
        self.leaving.cancel();
        let _in_time = timeout(END_TIME, self.task).await;
    }
}

/// Where we reach our own server: as others do, so that they are told the same address of us; and
/// by loopback, if this machine has lost its network.
fn own_addresses(port: u16) -> Vec<SocketAddr> {
    let found = interfaces().unwrap_or_default();
    let mut ips: Vec<_> = found.into_iter().map(|interface| interface.ip).collect();
    ips.retain(|ip| ip.is_ipv4() && !ip.is_loopback());
    ips.sort_unstable();
    ips.truncate(OWN_MAX);
    ips.push([127, 0, 0, 1].into());
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Looks after our server: tells the network of it, and gives way to a host that counts more.
pub(super) struct Watch {
    pub(super) browser: LanBrowser,
    pub(super) sightings: Sightings,
    pub(super) gathering: Gathering,
    pub(super) check: Arc<Check>,
    pub(super) tell: Tell,
    pub(super) over: CancellationToken,
    pub(super) leaving: CancellationToken,
}

impl Watch {
    async fn run(mut self, host: Box<dyn RunningHost>) {
        let id = host.id();
        let announced =
            Announcement::start(&label(id), host.port(), &id.to_string(), LanRole::Passing);
        let announced = announced
            .inspect_err(|error| tracing::warn!(%error, "others will not find this host"))
            .ok();
        let why = self.stand().await;
        self.over.cancel();
        if let Some(announced) = announced {
            announced.end().await;
        }
        host.end(why).await;
    }

    /// Waits until there is a reason to end, and says which.
    async fn stand(&mut self) -> &'static str {
        let mut checks = JoinSet::new();
        loop {
            self.gathering.handle_timeout(Instant::now());
            while let Some(action) = self.gathering.poll_action() {
                match action {
                    Action::Check(key) => self.begin_check(key, &mut checks),
                    Action::GiveWay(key) => {
                        (self.tell)(LanNews::GivingWay { to: key });
                        return MOVING;
                    }
                    // Nobody who hosts searches.
                    Action::Join(_) | Action::Host | Action::Nobody => {}
                }
            }
            let deadline = self.gathering.poll_timeout();
            tokio::select! {
                () = self.leaving.cancelled() => return LEAVING,
                Some(sighting) = self.browser.next() => {
                    let change = self.sightings.note(sighting);
                    self.on_change(change);
                }
                Some(Ok((key, is_there))) = checks.join_next() => match is_there {
                    true => self.gathering.handle_reachable(key),
                    false => self.gathering.handle_unreachable(Instant::now(), key),
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            }
        }
    }

    fn on_change(&mut self, change: Option<Change>) {
        match change {
            Some(Change::Seen(key, role)) => {
                self.gathering.handle_seen(Instant::now(), key, role);
            }
            Some(Change::Gone(key)) => self.gathering.handle_gone(key),
            None => {}
        }
    }

    fn begin_check(&self, key: PeerId, checks: &mut JoinSet<(PeerId, bool)>) {
        let (found, check) = (self.sightings.find(key), Arc::clone(&self.check));
        checks.spawn(async move {
            let is_there = match found {
                Some(found) => check.is_there(&found).await,
                None => false,
            };
            (key, is_there)
        });
    }
}

/// A name that no other host has.
fn label(id: PeerId) -> String {
    let head: String = id.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("passing-{head}")
}
