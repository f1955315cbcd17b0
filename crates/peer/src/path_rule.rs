//! Which ways to other peers a program uses.

use std::{net::IpAddr, str::FromStr};

use crate::remote::Rank;

/// Which ways to other peers are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathRule {
    /// Through the server at once, directly as soon as that works.
    #[default]
    Any,
    /// Directly or not at all; the server only introduces.
    DirectOnly,
    /// Through the server alone: other peers never learn our addresses, nor we theirs.
    RelayOnly,
    /// Directly, and at addresses of private networks alone.
    LanOnly,
}

impl PathRule {
    /// Every rule with its word in the configuration file; all but the first are options too.
    pub const TABLE: [(Self, &'static str); 4] = [
        (Self::Any, "any"),
        (Self::DirectOnly, "direct-only"),
        (Self::RelayOnly, "relay-only"),
        (Self::LanOnly, "lan-only"),
    ];

    /// Ways below this are for introductions only.
    pub(crate) fn least(self) -> Rank {
        match self {
            Self::Any | Self::RelayOnly => Rank::Stream,
            Self::DirectOnly | Self::LanOnly => Rank::Direct,
        }
    }

    /// The best way that is sought.
    pub(crate) fn best(self) -> Rank {
        match self {
            Self::Any | Self::DirectOnly | Self::LanOnly => Rank::Direct,
            Self::RelayOnly => Rank::Relayed,
        }
    }

    /// Whether the server may carry our datagrams.
    pub(crate) fn relays(self) -> bool {
        self.least() < Rank::Direct
    }

    /// Whether a peer may be sought at `ip`.
    pub(crate) fn allows(self, ip: IpAddr) -> bool {
        match self {
            Self::Any | Self::DirectOnly => true,
            Self::RelayOnly => false,
            Self::LanOnly => is_private(ip.to_canonical()),
        }
    }

    /// Whether a server may be used at `ip`.
    pub(crate) fn allows_server(self, ip: IpAddr) -> bool {
        match self {
            Self::Any | Self::DirectOnly | Self::RelayOnly => true,
            Self::LanOnly => is_private(ip.to_canonical()),
        }
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

impl FromStr for PathRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let row = Self::TABLE.iter().find(|(_, word)| *word == text);
        let words = || Self::TABLE.map(|(_, word)| word).join(", ");
        row.map(|(rule, _)| *rule).ok_or_else(|| format!("{text:?} is not one of {}", words()))
    }
}

#[cfg(test)]
mod tests {
    use super::PathRule;

    #[test]
    fn a_rule_is_known_by_its_word_and_allows_what_it_says() {
        for (rule, word) in PathRule::TABLE {
            assert_eq!(word.parse(), Ok(rule));
        }
        assert!("lan".parse::<PathRule>().is_err_and(|error| error.contains("lan-only")));
        let rows = [
            ("192.168.1.7", [true, true, false, true]),
            ("203.0.113.9", [true, true, false, false]),
            ("::ffff:10.0.0.1", [true, true, false, true]),
            ("fd00::1", [true, true, false, true]),
            ("2001:db8::1", [true, true, false, false]),
        ];
        for (ip, allowed) in rows {
            let seen = PathRule::TABLE.map(|(rule, _)| rule.allows(ip.parse().unwrap()));
            assert_eq!(seen, allowed, "{ip}");
            let servers = PathRule::TABLE.map(|(rule, _)| rule.allows_server(ip.parse().unwrap()));
            let is_lan = allowed[3];
            assert_eq!(servers, [true, true, true, is_lan], "{ip}");
        }
    }
}
