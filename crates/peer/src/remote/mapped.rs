//! A port of the router that leads to ours, asked for behind everything else: nobody waits for it.

use std::net::{IpAddr, SocketAddr};

use portolan_nat_io::{Carried, PortLease, Router};
use portolan_transport::Carrier;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Duration, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::port::Port;
use crate::RouterRule;

/// A port is asked for so long, and for more when half of that is over: what is not given back
/// does not last.
const LEASE: Duration = Duration::from_secs(3600);
/// Routers that give less are not asked more often than this.
const RENEW_LEAST: Duration = Duration::from_secs(1);
/// A router that gave none is asked again.
const AGAIN: Duration = Duration::from_secs(1800);
/// Between two looks whether the router is another one.
const LOOK: Duration = Duration::from_secs(10);
/// Giving it back holds up nobody longer: the lease ends by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// Our port at the router, kept until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapped {
    external: watch::Receiver<Option<SocketAddr>>,
    over: CancellationToken,
    ended: watch::Receiver<()>,
    /// Not aborted: it gives the port back.
    _keeping: JoinHandle<()>,
}

impl Mapped {
    /// Begins to ask; `router` says whom.
    pub(super) fn begin(port: &Port, router: RouterRule) -> Self {
        let (tell, external) = watch::channel(None);
        let (end, ended) = watch::channel(());
        let over = CancellationToken::new();
        let carried = match port.transport.capabilities().carrier {
            Carrier::Tcp => Carried::Tcp,
            Carrier::Udp | Carrier::Memory => Carried::Udp,
        };
        let what = (carried, port.endpoint.local_addr().port());
        let keeper = Keeper { router, what, tell, over: over.clone() };
        let _keeping = tokio::spawn(async move {
            keeper.run().await;
            drop(end);
        });
        Self { external, over, ended, _keeping }
    }

    /// Where others reach our port, as far as is known.
    pub(super) fn external(&self) -> Option<SocketAddr> {
        *self.external.borrow()
    }

    /// Gives the port back, and waits for it a moment.
    pub(super) async fn give_back(&self) {
        self.over.cancel();
        let mut ended = self.ended.clone();
        let _in_time = timeout(FAREWELL, async { while ended.changed().await.is_ok() {} }).await;
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

struct Keeper {
    router: RouterRule,
    what: (Carried, u16),
    tell: watch::Sender<Option<SocketAddr>>,
    over: CancellationToken,
}

impl Keeper {
    async fn run(self) {
        while !self.over.is_cancelled() {
            let router = self.choose();
            let mapping = async { router?.map(self.what, LEASE).await.ok() };
            let lease = tokio::select! {
                // One that is given just now is forgotten with its time.
                () = self.over.cancelled() => return,
                lease = mapping => lease,
            };
            match lease {
                Some(lease) => self.keep(router, lease).await,
                None => self.wait(router, AGAIN).await,
            }
            self.tell.send_replace(None);
        }
    }

    /// Whom to ask now.
    fn choose(&self) -> Option<Router> {
        match self.router {
            RouterRule::Never => None,
            RouterRule::This(router) => Some(router),
            RouterRule::Default => Router::default_route().filter(|router| is_inside(router.own)),
        }
    }

    /// Renews the lease while the router is the same, and gives it back.
    async fn keep(&self, router: Option<Router>, mut lease: PortLease) {
        let (external, by) = (lease.external(), lease.protocol());
        tracing::debug!(%external, %by, "the router forwards a port");
        // Behind another translator its address is no address of the internet.
        self.tell.send_replace((!is_inside(external.ip())).then_some(external));
        loop {
            self.wait(router, (lease.lifetime() / 2).max(RENEW_LEAST)).await;
            if self.over.is_cancelled() {
                return lease.release().await;
            }
            if self.choose() != router {
                return;
            }
            if let Err(error) = lease.renew(LEASE).await {
                return tracing::debug!(%error, "the router forwards the port no longer");
            }
        }
    }

    /// Waits so long, or until the end, or until the router is another one.
    async fn wait(&self, router: Option<Router>, time: Duration) {
        let moved = async {
            while self.choose() == router {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = self.over.cancelled() => {}
            () = sleep(time) => {}
            () = moved => {}
        }
    }
}

/// Whether only a network behind some translator knows the address (RFC 1918, RFC 6598).
fn is_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || (a == 100 && b & 0xC0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_inside;

    #[test]
    fn what_a_carrier_gives_its_customers_is_an_inside_address_too() {
        for inside in ["192.168.1.1", "10.0.0.1", "100.64.0.7", "100.127.255.1", "fd00::1"] {
            assert!(is_inside(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["100.128.0.1", "100.63.0.1", "203.0.113.7", "2001:db8::1"] {
            assert!(!is_inside(outside.parse().unwrap()), "{outside}");
        }
    }
}
