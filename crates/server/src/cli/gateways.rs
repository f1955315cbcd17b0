//! What the configuration says about gateways.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use portolan_gateway::{GATEWAYS, Gateway, Options, find};

use super::exit::Failure;
use crate::config::GatewayConfig;

/// The key of the address; the others are the gateway's own.
const LISTEN: &str = "listen";

/// Which gateway it is, where the table has another name.
const KIND: &str = "kind";

/// `[gateway.NAME]` of the configuration file: the gateway is on because the table is there.
pub(super) type GatewayFile = BTreeMap<String, String>;

/// What one flag says: `NAME[=ADDR][,KEY=VALUE]…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GatewayFlag {
    name: String,
    settings: GatewayFile,
}

pub(super) fn parse_gateway(text: &str) -> Result<GatewayFlag, String> {
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let (name, address) = match first.split_once('=') {
        Some((name, address)) => (name, Some(address)),
        None => (first, None),
    };
    known(name)?;
    let mut settings = GatewayFile::new();
    settings.extend(address.map(|address| (LISTEN.to_owned(), address.to_owned())));
    for part in parts {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("expected NAME=ADDR,KEY=VALUE, not {part:?}"))?;
        settings.insert(key.to_owned(), value.to_owned());
    }
    Ok(GatewayFlag { name: name.to_owned(), settings })
}

fn known(name: &str) -> Result<&'static dyn Gateway, String> {
    find(name).ok_or_else(|| {
        let names: Vec<&str> = GATEWAYS.iter().map(|gateway| gateway.name()).collect();
        format!("there is no gateway {name:?}; there are {}", names.join(", "))
    })
}

/// Flags come before the file, key by key. A name that is given again is opened again.
pub(super) fn gateways(
    file: BTreeMap<String, GatewayFile>,
    flags: Vec<GatewayFlag>,
) -> Result<Vec<GatewayConfig>, Failure> {
    let mut all = file;
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    for GatewayFlag { name, mut settings } in flags {
        let times = given.entry(name.clone()).or_default();
        *times += 1;
        let label = match times {
            1 => name,
            times => {
                let label = format!("{name}-{times}");
                settings.insert(KIND.to_owned(), name);
                label
            }
        };
        all.entry(label).or_default().extend(settings);
    }
    let configs = all.into_iter().map(|(label, settings)| {
        let wrong = |why| Failure::usage(format!("gateway.{label}: {why}"));
        config(&label, settings).map_err(wrong)
    });
    configs.collect()
}

fn config(label: &str, mut settings: GatewayFile) -> Result<GatewayConfig, String> {
    let kind = settings.remove(KIND);
    let gateway = known(kind.as_deref().unwrap_or(label))?;
    let address = match settings.remove(LISTEN) {
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.port())),
        Some(text) => parse_address(&text, gateway.port())?,
    };
    let options = Options(settings);
    options.check(gateway.options()).map_err(|error| error.to_string())?;
    gateway.open(&options).map_err(|error| error.to_string())?;
    Ok(GatewayConfig { label: label.to_owned(), gateway, address, options })
}

/// An address with or without a port, or a port of this machine.
fn parse_address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse::<SocketAddr>()
        .or_else(|_| bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)))
        .or_else(|_| text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        .map_err(|_| {
            format!("expected an address, a port or both, like 127.0.0.1:{port}, not {text:?}")
        })
}

/// Each setting as a line of `server config`.
pub(super) fn show(all: &[GatewayConfig]) -> Vec<(String, String)> {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut lines = Vec::new();
    for config in all {
        let label = &config.label;
        if label != config.gateway.name() {
            lines.push((format!("gateway.{label}.{KIND}"), text(config.gateway.name())));
        }
        let address = config.address.to_string();
        lines.push((format!("gateway.{label}.{LISTEN}"), text(&address)));
        for (key, value) in &config.options.0 {
            lines.push((format!("gateway.{label}.{key}"), text(value)));
        }
    }
    lines
}

/// What a reader of `--help` sees.
pub(super) fn help() -> String {
    let mut text =
        "Let older programs' clients in, which encrypt nothing: a gateway, perhaps with \
                    =ADDR (a port alone or none: this machine only) and ,KEY=VALUE; may be given \
                    several times. There are"
            .to_owned();
    for (index, gateway) in GATEWAYS.iter().enumerate() {
        text += if index == 0 { " " } else { "; " };
        text += &format!("{} (port {}): {}", gateway.name(), gateway.port(), gateway.about());
        for option in gateway.options() {
            text += &format!(", {}: {}", option.key, option.about);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{gateways, help, parse_gateway, show};

    fn shown(file: &str, flags: &[&str]) -> Result<Vec<(String, String)>, String> {
        let file: BTreeMap<_, _> = toml::from_str(file).unwrap();
        let flags = flags.iter().map(|flag| parse_gateway(flag)).collect::<Result<_, _>>()?;
        gateways(file, flags).map(|all| show(&all)).map_err(|failure| failure.message)
    }

    fn row(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), format!("\"{value}\""))
    }

    #[test]
    fn a_gateway_listens_on_this_machine_unless_told_otherwise() {
        let rows = [
            ("cod", "127.0.0.1:19033"),
            ("cod=0.0.0.0", "0.0.0.0:19033"),
            ("cod=[::1]:7", "[::1]:7"),
            ("cod=7", "127.0.0.1:7"),
        ];
        for (flag, address) in rows {
            assert_eq!(shown("", &[flag]).unwrap(), [row("gateway.cod.listen", address)]);
        }
    }

    #[test]
    fn flags_come_before_the_file() {
        let file = "[tr223]\nlisten = '127.0.0.1:1'\nadmin = 'ana'\n[lines]\n";
        assert_eq!(
            shown(file, &["tr223,admin=bia"]).unwrap(),
            [
                row("gateway.lines.listen", "127.0.0.1:7276"),
                row("gateway.tr223.listen", "127.0.0.1:1"),
                row("gateway.tr223.admin", "bia"),
            ]
        );
    }

    #[test]
    fn a_gateway_can_be_opened_several_times() {
        assert_eq!(
            shown("[other]\nkind = 'cod'\nlisten = '3'", &["cod=1", "cod=2"]).unwrap(),
            [
                row("gateway.cod.listen", "127.0.0.1:1"),
                row("gateway.cod-2.kind", "cod"),
                row("gateway.cod-2.listen", "127.0.0.1:2"),
                row("gateway.other.kind", "cod"),
                row("gateway.other.listen", "127.0.0.1:3"),
            ]
        );
    }

    #[test]
    fn a_wrong_word_is_answered_with_what_was_expected() {
        for (flag, expected) in [
            ("irc", "there is no gateway \"irc\"; there are lines, tr223, cod"),
            ("cod=here", "expected an address, a port or both"),
            ("tr223,colour=red", "no option \"colour\"; there are admin"),
            ("tr223,admin", "expected NAME=ADDR,KEY=VALUE"),
        ] {
            let why = shown("", &[flag]).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert!(help().contains("tr223 (port 1234)"));
    }
}
