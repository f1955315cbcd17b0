//! Runs a server until it is told to end.

use std::{
    convert::Infallible,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use portolan_identity::Identity;
use portolan_transport::{BindError, Shared, Transport};
use serde::Serialize;

use super::{
    exit::{Failure, INTERRUPTED},
    notify::Supervisor,
    options::RunOptions,
    output::{Format, complain, note, print},
    registries::{check_transports, with_gateways},
    runtime_file::{Address, Runtime, RuntimeFile},
    settings::Settings,
    watch,
};
use crate::{
    BindAllError, Config, EventLog, GatewayConfig, Server, StartError, Storage,
    config::with_heartbeat,
};

/// The key in the data directory.
pub(super) const KEY_FILE: &str = "server.key";

/// The event log in the data directory.
const EVENT_LOG: &str = "events.jsonl";

pub(super) async fn run(
    options: RunOptions,
    transports: &'static [&'static dyn Transport],
) -> Result<(), Failure> {
    let settings = Settings::gather(options)?;
    let format = Format::new(settings.json);
    let signals = Signals::new().map_err(|error| Failure::error(&error))?;
    let shared = watch::shared(settings.qlog.as_deref())?;
    let server = start(&settings, &shared, transports).await?;
    let _runtime_file = announce(&server, &settings, format);
    let supervisor = Supervisor::find();
    supervisor.ready();
    let reason = tokio::select! {
        reason = server.finished() => reason,
        signal = signals.first() => {
            note(&format!("server: {signal}; telling everyone (once more to end at once)"));
            "the server was stopped".to_owned()
        }
        never = signals.reopen_logs(&server) => match never {},
        never = supervisor.assure(&server) => match never {},
    };
    supervisor.stopping();
    tokio::select! {
        () = server.shutdown(&reason) => {}
        signal = signals.first() => {
            return Err(Failure::new(INTERRUPTED, format!("{signal} again: ended at once")));
        }
    }
    watch::finish(&shared);
    let closed = Closed { reason: &reason };
    print(format, "closed", &closed, &format!("ended: {reason}"));
    Ok(())
}

#[derive(Serialize)]
struct Closed<'a> {
    reason: &'a str,
}

async fn start(
    settings: &Settings,
    shared: &Shared,
    transports: &'static [&'static dyn Transport],
) -> Result<Server, Failure> {
    let mut config = config(settings, transports)?;
    config.shared = shared.clone();
    config.identity = watch::with_key_log(config.identity)?;
    match Server::start(config.clone()).await {
        Err(error) if settings.is_default_listen && has_no_ipv6(&error) => {
            config.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.listen.port()));
            Server::start(config).await
        }
        result => result,
    }
    .map_err(|error| Failure::error(&error))
}

/// Whether the machine refused the address for another reason than that somebody has it.
fn has_no_ipv6(error: &StartError) -> bool {
    match error {
        StartError::Bind(BindAllError::Bind { source, .. }) => match source {
            BindError::InUse(_) | BindError::Denied(_) => false,
            BindError::NotLocal(_) | BindError::Io { .. } => true,
        },
        StartError::Bind(BindAllError::NoTransport)
        | StartError::Store(_)
        | StartError::Presence(_)
        | StartError::EventLog { .. }
        | StartError::Metrics { .. }
        | StartError::Gateway { .. }
        | StartError::GatewayOption { .. }
        | StartError::Stun(_)
        | StartError::Lan(_)
        | StartError::Thread(_) => false,
    }
}

/// What a server with these settings is started with; makes the data directory and the key.
fn config(
    settings: &Settings,
    transports: &'static [&'static dyn Transport],
) -> Result<Config, Failure> {
    let in_data = |name: &str| settings.data.as_ref().map(|data| data.join(name));
    if let Some(data) = &settings.data {
        crate::shell::make_directory(data).map_err(|error| {
            Failure::error(&error).during(&format!("data directory {}", data.display()))
        })?;
    }
    let identity = match settings.key.clone().or_else(|| in_data(KEY_FILE)) {
        None => Identity::generate(),
        Some(path) => load_key(&path)?,
    };
    let mut config = Config::new(settings.listen, transports, identity);
    config.storage = match &settings.data {
        // Who only relays has a key, a log and nothing else to keep.
        Some(data) if !settings.relaying.is_only => Storage::Directory(data.clone()),
        Some(_) | None => Storage::Ephemeral,
    };
    config.relays.clone_from(&settings.relays);
    config.relaying.clone_from(&settings.relaying);
    config.admins.clone_from(&settings.admins);
    let known: Vec<&str> = transports.iter().map(|transport| transport.scheme()).collect();
    check_transports(&settings.registries, &with_gateways(&known))?;
    config.registries.clone_from(&settings.registries);
    config.gateways.clone_from(&settings.gateways);
    warn_of_gateways(&settings.gateways);
    config.bus = settings.bus;
    config.rights.clone_from(&settings.rights);
    config.reserved.clone_from(&settings.reserved);
    config.password_cost = settings.password_cost;
    config.metrics = settings.metrics;
    config.stun_alternate = settings.stun_alternate;
    config.lan.clone_from(&settings.lan);
    (config.limits, config.timing) = (settings.limits, settings.timing);
    config.timing.drain = Duration::from_secs(settings.drain_seconds().into());
    warn_of_open_metrics(settings.metrics);
    config.event_log = settings.event_log.clone().or_else(|| in_data(EVENT_LOG)).map(event_log);
    if let Some(seconds) = settings.heartbeat {
        let idle = Duration::from_secs(seconds.into());
        config.timing.transport = with_heartbeat(config.timing.transport, idle);
    }
    Ok(config)
}

pub(super) fn load_key(path: &Path) -> Result<Identity, Failure> {
    Identity::load_or_create(path).map_err(|error| Failure::error(&error))
}

/// Whoever can reach the address can read it: that should be what the admin wants.
fn warn_of_open_metrics(address: Option<SocketAddr>) {
    if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
        note(&format!(
            "server: metrics at {address} can be read by everyone who can reach that address; \
             127.0.0.1 keeps them on this machine"
        ));
    }
}

/// Older programs cannot encrypt: who runs them should know who can listen.
fn warn_of_gateways(gateways: &[GatewayConfig]) {
    for config in gateways {
        let (name, address) = (config.gateway.name(), config.address);
        let who = match address.ip().is_loopback() {
            true => "only this machine can reach it",
            false => "everyone on the way can read and change it, and anyone can use any name",
        };
        note(&format!(
            "server: what goes through the gateway {name} at {address} is not encrypted, and names \
             are not proven there; {who}"
        ));
    }
}

fn event_log(path: PathBuf) -> EventLog {
    if path == Path::new("-") { EventLog::Stderr } else { EventLog::File(path) }
}

/// Says where the server is, and writes it down for those who ask later.
fn announce(server: &Server, settings: &Settings, format: Format) -> Option<RuntimeFile> {
    let runtime = Runtime {
        id: server.id(),
        pid: std::process::id(),
        addresses: server
            .addresses()
            .into_iter()
            .map(|(transport, address)| Address { transport: transport.to_owned(), address })
            .collect(),
        gateways: server
            .gateways()
            .iter()
            .map(|&(name, address)| Address { transport: name.to_owned(), address })
            .collect(),
        metrics: server.metrics(),
    };
    print(format, "ready", &runtime, &ready_text(&runtime, settings));
    let data = settings.data.as_ref()?;
    match RuntimeFile::write(data, &runtime) {
        Ok(file) => Some(file),
        Err(error) => {
            complain(&Failure::error(&error).during("cannot write down the address"));
            None
        }
    }
}

fn ready_text(runtime: &Runtime, settings: &Settings) -> String {
    let mut text = format!("key   {}\n", runtime.id);
    for address in &runtime.addresses {
        let _fits = writeln!(text, "{:<5} {}", address.transport, address.address);
    }
    for gateway in &runtime.gateways {
        let (name, address) = (&gateway.transport, gateway.address);
        let _fits = writeln!(text, "{name:<5} {address} (gateway, not encrypted)");
    }
    if let Some(address) = runtime.metrics {
        let _fits = writeln!(text, "metrics http://{address}/metrics");
    }
    for issuer in &settings.relaying.issuers {
        let only = if settings.relaying.is_only { ", and for nothing else" } else { "" };
        let _fits = writeln!(text, "relay for the users of {issuer}{only}");
    }
    for relay in &settings.relays {
        let _fits = writeln!(text, "relay at {} ({})", relay.address, relay.id);
    }
    let _fits = match &settings.data {
        Some(data) => writeln!(text, "data  {}", data.display()),
        None => writeln!(text, "data  none: everything is forgotten at the end"),
    };
    text
}

/// What the system tells a program to end with.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::sync::Mutex<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    hang_up: tokio::sync::Mutex<tokio::signal::unix::Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::sync::Mutex::new(tokio::signal::unix::signal(
                tokio::signal::unix::SignalKind::terminate(),
            )?),
            #[cfg(unix)]
            hang_up: tokio::sync::Mutex::new(tokio::signal::unix::signal(
                tokio::signal::unix::SignalKind::hangup(),
            )?),
        })
    }

    /// Opens the event log anew whenever SIGHUP asks for it.
    async fn reopen_logs(&self, server: &Server) -> Infallible {
        #[cfg(unix)]
        {
            let mut hang_up = self.hang_up.lock().await;
            while hang_up.recv().await.is_some() {
                server.reopen_event_log();
            }
        }
        std::future::pending().await
    }

    /// Waits for the next one and says its name. Cancel safe.
    async fn first(&self) -> &'static str {
        #[cfg(unix)]
        {
            let mut terminate = self.terminate.lock().await;
            tokio::select! {
                _ = terminate.recv() => "asked to end",
                _ = tokio::signal::ctrl_c() => "interrupted",
            }
        }
        #[cfg(not(unix))]
        {
            let _pressed = tokio::signal::ctrl_c().await;
            "interrupted"
        }
    }
}
