//! Why a world cannot be.

use std::net::IpAddr;

/// Why a topology does not make a world, or something cannot happen in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// A name that is not there.
    #[error("there is no {what} named \"{name}\" in this world: check its spelling")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An address that does not belong to the network on which it stands.
    #[error(
        "{node} has the address {address}, which is not in network \"{network}\": give it one from there"
    )]
    Elsewhere {
        /// Whose.
        node: String,
        /// Which.
        address: IpAddr,
        /// Where.
        network: String,
    },
    /// Two interfaces on a network with the same address.
    #[error(
        "{node} has the address {address}, which {other} on the same network has already: give it another"
    )]
    Taken {
        /// Whose.
        node: String,
        /// Which.
        address: IpAddr,
        /// Who has it.
        other: String,
    },
}
