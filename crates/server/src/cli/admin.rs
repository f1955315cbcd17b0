//! The subcommands that ask a running server.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use portolan_identity::{Expect, Identity, PeerId};
use portolan_protocol::{
    Announce, AskServerInfo, Backup, Ban, BanInfo, Empty, Kick, List, ListBans, Name, RegistryInfo,
    RelayInfo, Reply, ServerInfo, Shutdown, Timestamp, Unban, UserInfo,
};
use portolan_transport::Transport;
use serde::Serialize;

use super::{
    ask::Asker,
    exit::{ERROR, Failure, TIMED_OUT, UNREACHABLE},
    options::{Question, Target},
    output::{Format, print},
    run::{KEY_FILE, load_key},
    runtime_file::Runtime,
    settings::{DRAIN_MAX, data_directory},
};
use crate::event_log::Rfc3339;

pub(super) async fn ask(
    question: Question,
    transports: &'static [&'static dyn Transport],
) -> Result<(), Failure> {
    let format = Format::new(question.target().json);
    let mut asker = connect(question.target(), transports).await?;
    let result = put(&mut asker, question, format).await;
    asker.close().await;
    result
}

async fn put(asker: &mut Asker, question: Question, format: Format) -> Result<(), Failure> {
    match question {
        Question::Status { .. } => status(asker, format).await,
        Question::Users { registry, .. } => users(asker, registry, format).await,
        Question::Kick { name, reason, .. } => {
            let text = format!("{name} was kicked");
            asker.ask(Kick { name, reason }).await?;
            done(format, "kicked", &text)
        }
        Question::Ban { who, reason, span, .. } => {
            let until = span.map(until);
            let text = format!("{who} is banned");
            asker.ask(ban(who, reason, until)?).await?;
            done(format, "banned", &text)
        }
        Question::Unban { id, .. } => {
            asker.ask(Unban { id }).await?;
            done(format, "unbanned", &format!("{id} may come in again"))
        }
        Question::Bans { .. } => bans(asker, format).await,
        Question::Backup { .. } => backup(asker, format).await,
        Question::Announce { text, .. } => {
            asker.ask(Announce { text }).await?;
            done(format, "announced", "announced")
        }
        Question::Shutdown { reason, restart_after, wait, target } => {
            let running = if wait { Some(Running::find(&target)?) } else { None };
            let restart_after_ms = restart_after.map(|seconds| seconds.saturating_mul(1_000));
            asker.ask(Shutdown { reason, restart_after_ms }).await?;
            match running {
                None => done(format, "shutdown", "the server is going down"),
                Some(running) => {
                    running.ended().await?;
                    done(format, "shutdown", "the server has ended")
                }
            }
        }
    }
}

/// A server on this machine, by what it wrote down.
struct Running {
    data: PathBuf,
    runtime: Runtime,
}

impl Running {
    fn find(target: &Target) -> Result<Self, Failure> {
        let data = data_directory(target.data.clone())?;
        let runtime = Runtime::read(&data).map_err(|_| {
            let data = data.display();
            Failure::usage(format!("--wait: no server runs on {data}; name its --data directory"))
        })?;
        Ok(Self { data, runtime })
    }

    /// Waits until its files are free: what it wrote down is the last that goes.
    async fn ended(&self) -> Result<(), Failure> {
        let limit = Duration::from_secs(u64::from(DRAIN_MAX) + 60);
        let gone = async {
            while Runtime::read(&self.data).is_ok_and(|now| now == self.runtime) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(limit, gone).await.map_err(|_| {
            Failure::new(TIMED_OUT, format!("process {} is still there", self.runtime.pid))
        })
    }
}

fn done(format: Format, event: &'static str, text: &str) -> Result<(), Failure> {
    print(format, event, &Empty {}, text);
    Ok(())
}

/// The end of a span that begins now.
fn until(span: Duration) -> Timestamp {
    let now = crate::shell::clock::now().wall;
    Timestamp(now.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

/// A key is a key, and everything else must be a name.
fn ban(who: String, reason: String, until: Option<Timestamp>) -> Result<Ban, Failure> {
    if let Ok(id) = who.parse() {
        return Ok(Ban { name: None, id: Some(id), reason, until });
    }
    let name = Name::new(&who).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Ban { name: Some(name), id: None, reason, until })
}

#[derive(Serialize)]
struct AllBans<'a> {
    bans: &'a [BanInfo],
}

async fn bans(asker: &mut Asker, format: Format) -> Result<(), Failure> {
    let mut bans: Vec<BanInfo> = Vec::new();
    loop {
        let after = bans.last().map(|ban| ban.id);
        match asker.ask(ListBans { after }).await? {
            Reply::Bans(page) => {
                let is_last = !page.more || page.bans.is_empty();
                bans.extend(page.bans);
                if is_last {
                    break;
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
    print(format, "bans", &AllBans { bans: &bans }, &bans_text(&bans));
    Ok(())
}

fn bans_text(bans: &[BanInfo]) -> String {
    if bans.is_empty() {
        return "nobody is banned".to_owned();
    }
    let mut text = String::new();
    for ban in bans {
        let until = ban.until.map_or("for good".to_owned(), |at| format!("until {}", Rfc3339(at)));
        let since = Rfc3339(ban.since);
        let _fits = writeln!(text, "{}  since {since}, {until}  {}", ban.id, ban.reason);
    }
    text
}

async fn backup(asker: &mut Asker, format: Format) -> Result<(), Failure> {
    match asker.ask(Backup {}).await? {
        Reply::BackedUp(copy) => {
            let text = format!("{} ({} bytes)", copy.path, copy.bytes);
            print(format, "backed_up", &copy, &text);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

async fn status(asker: &mut Asker, format: Format) -> Result<(), Failure> {
    match asker.ask(AskServerInfo {}).await? {
        Reply::ServerInfo(info) => {
            print(format, "status", &info, &status_text(&info));
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn status_text(info: &ServerInfo) -> String {
    let mut text = format!("{} since {}\n", info.software, Rfc3339(info.since));
    let _fits = writeln!(text, "key {}", info.id);
    let _fits = writeln!(
        text,
        "{} conversations, {} messages waiting, {} relays\n",
        info.conversations, info.waiting, info.relays
    );
    for relay in &info.relay_servers {
        let _fits = writeln!(text, "{}", relay_text(relay));
    }
    if !info.relay_servers.is_empty() {
        text.push('\n');
    }
    text.push_str(&registries_text(&info.registries));
    text
}

/// A relay that the server uses, in a line.
fn relay_text(relay: &RelayInfo) -> String {
    let RelayInfo { address, load, handed, why, .. } = relay;
    let state = match (relay.up, why.as_str()) {
        (true, _) => "up".to_owned(),
        (false, "") => "not reached yet".to_owned(),
        (false, why) => format!("down: {why}"),
    };
    let (relays, mib) = (load.relays, load.bytes >> 20);
    format!("relay at {address}: {state}; {relays} relays, {mib} MiB carried, {handed} handed")
}

/// A table of what the registries count, and who is in them.
fn registries_text(registries: &[RegistryInfo]) -> String {
    let mut rows: Vec<Vec<String>> =
        ROWS.iter().map(|(head, _)| vec![(*head).to_owned()]).collect();
    for registry in registries {
        for (cells, (_, cell)) in rows.iter_mut().zip(ROWS) {
            cells.push(cell(registry));
        }
    }
    let mut text = String::new();
    for cells in &rows {
        for (column, cell) in cells.iter().enumerate() {
            let _fits = match column {
                0 => write!(text, "{cell:<14}"),
                _ => write!(text, " {cell:>22}"),
            };
        }
        text.push('\n');
    }
    for registry in registries.iter().filter(|registry| !registry.users.is_empty()) {
        let _fits = writeln!(text, "{:<14} {}", registry.transport, names(registry));
    }
    text
}

type Cell = fn(&RegistryInfo) -> String;

/// What is shown of a registry.
const ROWS: &[(&str, Cell)] = &[
    ("transport", |registry| registry.transport.clone()),
    ("address", |registry| registry.address.clone()),
    ("online", |registry| format!("{} of {}", registry.online, registry.clients)),
    ("peak", |registry| registry.counters.peak.to_string()),
    ("heartbeat", |registry| format!("{} s", registry.heartbeat_ms / 1000)),
    ("logins", |registry| registry.logins.to_string()),
    ("logged out", |registry| registry.counters.logged_out.to_string()),
    ("vanished", |registry| registry.vanished.to_string()),
    ("replaced", |registry| registry.counters.replaced.to_string()),
    ("kicked", |registry| registry.counters.kicked.to_string()),
    ("too slow", |registry| registry.counters.too_slow.to_string()),
    ("full", |registry| registry.counters.full.to_string()),
    ("refused", |registry| registry.refused.to_string()),
    ("frames in", |registry| registry.counters.frames_in.to_string()),
    ("bytes in", |registry| registry.counters.bytes_in.to_string()),
    ("frames out", |registry| registry.counters.frames_out.to_string()),
    ("bytes out", |registry| registry.counters.bytes_out.to_string()),
];

fn names(registry: &RegistryInfo) -> String {
    let mut names: Vec<&str> = registry.users.iter().map(|name| name.as_str()).collect();
    if registry.online > names.len() as u64 {
        names.push("…");
    }
    names.join(", ")
}

#[derive(Serialize)]
struct Users<'a> {
    users: &'a [UserInfo],
}

async fn users(asker: &mut Asker, registry: Option<String>, format: Format) -> Result<(), Failure> {
    let mut users: Vec<UserInfo> = Vec::new();
    loop {
        let after = users.last().map(|user| user.name.clone());
        let list = List { transport: registry.clone(), after, ..List::default() };
        match asker.ask(list).await? {
            Reply::Users(page) => {
                let is_last = !page.more || page.users.is_empty();
                users.extend(page.users);
                if is_last {
                    break;
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
    print(format, "users", &Users { users: &users }, &users_text(&users));
    Ok(())
}

fn users_text(users: &[UserInfo]) -> String {
    if users.is_empty() {
        return "nobody is logged in".to_owned();
    }
    let mut text = String::new();
    for user in users {
        let state = match user.state {
            portolan_protocol::Availability::Free => "free",
            portolan_protocol::Availability::Busy => "busy",
            portolan_protocol::Availability::Offline => "gone",
        };
        let since = Rfc3339(user.since);
        let _fits = writeln!(
            text,
            "{:<32} {:<5} {state} since {since}  {}",
            user.name.as_str(),
            user.transport,
            user.id
        );
    }
    text
}

fn unexpected(reply: &Reply) -> Failure {
    let kind = portolan_protocol::Table::kind(reply);
    Failure::new(ERROR, format!("the server answered {kind:?}, which was not asked"))
}

async fn connect(
    target: &Target,
    transports: &'static [&'static dyn Transport],
) -> Result<Asker, Failure> {
    let transport = choose_transport(target, transports)?;
    let data = data_directory(target.data.clone())?;
    let runtime = Runtime::read(&data).ok();
    let identity = load_admin_key(target, &data)?;
    let address = choose_address(target, runtime.as_ref(), transport.scheme(), &data)?;
    let expected = choose_id(target, runtime.as_ref(), &identity)?;
    Asker::connect(transport, address, identity, Expect::Id(expected)).await
}

fn choose_transport(
    target: &Target,
    transports: &'static [&'static dyn Transport],
) -> Result<&'static dyn Transport, Failure> {
    let mut all = transports.iter().copied();
    let found = match &target.transport {
        None => all.next(),
        Some(name) => all.find(|transport| transport.scheme() == name),
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = transports.iter().map(|transport| transport.scheme()).collect();
        Failure::usage(format!("--transport: expected one of {}", known.join(", ")))
    })
}

/// The admin's key, or the server's own: never a new one.
fn load_admin_key(target: &Target, data: &Path) -> Result<Identity, Failure> {
    let path = target.key.clone().unwrap_or_else(|| data.join(KEY_FILE));
    if !path.exists() {
        return Err(Failure::usage(format!(
            "there is no key file {}; name the server's --data directory, or an admin's --key file",
            path.display()
        )));
    }
    load_key(&path)
}

fn choose_address(
    target: &Target,
    runtime: Option<&Runtime>,
    scheme: &str,
    data: &Path,
) -> Result<SocketAddr, Failure> {
    let written_down = || {
        let addresses = runtime.iter().flat_map(|runtime| &runtime.addresses);
        addresses.filter(|entry| entry.transport == scheme).map(|entry| entry.address).next()
    };
    target.server.or_else(written_down).map(reachable).ok_or_else(|| {
        let message = format!(
            "no server runs on {}; start one, or say where it is with --server ADDR",
            data.display()
        );
        Failure::new(UNREACHABLE, message)
    })
}

/// Where a server that listens everywhere is found from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// The key that the server must prove: named, written down, or its own that we use.
fn choose_id(
    target: &Target,
    runtime: Option<&Runtime>,
    identity: &Identity,
) -> Result<PeerId, Failure> {
    let own = || target.key.is_none().then(|| identity.id());
    let written_down = || runtime.filter(|_| target.server.is_none()).map(|runtime| runtime.id);
    target
        .server_id
        .or_else(written_down)
        .or_else(own)
        .ok_or_else(|| Failure::usage("say which key the server must prove, with --server-id KEY"))
}
