//! What every decoder must survive: one function a target, for the fuzzer and for the replay of
//! its corpus.
//!
//! ```text
//!   fuzz/fuzz_targets/NAME.rs (cargo-fuzz)      tests/tests/corpus.rs (cargo test)
//!                      \                        /
//!                       TARGETS: name, run, seeds          this crate
//!                                │
//!              peer-id, identity, protocol, mux, rudp, netsim, live, media, gateway
//! ```
//!
//! Each function takes any bytes and must return. It also checks what a decoder promises beyond
//! not panicking: a decoded value, encoded and decoded again, is the same value; what is refused
//! takes no unbounded memory.
//!
//! The committed corpora lie in `fuzz/corpus/NAME`. To begin one anew, or for a new target:
//! `cargo run -p portolan-fuzz-targets --example seed_corpus`, which writes valid encodings, cuts
//! and mutations of them; then `cargo +nightly fuzz run NAME` adds what it finds.
//!
//! A new decoder is one function, one line in [`TARGETS`] and one file in `fuzz/fuzz_targets`;
//! `tests/tests/corpus.rs` fails when one of them is missing.

mod frames;
mod gateways;
mod keys;
mod live;
mod media;
mod messages;
pub mod mutation;
mod nat;
mod networks;
mod rudp;

use std::{sync::OnceLock, time::Instant};

/// One decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the corpus's folder and of the fuzzer's program.
    pub name: &'static str,
    /// Decodes the bytes and asserts what must hold.
    ///
    /// # Panics
    /// When the decoder breaks a promise.
    pub run: fn(&[u8]),
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every decoder that reads what others wrote.
pub const TARGETS: &[Target] = &[
    Target { name: "peer_id", run: keys::peer_id, seeds: keys::peer_id_seeds },
    Target { name: "known_hosts", run: keys::known_hosts, seeds: keys::known_hosts_seeds },
    Target { name: "key_file", run: keys::key_file, seeds: keys::key_file_seeds },
    Target { name: "protocol_frames", run: messages::frames, seeds: messages::frames_seeds },
    Target { name: "protocol_control", run: messages::control, seeds: messages::control_seeds },
    Target { name: "protocol_opening", run: messages::opening, seeds: messages::opening_seeds },
    Target { name: "protocol_peer", run: messages::peer, seeds: messages::peer_seeds },
    Target { name: "mux_frames", run: frames::frames, seeds: frames::frames_seeds },
    Target { name: "mux_params", run: frames::params, seeds: frames::params_seeds },
    Target { name: "mux_machine", run: frames::machine, seeds: frames::machine_seeds },
    Target { name: "rudp_headers", run: rudp::headers, seeds: rudp::headers_seeds },
    Target { name: "rudp_frames", run: rudp::frames, seeds: rudp::frames_seeds },
    Target { name: "rudp_params", run: rudp::params, seeds: rudp::params_seeds },
    Target { name: "rudp_endpoint", run: rudp::first_datagram, seeds: rudp::first_datagram_seeds },
    Target { name: "rudp_init", run: rudp::init, seeds: rudp::init_seeds },
    Target { name: "rudp_client", run: rudp::client, seeds: rudp::client_seeds },
    Target { name: "live_datagram", run: live::datagram, seeds: live::datagram_seeds },
    Target { name: "live_receiver", run: live::receiver, seeds: live::receiver_seeds },
    Target { name: "media_decode", run: media::decode, seeds: media::decode_seeds },
    Target { name: "netsim_link", run: networks::link, seeds: networks::link_seeds },
    Target { name: "netsim_topology", run: networks::topology, seeds: networks::topology_seeds },
    Target { name: "nat_stun", run: nat::stun, seeds: nat::stun_seeds },
    Target { name: "gateway_lines", run: gateways::lines, seeds: gateways::lines_seeds },
    Target { name: "gateway_tr223", run: gateways::tr223, seeds: gateways::tr223_seeds },
    Target { name: "gateway_cod", run: gateways::cod, seeds: gateways::cod_seeds },
    Target { name: "gateway_inf452", run: gateways::inf452, seeds: gateways::inf452_seeds },
    Target { name: "gateway_mac0448", run: gateways::mac0448, seeds: gateways::mac0448_seeds },
    Target { name: "gateway_upc", run: gateways::upc, seeds: gateways::upc_seeds },
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or the decoder breaks a promise.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(bytes);
}

/// The start of virtual time. Which moment it is does not matter.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
