//! Lines that change the world while it runs, and what changes are called.

use std::net::IpAddr;

use portolan_netsim::{
    LinkSpec,
    topology::{Attachment, Duplex, Happening, NodeKind, Topology},
};

use super::catalogue::{nearest, suggest};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// Change the world.
    Happen(Box<Happening>),
    /// Say what lines there are.
    Help,
    /// End the experiment.
    Quit,
    /// Nothing: an empty line.
    Nothing,
}

/// Why a line asks for nothing that can be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("there is no command {word:?}{}; `help` shows them", suggest(.nearest))]
    Command { word: String, nearest: Option<&'static str> },
    #[error("`{usage}` is how it is said")]
    Usage { usage: &'static str },
    #[error("there is no {what} {name:?}{}", suggest(.nearest))]
    Name { what: &'static str, name: String, nearest: Option<String> },
    #[error("{text:?} is not an IP address")]
    Address { text: String },
    #[error("{0}")]
    Link(String),
}

/// Every command and how it is said.
pub(super) static COMMANDS: &[(&str, &str)] = &[
    ("down", "down NODE[.INTERFACE]"),
    ("up", "up NODE[.INTERFACE]"),
    ("unplug", "unplug HOST[.INTERFACE]"),
    ("plug", "plug HOST[.INTERFACE]"),
    ("link", "link NODE[.INTERFACE] LINK"),
    ("rebind", "rebind NAT"),
    ("renumber", "renumber NODE[.INTERFACE] ADDRESS..."),
    ("move", "move HOST[.INTERFACE] NETWORK ADDRESS... [link=LINK]"),
    ("help", "help"),
    ("quit", "quit"),
];

/// Reads one line against the names of `topology`.
pub(super) fn parse(line: &str, topology: &Topology) -> Result<Request, LineError> {
    let mut words = line.split_whitespace();
    let Some(command) = words.next() else { return Ok(Request::Nothing) };
    let rest: Vec<&str> = words.collect();
    let Some((command, usage)) = COMMANDS.iter().find(|(known, _)| *known == command) else {
        let nearest = nearest(command, COMMANDS.iter().map(|(known, _)| *known));
        return Err(LineError::Command { word: command.to_owned(), nearest });
    };
    let names = Names { topology, usage };
    let happening = match *command {
        "help" => return Ok(Request::Help),
        "quit" => return Ok(Request::Quit),
        "down" => names.place(&rest).map(|(node, interface)| Happening::Down { node, interface }),
        "up" => names.place(&rest).map(|(node, interface)| Happening::Up { node, interface }),
        "unplug" => {
            names.on_host(&rest).map(|(host, interface)| Happening::Unplug { host, interface })
        }
        "plug" => names.on_host(&rest).map(|(host, interface)| Happening::Plug { host, interface }),
        "link" => names.link(&rest),
        "rebind" => names.rebind(&rest),
        "renumber" => names.renumber(&rest),
        _ => names.moved(&rest),
    };
    happening.map(Box::new).map(Request::Happen)
}

/// Reads words as names that the topology knows.
struct Names<'a> {
    topology: &'a Topology,
    usage: &'static str,
}

impl Names<'_> {
    const fn usage(&self) -> LineError {
        LineError::Usage { usage: self.usage }
    }

    /// `NODE` or `NODE.INTERFACE` and nothing else.
    fn place(&self, words: &[&str]) -> Result<(String, Option<String>), LineError> {
        match words {
            [place] => self.split(place),
            _ => Err(self.usage()),
        }
    }

    /// The same where it is a host.
    fn on_host(&self, words: &[&str]) -> Result<(String, Option<String>), LineError> {
        let (host, interface) = self.place(words)?;
        Ok((self.known("host", &host, |kind| matches!(kind, NodeKind::Host(_)))?, interface))
    }

    fn split(&self, word: &str) -> Result<(String, Option<String>), LineError> {
        let (node, interface) = match word.split_once('.') {
            Some((node, interface)) => (node, Some(interface.to_owned())),
            None => (word, None),
        };
        Ok((self.known("node", node, |_| true)?, interface))
    }

    /// The name if there is such a thing.
    fn known(
        &self,
        what: &'static str,
        name: &str,
        fits: fn(&NodeKind) -> bool,
    ) -> Result<String, LineError> {
        let all = || self.topology.nodes.iter().filter(|node| fits(&node.kind));
        if all().any(|node| node.name == name) {
            return Ok(name.to_owned());
        }
        let nearest = nearest(name, all().map(|node| node.name.as_str())).map(ToOwned::to_owned);
        Err(LineError::Name { what, name: name.to_owned(), nearest })
    }

    fn link(&self, words: &[&str]) -> Result<Happening, LineError> {
        let [place, spec @ ..] = words else { return Err(self.usage()) };
        if spec.is_empty() {
            return Err(self.usage());
        }
        let (node, interface) = self.split(place)?;
        Ok(Happening::Link { node, interface, link: link(&spec.concat())? })
    }

    fn rebind(&self, words: &[&str]) -> Result<Happening, LineError> {
        let [nat] = words else { return Err(self.usage()) };
        let nat = self.known("translator", nat, |kind| matches!(kind, NodeKind::Nat(_)))?;
        Ok(Happening::Rebind { nat })
    }

    fn renumber(&self, words: &[&str]) -> Result<Happening, LineError> {
        let [place, addresses @ ..] = words else { return Err(self.usage()) };
        let (node, interface) = self.split(place)?;
        Ok(Happening::Renumber { node, interface, addresses: self.addresses(addresses)? })
    }

    fn moved(&self, words: &[&str]) -> Result<Happening, LineError> {
        let [place, network, rest @ ..] = words else { return Err(self.usage()) };
        let (host, interface) = self.split(place)?;
        let host = self.known("host", &host, |kind| matches!(kind, NodeKind::Host(_)))?;
        let network = self.known("network", network, |kind| matches!(kind, NodeKind::Subnet(_)))?;
        let (new, addresses) = match rest {
            [addresses @ .., last] if last.starts_with("link=") => {
                (Some(link(last.trim_start_matches("link="))?), addresses)
            }
            addresses => (None, addresses),
        };
        let link = new.unwrap_or_else(|| self.present_link(&host, interface.as_deref()));
        let addresses = self.addresses(addresses)?;
        Ok(Happening::Move { host, interface, network, addresses, link })
    }

    fn addresses(&self, words: &[&str]) -> Result<Vec<IpAddr>, LineError> {
        if words.is_empty() {
            return Err(self.usage());
        }
        let parse =
            |word: &&str| word.parse().map_err(|_| LineError::Address { text: (*word).to_owned() });
        words.iter().map(parse).collect()
    }

    /// How the file says that the host is attached.
    fn present_link(&self, host: &str, interface: Option<&str>) -> Duplex {
        let node = self.topology.node(host);
        let interfaces: &[Attachment] = match node.map(|node| &node.kind) {
            Some(NodeKind::Host(host)) => &host.interfaces,
            _ => &[],
        };
        let fits = |one: &&Attachment| interface.is_none_or(|name| one.name == name);
        interfaces.iter().find(fits).map(|one| one.link).unwrap_or_default()
    }
}

fn link(text: &str) -> Result<Duplex, LineError> {
    let spec = text.parse::<LinkSpec>().map_err(|error| LineError::Link(error.to_string()))?;
    Ok(spec.duplex)
}

/// A change in words.
pub(super) fn describe(happening: &Happening) -> String {
    match happening {
        Happening::Down { node, interface } => {
            format!("{} is cut off, without a word", place(node, interface.as_deref()))
        }
        Happening::Up { node, interface } => {
            format!("{} is connected again", place(node, interface.as_deref()))
        }
        Happening::Unplug { host, interface } => {
            format!("{} has lost its network, and knows", place(host, interface.as_deref()))
        }
        Happening::Plug { host, interface } => {
            format!("{} has its network", place(host, interface.as_deref()))
        }
        Happening::Link { node, interface, .. } => {
            format!("{} has another link", place(node, interface.as_deref()))
        }
        Happening::Rebind { nat } => {
            format!("{nat} forgets every mapping and gives new ports")
        }
        Happening::Renumber { node, interface, addresses } => {
            format!("{} is now {}", place(node, interface.as_deref()), list(addresses))
        }
        Happening::Move { host, interface, network, addresses, .. } => {
            let who = place(host, interface.as_deref());
            format!("{who} moves to {network} as {}", list(addresses))
        }
    }
}

fn place(node: &str, interface: Option<&str>) -> String {
    interface.map_or_else(|| node.to_owned(), |interface| format!("{node}.{interface}"))
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use portolan_netsim::topology::{Host, Nat, Node, Subnet};

    use super::*;

    fn world() -> Topology {
        let host = Host {
            interfaces: vec![Attachment { name: "wifi".to_owned(), ..Attachment::default() }],
        };
        let node = |name: &str, kind| Node { name: name.to_owned(), kind };
        Topology {
            nodes: vec![
                node("alice", NodeKind::Host(host)),
                node("router", NodeKind::Nat(Nat::default())),
                node("cafe", NodeKind::Subnet(Subnet::default())),
            ],
            ..Topology::default()
        }
    }

    fn happening(line: &str) -> Happening {
        match parse(line, &world()) {
            Ok(Request::Happen(happening)) => *happening,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_command_is_understood() {
        let (node, host) = ("alice".to_owned(), "alice".to_owned());
        let wifi = Some("wifi".to_owned());
        assert_eq!(
            happening("down alice.wifi"),
            Happening::Down { node: node.clone(), interface: wifi.clone() }
        );
        assert_eq!(happening(" up  alice "), Happening::Up { node: node.clone(), interface: None });
        assert_eq!(
            happening("unplug alice.wifi"),
            Happening::Unplug { host: node.clone(), interface: wifi.clone() }
        );
        assert_eq!(
            happening("plug alice"),
            Happening::Plug { host: node.clone(), interface: None }
        );
        assert_eq!(happening("rebind router"), Happening::Rebind { nat: "router".to_owned() });
        assert_eq!(
            happening("renumber alice 10.0.0.7 fd00::7"),
            Happening::Renumber {
                node: node.clone(),
                interface: None,
                addresses: vec![address("10.0.0.7"), address("fd00::7")],
            }
        );
        let link = "4g,loss=2%".parse::<LinkSpec>().unwrap().duplex;
        assert_eq!(
            happening("link alice 4g,loss=2%"),
            Happening::Link { node, interface: None, link }
        );
        assert_eq!(
            happening("move alice.wifi cafe 10.2.0.9 link=4g,loss=2%"),
            Happening::Move {
                host,
                interface: wifi,
                network: "cafe".to_owned(),
                addresses: vec![address("10.2.0.9")],
                link,
            }
        );
        assert_eq!(parse("quit", &world()).unwrap(), Request::Quit);
        assert_eq!(parse("help", &world()).unwrap(), Request::Help);
        assert_eq!(parse("  ", &world()).unwrap(), Request::Nothing);
    }

    #[test]
    fn what_is_not_understood_is_answered_with_advice() {
        for (line, words) in [
            ("rebnd router", "did you mean \"rebind\""),
            ("rebind routr", "did you mean \"router\""),
            ("rebind alice", "no translator \"alice\""),
            ("rebind", "rebind NAT"),
            ("down", "down NODE"),
            ("down bob", "no node \"bob\""),
            ("unplug router", "no host \"router\""),
            ("link alice", "link NODE"),
            ("link alice lossy-7", "lossy-"),
            ("renumber alice ten", "\"ten\" is not an IP address"),
            ("move alice cafe", "move HOST"),
            ("move router cafe 10.0.0.1", "no host \"router\""),
        ] {
            let error = parse(line, &world()).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
