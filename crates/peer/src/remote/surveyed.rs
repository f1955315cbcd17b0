//! How the translators of this network map our port, found out once for each network.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_protocol::Mapping;
use tokio::{
    sync::watch,
    time::{Duration, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::port::Port;

/// What is known of the network that we are in.
#[derive(Debug, Default)]
pub(crate) struct Surveyed(Mutex<Option<Network>>);

#[derive(Debug)]
struct Network {
    /// Our address in it.
    own: Option<IpAddr>,
    found: watch::Receiver<Option<Mapping>>,
    asking: AbortOnDropHandle<()>,
}

impl Network {
    /// Whether something is known, or will be.
    fn is_of_use(&self) -> bool {
        !self.asking.is_finished() || self.found.borrow().is_some()
    }
}

impl Surveyed {
    /// Begins to ask `server`, unless it has said what it knows in this network, which it does
    /// only where it has a second address.
    pub(super) fn begin(&self, port: &Arc<Port>, server: SocketAddr, own: Option<IpAddr>) {
        let mut network = self.lock();
        if network.as_ref().is_some_and(|network| network.own == own && network.is_of_use()) {
            return;
        }
        let (tell, found) = watch::channel(None);
        // Not kept alive by its own survey.
        let port = Arc::downgrade(port);
        let asking = async move {
            let Some(port) = port.upgrade() else { return };
            let Some(stun) = &port.stun else { return };
            let mapping = stun.mapping(server).await.unwrap_or_default();
            tracing::debug!(?mapping, "of this network");
            tell.send_replace(match mapping {
                portolan_nat::Mapping::Unknown => None,
                portolan_nat::Mapping::Independent => Some(Mapping::Independent),
                portolan_nat::Mapping::Dependent => Some(Mapping::Dependent),
            });
        };
        let asking = AbortOnDropHandle::new(tokio::spawn(asking));
        *network = Some(Network { own, found, asking });
    }

    /// Waits for what is being found out just now, but no longer than `patience`. Cancel safe.
    pub(super) async fn settled(&self, patience: Duration) {
        let found = self.lock().as_ref().map(|network| network.found.clone());
        if let Some(mut found) = found.filter(|found| found.borrow().is_none()) {
            let _in_time = timeout(patience, found.changed()).await;
        }
    }

    /// What has been found out.
    pub(super) fn mapping(&self) -> Option<Mapping> {
        self.lock().as_ref().and_then(|network| *network.found.borrow())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Network>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
