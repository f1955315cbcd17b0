//! What the program says of itself: its settings with where they come from, its manual page,
//! completions for shells.

use std::{collections::BTreeMap, fmt::Write, io};

use clap::CommandFactory;
use portolan_transport::Transport;
use serde::Serialize;

use super::{
    exit::Failure,
    gateways,
    knobs::{WrittenLimits, WrittenTimes},
    layers::Layers,
    options::{Cli, RunOptions},
    output::{Format, print},
    registries::{check_transports, with_gateways},
    settings::Settings,
};
use crate::config::{BusKind, Right};

/// What packages call the program: `server` is too common a word.
const INSTALLED: &str = "portolan-server";

/// Where each setting comes from that is not the default.
#[derive(Debug, Default)]
pub(super) struct Origins {
    file: Option<String>,
    /// Key and file, variable or `--set`.
    written: BTreeMap<String, String>,
    /// Key and flag or variable.
    given: BTreeMap<String, String>,
}

impl Origins {
    pub(super) fn new(options: &RunOptions, layers: &Layers) -> Self {
        let written = layers.origins().into_iter();
        Self {
            file: layers.file.as_ref().map(|path| path.display().to_string()),
            written: written.collect(),
            given: options.sources.clone(),
        }
    }

    /// Flags and variables come before what is written down.
    fn of(&self, key: &str) -> &str {
        let option = match key {
            "rights.broadcast" => "broadcast",
            key if key.starts_with("registry.") => "registry",
            key if key.starts_with("gateway.") => "gateway",
            key => key,
        };
        let written = || self.written.get(key);
        self.given.get(option).or_else(written).map_or("default", |from| from)
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Setting {
    key: String,
    /// As TOML.
    value: String,
    from: String,
}

#[derive(Serialize)]
struct All<'a> {
    file: Option<&'a str>,
    settings: &'a [Setting],
}

/// Checks or shows what a server would run with.
pub(super) fn config(
    options: RunOptions,
    only_check: bool,
    transports: &'static [&'static dyn Transport],
) -> Result<(), Failure> {
    let settings = Settings::gather(options)?;
    let known: Vec<&str> = transports.iter().map(|transport| transport.scheme()).collect();
    check_transports(&settings.registries, &with_gateways(&known))?;
    let format = Format::new(settings.json);
    let file = settings.origins.file.as_deref();
    if only_check {
        let text = match file {
            Some(path) => format!("{path}: in order"),
            None => "there is no configuration file; everything else is in order".to_owned(),
        };
        print(format, "config", &All { file, settings: &[] }, &text);
        return Ok(());
    }
    let all = list(&settings);
    print(format, "config", &All { file, settings: &all }, &text(file, &all));
    Ok(())
}

/// Every setting, in the order of the documentation.
fn list(settings: &Settings) -> Vec<Setting> {
    let mut values: Vec<(String, String)> = plain(settings)
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_string())))
        .collect();
    let cost = settings.password_cost;
    let passwords = [("memory_kib", cost.memory_kib), ("passes", cost.passes)];
    let passwords = passwords.into_iter().map(|(key, value)| (key, value.to_string()));
    let tables = [
        ("passwords", passwords.collect()),
        ("limits", WrittenLimits::show(&settings.limits)),
        ("times", WrittenTimes::show(&settings.timing)),
    ];
    for (table, entries) in tables {
        let entries: Vec<(&str, String)> = entries;
        values.extend(entries.into_iter().map(|(key, value)| (format!("{table}.{key}"), value)));
    }
    values.extend(exceptions(settings));
    let origins = &settings.origins;
    let line = |(key, value): (String, String)| {
        let from = origins.of(&key).to_owned();
        Setting { key, value, from }
    };
    values.into_iter().map(line).collect()
}

/// The settings that stand in no table; `None`: there is nothing to write down.
fn plain(settings: &Settings) -> Vec<(&'static str, Option<toml::Value>)> {
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| toml::Value::String(path.display().to_string()))
    };
    let words =
        |words: Vec<String>| toml::Value::Array(words.into_iter().map(Into::into).collect());
    let seconds = |seconds: u32| toml::Value::Integer(seconds.into());
    let usual_heartbeat = settings.timing.transport.idle.as_secs();
    let usual_heartbeat = u32::try_from(usual_heartbeat).unwrap_or(u32::MAX);
    let listen = toml::Value::String(settings.listen.to_string());
    let admins = settings.admins.iter().map(ToString::to_string).collect();
    let relays = settings.relays.iter().map(|relay| format!("{}={}", relay.address, relay.id));
    let relays = relays.collect();
    let issuers = settings.relaying.issuers.iter().map(ToString::to_string).collect();
    let reserved = settings.reserved.iter().map(ToString::to_string).collect();
    vec![
        ("listen", Some(listen)),
        ("data", path(&settings.data)),
        ("ephemeral", Some(settings.data.is_none().into())),
        ("key", path(&settings.key)),
        ("admin", Some(words(admins))),
        ("event_log", path(&settings.event_log)),
        ("heartbeat", Some(seconds(settings.heartbeat.unwrap_or(usual_heartbeat)))),
        ("metrics", settings.metrics.map(|at| toml::Value::String(at.to_string()))),
        ("stun_alternate", settings.stun_alternate.map(|at| toml::Value::String(at.to_string()))),
        ("lan", settings.lan.clone().map(toml::Value::String)),
        ("drain", Some(seconds(settings.drain_seconds()))),
        ("qlog", path(&settings.qlog)),
        ("relay", Some(words(relays))),
        ("relay_for", Some(words(issuers))),
        ("relay_only", Some(settings.relaying.is_only.into())),
        ("bus", Some(toml::Value::String(bus(settings.bus).to_owned()))),
        ("reserved", Some(words(reserved))),
    ]
}

fn bus(kind: BusKind) -> &'static str {
    let row = BusKind::TABLE.iter().find(|(known, _)| *known == kind);
    row.map_or("", |(_, word)| word)
}

/// What single registries differ in, and who may what.
fn exceptions(settings: &Settings) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (transport, registry) in &settings.registries {
        let heartbeat = registry.heartbeat.map(|time| time.as_secs().to_string());
        let clients = registry.clients.map(|clients| clients.to_string());
        for (key, value) in [("clients", clients), ("heartbeat", heartbeat)] {
            all.extend(value.map(|value| (format!("registry.{transport}.{key}"), value)));
        }
    }
    let broadcast = match &settings.rights.broadcast {
        Right::Everyone => "everyone".into(),
        Right::Admins => "admins".into(),
        Right::Keys(keys) => {
            toml::Value::Array(keys.iter().map(|key| key.to_string().into()).collect())
        }
    };
    all.push(("rights.broadcast".to_owned(), broadcast.to_string()));
    all.extend(gateways::show(&settings.gateways));
    all
}

/// A configuration file that says the same.
fn text(file: Option<&str>, all: &[Setting]) -> String {
    let mut text = match file {
        Some(path) => format!("# read: {path}\n"),
        None => "# no configuration file was read\n".to_owned(),
    };
    let mut table_before = "";
    for Setting { key, value, from } in all {
        let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
        if table != table_before {
            let _fits = writeln!(text, "\n[{table}]");
            table_before = table;
        }
        let _fits = writeln!(text, "{:<50} # {from}", format!("{key} = {value}"));
    }
    text
}

/// Prints completions for a shell, for the name that the program was called by.
pub(super) fn completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), called(), &mut io::stdout());
}

/// Prints the manual page.
pub(super) fn manual() -> Result<(), Failure> {
    let name = match called().as_str() {
        INSTALLED => INSTALLED,
        _ => "server",
    };
    let command = Cli::command().name(name).bin_name(name);
    let page = clap_mangen::Man::new(command).title(name.to_uppercase());
    page.render(&mut io::stdout()).map_err(|error| Failure::error(&error))
}

/// The name that the program was called by.
fn called() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from);
    let stem = path.as_deref().and_then(std::path::Path::file_stem);
    stem.map_or_else(|| "server".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Setting, list, text};
    use crate::cli::{options::Cli, settings::Settings};

    fn gather(file: &str, arguments: &[&str]) -> Vec<Setting> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        std::fs::write(&path, file).unwrap();
        let fixed = ["server", "--config", path.to_str().unwrap()];
        let all = fixed.iter().chain(arguments).map(Into::into);
        let cli = Cli::read(all).unwrap();
        let shown = list(&Settings::gather(cli.run).map_err(|failure| failure.message).unwrap());
        // What is shown is a file that says the same.
        let again = text(None, &shown);
        std::fs::write(&path, &again).unwrap();
        let cli = Cli::read(["server", "--config", path.to_str().unwrap()].iter().map(Into::into));
        let settings = Settings::gather(cli.unwrap().run).map_err(|failure| failure.message);
        let repeated = list(&settings.unwrap());
        let pairs = |all: &[Setting]| -> Vec<(String, String)> {
            all.iter().map(|one| (one.key.clone(), one.value.clone())).collect()
        };
        assert_eq!(pairs(&shown), pairs(&repeated), "{again}");
        shown
    }

    #[test]
    fn each_setting_is_shown_with_its_value_and_its_origin() {
        let file = "heartbeat = 9\nreserved = ['root']\n[limits]\nusers = 7\n[times]\nlogin = 5\n\
                    [registry.udp]\nclients = 5\n[gateway.tr223]\nadmin = 'ana'";
        let arguments =
            ["--listen", "127.0.0.1:1", "--ephemeral", "--set", "limits.bans=3", "--drain", "8"];
        let all = gather(file, &arguments);
        let find = |key: &str| {
            let found = all.iter().find(|setting| setting.key == key).unwrap();
            (found.value.as_str(), found.from.as_str())
        };
        assert_eq!(find("listen"), ("\"127.0.0.1:1\"", "--listen"));
        assert_eq!(find("ephemeral"), ("true", "--ephemeral"));
        assert_eq!(find("drain"), ("8", "--drain"));
        assert_eq!(find("limits.bans"), ("3", "--set limits.bans"));
        assert_eq!(find("limits.mailbox_messages"), ("1000", "default"));
        assert_eq!(find("gateway.tr223.listen"), ("\"127.0.0.1:1234\"", "default"));
        for (key, value) in [
            ("registry.udp.clients", "5"),
            ("limits.users", "7"),
            ("times.login", "\"5s\""),
            ("reserved", "[\"root\"]"),
            ("gateway.tr223.admin", "\"ana\""),
        ] {
            assert_eq!(find(key).0, value);
            assert!(find(key).1.ends_with("server.toml"), "{key}");
        }
    }
}
