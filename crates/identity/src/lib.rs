//! One Ed25519 key per peer, the TLS 1.3 configurations made from it, and the known-hosts file.
//!
//! ```text
//!   transport-tcp   transport-udp   transport-quic   end to end through a relay
//!         \               |               |               /
//!          Identity::client_config(Alpn), Identity::server_config(Alpn)
//!                                   |
//!                     rustls (TLS 1.3, RFC 8446) with raw public keys (RFC 7250)
//! ```
//!
//! Both sides of every connection prove an Ed25519 key (RFC 8032); the key *is* the name of a
//! peer ([`PeerId`]). There are no certificates, no authorities and no dates. The client says
//! which key it wants ([`Expect`]) through TLS's local server name, which never leaves the
//! machine; one shared verifier compares. That keeps session resumption working, which rustls
//! allows only while the verifier stays the same object.
//!
//! What this crate does not do: it opens no socket, it decides nothing about who is *welcome*
//! (that is the session's answer, after the handshake), and it never prints a secret.
//!
//! Invariants, and the test that shows each:
//! * a remote that does not hold the expected key never completes a handshake
//!   (`a_server_with_another_key_is_refused`);
//! * both sides learn the key that the other has proved, on resumed connections too
//!   (`a_resumed_connection_keeps_the_identity`);
//! * keys used in one protocol prove nothing in another (`protocols_do_not_mix`);
//! * the key file is whole or absent, and readable by its owner alone
//!   (`the_key_file_is_private`, `a_key_file_open_to_others_is_refused`);
//! * a known host that shows another key is refused until a person decides
//!   (`a_changed_key_is_refused_with_the_fix_spelled_out`);
//! * secrets are written down only for those who asked for it, with the labels that Wireshark
//!   knows (`tests/key_log.rs`).
//!
//! Where to start: [`Identity`].

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("portolan-identity needs one of its features `aws-lc-rs` (default) or `ring`");

mod alpn;
mod expect;
mod identity;
mod key_file;
mod key_log;
mod known_hosts;
#[cfg(feature = "aws-lc-rs")]
mod packet_keys;
mod private_file;
mod provider;
mod public_key;
mod verifier;

pub use alpn::{Alpn, WrongProtocol};
pub use expect::Expect;
pub use identity::Identity;
pub use key_file::KeyFileError;
pub use key_log::KeyLogFile;
pub use known_hosts::{KnownHosts, KnownHostsError, KnownHostsLimits, Verdict};
pub use portolan_peer_id::{ParsePeerIdError, PeerId};
pub use provider::provider;
pub use public_key::{BadSignature, RemoteKeyError, remote_id, verify};
pub use verifier::is_wrong_peer;
