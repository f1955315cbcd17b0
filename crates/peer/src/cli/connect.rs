//! From a command line to a session: names of hosts, races between transports, trust.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    sync::Arc,
};

use portolan_identity::{Expect, KnownHosts, PeerId, Verdict};
use portolan_protocol::Name;
use portolan_transport::{Carrier, Transport};
use tokio::task::spawn_blocking;

use super::{
    address::ServerAddress,
    calls::AnswerRule,
    exit::{Exit, Failure},
    lan::{self, Hosts},
    networks::{self, Networks, Place},
    output::Output,
    password::Source,
    settings::{Choice, FirstMeeting, Settings},
    watch::with_key_log,
};
use crate::{
    Addresses, Config, ConnectError, Dialed, Events, NameScope, Peer, ReceiptRule, Reconnect,
    ServerSource, Stack, SystemAddresses, Way,
    dial::{look_up, ways},
    lan::{LanFinder, Target},
};

/// Hosts that are tried one after another before a person is told.
const HOST_TRIES: usize = 3;

/// What a run does with the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stay {
    pub(crate) receipts: ReceiptRule,
    pub(crate) reconnect: Reconnect,
    /// Where there is no server.
    pub(crate) hosts: Hosts,
}

/// A session, and what keeps it together where there is no server.
pub(crate) struct Session {
    pub(crate) peer: Peer,
    pub(crate) events: Events,
    pub(crate) lan: Option<Arc<LanFinder>>,
}

/// Connects, settles trust and logs in.
pub(crate) async fn log_in(
    settings: &Settings,
    stack: &Stack,
    stay: Stay,
    output: &Arc<Output>,
) -> Result<Session, Failure> {
    if let Some(server) = lan::named(settings) {
        return log_in_at(settings, stack, stay, server).await;
    }
    let transports = match settings.transport {
        Choice::One(transport) => vec![transport],
        Choice::Auto => usual(stack),
    };
    let people = (settings.name()?, transports.clone());
    let finder = Arc::new(lan::finder(settings, stack, people, (stay.hosts, output)));
    for _ in 1..HOST_TRIES {
        match log_in_on_lan(settings, stack, (stay, &transports), &finder).await {
            // It was there a moment ago: there may be another one.
            Err(failure) if failure.exit == Exit::Unreachable && finder.has_tried() => {
                tracing::info!(%failure, "the host was not reached");
            }
            result => return result,
        }
    }
    log_in_on_lan(settings, stack, (stay, &transports), &finder).await
}

async fn log_in_on_lan(
    settings: &Settings,
    stack: &Stack,
    (stay, transports): (Stay, &[&'static dyn Transport]),
    finder: &Arc<LanFinder>,
) -> Result<Session, Failure> {
    let host = match lan::begin(finder, settings).await? {
        Target::SetUp(server) => {
            let server = lan::address(settings, &server)?;
            return log_in_at(settings, stack, stay, &server).await;
        }
        Target::Passing(host) => host,
    };
    let ways = ways(&host.addresses, transports);
    let mut config = config(settings, stack, (settings.name()?, ways)).await?;
    // Whoever hosts is nobody's acquaintance: its key is only what it has announced.
    config.expect = Expect::Id(host.id);
    config.receipts = stay.receipts;
    config.reconnect = lan::patience(stay.reconnect);
    config.source = Some(Arc::clone(finder) as Arc<dyn ServerSource>);
    config.scope = NameScope::Lan;
    let (peer, events) = Peer::connect(config).await?;
    finder.reached(host.id);
    Ok(Session { peer, events, lan: Some(Arc::clone(finder)) })
}

async fn log_in_at(
    settings: &Settings,
    stack: &Stack,
    stay: Stay,
    server: &ServerAddress,
) -> Result<Session, Failure> {
    let name = settings.name()?;
    let addresses = resolve(server).await?;
    let transports: Vec<&'static dyn Transport> = match settings.transport {
        Choice::One(transport) => vec![transport],
        Choice::Auto => by_network(settings, stack, (server, addresses.first())).await,
    };
    let mut config = config(settings, stack, (name, ways(&addresses, &transports))).await?;
    config.host = Some((server.host.clone(), server.port));
    config.receipts = stay.receipts;
    config.reconnect = stay.reconnect;
    let mut ways = config.ways();
    loop {
        let dialed = Dialed::connect_by(config.clone(), &ways).await?;
        let way = dialed.way();
        settle_trust(settings, server, dialed.server_id()).await?;
        match dialed.login().await {
            Ok((peer, events)) => {
                if let Some(Way { server: address, transport }) = ways.get(way).copied() {
                    remember_network(settings, stack, (server, address), transport).await;
                }
                return Ok(Session { peer, events, lan: None });
            }
            // It got through and then no further: the other ways may be better.
            Err(error @ (ConnectError::Ended(_) | ConnectError::TimedOut)) if ways.len() > 1 => {
                tracing::info!(%error, "the login failed");
                ways.remove(way);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The configuration with every way to try, best first.
async fn config(
    settings: &Settings,
    stack: &Stack,
    (name, ways): (Name, Vec<Way>),
) -> Result<Config, Failure> {
    let (identity, password) = {
        let (settings, name) = (settings.clone(), name.clone());
        let read = move || -> Result<_, Failure> {
            let password = settings.password.as_ref().map(Source::read).transpose()?;
            Ok((settings.identity(&name).and_then(with_key_log)?, password))
        };
        spawn_blocking(read).await.map_err(|error| panicked(&error))??
    };
    let expect = settings.trust.pinned.map_or(Expect::Any, Expect::Id);
    let mut ways = ways.into_iter();
    let nowhere = || Failure::unreachable("there is no address to connect to");
    let Way { server, transport } = ways.next().ok_or_else(nowhere)?;
    let mut config = Config::new(name, identity, server, expect, transport, stack.tunnel);
    config.more_ways = ways.collect();
    config.share.clone_from(&settings.share);
    config.downloads.clone_from(&settings.downloads);
    config.accept_files = settings.accept_files.unwrap_or_default();
    config.accept_calls = settings.answer.as_ref().map(AnswerRule::call_rule).unwrap_or_default();
    config.file_rules = settings.file_rules.clone();
    config.existing = settings.existing;
    if let Some(count) = settings.at_once {
        config.limits.own_transfers = usize::from(count).max(1);
    }
    config.keep = settings.keep;
    config.known_peers = Some(settings.known_peers());
    config.shared = settings.shared.clone();
    config.paths = settings.paths;
    config.router = settings.router;
    config.password = password;
    config.device = settings.device();
    Ok(config)
}

/// All transports, those first that outlive a change of address and carry live media well.
fn usual(stack: &Stack) -> Vec<&'static dyn Transport> {
    let mut transports = stack.transports.to_vec();
    transports.sort_by_key(|transport| match transport.capabilities().carrier {
        Carrier::Memory | Carrier::Udp => 0,
        Carrier::Tcp => 1,
    });
    transports
}

/// All transports, first the one that got through in this network lately.
async fn by_network(
    settings: &Settings,
    stack: &Stack,
    (server, address): (&ServerAddress, Option<&SocketAddr>),
) -> Vec<&'static dyn Transport> {
    let mut transports = usual(stack);
    let Some(place) = address.and_then(|address| place(server, *address)) else {
        return transports;
    };
    let path = settings.networks();
    if let Ok(known) = spawn_blocking(move || Networks::load(&path)).await {
        known.prefer(&place, networks::now(), &mut transports);
    }
    transports
}

/// Remembers what `auto` has found; without that memory the next start only takes longer.
async fn remember_network(
    settings: &Settings,
    stack: &Stack,
    (server, address): (&ServerAddress, SocketAddr),
    transport: &'static dyn Transport,
) {
    let usual = usual(stack).first().map(|usual| usual.scheme());
    let (Choice::Auto, Some(place), Some(usual)) =
        (&settings.transport, place(server, address), usual)
    else {
        return;
    };
    let path = settings.networks();
    let note = move || {
        let before = Networks::load(&path);
        let mut known = before.clone();
        known.note(place, transport.scheme(), usual, networks::now());
        if known == before { Ok(()) } else { known.save(&path) }
    };
    if let Ok(Err(error)) = spawn_blocking(note).await {
        tracing::warn!(%error, "the network could not be remembered");
    }
}

fn place(server: &ServerAddress, address: SocketAddr) -> Option<Place> {
    let ours = SystemAddresses.towards(address)?;
    Some(Place::new(ours, &server.to_string()))
}

/// The addresses of the server.
async fn resolve(server: &ServerAddress) -> Result<Vec<SocketAddr>, Failure> {
    let host = &server.host;
    let found = look_up(host, server.port).await.map_err(|error| {
        let advice = "is it spelled right, and is the network there?";
        Failure::unreachable(format!("cannot find {host:?}: {error}; {advice}"))
    })?;
    if found.is_empty() {
        return Err(Failure::unreachable(format!("{host:?} has no address")));
    }
    Ok(found)
}

/// Compares the server's key with the one we know, or decides about a new one.
async fn settle_trust(
    settings: &Settings,
    server: &ServerAddress,
    id: PeerId,
) -> Result<(), Failure> {
    if settings.trust.pinned.is_some() {
        // The handshake has compared it.
        return Ok(());
    }
    let (settings, host) = (settings.clone(), server.to_string());
    let task = spawn_blocking(move || {
        let mut hosts = KnownHosts::load(&settings.known_hosts())?;
        match hosts.verify(&host, &id)? {
            Verdict::Known | Verdict::Changed { .. } => return Ok(()),
            Verdict::New => {}
        }
        match settings.trust.first_meeting {
            FirstMeeting::Accept => {}
            FirstMeeting::Ask => ask_about(&host, &id)?,
        }
        Ok(hosts.remember(&host, id)?)
    });
    task.await.map_err(|error| panicked(&error))?
}

/// Asks a person whether the key is right. Blocking.
fn ask_about(host: &str, id: &PeerId) -> Result<(), Failure> {
    let mut errors = io::stderr();
    if !io::stdin().is_terminal() || !errors.is_terminal() {
        return Err(Failure::refused(format!(
            "{host} was never met before. Its key is\n  {id}\n\
             Compare it with what the server prints when it starts; then use --server-key KEY, or \
             --accept-new to trust it"
        )));
    }
    let question = format!(
        "{host} was never met before. Its key is\n  {id}\n\
         The server prints its key when it starts. Is this the same? [yes/no] "
    );
    let _ = errors.write_all(question.as_bytes()).and_then(|()| errors.flush());
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::refused("the server's key was not trusted; nothing was sent"))
}

fn panicked(error: &tokio::task::JoinError) -> Failure {
    Failure::failed(format!("a fault of this program: {error}"))
}
