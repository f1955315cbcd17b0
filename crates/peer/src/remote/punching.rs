//! Ways through address translators: both sides send checks from their ports to the other's
//! candidates until some get through (`portolan-nat`), then the caller dials where they did.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
};

use portolan_identity::Expect;
use portolan_nat::{AgentConfig, Candidate as Remote, Loopback, Role as Side};
use portolan_nat_io::{PunchEvent, Punching, StunPort, interfaces};
use portolan_protocol::{CandidateKind, Ends, Mapping, Ticket, Way};
use portolan_transport::Endpoint;
use tokio::time::Instant;

use super::{
    meeting::{Meeting, Role},
    port::{Port, join},
};

/// Further ports that a session keeps, from which a hole was found.
const ANNEXES_MAX: usize = 2;

impl Meeting {
    /// The caller's side: looks for a hole and connects through it.
    pub(super) async fn punch_and_dial(
        &self,
        (port, stun): (&Port, &StunPort),
        theirs: &Ends,
        ticket: &Ticket,
    ) -> Result<(), String> {
        let began = Instant::now();
        let mut search = self.punch((port, stun), theirs, ticket)?;
        let mut why = "no address of theirs lets us in".to_owned();
        while let Some(event) = search.next(self).await {
            match event {
                PunchEvent::Nominated { path, local } => {
                    let (after, what) = (began.elapsed().as_millis(), path.kind.word());
                    let how = format!("found in {after} ms at their {what} address");
                    if local == port.endpoint.local_addr()
                        && self.migrate(path.remote, &how).await.is_ok()
                    {
                        return Ok(());
                    }
                    let expect = Expect::Id(self.peer());
                    let endpoint = self.endpoint_at(port, local).await?;
                    let dialled = endpoint.connect(path.remote, expect).await;
                    let connection = dialled.map_err(|error| error.to_string())?;
                    join(&connection, ticket.clone(), Way::Direct)
                        .await
                        .ok_or("they did not let us in")?;
                    self.take_direct(port, connection, &how);
                    return Ok(());
                }
                PunchEvent::Lost(_, reason) => why = reason.to_string(),
                PunchEvent::Failed(reason) => return Err(reason.to_string()),
            }
        }
        Err(why)
    }

    /// The called side: answers and sends checks for as long as it is awaited.
    pub(super) async fn punch_along(&self, port: &Port, theirs: &Ends, ticket: &Ticket) {
        let Some(stun) = &port.stun else { return };
        let mut search = match self.punch((port, stun), theirs, ticket) {
            Ok(search) => search,
            Err(why) => return tracing::debug!(why, "no checks are sent"),
        };
        while let Some(event) = search.next(self).await {
            match event {
                PunchEvent::Nominated { local, .. } => {
                    if let Err(why) = self.endpoint_at(port, local).await {
                        tracing::debug!(why, "the hole cannot be used");
                    }
                }
                PunchEvent::Lost(..) | PunchEvent::Failed(_) => {}
            }
        }
    }

    fn punch(
        &self,
        (port, stun): (&Port, &StunPort),
        theirs: &Ends,
        ticket: &Ticket,
    ) -> Result<Search, String> {
        let usable = self.usable(port, &theirs.candidates);
        if usable.is_empty() {
            return Err("there is no address of theirs to try".to_owned());
        }
        let side = match self.role() {
            Role::Caller => Side::Controlling,
            Role::Callee => Side::Controlled,
        };
        // The port gives it a seed.
        let mut config = AgentConfig::new(side, &ticket.0, [0; 32]);
        if self.is_same_host() {
            config.loopback = Loopback::Allowed;
        }
        let punching = stun.punch(config).map_err(|error| error.to_string())?;
        for (place, (addr, found)) in (0..).zip(usable) {
            punching.add_remote(Remote::new(kind(found), addr, u16::MAX - place));
        }
        let (ours, theirs) = (port.surveyed.mapping(), theirs.mapping);
        punching.set_mapping(mapping(ours), mapping(theirs));
        let mut wants_word = false;
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            // Ports will be guessed, which needs the server's word on both sides.
            self.ask_to_vouch();
            wants_word = true;
        }
        Ok(Search { punching, wants_word })
    }

    /// Our end at `local`: the port itself, or one more.
    async fn endpoint_at(
        &self,
        port: &Port,
        local: SocketAddr,
    ) -> Result<Arc<dyn Endpoint>, String> {
        if local == port.endpoint.local_addr() {
            return Ok(Arc::clone(&port.endpoint));
        }
        let annex = port.annex(local).await.map_err(|error| error.to_string())?;
        let endpoint = Arc::clone(&annex.endpoint);
        let mut annexes = self.annexes.lock().unwrap_or_else(PoisonError::into_inner);
        if annexes.len() >= ANNEXES_MAX {
            annexes.remove(0);
        }
        annexes.push(annex);
        Ok(endpoint)
    }
}

/// A punching, and whether the server's word is still awaited.
struct Search {
    punching: Punching,
    wants_word: bool,
}

impl Search {
    /// Waits for news; `None`: the port is closed.
    async fn next(&mut self, meeting: &Meeting) -> Option<PunchEvent> {
        tokio::select! {
            event = self.punching.next() => return event,
            ip = meeting.vouched(), if self.wants_word => {
                self.punching.vouch(ip);
                self.wants_word = false;
            }
        }
        self.punching.next().await
    }
}

fn mapping(found: Option<Mapping>) -> portolan_nat::Mapping {
    match found {
        None => portolan_nat::Mapping::Unknown,
        Some(Mapping::Independent) => portolan_nat::Mapping::Independent,
        Some(Mapping::Dependent) => portolan_nat::Mapping::Dependent,
    }
}

/// The addresses of this machine, if the system tells.
pub(super) fn own_interfaces() -> Vec<IpAddr> {
    let found = interfaces().unwrap_or_default();
    found.into_iter().map(|interface| interface.ip).collect()
}

fn kind(found: CandidateKind) -> portolan_nat::CandidateKind {
    match found {
        CandidateKind::Host => portolan_nat::CandidateKind::Host,
        CandidateKind::Reflexive => portolan_nat::CandidateKind::Reflexive,
        CandidateKind::Mapped => portolan_nat::CandidateKind::Mapped,
        CandidateKind::Lan => portolan_nat::CandidateKind::Lan,
        CandidateKind::Relay => portolan_nat::CandidateKind::Relay,
    }
}
