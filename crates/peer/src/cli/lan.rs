//! `--server lan`, and no `--server` at all: who is on this network, and what to do where nobody is.

use std::sync::Arc;

use portolan_nat_io::{LanRole, LanServer, interfaces};
use portolan_protocol::{Name, UserInfo};
use portolan_transport::Transport;

use super::{
    address::ServerAddress,
    exit::Failure,
    line::{LanLine, Line, User},
    output::Output,
    settings::Settings,
    text::plain,
};
use crate::{
    Backoff, Familiarity, FoundServer, Peer, Reconnect, Stack,
    lan::{LanError, LanFinder, LanNews, Rules, Target, Turn},
};

/// The word in place of a host.
const WORD: &str = "lan";
/// People of one network come together again soon, and are few.
const BACKOFF: Backoff = Backoff {
    start: std::time::Duration::from_millis(200),
    cap: std::time::Duration::from_secs(3),
    give_up_after: None,
};

/// Whether a run hosts a network where nobody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hosts {
    /// It stays for others to find.
    Yes,
    /// It is gone in a moment, or told not to.
    No,
}

/// The server that was named; `None`: whoever is on this network.
pub(super) fn named(settings: &Settings) -> Option<&ServerAddress> {
    settings.server.as_ref().filter(|address| address.host != WORD)
}

/// What finds the host of this network, for a run that may stay with it.
pub(super) fn finder(
    settings: &Settings,
    stack: &Stack,
    (name, transports): (Name, Vec<&'static dyn Transport>),
    (hosts, output): (Hosts, &Arc<Output>),
) -> LanFinder {
    let output = Arc::clone(output);
    let rules = Rules {
        pinned: settings.trust.pinned,
        hosting: stack.hosting.filter(|_| hosts == Hosts::Yes && !settings.no_host),
        transports,
        tell: Arc::new(move |news| output.show(&Line::Lan(line(news)))),
    };
    LanFinder::new(rules, name, stack)
}

/// The same for one who stays where people come and go.
pub(super) fn patience(reconnect: Reconnect) -> Reconnect {
    match reconnect {
        Reconnect::Never => Reconnect::Never,
        Reconnect::With(_) => Reconnect::With(BACKOFF),
    }
}

fn line(news: LanNews) -> LanLine {
    let at = |state, found: &FoundServer, turn| LanLine {
        state,
        id: found.id.to_string(),
        role: None,
        addresses: found.addresses.iter().map(ToString::to_string).collect(),
        again: turn == Turn::Again,
    };
    match &news {
        LanNews::Hosting(found, turn) => at("hosting", found, *turn),
        LanNews::Joining(found, role, turn) => {
            let role = match role {
                LanRole::SetUp => "server",
                LanRole::Passing => "passing",
            };
            LanLine { role: Some(role), ..at("joining", found, *turn) }
        }
        LanNews::GivingWay { to } => {
            let found = FoundServer { id: *to, addresses: Vec::new() };
            at("giving_way", &found, Turn::Again)
        }
    }
}

/// The address of a server that announces itself. Its key is asked about as that of any other.
pub(super) fn address(settings: &Settings, server: &LanServer) -> Result<ServerAddress, Failure> {
    let scheme = settings.server.as_ref().and_then(|address| address.scheme.clone());
    let first = server.addresses.first();
    let first = first.ok_or_else(|| failure(LanError::Nobody, settings))?;
    Ok(ServerAddress { scheme, host: first.ip().to_string(), port: first.port() })
}

/// Where to begin.
pub(super) async fn begin(finder: &LanFinder, settings: &Settings) -> Result<Target, Failure> {
    finder.begin().await.map_err(|error| failure(error, settings))
}

fn failure(error: LanError, settings: &Settings) -> Failure {
    match error {
        LanError::Nobody => nobody(settings, is_alone()),
        LanError::Several(found) => several(&found),
        LanError::Multicast(_) => Failure::failed(format!(
            "{error}; name the server with --server HOST, or look closer with `peer doctor`"
        )),
        LanError::Hosting(_) => Failure::failed(error.to_string()),
    }
}

/// Whether this machine is on no network at all.
fn is_alone() -> bool {
    let found = interfaces().unwrap_or_default();
    found.iter().all(|interface| interface.ip.is_loopback())
}

fn nobody(settings: &Settings, is_alone: bool) -> Failure {
    if is_alone {
        return Failure::unreachable(
            "this machine is on no network; connect it, or name a server on it with \
             --server 127.0.0.1",
        );
    }
    let who = match settings.trust.pinned {
        Some(_) => "no server with this key announces itself on this network",
        None => "nobody is on this network: no server announces itself, and no program hosts it",
    };
    Failure::unreachable(format!(
        "{who}. `peer NAME` hosts it while it runs, `server --lan NAME` for good. Guest networks \
         often keep devices apart: then name the server with --server HOST; `peer doctor` looks \
         closer"
    ))
}

fn several(found: &[LanServer]) -> Failure {
    let line = |server: &LanServer| {
        let address = server.addresses.first().map(ToString::to_string).unwrap_or_default();
        format!("\n  {} at {address}, key {}", plain(&server.name), plain(&server.key))
    };
    let all: String = found.iter().map(line).collect();
    Failure::usage(format!("several servers are on this network; choose with --server:{all}"))
}

/// Users with how well their keys are known, as far as that can be read.
pub(super) async fn users(peer: &Peer, users: &[UserInfo]) -> Result<Line, Failure> {
    let judged = peer.familiarity(users).await?;
    let with = |(user, familiarity): (&UserInfo, Familiarity)| {
        let known = if user.id == peer.id() { "you" } else { word(familiarity) };
        User { known: Some(known), ..user.into() }
    };
    Ok(Line::Users { users: users.iter().zip(judged).map(with).collect() })
}

const fn word(familiarity: Familiarity) -> &'static str {
    match familiarity {
        Familiarity::Known => "known",
        Familiarity::New => "new",
        Familiarity::Changed => "changed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, address: &str) -> LanServer {
        let addresses = vec![address.parse().unwrap()];
        LanServer { name: name.to_owned(), key: "KEY".to_owned(), role: LanRole::SetUp, addresses }
    }

    #[test]
    fn who_has_to_choose_is_shown_the_servers() {
        let both = [server("home", "192.168.1.9:7275"), server("evil\u{1b}[2J", "10.0.0.1:1")];
        let failure = several(&both);
        assert!(failure.message.contains("home at 192.168.1.9:7275, key KEY"), "{failure}");
        assert!(!failure.message.contains('\u{1b}'), "names are shown without control characters");
    }
}
