//! The yardsticks of the laboratory: bare sockets, TLS, QUIC and KCP by others.
//!
//! ```text
//!   lab (workloads)
//!        │  Subject → Listener / Client → Link → Stream, messages
//!   ┌────┴─────┬────────────┬──────────────┬────────┐
//!  raw-tcp    tls        raw-udp         quinn     kcp
//!  -cubic  tokio-rustls  raw-udp-aead    quinn-bbr tokio_kcp
//!  -bbr    yamux         quinn-udp       s2n-quic
//! ```
//!
//! **Who drives it.** The laboratory, on one single-threaded tokio runtime for each side. Every
//! socket is opened by the thread that calls; no row starts a thread of its own (yamux, quinn,
//! s2n-quic and tokio_kcp start tasks on the caller's runtime, and end them when their last
//! connection is dropped or the runtime is).
//!
//! **What each row is comparable in, and in what not.**
//!
//! | row | what it is | do not compare |
//! |---|---|---|
//! | `raw-tcp` | a TCP socket, the kernel's congestion control of choice | security: it has none; several streams: they are several connections |
//! | `raw-tcp-cubic`, `raw-tcp-bbr` | the same with the congestion control named | as above; where packets are lost the choice alone makes a difference of 35 times, so that a comparison under loss names both |
//! | `tls` | TLS 1.3 by tokio-rustls with our keys, verifier and cipher: what our TCP transport stands on | several streams: they are several connections and handshakes; second handshakes: sessions are resumed, as ours are |
//! | `yamux` | yamux as it comes on such a TLS connection: what most programs in Rust multiplex a byte stream with | priorities: it has none; messages: it has none |
//! | `raw-udp` | what the system's UDP can do at 1,452 bytes with GSO, GRO and a receiver's credit | anything where packets get lost: nothing is repaired, paced or acknowledged; handshakes: it is one round trip without cryptography |
//! | `raw-udp-aead` | the same with AES-128-GCM on each datagram: the most that any encrypted protocol with such datagrams can reach | as above; security: everyone can know its key |
//! | `quinn` | quinn as it comes, with our keys | many round trips away: its windows are made for 100 ms at 100 Mbit/s, and stay so here |
//! | `quinn-bbr` | the same with its BBR | as above; its authors call BBR experimental |
//! | `quinn-bbr-16m` | the same with windows of 16 MiB | as above; for fast long ways, where the usual ones are the limit |
//! | `s2n-quic` | s2n-quic as it comes, with our keys by its rustls provider | messages: its datagrams are an unstable feature, which is off |
//! | `kcp` | KCP in its fast and unfair setting, window 1,024, sockets of 4 MiB | security: it has none; fairness: it has no congestion control; handshakes: one byte each way is ours, KCP has none |
//!
//! What is the same everywhere: the addresses, the runtime, the workload, and where there is
//! encryption, the cipher (AES-128-GCM by aws-lc-rs), the key exchange and the raw public keys of
//! [`Identity`](portolan_identity::Identity). Nagle's delay is off on every TCP socket.
//!
//! **What it does not do.** It tunes nobody but in the rows that say so, and measures nothing.
//!
//! **Invariants**, each looped over the whole table by `tests/every_row.rs`
//! - bytes arrive intact, both ways at once, and a reader sees the end
//!   (`four_mebibytes_arrive_intact_up_and_down_and_end`,
//!   `both_ways_at_once_do_not_block_each_other`);
//! - rows that encrypt refuse a server with another key
//!   (`who_is_not_the_expected_peer_is_refused_by_rows_that_are_encrypted`);
//! - connections do not mix and are many (`fifty_connections_at_once_keep_their_bytes_apart`,
//!   `hundreds_of_connections_of_one_client_live_at_once`);
//! - loopback loses nothing, also where nothing is repaired
//!   (`sides_on_threads_of_their_own_lose_nothing`);
//! - whatever is dropped half way panics nowhere and leaves both sides in service
//!   (`what_is_dropped_in_the_middle_ends_without_panic`).
//!
//! Start reading at [`BASELINES`].

mod handshakes;
mod kcp;
mod one_stream;
mod quinn;
mod s2n;
mod tcp;
mod tls;
mod udp;
mod yamux;

use portolan_subject::Subject;

pub use self::{
    kcp::Kcp, quinn::Quinn, s2n::S2n, tcp::RawTcp, tls::Tls, udp::RawUdp, yamux::Yamux,
};

/// Every yardstick, in the order of reports.
pub static BASELINES: &[&dyn Subject] = &[
    &RawTcp::DEFAULT,
    &RawTcp::CUBIC,
    &RawTcp::BBR,
    &Tls,
    &Yamux,
    &RawUdp::BARE,
    &RawUdp::AEAD,
    &Quinn::CUBIC,
    &Quinn::BBR,
    &Quinn::BBR_LARGE,
    &S2n,
    &Kcp,
];
