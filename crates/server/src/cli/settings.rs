//! Flags, environment and configuration file, made one.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use directories::ProjectDirs;
use portolan_identity::PeerId;
use portolan_protocol::Name;
use serde::Deserialize;

use super::{
    exit::Failure,
    gateways::{GatewayFile, gateways},
    knobs::{WrittenLimits, WrittenTimes},
    layers::{self, Layers},
    options::{DEFAULT_PORT, RunOptions, parse_lan, parse_listen, parse_metrics, parse_relay},
    registries::{HEARTBEAT, RegistryFile, RightsFile, registries},
    show::Origins,
};
use crate::config::{
    BusKind, GatewayConfig, Limits, PasswordCost, RegistryConfigs, RelayServer, Relaying, Rights,
    Timing,
};

/// Seconds; whoever waits longer had better not end the server.
pub(super) const DRAIN_MAX: u32 = 3_600;

/// What a server is run with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    /// Whether the address was left to us: then IPv4 will do where there is no IPv6.
    pub(super) is_default_listen: bool,
    /// `None`: ephemeral.
    pub(super) data: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) admins: Vec<PeerId>,
    pub(super) event_log: Option<PathBuf>,
    pub(super) heartbeat: Option<u32>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) stun_alternate: Option<SocketAddr>,
    pub(super) lan: Option<String>,
    pub(super) qlog: Option<PathBuf>,
    pub(super) registries: RegistryConfigs,
    pub(super) rights: Rights,
    pub(super) gateways: Vec<GatewayConfig>,
    pub(super) relays: Vec<RelayServer>,
    pub(super) relaying: Relaying,
    pub(super) bus: BusKind,
    pub(super) reserved: Vec<Name>,
    pub(super) password_cost: PasswordCost,
    /// Seconds for relays to end before the server does.
    pub(super) drain: Option<u32>,
    pub(super) limits: Limits,
    pub(super) timing: Timing,
    /// Where each setting comes from.
    pub(super) origins: Origins,
    pub(super) json: bool,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    data: Option<PathBuf>,
    #[serde(default)]
    ephemeral: bool,
    key: Option<PathBuf>,
    #[serde(default)]
    admin: Vec<PeerId>,
    event_log: Option<PathBuf>,
    heartbeat: Option<u32>,
    metrics: Option<String>,
    stun_alternate: Option<SocketAddr>,
    lan: Option<String>,
    qlog: Option<PathBuf>,
    #[serde(default)]
    registry: BTreeMap<String, RegistryFile>,
    #[serde(default)]
    rights: RightsFile,
    #[serde(default)]
    gateway: BTreeMap<String, GatewayFile>,
    #[serde(default)]
    relay: Vec<String>,
    #[serde(default)]
    relay_for: Vec<PeerId>,
    #[serde(default)]
    relay_only: bool,
    bus: Option<String>,
    #[serde(default)]
    reserved: Vec<String>,
    #[serde(default)]
    passwords: Passwords,
    drain: Option<u32>,
    #[serde(default)]
    limits: WrittenLimits,
    #[serde(default)]
    times: WrittenTimes,
}

/// What a password costs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    memory_kib: Option<u32>,
    passes: Option<u32>,
}

impl Passwords {
    fn cost(&self) -> Result<PasswordCost, Failure> {
        let usual = PasswordCost::default();
        let cost = PasswordCost {
            memory_kib: self.memory_kib.unwrap_or(usual.memory_kib),
            passes: self.passes.unwrap_or(usual.passes),
        };
        for (name, value, range) in [
            ("memory_kib", cost.memory_kib, PasswordCost::MEMORY_KIB),
            ("passes", cost.passes, PasswordCost::PASSES),
        ] {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                let message = format!("passwords.{name}: expected {least} to {most}, not {value}");
                return Err(Failure::usage(message));
            }
        }
        Ok(cost)
    }
}

/// The usual ones, with what is written down.
fn changed<T>(
    mut usual: T,
    table: &str,
    apply: impl FnOnce(&mut T) -> Result<(), String>,
) -> Result<T, Failure> {
    apply(&mut usual).map_err(|why| Failure::usage(format!("{table}.{why}")))?;
    Ok(usual)
}

/// Checks the names that are kept back.
fn names(texts: &[String]) -> Result<Vec<Name>, Failure> {
    let check = |text: &String| {
        Name::new(text).map_err(|error| Failure::usage(format!("reserved: {error}")))
    };
    texts.iter().map(check).collect()
}

impl Settings {
    /// Flags and environment come before the file.
    pub(super) fn gather(options: RunOptions) -> Result<Self, Failure> {
        let layers = Layers::read::<File>(
            config_file(options.config.clone()),
            layers::environment(),
            &options.set,
        )?;
        let file: File = layers.merged()?;
        let origins = Origins::new(&options, &layers);
        let from_file = file.listen.as_deref().map(parse_listen).transpose();
        let from_file = from_file.map_err(|why| Failure::usage(format!("listen: {why}")))?;
        let given = options.listen.or(from_file);
        let ephemeral = options.ephemeral || (file.ephemeral && options.data.is_none());
        let data = match ephemeral {
            true => None,
            false => Some(data_directory(options.data.or(file.data))?),
        };
        let metrics = file.metrics.as_deref().map(parse_metrics).transpose();
        let metrics = metrics.map_err(|why| Failure::usage(format!("metrics: {why}")))?;
        let lan = file.lan.as_deref().map(parse_lan).transpose();
        let lan = lan.map_err(|why| Failure::usage(format!("lan: {why}")))?;
        let heartbeat = options.heartbeat.or(file.heartbeat);
        if file.drain.is_some_and(|seconds| seconds > DRAIN_MAX) {
            return Err(Failure::usage(format!("drain: expected 0 to {DRAIN_MAX} seconds")));
        }
        if heartbeat.is_some_and(|seconds| !HEARTBEAT.contains(&seconds)) {
            return Err(Failure::usage("heartbeat: expected 2 to 3600 seconds"));
        }
        Ok(Self {
            listen: given
                .unwrap_or_else(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT))),
            is_default_listen: given.is_none(),
            data,
            key: options.key.or(file.key),
            admins: if options.admin.is_empty() { file.admin } else { options.admin },
            event_log: options.event_log.or(file.event_log),
            heartbeat,
            metrics: options.metrics.or(metrics),
            stun_alternate: options.stun_alternate.or(file.stun_alternate),
            lan: options.lan.or(lan),
            qlog: options.qlog.or(file.qlog),
            registries: registries(&file.registry, options.registry)?,
            rights: file.rights.rights(options.broadcast)?,
            gateways: gateways(file.gateway, options.gateway)?,
            relays: relays(&file.relay, options.relay)?,
            relaying: relaying(
                if options.relay_for.is_empty() { file.relay_for } else { options.relay_for },
                options.relay_only || file.relay_only,
            )?,
            bus: bus(options.bus, file.bus.as_deref())?,
            reserved: names(&file.reserved)?,
            password_cost: file.passwords.cost()?,
            drain: options.drain.or(file.drain),
            limits: changed(Limits::default(), "limits", |limits| file.limits.apply(limits))?,
            timing: changed(Timing::default(), "times", |timing| file.times.apply(timing))?,
            origins,
            json: options.json,
        })
    }
}

/// Flags take the place of what the file has.
fn relays(file: &[String], flags: Vec<RelayServer>) -> Result<Vec<RelayServer>, Failure> {
    if !flags.is_empty() {
        return Ok(flags);
    }
    let parse =
        |text: &String| parse_relay(text).map_err(|why| Failure::usage(format!("relay: {why}")));
    file.iter().map(parse).collect()
}

fn relaying(issuers: Vec<PeerId>, is_only: bool) -> Result<Relaying, Failure> {
    if is_only && issuers.is_empty() {
        return Err(Failure::usage(
            "--relay-only: say for which server with --relay-for KEY, as that prints it at its start",
        ));
    }
    Ok(Relaying { issuers, is_only })
}

fn bus(flag: Option<BusKind>, file: Option<&str>) -> Result<BusKind, Failure> {
    let file = file.map(str::parse::<BusKind>).transpose();
    let file = file.map_err(|why| Failure::usage(format!("bus: {why}")))?;
    Ok(flag.or(file).unwrap_or_default())
}

impl Settings {
    pub(super) fn drain_seconds(&self) -> u32 {
        let usual = || u32::try_from(self.timing.drain.as_secs()).unwrap_or(u32::MAX);
        self.drain.unwrap_or_else(usual)
    }
}

/// The directory that was named, or the user's.
pub(super) fn data_directory(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    given.or_else(|| Some(project()?.data_dir().join("server"))).ok_or_else(|| {
        Failure::usage("this user has no home directory: name one with --data, or use --ephemeral")
    })
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "portolan")
}

/// The file that was named, or the user's if there is one.
fn config_file(given: Option<PathBuf>) -> Option<PathBuf> {
    given.or_else(|| {
        let usual = project()?.config_dir().join("server.toml");
        usual.exists().then_some(usual)
    })
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::cli::options::Cli;

    fn gather(file: &str, arguments: &[&str]) -> Result<Settings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        std::fs::write(&path, file).unwrap();
        let fixed = ["server", "--config", path.to_str().unwrap()];
        let all = fixed.iter().chain(arguments).map(Into::into);
        let cli = Cli::read(all).map_err(|error| error.to_string())?;
        Settings::gather(cli.run).map_err(|failure| failure.message)
    }

    #[test]
    fn flags_come_before_the_file() {
        let file = "listen = '127.0.0.1:1'\nheartbeat = 9\nephemeral = true";
        let settings = gather(file, &["--heartbeat", "5"]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
        assert_eq!(settings.heartbeat, Some(5));
        assert_eq!(settings.data, None);
        let limits = gather(file, &["--set", "limits.users=9"]).unwrap().limits;
        assert_eq!(limits, crate::Limits { users: 9, ..crate::Limits::default() });
        let settings = gather(file, &["--data", "elsewhere", "--listen", "[::1]"]).unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:7275");
        assert_eq!(settings.data.unwrap().to_str(), Some("elsewhere"));
    }

    #[test]
    fn a_wrong_file_is_explained() {
        let both = gather("", &["--ephemeral", "--data", "x"]).unwrap_err();
        assert!(both.contains("choose one"), "{both}");
        let rows = [
            ("listne = 'x'", "unknown field `listne`; did you mean `listen`?"),
            ("[limits]\nmailbox_mesages = 5", "did you mean `mailbox_messages`?"),
            ("[limits]\nusers = 0", "limits.users: expected 1 to"),
            ("[times]\nlogin = 'soon'", "expected seconds, or a number with its unit"),
            ("drain = 5000", "drain: expected 0 to 3600"),
            ("listen = 'here'", "expected an IP address"),
            ("heartbeat = 1", "2 to 3600"),
            ("admin = ['abc']", "admin"),
            ("reserved = ['no name']", "reserved: a name cannot have"),
            ("[registry.udp]\nclients = 0", "registry.udp: clients: expected 1 to"),
            ("[registry.udp]\ncleints = 1", "unknown field"),
            ("relay = ['192.0.2.9']", "relay: expected the relay's address and key"),
            ("relay = ['0.0.0.0=x']", "relay: expected an address and port that users"),
            ("relay = ['192.0.2.9=x']", "relay: the key after '='"),
            ("relay_only = true", "--relay-only: say for which server"),
            ("bus = 'yellow'", "bus: \"yellow\" is not one of direct, queued"),
            ("[rights]\nbroadcast = 'nobody'", "rights.broadcast: expected everyone, admins"),
            ("[passwords]\nmemory_kib = 1", "passwords.memory_kib: expected 8192"),
            ("[passwords]\npasses = 99", "passwords.passes: expected 1 to 16"),
        ];
        for (file, expected) in rows {
            let message = gather(file, &[]).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
