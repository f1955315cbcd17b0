//! What the configuration says about single registries and about rights.

use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr, time::Duration};

use portolan_gateway::GATEWAYS;
use portolan_identity::PeerId;
use serde::Deserialize;

use super::exit::Failure;
use crate::config::{RegistryConfig, RegistryConfigs, Right, Rights};

/// Seconds of silence that can be asked for.
pub(super) const HEARTBEAT: RangeInclusive<u32> = 2..=3600;

/// Clients of one registry that can be asked for.
const CLIENTS: RangeInclusive<usize> = 1..=10_000_000;

/// `[registry.udp]` of the configuration file.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryFile {
    clients: Option<usize>,
    heartbeat: Option<u32>,
}

/// `[rights]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RightsFile {
    broadcast: Option<RightFile>,
}

/// A word, or keys.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RightFile {
    Word(String),
    Keys(Vec<PeerId>),
}

impl RightsFile {
    /// The flag comes before the file.
    pub(super) fn rights(self, flag: Option<Right>) -> Result<Rights, Failure> {
        let broadcast = match (flag, self.broadcast) {
            (Some(right), _) => right,
            (None, None) => Right::default(),
            (None, Some(RightFile::Keys(keys))) => Right::Keys(keys),
            (None, Some(RightFile::Word(word))) => parse_right(&word)
                .map_err(|why| Failure::usage(format!("rights.broadcast: {why}")))?,
        };
        Ok(Rights { broadcast })
    }
}

/// `everyone`, `admins`, or keys with commas between them.
pub(super) fn parse_right(text: &str) -> Result<Right, String> {
    match text {
        "everyone" => Ok(Right::Everyone),
        "admins" => Ok(Right::Admins),
        keys => {
            let keys: Result<Vec<PeerId>, _> = keys.split(',').map(PeerId::from_str).collect();
            let advice = "expected everyone, admins, or the keys of those who may";
            keys.map(Right::Keys).map_err(|error| format!("{advice}: {error}"))
        }
    }
}

/// What one flag says of one registry: `udp:clients=5000,heartbeat=60`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegistryFlag {
    transport: String,
    config: RegistryConfig,
}

pub(super) fn parse_registry(text: &str) -> Result<RegistryFlag, String> {
    let advice =
        || "expected TRANSPORT:clients=NUMBER,heartbeat=SECONDS, or one of both".to_owned();
    let (transport, rest) = text.split_once(':').ok_or_else(advice)?;
    let mut file = RegistryFile::default();
    for part in rest.split(',') {
        match part.split_once('=').ok_or_else(advice)? {
            ("clients", number) => file.clients = Some(number.parse().map_err(|_| advice())?),
            ("heartbeat", number) => file.heartbeat = Some(number.parse().map_err(|_| advice())?),
            _ => return Err(advice()),
        }
    }
    Ok(RegistryFlag { transport: transport.to_owned(), config: file.checked()? })
}

impl RegistryFile {
    fn checked(self) -> Result<RegistryConfig, String> {
        if let Some(clients) = self.clients.filter(|clients| !CLIENTS.contains(clients)) {
            let (least, most) = (CLIENTS.start(), CLIENTS.end());
            return Err(format!("clients: expected {least} to {most}, not {clients}"));
        }
        if let Some(seconds) = self.heartbeat.filter(|seconds| !HEARTBEAT.contains(seconds)) {
            let (least, most) = (HEARTBEAT.start(), HEARTBEAT.end());
            return Err(format!("heartbeat: expected {least} to {most} seconds, not {seconds}"));
        }
        let heartbeat = self.heartbeat.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(RegistryConfig { clients: self.clients, heartbeat })
    }
}

/// Flags come before the file, field by field.
pub(super) fn registries(
    file: &BTreeMap<String, RegistryFile>,
    flags: Vec<RegistryFlag>,
) -> Result<RegistryConfigs, Failure> {
    let mut all = RegistryConfigs::new();
    for (transport, file) in file {
        let wrong = |why| Failure::usage(format!("registry.{transport}: {why}"));
        all.insert(transport.clone(), file.checked().map_err(wrong)?);
    }
    for RegistryFlag { transport, config } in flags {
        let registry = all.entry(transport).or_default();
        registry.clients = config.clients.or(registry.clients);
        registry.heartbeat = config.heartbeat.or(registry.heartbeat);
    }
    Ok(all)
}

/// The transports, and the registries of gateways.
pub(super) fn with_gateways<'a>(transports: &[&'a str]) -> Vec<&'a str> {
    let lanes = GATEWAYS.iter().flat_map(|gateway| gateway.lanes());
    transports.iter().copied().chain(lanes.map(|lane| lane.registry)).collect()
}

/// Nothing may be said about a transport that there is not: it would be without effect.
pub(super) fn check_transports(all: &RegistryConfigs, known: &[&str]) -> Result<(), Failure> {
    match all.keys().find(|transport| !known.contains(&transport.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let known = known.join(", ");
            Err(Failure::usage(format!("registry.{unknown}: no such transport; there are {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_identity::PeerId;

    use super::{check_transports, parse_registry, parse_right, registries};
    use crate::config::{RegistryConfig, Right};

    #[test]
    fn a_flag_changes_what_it_names_and_leaves_the_rest_of_the_file() {
        let file =
            toml::from_str("[udp]\nclients = 7\nheartbeat = 60\n[tcp]\nclients = 9").unwrap();
        let flags = ["udp:clients=8", "quic:heartbeat=30,clients=1"]
            .map(|flag| parse_registry(flag).unwrap());
        let all = registries(&file, flags.into()).unwrap();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = [
            ("quic", RegistryConfig { clients: Some(1), heartbeat: seconds(30) }),
            ("tcp", RegistryConfig { clients: Some(9), heartbeat: None }),
            ("udp", RegistryConfig { clients: Some(8), heartbeat: seconds(60) }),
        ];
        assert!(all.iter().map(|(name, config)| (name.as_str(), *config)).eq(expected));
        assert!(check_transports(&all, &["tcp", "udp", "quic"]).is_ok());
        let message = check_transports(&all, &["tcp", "udp"]).unwrap_err().message;
        assert!(message.contains("registry.quic") && message.contains("tcp, udp"), "{message}");
    }

    #[test]
    fn a_wrong_word_is_answered_with_what_was_expected() {
        for flag in ["udp", "udp:", "udp:clients", "udp:clients=x", "udp:colour=1"] {
            assert!(parse_registry(flag).unwrap_err().contains("TRANSPORT:clients"), "{flag}");
        }
        assert!(parse_registry("udp:clients=0").unwrap_err().contains("1 to"));
        assert!(parse_registry("udp:heartbeat=1").unwrap_err().contains("2 to 3600"));
        assert!(parse_right("nobody").unwrap_err().contains("everyone, admins"));
    }

    #[test]
    fn a_right_is_a_word_or_keys() {
        let key = PeerId::from_bytes([7; 32]);
        assert_eq!(parse_right("everyone"), Ok(Right::Everyone));
        assert_eq!(parse_right("admins"), Ok(Right::Admins));
        assert_eq!(parse_right(&format!("{key},{key}")), Ok(Right::Keys(vec![key, key])));
    }
}
