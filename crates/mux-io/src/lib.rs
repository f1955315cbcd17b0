//! Asynchronous streams over a stream machine: the shell that TCP and UDP share.
//!
//! ```text
//!    SendStream, RecvStream, Connection of `portolan-transport`      what programs hold
//!          │ MuxHandle: locks, asks the machine, sleeps if it must
//!          ▼
//!    MuxHost: a lock around Mux + Waiters                            TCP's own, or rudp's
//!          ▲
//!          │ feeds frames, then Waiters::dispatch; sleeps until wake_driver
//!    the carrier's driver task
//! ```
//!
//! A carrier implements [`MuxHost`] for its connection state and gets everything that programs
//! see of streams and datagrams from [`MuxHandle`]. The driver holds the host itself, programs
//! hold handles (every stream holds one), so that the host learns when the last one is gone.
//!
//! What it does not do: it spawns nothing, owns no socket and never closes a connection by
//! itself.
//!
//! # Invariants
//! - No lock is held across an await: every method takes it inside one `poll`.
//! - Wakers are bounded: one a stream half, removed with it; waits for streams, datagrams and the
//!   end are woken together and look again, so that a wait that is dropped takes no one's turn:
//!   `tests/handles.rs`.
//! - Once the connection is gone every pending operation ends with the same reason; what had
//!   arrived before can still be read: `tests/handles.rs`.

mod handle;
mod host;
mod recv;
mod send;
mod stats;
mod waiters;

pub use handle::MuxHandle;
pub use host::MuxHost;
pub use stats::{add_mux_stats, datagram_outcomes, mux_config};
pub use waiters::{Signals, Waiters, Woken};
