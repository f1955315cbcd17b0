//! A server and two peers who are logged in: what every experiment begins with.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use portolan_emulator::{ApplyError, Emulator, HostNamespace, Options, StartError};
use portolan_netsim::topology::{Happening, Topology};

use super::{
    actor::{Actor, ActorError},
    programs::{Keeps, Peer, Programs, Server},
};
use crate::scratch::Scratch;

/// From the start of a program to its first word, on a machine that does much beside.
const READY: Duration = Duration::from_secs(60);

/// Why an experiment could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CastError {
    #[error("the world cannot be built: {0}")]
    World(#[from] StartError),
    #[error("the world cannot be changed: {0}")]
    Change(#[from] ApplyError),
    #[error("there is no host called {0}")]
    Host(String),
    #[error("cannot prepare the programs' directories: {0}")]
    Files(#[from] io::Error),
    #[error(transparent)]
    Actor(#[from] ActorError),
    #[error("{0}")]
    Unexpected(String),
}

/// Who takes part, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roles<'a> {
    /// The server's host and address.
    pub(crate) server: (&'a str, SocketAddr),
    /// Its second address, from which it tells how translators map.
    pub(crate) alternate: Option<SocketAddr>,
    pub(crate) keeps: Keeps,
    /// The hosts and names of the peers.
    pub(crate) peers: [&'a str; 2],
    /// What each of them gives as `--transport`.
    pub(crate) transports: [&'a str; 2],
    /// What both of them are started with beside.
    pub(crate) options: &'a [&'a str],
    /// What happens to the world before anybody is started.
    pub(crate) before: &'a [Happening],
}

/// A world in which a server and two peers are at work. Dropping it ends all of it.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) peers: [Actor; 2],
    server: Option<Actor>,
    server_host: String,
    listen: SocketAddr,
    alternate: Option<SocketAddr>,
    keeps: Keeps,
    key: String,
    programs: Programs,
    pub(crate) emulator: Emulator,
    files: Scratch,
}

impl Crew {
    /// Builds the world, starts the server, and then the peers, and waits until they are logged in.
    ///
    /// # Errors
    /// When one of them does not come as far.
    pub(crate) async fn start(
        programs: &Programs,
        topology: &Topology,
        roles: Roles<'_>,
    ) -> Result<Self, CastError> {
        let files = Scratch::new(None)?;
        let emulator = Emulator::start(topology, Options::default())?;
        for happening in roles.before {
            emulator.apply(happening)?;
        }
        let (server_host, listen) = roles.server;
        let home = folder(&files.0, "server")?;
        let Roles { alternate, keeps, .. } = roles;
        let calling = Server { home: &home, listen, alternate, keeps };
        let server = start_server(programs, host(&emulator, server_host)?, calling);
        let (server, key) = server.await?;
        let mut peers = Vec::new();
        for (name, transport) in roles.peers.into_iter().zip(roles.transports) {
            let home = folder(&files.0, name)?;
            let command = programs.peer(&Peer {
                name,
                home: &home,
                server: listen,
                server_key: &key,
                transport,
                options: roles.options,
            })?;
            peers.push(Actor::start(host(&emulator, name)?, name, command)?);
        }
        for peer in &mut peers {
            peer.until("to be logged in", READY, |heard| heard.is("ready").then_some(())).await?;
        }
        let peers = <[Actor; 2]>::try_from(peers)
            .map_err(|_| CastError::Unexpected("there are not two peers".to_owned()))?;
        Ok(Self {
            peers,
            server: Some(server),
            server_host: server_host.to_owned(),
            listen,
            alternate,
            keeps,
            key,
            programs: programs.clone(),
            emulator,
            files,
        })
    }

    /// The directory of a peer in which something of its lies: `share`, `downloads`.
    pub(crate) fn directory(&self, peer: &str, which: &str) -> PathBuf {
        self.files.0.join(peer).join(which)
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) async fn stop_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Lets the server die without a word.
    pub(crate) fn kill_server(&mut self) {
        drop(self.server.take());
    }

    /// Starts it once more, where it was.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start_server(&mut self) -> Result<(), CastError> {
        let home = folder(&self.files.0, "server")?;
        let host = host(&self.emulator, &self.server_host)?;
        let Self { listen, alternate, keeps, .. } = *self;
        let calling = Server { home: &home, listen, alternate, keeps };
        let (server, key) = start_server(&self.programs, host, calling).await?;
        if key != self.key {
            return Err(CastError::Unexpected("the server has another key than before".to_owned()));
        }
        self.server = Some(server);
        Ok(())
    }
}

fn host<'a>(emulator: &'a Emulator, name: &str) -> Result<&'a HostNamespace, CastError> {
    emulator.host(name).ok_or_else(|| CastError::Host(name.to_owned()))
}

fn folder(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let path = parent.join(name);
    fs::create_dir_all(&path)?;
    Ok(path)
}

async fn start_server(
    programs: &Programs,
    host: &HostNamespace,
    server: Server<'_>,
) -> Result<(Actor, String), CastError> {
    let command = programs.server(&server);
    let mut server = Actor::start(host, "the server", command)?;
    let key = server.until("to be ready", READY, |heard| {
        heard.is("ready").then(|| heard.text("id").unwrap_or_default().to_owned())
    });
    let key = key.await?;
    Ok((server, key))
}
