//! What systemd wants to know of a service (`sd_notify(3)`): a few words to a socket that the
//! environment names. Nothing is said where nobody asks.

use std::{convert::Infallible, env, time::Duration};

use crate::Server;

/// Who has started us and listens.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    /// Silence after which it takes us for dead.
    patience: Option<Duration>,
}

impl Supervisor {
    /// Finds it by the environment.
    pub(super) fn find() -> Self {
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_for_us =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = number("WATCHDOG_USEC").filter(|micros| is_for_us && *micros > 0);
        Self {
            #[cfg(unix)]
            socket: env::var_os("NOTIFY_SOCKET").and_then(|path| connect(&path).ok()),
            patience: patience.map(Duration::from_micros),
        }
    }

    /// Clients are served.
    pub(super) fn ready(&self) {
        self.say("READY=1\nSTATUS=serving");
    }

    /// Everyone is told, and what waits is written.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=telling everyone");
    }

    /// Gives signs of life for as long as there is life in the server: one whose store is gone
    /// had better be started anew.
    pub(super) async fn assure(&self, server: &Server) -> Infallible {
        let Some(patience) = self.patience else { return std::future::pending().await };
        loop {
            tokio::time::sleep(patience / 2).await;
            if server.is_alive() {
                self.say("WATCHDOG=1");
            }
        }
    }

    #[cfg(unix)]
    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }

    #[cfg(not(unix))]
    fn say(&self, _words: &str) {}
}

/// A path, or an abstract name behind `@`.
#[cfg(unix)]
fn connect(path: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::unix::{ffi::OsStrExt, net::UnixDatagram};
    let socket = UnixDatagram::unbound()?;
    match path.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
            socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect(path)?,
    }
    // A full socket must not hold the server up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::{Supervisor, connect};

    #[test]
    fn the_words_reach_the_socket_that_was_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let socket = Some(connect(path.as_os_str()).unwrap());
        let supervisor = Supervisor { socket, patience: None };
        supervisor.ready();
        supervisor.stopping();
        let mut buffer = [0; 100];
        for expected in ["READY=1\n", "STOPPING=1\n"] {
            let length = listener.recv(&mut buffer).unwrap();
            assert!(buffer[..length].starts_with(expected.as_bytes()));
        }
    }

    #[test]
    fn without_a_socket_nothing_is_said() {
        Supervisor::default().ready();
    }
}
