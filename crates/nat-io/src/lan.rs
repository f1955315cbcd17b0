//! Servers on the same network, found by multicast DNS (RFC 6762, RFC 6763).

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

/// What servers announce and clients look for.
const SERVICE: &str = "_portolan._udp.local.";
/// The property in which a server tells its key.
const KEY: &str = "key";
/// Servers that are remembered of one search.
const FOUND_MAX: usize = 32;
/// Bytes of a name or key that are looked at.
const TEXT_MAX: usize = 128;
/// Others are told that a server goes, if there is a moment for it (RFC 6762 §10.1).
const FAREWELL: Duration = Duration::from_secs(1);

/// Why nothing can be announced or looked for.
#[derive(Debug, Error)]
#[error("multicast DNS does not work here: {0}")]
pub struct LanError(#[from] mdns_sd::Error);

/// A server that announces itself on this network. Everybody can claim to be one: its key is what
/// the handshake has to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanServer {
    /// How it calls itself.
    pub name: String,
    /// The key that it claims, as text.
    pub key: String,
    /// Where it says it is, IPv4 first.
    pub addresses: Vec<SocketAddr>,
}

/// Tells this network that a server is here, until dropped or told to end.
pub struct Announcement {
    daemon: ServiceDaemon,
}

impl Announcement {
    /// Announces a server called `name`, whose key is `key`, at `port` of every address of this
    /// machine.
    ///
    /// # Errors
    /// [`LanError`] when the name is no name for a service, or multicast does not work here.
    pub fn start(name: &str, port: u16, key: &str) -> Result<Self, LanError> {
        let daemon = ServiceDaemon::new()?;
        let label: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let properties = HashMap::from([(KEY.to_owned(), key.to_owned())]);
        let host = format!("{label}-portolan.local.");
        let info = ServiceInfo::new(SERVICE, name, &host, "", port, properties)?;
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

impl std::fmt::Debug for Announcement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Announcement")
    }
}

/// Looks for servers on this network for so long; of each name the first counts. Cancel safe.
///
/// # Errors
/// [`LanError`] when multicast does not work here. Where it is filtered, as on many guest
/// networks, nobody is found and that is no error.
pub async fn find_servers(time: Duration) -> Result<Vec<LanServer>, LanError> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    let end = Instant::now() + time;
    let mut found: BTreeMap<String, LanServer> = BTreeMap::new();
    while let Ok(Ok(event)) = timeout_at(end, events.recv_async()).await {
        if let ServiceEvent::ServiceResolved(service) = event
            && let Some(server) = understand(&service)
            && (found.len() < FOUND_MAX || found.contains_key(&server.name))
        {
            found.entry(server.name.clone()).or_insert(server);
        }
    }
    let _stopping = daemon.shutdown();
    Ok(found.into_values().collect())
}

fn understand(service: &ResolvedService) -> Option<LanServer> {
    let name = service.get_fullname().strip_suffix(SERVICE)?.trim_end_matches('.');
    let key = service.get_property_val_str(KEY)?;
    let ips = service.get_addresses().iter().map(|address| address.to_ip_addr());
    server(name, key, ips, service.get_port())
}

/// `None`: nothing that can be dialled.
fn server(
    name: &str,
    key: &str,
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
    let is_sane = port != 0 && name.len() <= TEXT_MAX && key.len() <= TEXT_MAX;
    (is_sane && !addresses.is_empty()).then(|| LanServer {
        name: name.to_owned(),
        key: key.to_owned(),
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
        let found = server("home", "key", all.into_iter(), 7275).unwrap();
        let expected = ["192.168.1.9:7275", "[2001:db8::1]:7275"];
        assert_eq!(found.addresses, expected.map(|text| text.parse().unwrap()));
        assert_eq!(server("home", "key", ips(&["fe80::1"]).into_iter(), 7275), None);
        assert_eq!(server("home", "key", ips(&["10.0.0.1"]).into_iter(), 0), None);
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(server("home", &long, ips(&["10.0.0.1"]).into_iter(), 7275), None);
    }
}
