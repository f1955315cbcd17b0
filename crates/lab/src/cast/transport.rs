//! What programs are told to speak.

use serde::Serialize;

/// A transport of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Quic,
}

/// All of them, in the order of tables.
pub(crate) const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Quic, Transport::Tcp];

impl Transport {
    /// Its name on command lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Quic => "quic",
        }
    }
}
