//! As which others see our port. Asked as soon as an introduction begins, while keys are still
//! being proved, so that nobody waits for the answer when it is needed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use portolan_protocol::RelayChannel;
use portolan_transport::{Carrier, Seen};
use tokio::time::{Duration, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{binding::Binding, port::Port};
use crate::PathRule;

/// Who has not answered by then does not delay the meeting any further. Two questions may be lost:
/// without the answer a whole attempt may be in vain.
const PATIENCE: Duration = Duration::from_millis(900);

type Asking = AbortOnDropHandle<Option<Seen>>;

/// Our port as the server sees it, for one session.
#[derive(Debug)]
pub(crate) struct Outside {
    /// Our side of the relay's channel.
    binding: Option<Arc<Binding>>,
    /// What is asked of the server where no relay tells.
    asking: Mutex<Option<Asking>>,
    server: SocketAddr,
}

/// What is known in time.
#[derive(Debug)]
pub(super) struct View {
    /// The relay's channel, if it answers.
    pub(super) binding: Option<Arc<Binding>>,
    pub(super) seen: Option<Seen>,
}

impl Outside {
    /// Begins to ask.
    pub(crate) fn begin(
        port: &Arc<Port>,
        rule: PathRule,
        (server, channel): (SocketAddr, Option<&RelayChannel>),
    ) -> Arc<Self> {
        let lane = port.relay.as_ref().filter(|_| rule.relays());
        let binding = lane.zip(channel).map(|(lane, channel)| Binding::new(lane, server, channel));
        let this = Self { binding: binding.map(Arc::new), asking: Mutex::default(), server };
        if this.binding.is_none() && rule != PathRule::RelayOnly {
            *this.lock() = this.ask(port);
        }
        Arc::new(this)
    }

    /// Our side of the relay's channel, if there is one.
    pub(super) fn binding(&self) -> Option<Arc<Binding>> {
        self.binding.clone()
    }

    /// What is known, or becomes known soon. A question is asked anew each time: translators
    /// forget.
    pub(super) async fn look(&self, port: &Arc<Port>, rule: PathRule) -> View {
        if let Some(binding) = &self.binding {
            let seen = binding.bound(PATIENCE).await.map(Seen::at);
            return View { binding: seen.is_some().then(|| Arc::clone(binding)), seen };
        }
        let begun = self.lock().take();
        let asking = begun.or_else(|| self.ask(port).filter(|_| rule != PathRule::RelayOnly));
        let Some(asking) = asking else { return View { binding: None, seen: None } };
        let seen = timeout(PATIENCE, asking).await;
        View { binding: None, seen: seen.ok().and_then(Result::ok).flatten() }
    }

    /// Asks the server; `None`: nothing can lie between us and it.
    fn ask(&self, port: &Arc<Port>) -> Option<Asking> {
        let (port, server) = (Arc::clone(port), self.server);
        if server.ip().to_canonical().is_loopback() {
            return None;
        }
        let asking = async move {
            match port.transport.capabilities().carrier {
                Carrier::Tcp => port.endpoint.simultaneous()?.seen_by(server).await.ok(),
                Carrier::Udp => port.stun.as_ref()?.reflexive(server).await.ok().map(Seen::at),
                Carrier::Memory => None,
            }
        };
        Some(AbortOnDropHandle::new(tokio::spawn(asking)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
