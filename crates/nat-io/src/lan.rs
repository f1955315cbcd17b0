//! Servers on the same network, found by multicast DNS (RFC 6762, RFC 6763).

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mdns_sd::{Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use crate::gather::OwnNetworks;

/// What servers announce and clients look for.
const SERVICE: &str = "_portolan._udp.local.";
/// The property in which a server tells its key.
const KEY: &str = "key";
/// The property in which a passing server says that it is one.
const ROLE: &str = "role";
/// The value of that property.
const PASSING: &str = "passing";
/// Servers that are remembered of one search.
const FOUND_MAX: usize = 32;
/// Addresses of one server that are remembered.
const ADDRESSES_MAX: usize = 8;
/// Bytes of a name or key that are looked at.
const TEXT_MAX: usize = 128;
/// Others are told that a server goes, if there is a moment for it (RFC 6762 §10.1).
const FAREWELL: Duration = Duration::from_secs(1);

/// Why nothing can be announced or looked for.
#[derive(Debug, Error)]
#[error("multicast DNS does not work here: {0}")]
pub struct LanError(#[from] mdns_sd::Error);

/// For how long a server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LanRole {
    /// Somebody has set it up, and it keeps what it is given.
    SetUp,
    /// The program of somebody who is there just now; it goes with that program.
    Passing,
}

/// A server that announces itself on this network. Everybody can claim to be one: its key is what
/// the handshake has to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanServer {
    /// How it calls itself.
    pub name: String,
    /// The key that it claims, as text.
    pub key: String,
    /// For how long it says that it is there.
    pub role: LanRole,
    /// Where it says it is, IPv4 first.
    pub addresses: Vec<SocketAddr>,
}

/// Tells this network that a server is here, until dropped or told to end.
pub struct Announcement {
    daemon: ServiceDaemon,
}

impl Announcement {
    /// Announces a server called `name`, whose key is `key`, at `port` of every address of this
    /// machine. The name of a passing server is its own business: nobody else may have it.
    ///
    /// # Errors
    /// [`LanError`] when the name is no name for a service, or multicast does not work here.
    pub fn start(name: &str, port: u16, key: &str, role: LanRole) -> Result<Self, LanError> {
        let daemon = ServiceDaemon::new()?;
        let label: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let mut properties = HashMap::from([(KEY.to_owned(), key.to_owned())]);
        if role == LanRole::Passing {
            properties.insert(ROLE.to_owned(), PASSING.to_owned());
        }
        let host = format!("{label}-portolan.local.");
        let mut info = ServiceInfo::new(SERVICE, name, &host, "", port, properties)?;
        if role == LanRole::Passing {
            // Nobody else has the name, so nobody is asked for it first (RFC 6762 §8.1): those who
            // look just now are to see it at once.
            info.set_requires_probe(false);
        }
        daemon.register(info.enable_addr_auto())?;
        Ok(Self { daemon })
    }

    /// Says that the server is gone. Cancel safe.
    pub async fn end(self) {
        if let Ok(stopped) = self.daemon.shutdown() {
            let _in_time = timeout(FAREWELL, stopped.recv_async()).await;
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // After `end` there is nothing left to stop.
        let _stopping = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Announcement")
    }
}

/// What is seen of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It is there, or there is more to say of it.
    Seen(LanServer),
    /// The one of this name says that it goes, or has not been heard of for long.
    Gone {
        /// How it called itself.
        name: String,
    },
}

/// Watches which servers announce themselves on this network, until dropped.
pub struct LanBrowser {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
}

impl LanBrowser {
    /// Asks who is there, at once and then at growing intervals (RFC 6762 §5.2).
    ///
    /// # Errors
    /// [`LanError`] when multicast does not work here. Where it is filtered, as on many guest
    /// networks, nobody is seen and that is no error.
    pub fn start() -> Result<Self, LanError> {
        let daemon = ServiceDaemon::new()?;
        let events = daemon.browse(SERVICE)?;
        Ok(Self { daemon, events })
    }

    /// Waits for the next sighting; `None`: there will be no more. Cancel safe.
    pub async fn next(&mut self) -> Option<Sighting> {
        loop {
            match self.events.recv_async().await.ok()? {
                ServiceEvent::ServiceResolved(service) => {
                    if let Some(server) = understand(&service) {
                        return Some(Sighting::Seen(server));
                    }
                }
                ServiceEvent::ServiceRemoved(_, fullname) => {
                    if let Some(name) = instance(&fullname) {
                        return Some(Sighting::Gone { name: name.to_owned() });
                    }
                }
                _ => {}
            }
        }
    }
}

impl Drop for LanBrowser {
    fn drop(&mut self) {
        let _stopping = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for LanBrowser {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LanBrowser")
    }
}

/// Looks for servers on this network for so long; of each name the first counts. Cancel safe.
///
/// # Errors
/// [`LanError`], as for [`LanBrowser::start`].
pub async fn find_servers(time: Duration) -> Result<Vec<LanServer>, LanError> {
    let mut browser = LanBrowser::start()?;
    let end = Instant::now() + time;
    let mut found: BTreeMap<String, LanServer> = BTreeMap::new();
    while let Ok(Some(sighting)) = timeout_at(end, browser.next()).await {
        if let Sighting::Seen(server) = sighting
            && (found.len() < FOUND_MAX || found.contains_key(&server.name))
        {
            found.entry(server.name.clone()).or_insert(server);
        }
    }
    Ok(found.into_values().collect())
}

/// The name in front of the service.
fn instance(fullname: &str) -> Option<&str> {
    let name = fullname.strip_suffix(SERVICE)?.trim_end_matches('.');
    (name.len() <= TEXT_MAX).then_some(name)
}

fn understand(service: &ResolvedService) -> Option<LanServer> {
    let name = instance(service.get_fullname())?;
    let key = service.get_property_val_str(KEY)?;
    let role = match service.get_property_val_str(ROLE) {
        Some(PASSING) => LanRole::Passing,
        Some(_) | None => LanRole::SetUp,
    };
    let own = OwnNetworks::now();
    let ips = service.get_addresses().iter().map(|address| address.to_ip_addr());
    // Whoever announces somebody elsewhere wants us to knock there.
    let ips = ips.filter(|ip| own.may_have(*ip));
    server((name, key, role), ips, service.get_port())
}

/// `None`: nothing that can be dialled.
fn server(
    (name, key, role): (&str, &str, LanRole),
    ips: impl Iterator<Item = IpAddr>,
    port: u16,
) -> Option<LanServer> {
    // Link-local IPv6 means nothing without an interface.
    let is_usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut addresses: Vec<SocketAddr> =
        ips.filter(is_usable).map(|ip| SocketAddr::new(ip, port)).collect();
    addresses.sort();
    addresses.truncate(ADDRESSES_MAX);
    let is_sane = port != 0 && name.len() <= TEXT_MAX && key.len() <= TEXT_MAX;
    (is_sane && !addresses.is_empty()).then(|| LanServer {
        name: name.to_owned(),
        key: key.to_owned(),
        role,
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_dialled_is_no_server() {
        let ips = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let all = ips(&["2001:db8::1", "fe80::1", "127.0.0.1", "192.168.1.9"]);
        let found = server(("home", "key", LanRole::SetUp), all.into_iter(), 7275).unwrap();
        let expected = ["192.168.1.9:7275", "[2001:db8::1]:7275"];
        assert_eq!(found.addresses, expected.map(|text| text.parse().unwrap()));
        assert_eq!(
            server(("home", "key", LanRole::SetUp), ips(&["fe80::1"]).into_iter(), 7275),
            None
        );
        assert_eq!(
            server(("home", "key", LanRole::SetUp), ips(&["10.0.0.1"]).into_iter(), 0),
            None
        );
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(
            server(("home", &long, LanRole::SetUp), ips(&["10.0.0.1"]).into_iter(), 7275),
            None
        );
    }
}
