//! Direct connections over TCP: whoever can be reached is dialled; where neither can, both dial at
//! the same moment from the ports that they listen on.

use std::{net::SocketAddr, sync::Arc};

use portolan_identity::Expect;
use portolan_protocol::{Candidate, CandidateKind, Ticket, Way};
use portolan_transport::{Carrier, Connection, Endpoint, Speaks};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};

use super::{
    meeting::Meeting,
    paths::Rank,
    port::{Port, join},
};

/// From the exchange of addresses to a direct path.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the starts of two attempts (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(50);
/// The called side dials back if nothing has come by then.
const DIAL_BACK_AFTER: Duration = Duration::from_millis(150);
/// An address of their machine that has not answered a plain call by then may lie behind a
/// firewall that lets in only whom it has been sent to.
const FIREWALL_AFTER: Duration = Duration::from_millis(200);

/// What a candidate's connection was made by.
type Reached = (Arc<dyn Connection>, CandidateKind);

impl Meeting {
    /// The caller's side: dials all, and those who may be behind translators both ways; the first
    /// that lets us in counts.
    pub(super) async fn dial(
        &self,
        port: &Port,
        theirs: &[Candidate],
        ticket: &Ticket,
    ) -> Result<(), String> {
        let candidates = self.usable(port, theirs);
        if candidates.is_empty() {
            return Err("there is no address of theirs to try".to_owned());
        }
        let began = Instant::now();
        let mut attempts = self.dial_all(port, &candidates, ticket);
        for (addr, found) in candidates {
            let (endpoint, ticket) = (Arc::clone(&port.endpoint), ticket.clone());
            let expect = Expect::Id(self.peer());
            attempts.spawn(async move {
                let connection = open_both(&endpoint, (addr, found), expect, Speaks::First).await?;
                join(&connection, ticket, Way::Direct).await?;
                Some((connection, found))
            });
        }
        let (connection, found) = first(attempts).await?;
        let (after, what) = (began.elapsed().as_millis(), kind_word(found));
        self.take_direct(port, connection, &format!("found in {after} ms at {what}"));
        Ok(())
    }

    /// The called side: dials back, since whoever can be reached is reached by the other.
    pub(super) async fn dial_back(&self, port: &Port, theirs: &[Candidate], ticket: &Ticket) {
        if port.transport.capabilities().carrier != Carrier::Tcp {
            return;
        }
        tokio::join!(self.dial_back_plainly(port, theirs, ticket), self.dial_along(port, theirs));
    }

    async fn dial_back_plainly(&self, port: &Port, theirs: &[Candidate], ticket: &Ticket) {
        self.direct_within(DIAL_BACK_AFTER).await;
        if self.has_direct() {
            return;
        }
        match first(self.dial_all(port, &self.usable(port, theirs), ticket)).await {
            Ok((connection, found)) => {
                self.take_direct(
                    port,
                    connection,
                    &format!("dialled back at {}", kind_word(found)),
                );
            }
            Err(why) => tracing::debug!(why, "dialled back in vain"),
        }
    }

    /// Dials at the same moment as the caller, who then says on the connection where it belongs.
    async fn dial_along(&self, port: &Port, theirs: &[Candidate]) {
        let mut attempts = JoinSet::new();
        for candidate in self.usable(port, theirs) {
            let (endpoint, expect) = (Arc::clone(&port.endpoint), Expect::Id(self.peer()));
            attempts.spawn(
                async move { open_both(&endpoint, candidate, expect, Speaks::Second).await },
            );
        }
        let admitting = async {
            while let Some(attempt) = attempts.join_next().await {
                if let Ok(Some(connection)) = attempt {
                    port.admit(&connection).await;
                }
            }
        };
        tokio::select! {
            () = admitting => {}
            () = self.direct_within(PATIENCE) => {}
        }
    }

    /// Plain calls, side by side.
    fn dial_all(
        &self,
        port: &Port,
        candidates: &[(SocketAddr, CandidateKind)],
        ticket: &Ticket,
    ) -> JoinSet<Option<Reached>> {
        let expect = Expect::Id(self.peer());
        let mut attempts = JoinSet::new();
        for (number, &(addr, found)) in (0..).zip(candidates) {
            let (endpoint, ticket) = (Arc::clone(&port.endpoint), ticket.clone());
            attempts.spawn(async move {
                sleep(ATTEMPT_DELAY * number).await;
                let connection = endpoint.connect(addr, expect).await.ok()?;
                join(&connection, ticket, Way::Direct).await?;
                Some((connection, found))
            });
        }
        attempts
    }

    fn has_direct(&self) -> bool {
        self.paths().has(Rank::Direct)
    }
}

/// Dials who dials us.
async fn open_both(
    endpoint: &Arc<dyn Endpoint>,
    (addr, found): (SocketAddr, CandidateKind),
    expect: Expect,
    speaks: Speaks,
) -> Option<Arc<dyn Connection>> {
    let simultaneous = endpoint.simultaneous()?;
    match found {
        // Seen through a translator: it lets nobody in who is not called.
        CandidateKind::Reflexive => {}
        CandidateKind::Host | CandidateKind::Mapped | CandidateKind::Lan | CandidateKind::Relay => {
            sleep(FIREWALL_AFTER).await;
        }
    }
    let opened = simultaneous.open(addr, expect, speaks).await;
    opened.inspect_err(|error| tracing::debug!(%addr, %error, "dialled each other in vain")).ok()
}

async fn first(mut attempts: JoinSet<Option<Reached>>) -> Result<Reached, String> {
    let first = async {
        while let Some(attempt) = attempts.join_next().await {
            if let Ok(Some(reached)) = attempt {
                return Some(reached);
            }
        }
        None
    };
    match timeout(PATIENCE, first).await {
        Ok(Some(reached)) => Ok(reached),
        Ok(None) => Err("none of their addresses lets us in".to_owned()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(format!("none of their addresses has answered within {seconds} s"))
        }
    }
}

fn kind_word(found: CandidateKind) -> &'static str {
    match found {
        CandidateKind::Host => "an address of their machine",
        CandidateKind::Reflexive => "their address as seen from outside",
        CandidateKind::Mapped => "a port that their router has mapped",
        CandidateKind::Lan => "their address on the LAN",
        CandidateKind::Relay => "a relay",
    }
}
