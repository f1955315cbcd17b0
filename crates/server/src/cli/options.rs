//! The command line.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::FalseyValueParser, error::ErrorKind, parser::ValueSource,
};
use portolan_identity::PeerId;
use portolan_protocol::Name;

use super::{
    gateways::{self, GatewayFlag, parse_gateway},
    registries::{RegistryFlag, parse_registry, parse_right},
    settings::DRAIN_MAX,
};
use crate::config::{BusKind, RelayServer, Right};

const EXAMPLES: &str = "\
Examples:
  server                                  listen on port 7275, keep data for this user
  server --data /var/lib/portolan         keep names, messages and the key there
  server --ephemeral --listen 127.0.0.1:0 keep nothing, take any free port
  server --admin KEY                      let the holder of KEY kick, announce and shut down
  server --gateway lines --gateway tr223  also let older programs' clients in (docs/gateways.md)
  server --relay 192.0.2.9:7275=KEY       let the relay at that address carry for users
  server --relay-only --relay-for KEY     be such a relay for the server of that key
  server status                           how the server on this machine fares
  server users --registry udp --json      who is logged in over UDP, for programs
  server kick bob --reason \"spam\"         end bob's session
  server ban bob --for 7d                 keep bob's key out for a week
  server backup                           copy everything to a new file
  server shutdown \"back at noon\"          tell everyone, and end
  server config --check                   whether file, environment and flags are in order

Every option can also be set by PORTOLAN_… in the environment (--event-log: PORTOLAN_EVENT_LOG) and
in a configuration file (event_log = \"…\"). Flags come before the environment, the environment
before the file. `server config` shows what comes of it.

Exit codes: 0 ended in good order, 1 error, 2 usage, 3 unreachable, 4 refused, 7 no answer in time,
130 interrupted twice.";

/// A chat server: names, conversations, messages and relays over every transport at one port.
#[derive(Debug, Parser)]
#[command(
    name = "server",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) run: RunOptions,
    #[command(subcommand)]
    pub(super) task: Option<Task>,
}

impl Cli {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// What is wrong with them; help and version come as errors too.
    pub(super) fn read(
        arguments: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        let (run, matches) = match (&mut cli.task, matches.subcommand()) {
            (Some(Task::Config { run, .. }), Some((_, matches))) => (&mut **run, matches),
            _ => (&mut cli.run, &matches),
        };
        run.choose_storage(matches)?;
        run.note_sources(matches);
        Ok(cli)
    }
}

impl Cli {
    /// Whether results are for programs.
    pub(super) fn json(&self) -> bool {
        match &self.task {
            None => self.run.json,
            Some(Task::Config { run, .. }) => run.json,
            Some(Task::Completions { .. } | Task::Manual) => false,
            Some(Task::Ask(question)) => question.target().json,
        }
    }
}

impl RunOptions {
    /// Notes which flag or variable each option comes from.
    fn note_sources(&mut self, matches: &ArgMatches) {
        let command = Self::augment_args(clap::Command::new("server"));
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let variable = || argument.get_env().map(|name| name.display().to_string());
            let source = match matches.try_contains_id(id).map(|_| matches.value_source(id)) {
                Ok(Some(ValueSource::CommandLine)) => {
                    argument.get_long().map(|long| format!("--{long}"))
                }
                Ok(Some(ValueSource::EnvVariable)) => variable(),
                _ => None,
            };
            if let Some(source) = source {
                self.sources.insert(id.to_owned(), source);
            }
        }
    }

    /// A flag comes before the environment; two of the same rank contradict each other.
    fn choose_storage(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if self.data.is_none() || !self.ephemeral {
            return Ok(());
        }
        let is_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        match (is_flag("data"), is_flag("ephemeral")) {
            (true, false) => self.ephemeral = false,
            (false, true) => self.data = None,
            (true, true) | (false, false) => {
                let message = "--data keeps and --ephemeral forgets: choose one of them";
                return Err(Cli::command().error(ErrorKind::ArgumentConflict, message));
            }
        }
        Ok(())
    }
}

/// How to run a server.
#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// Address and port for every transport; port 0 for any free one [default: [::]:7275]
    #[arg(long, value_name = "ADDR", env = "PORTOLAN_LISTEN", value_parser = parse_listen)]
    pub(super) listen: Option<SocketAddr>,
    /// Where the key, names and waiting messages are kept [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "PORTOLAN_DATA")]
    pub(super) data: Option<PathBuf>,
    /// Keep nothing: names and messages are gone with the process
    #[arg(long, env = "PORTOLAN_EPHEMERAL", value_parser = FalseyValueParser::new())]
    pub(super) ephemeral: bool,
    /// The server's key file [default: server.key in the data directory; a new key if ephemeral]
    #[arg(long, value_name = "FILE", env = "PORTOLAN_KEY")]
    pub(super) key: Option<PathBuf>,
    /// A key that may kick, announce and shut down; may be given several times
    #[arg(long, value_name = "KEY", env = "PORTOLAN_ADMIN", value_delimiter = ',')]
    pub(super) admin: Vec<PeerId>,
    /// Where to log who did what, as JSON lines; - for stderr [default: events.jsonl in the data
    /// directory; nowhere if ephemeral]
    #[arg(long, value_name = "FILE", env = "PORTOLAN_EVENT_LOG")]
    pub(super) event_log: Option<PathBuf>,
    /// Seconds of silence after which a client has vanished [default: 20]
    #[arg(long, value_name = "SECS", env = "PORTOLAN_HEARTBEAT",
          value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub(super) heartbeat: Option<u32>,
    /// Tell metrics (/metrics) and health (/healthz) over HTTP at this address; a port alone: on
    /// this machine only
    #[arg(long, value_name = "ADDR", env = "PORTOLAN_METRICS", value_parser = parse_metrics)]
    pub(super) metrics: Option<SocketAddr>,
    /// Answer STUN at this other address and port of this machine too, so that clients can find
    /// out how their address translators behave
    #[arg(long, value_name = "ADDR", env = "PORTOLAN_STUN_ALTERNATE")]
    pub(super) stun_alternate: Option<SocketAddr>,
    /// Announce the server on its local networks under this name, so that peers find it there with
    /// --server lan
    #[arg(long, value_name = "NAME", env = "PORTOLAN_LAN", value_parser = parse_lan)]
    pub(super) lan: Option<String>,
    /// What one transport's registry may differ in, like udp:clients=5000,heartbeat=60; may be
    /// given several times
    #[arg(long, value_name = "TRANSPORT:…", env = "PORTOLAN_REGISTRY", value_delimiter = ';',
          value_parser = parse_registry)]
    pub(super) registry: Vec<RegistryFlag>,
    #[arg(long, value_name = "NAME[=ADDR]", env = "PORTOLAN_GATEWAY", value_delimiter = ';',
          value_parser = parse_gateway, help = gateways::help())]
    pub(super) gateway: Vec<GatewayFlag>,
    /// A relay that carries for users beside this server, like 192.0.2.9:7275=KEY; may be given
    /// several times
    #[arg(long, value_name = "ADDR=KEY", env = "PORTOLAN_RELAY", value_delimiter = ',',
          value_parser = parse_relay)]
    pub(super) relay: Vec<RelayServer>,
    /// The key of a server for whose users this one relays; may be given several times
    #[arg(long, value_name = "KEY", env = "PORTOLAN_RELAY_FOR", value_delimiter = ',')]
    pub(super) relay_for: Vec<PeerId>,
    /// Do nothing but relay: no names, no logins, no messages; needs --relay-for
    #[arg(long, env = "PORTOLAN_RELAY_ONLY", value_parser = FalseyValueParser::new())]
    pub(super) relay_only: bool,
    /// How news reach clients: direct, or queued (by a thread of its own) [default: direct]
    #[arg(long, value_name = "KIND", env = "PORTOLAN_BUS")]
    pub(super) bus: Option<BusKind>,
    /// Who may write to everyone: everyone, admins, or keys with commas between [default: everyone]
    #[arg(long, value_name = "WHO", env = "PORTOLAN_BROADCAST", value_parser = parse_right)]
    pub(super) broadcast: Option<Right>,
    /// Seconds that files and other relays have to end before the server does [default: 5]
    #[arg(long, value_name = "SECS", env = "PORTOLAN_DRAIN",
          value_parser = clap::value_parser!(u32).range(0..=i64::from(DRAIN_MAX)))]
    pub(super) drain: Option<u32>,
    /// Any key of the configuration file, like limits.mailbox_messages=500; may be given several
    /// times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Write what connections do into this directory, a qlog file each (docs/observing.md)
    #[arg(long, value_name = "DIR", env = "QLOGDIR")]
    pub(super) qlog: Option<PathBuf>,
    /// A configuration file (TOML) [default: portolan/server.toml in the user's configuration
    /// directory, if it is there]
    #[arg(long, value_name = "FILE", env = "PORTOLAN_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Print events as JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
    /// The flag or variable that each option comes from.
    #[arg(skip)]
    pub(super) sources: BTreeMap<String, String>,
}

/// What else the program can do.
#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// What a server would run with, and where each setting comes from; nothing is started
    Config {
        /// Only say whether everything is in order
        #[arg(long)]
        check: bool,
        /// Say everything; the default
        #[arg(long, conflicts_with = "check")]
        show: bool,
        #[command(flatten)]
        run: Box<RunOptions>,
    },
    /// Print completions for a shell
    Completions {
        /// For which
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Manual,
    #[command(flatten)]
    Ask(Question),
}

/// What a running server can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum Question {
    /// How the server fares: registries, conversations, waiting messages, relays
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// Who is logged in
    Users {
        /// Only those of one transport
        #[arg(long, value_name = "NAME")]
        registry: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// End a user's session
    Kick {
        /// Whose
        name: Name,
        /// Told to the user and to whom they talk with
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        target: Target,
    },
    /// Keep a key out: end its sessions and refuse its logins
    Ban {
        /// Whose: a name, or a key
        who: String,
        /// Told to the user
        #[arg(long, default_value = "")]
        reason: String,
        /// For how long, like 90m, 12h or 7d [default: for good]
        #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
        span: Option<Duration>,
        #[command(flatten)]
        target: Target,
    },
    /// Let a key in again
    Unban {
        /// Which, as `bans` shows it
        #[arg(value_name = "KEY")]
        id: PeerId,
        #[command(flatten)]
        target: Target,
    },
    /// Which keys are kept out
    Bans {
        #[command(flatten)]
        target: Target,
    },
    /// Copy everything the server keeps to a new file in backups/ of its data directory
    Backup {
        #[command(flatten)]
        target: Target,
    },
    /// Tell everyone who is logged in
    Announce {
        /// What
        text: String,
        #[command(flatten)]
        target: Target,
    },
    /// Tell everyone, and end the server
    Shutdown {
        /// Told to everyone
        #[arg(default_value = "")]
        reason: String,
        /// Seconds after which clients are asked to come back [default: times.restart of the
        /// server, 5]
        #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(0..=600))]
        restart_after: Option<u32>,
        /// Come back only when it has ended; on the server's machine
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        target: Target,
    },
}

impl Question {
    pub(super) fn target(&self) -> &Target {
        match self {
            Self::Status { target }
            | Self::Users { target, .. }
            | Self::Kick { target, .. }
            | Self::Ban { target, .. }
            | Self::Unban { target, .. }
            | Self::Bans { target }
            | Self::Backup { target }
            | Self::Announce { target, .. }
            | Self::Shutdown { target, .. } => target,
        }
    }
}

/// Which server, and by what right.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The server's address [default: as the server that runs on the data directory wrote it down]
    #[arg(long, value_name = "ADDR", env = "PORTOLAN_SERVER", value_parser = parse_listen)]
    pub(super) server: Option<SocketAddr>,
    /// The server's key, which it must prove [default: as written down in the data directory]
    #[arg(long, value_name = "KEY", env = "PORTOLAN_SERVER_ID")]
    pub(super) server_id: Option<PeerId>,
    /// By which transport to ask [default: the first]
    #[arg(long, value_name = "NAME", env = "PORTOLAN_TRANSPORT")]
    pub(super) transport: Option<String>,
    /// The server's data directory, which has its key [default: the user's data directory]
    #[arg(long, value_name = "DIR", env = "PORTOLAN_DATA")]
    pub(super) data: Option<PathBuf>,
    /// The key file of an admin [default: server.key in the data directory]
    #[arg(long, value_name = "FILE", env = "PORTOLAN_KEY")]
    pub(super) key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The port of servers that say nothing else.
pub(super) const DEFAULT_PORT: u16 = 7275;

/// A number with its unit.
fn parse_span(text: &str) -> Result<Duration, String> {
    let units = [('m', 60), ('h', 3_600), ('d', 86_400)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number: u32 = text.strip_suffix(*unit)?.parse().ok()?;
        (number > 0).then(|| Duration::from_secs(u64::from(number) * seconds))
    });
    parsed.ok_or_else(|| "expected minutes, hours or days, like 90m, 12h or 7d".to_owned())
}

/// A name of a service (RFC 6763 §4.1.1): 1 to 63 bytes.
pub(super) fn parse_lan(text: &str) -> Result<String, String> {
    let fits =
        (1..=63).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c == '.');
    if fits { Ok(text.to_owned()) } else { Err("expected 1 to 63 bytes without dots".to_owned()) }
}

/// `ADDR=KEY`, or `ADDR:PORT=KEY`.
pub(super) fn parse_relay(text: &str) -> Result<RelayServer, String> {
    let (address, id) = text
        .split_once('=')
        .ok_or("expected the relay's address and key, like 192.0.2.9:7275=KEY")?;
    let address = parse_listen(address)?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err("expected an address and port that users can reach".to_owned());
    }
    let id = id.parse().map_err(|error| format!("the key after '=': {error}"))?;
    Ok(RelayServer { address, id })
}

/// `ADDR:PORT`, or a port of this machine.
pub(super) fn parse_metrics(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        .map_err(|_| "expected an address with a port, like 127.0.0.1:9275, or a port".to_owned())
}

/// `ADDR:PORT`, or an address alone.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse::<SocketAddr>()
        .or_else(|_| bare.parse().map(|address| SocketAddr::new(address, DEFAULT_PORT)))
        .map_err(|_| {
            "expected an IP address with or without a port, like 0.0.0.0:7275 or [::1]".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::{Cli, parse_span};

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        for (text, seconds) in [("90m", 5_400), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "7", "d", "0h", "-1h", "1w", "99999999999d"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
