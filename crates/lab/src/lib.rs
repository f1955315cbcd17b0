//! The laboratory: measures every transport under every network, and builds small worlds.
//!
//! ```text
//!   cli ── bench (real sockets: loopback, or namespaces behind the emulator) ─┐
//!    │  └─ virtual_time (our UDP and QUIC as machines, no root, any system)  ─┼─ result::Run
//!    │                                                                       │
//!    ├─ report (table, JSON, one HTML page) and compare  ◄───────────────────┘
//!    ├─ audio (talks over each transport and link: what is heard of them)
//!    ├─ load (thousands of clients on one server: rates, latencies, memory)
//!    ├─ nat (two peers behind every pair of translators: simulated, with sockets, with the
//!    │       shipped programs, which `cast` puts on hosts and drives)
//!    ├─ survive (a file in flight while networks, servers and machines fail under it; also `cast`)
//!    ├─ probe (small programs that ask a network one question)
//!    └─ net (a topology file: hosts, translators, programs, what happens when)
//! ```

pub mod audio;
pub mod bench;
mod cast;
pub mod check;
pub mod cli;
pub mod load;
pub mod metric;
pub mod nat;
pub mod net;
pub mod probe;
pub mod report;
pub mod result;
mod scratch;
pub mod survive;
pub mod virtual_time;
mod watch;
