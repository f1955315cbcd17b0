//! Ways through address translators: both sides send checks from their ports to the other's
//! candidates until some get through (`portolan-nat`), then the caller dials where they did.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
};

use portolan_identity::Expect;
use portolan_nat::{AgentConfig, Candidate as Remote, Loopback, Role as Side};
use portolan_nat_io::{PunchEvent, Punching, StunPort, interfaces};
use portolan_protocol::{Candidate, CandidateKind, Ticket, Way};
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
        theirs: &[Candidate],
        ticket: &Ticket,
    ) -> Result<(), String> {
        let began = Instant::now();
        let mut punching = self.punch((port, stun), theirs, ticket)?;
        let mut why = "no address of theirs lets us in".to_owned();
        while let Some(event) = punching.next().await {
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
    pub(super) async fn punch_along(&self, port: &Port, theirs: &[Candidate], ticket: &Ticket) {
        let Some(stun) = &port.stun else { return };
        let mut punching = match self.punch((port, stun), theirs, ticket) {
            Ok(punching) => punching,
            Err(why) => return tracing::debug!(why, "no checks are sent"),
        };
        while let Some(event) = punching.next().await {
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
        theirs: &[Candidate],
        ticket: &Ticket,
    ) -> Result<Punching, String> {
        let usable = self.usable(port, theirs);
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
        Ok(punching)
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
