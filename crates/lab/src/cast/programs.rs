//! Where `server` and `peer` are, and how they are called.

use std::{
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

/// The port of servers.
pub(crate) const PORT: u16 = 7275;

/// How long a server that is to end waits for files, so that restarting it is felt.
const DRAIN_SECS: &str = "1";

/// Both programs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    server: PathBuf,
    peer: PathBuf,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is not there: build it (cargo build --release -p portolan) or say where it is (--bin-dir)",
    .0.display()
)]
pub(crate) struct NoPrograms(PathBuf);

impl Programs {
    /// Those in `folder`; without one, those beside this program.
    ///
    /// # Errors
    /// When one is missing.
    pub(crate) fn find(folder: Option<&Path>) -> Result<Self, NoPrograms> {
        let beside = || {
            let own = env::current_exe().unwrap_or_default();
            own.parent().map(Path::to_path_buf).unwrap_or_default()
        };
        let folder = folder.map_or_else(beside, Path::to_path_buf);
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        let find = |name: &str| {
            let path = folder.join(name).with_extension(env::consts::EXE_EXTENSION);
            if path.is_file() { Ok(path) } else { Err(NoPrograms(path)) }
        };
        Ok(Self { server: find("server")?, peer: find("peer")? })
    }

    /// How a server is called that tells events.
    pub(crate) fn server(&self, server: &Server<'_>) -> Command {
        let mut command = bare(&self.server, server.home);
        command.arg("--json").arg("--listen").arg(server.listen.to_string());
        if let Some(alternate) = server.alternate {
            command.arg("--stun-alternate").arg(alternate.to_string());
        }
        match server.keeps {
            Keeps::Nothing => command.arg("--ephemeral"),
            Keeps::Everything => command.arg("--data").arg(server.home.join("data")),
        };
        command.arg("--drain").arg(DRAIN_SECS);
        command
    }

    /// How a peer is called that takes commands and tells events.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub(crate) fn peer(&self, peer: &Peer<'_>) -> io::Result<Command> {
        let mut command = bare(&self.peer, peer.home);
        command.arg(peer.name).arg("--json");
        command.arg("--server").arg(peer.server.to_string());
        command.arg("--server-key").arg(peer.server_key);
        command.arg("--transport").arg(peer.transport);
        for (option, directory) in
            [("--data", "data"), ("--share", "share"), ("--downloads", "downloads")]
        {
            let directory = peer.home.join(directory);
            fs::create_dir_all(&directory)?;
            command.arg(option).arg(directory);
        }
        command.args(peer.options);
        Ok(command)
    }
}

/// A program that sees nothing of its caller's settings.
fn bare(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home);
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// What a server keeps beyond its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nothing,
    Everything,
}

/// A server to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) home: &'a Path,
    pub(crate) listen: SocketAddr,
    pub(crate) alternate: Option<SocketAddr>,
    pub(crate) keeps: Keeps,
}

/// A peer to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer<'a> {
    pub(crate) name: &'a str,
    pub(crate) home: &'a Path,
    pub(crate) server: SocketAddr,
    pub(crate) server_key: &'a str,
    pub(crate) transport: &'a str,
    pub(crate) options: &'a [&'a str],
}
