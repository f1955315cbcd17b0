//! What can be wrong with an emulator.

use std::io;

use portolan_netsim::WorldError;
use thiserror::Error;

/// What is not there that an emulated world needs.
#[derive(Debug, Error)]
pub enum Missing {
    /// Another system.
    #[error(
        "emulated networks need Linux: here only the virtual-time driver measures, for UDP and QUIC"
    )]
    Linux,
    /// No `/dev/net/tun`.
    #[error(
        "there is no /dev/net/tun: load it (modprobe tun), or give it to the container \
         (docker run --device /dev/net/tun)"
    )]
    Device,
    /// `/dev/net/tun` cannot be opened.
    #[error(
        "/dev/net/tun cannot be opened: run this as root, or let everybody use it \
         (chmod 0666 /dev/net/tun, which is what most distributions do)"
    )]
    DeviceForbidden(#[source] io::Error),
    /// No new namespaces for this user.
    #[error("new namespaces are not allowed here: {advice}")]
    Namespaces {
        /// What to do.
        advice: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The child that was to be inside could not be set up.
    #[error("the inside could not be set up ({step}): run this as root, or outside of a container")]
    Setup {
        /// What failed.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an emulator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Something is not there.
    #[error("this world cannot be emulated here")]
    Missing(#[from] Missing),
    /// The topology does not make a world.
    #[error("the topology does not make a world")]
    World(#[from] WorldError),
    /// A host's namespace could not be made.
    #[error("host \"{host}\" cannot have a network of its own: run this as root or after `launch`")]
    Namespace {
        /// Which.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// An interface could not be made or set up.
    #[error("interface \"{interface}\" of host \"{host}\" cannot be set up: {reason}")]
    Interface {
        /// Whose.
        host: String,
        /// Which.
        interface: String,
        /// What went wrong.
        reason: String,
    },
    /// The emulator's own thread could not start.
    #[error("the emulator's thread does not start")]
    Thread(#[source] io::Error),
}

/// Why something could not be made to happen.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// It does not fit the world.
    #[error("this cannot happen in this world")]
    World(#[from] WorldError),
    /// A host did not take the change.
    #[error("the world has changed, but its host did not follow: {0}")]
    Host(String),
    /// The emulator is gone.
    #[error("the emulator has stopped: start another")]
    Stopped,
}
