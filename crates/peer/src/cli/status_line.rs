//! How the session and the paths to others fare, for programs and for people.

use portolan_protocol::{ServerInfo, Timestamp};
use portolan_transport::ConnectionStats;
use serde::Serialize;

use super::{
    counters::Counters,
    text::{plain, size, time},
};
use crate::{PathInfo, Peer};

/// What a connection has carried, and how long its way is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Traffic {
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<u64>,
    bytes_sent: u64,
    bytes_received: u64,
    connection: Box<Counters>,
}

/// The session and the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    name: String,
    id: String,
    transport: String,
    server: String,
    server_id: String,
    server_software: String,
    server_since: u64,
    #[serde(flatten)]
    traffic: Traffic,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<String>,
    conversations: u64,
    waiting: u64,
    relays: u64,
    registries: Vec<Registry>,
}

/// The users of one transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Registry {
    transport: String,
    address: String,
    online: u64,
}

/// How a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PathLine {
    /// Nobody: the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<String>,
    pub(crate) kind: &'static str,
    pub(crate) transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) addr: Option<String>,
    pub(crate) why: String,
    /// Of the connection that takes what is new, when somebody asks.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) traffic: Option<Traffic>,
}

impl From<&ConnectionStats> for Traffic {
    fn from(stats: &ConnectionStats) -> Self {
        Self {
            rtt_us: stats.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            connection: Box::new(Counters::from(stats)),
        }
    }
}

impl Traffic {
    fn round_trip(&self) -> String {
        let rtt = self.rtt_us.map(|us| format!(", round trip {}.{} ms", us / 1000, us / 100 % 10));
        rtt.unwrap_or_default()
    }

    /// Lines for people, each behind its label.
    fn lines(&self) -> Vec<String> {
        let (sent, received) = (size(self.bytes_sent), size(self.bytes_received));
        let mut lines = vec![format!("bytes        {sent} sent, {received} received")];
        lines.extend(self.connection.lines());
        lines
    }
}

impl Status {
    pub(crate) fn new(peer: &Peer, server: &ServerInfo, conversation: Option<String>) -> Self {
        let registries = server.registries.iter().map(|registry| Registry {
            transport: registry.transport.clone(),
            address: registry.address.clone(),
            online: registry.online,
        });
        Self {
            name: peer.name().to_string(),
            id: peer.id().to_string(),
            transport: peer.transport().to_owned(),
            server: peer.server_addr().to_string(),
            server_id: peer.server_id().to_string(),
            server_software: server.software.clone(),
            server_since: server.since.0,
            traffic: (&peer.stats()).into(),
            shared: peer.shared().map(|path| path.display().to_string()),
            conversation,
            conversations: server.conversations,
            waiting: server.waiting,
            relays: server.relays,
            registries: registries.collect(),
        }
    }
}

impl From<&PathInfo> for PathLine {
    fn from(path: &PathInfo) -> Self {
        Self {
            with: path.with.as_ref().map(ToString::to_string),
            kind: path.kind_word(),
            transport: path.transport,
            addr: path.addr.map(|addr| addr.to_string()),
            why: path.why.clone(),
            traffic: None,
        }
    }
}

pub(super) fn status_text(status: &Status) -> String {
    let mut lines = vec![
        format!("you          {} {}", status.name, status.id),
        format!(
            "server       {} over {}{}",
            status.server,
            status.transport,
            status.traffic.round_trip()
        ),
        format!("             {} {}", plain(&status.server_software), status.server_id),
        format!("             up since {}", time(Timestamp(status.server_since))),
    ];
    lines.extend(status.traffic.lines());
    lines.extend([
        format!("talking with {}", status.conversation.as_deref().unwrap_or("nobody")),
        format!("sharing      {}", plain(status.shared.as_deref().unwrap_or("nothing"))),
        format!(
            "in all       {} conversations, {} messages waiting, {} relays",
            status.conversations, status.waiting, status.relays
        ),
    ]);
    lines.extend(status.registries.iter().map(|registry| {
        let (transport, address) = (plain(&registry.transport), plain(&registry.address));
        format!("{transport:12} {} online at {address}", registry.online)
    }));
    lines.join("\n")
}

pub(super) fn path_text(path: &PathLine) -> String {
    let addr = path.addr.as_ref().map(|addr| format!(" by {addr}")).unwrap_or_default();
    let with = path.with.as_deref().unwrap_or("the server");
    let rtt = path.traffic.as_ref().map(Traffic::round_trip).unwrap_or_default();
    let head =
        format!("{with}: {} over {}{addr}{rtt}: {}", path.kind, path.transport, plain(&path.why));
    let more = path.traffic.as_ref().map(Traffic::lines).unwrap_or_default();
    std::iter::once(head).chain(more).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn path() -> PathLine {
        PathLine {
            with: Some("bob".to_owned()),
            kind: "direct",
            transport: "udp",
            addr: Some("192.0.2.7:7000".to_owned()),
            why: "found in 12 ms".to_owned(),
            traffic: None,
        }
    }

    #[test]
    fn who_asks_for_a_path_is_told_how_it_fares() {
        let stats = ConnectionStats {
            rtt: Some(Duration::from_micros(23_400)),
            bytes_sent: 2_048,
            packets_sent: 7,
            ..ConnectionStats::default()
        };
        let line = PathLine { traffic: Some((&stats).into()), ..path() };
        let json = serde_json::to_string(&line).unwrap();
        assert!(
            json.contains(r#""why":"found in 12 ms","rtt_us":23400,"bytes_sent":2048"#),
            "{json}"
        );
        let text = path_text(&line);
        assert!(
            text.starts_with("bob: direct over udp by 192.0.2.7:7000, round trip 23.4 ms: found"),
            "{text}"
        );
        assert!(text.contains("\npackets      7 sent"), "{text}");
    }

    #[test]
    fn news_of_a_path_is_one_line_without_counters() {
        let json = serde_json::to_string(&path()).unwrap();
        assert!(!json.contains("bytes_sent"), "{json}");
        assert_eq!(path_text(&path()), "bob: direct over udp by 192.0.2.7:7000: found in 12 ms");
    }
}
