//! STUN and hole punching on the UDP port that the transports share.
//!
//! ```text
//!    peer                                        server
//!      │ reflexive, survey, punch                  │ serve
//!   StunPort ── Punching ── Agent (nat)        StunService ── Responder (nat)
//!      │            │ sockets for birthdays        │
//!   LaneSocket  LaneSocket…                     LaneSocket…
//!      └────────────┴─────── datagram-io ──────────┘
//! ```
//!
//! This is the shell around `portolan-nat`: it moves bytes, time and randomness in and out, and
//! decides nothing. A [`StunPort`] owns the STUN lane of a port, so what a server says of it is
//! true of every protocol on that port, and a hole punched from it is a hole for all of them.
//!
//! **What it does not do.** It exchanges no candidates and dials nobody: who owns a [`Punching`]
//! is told a path and dials it with a transport that is bound to the same local address.
//!
//! **Bounds.** Users of a port: [`USERS_MAX`]; datagrams that wait for one: 64. Both drop what is
//! too much. A dropped [`StunPort`] or [`Punching`] ends its task and closes its sockets.
//!
//! Start reading at [`StunPort::open`].

mod gather;
mod lan;
mod mapper;
mod port;
mod punching;
mod service;
mod spare;

pub use gather::{Interface, host_candidates, interfaces};
pub use lan::{Announcement, LanBrowser, LanError, LanRole, LanServer, Sighting, find_servers};
pub use mapper::{Carried, MapError, MappingProtocol, PortLease, Router};
pub use port::{AskError, StunPort, USERS_MAX};
pub use punching::{PunchEvent, Punching};
pub use service::{ServiceError, StunCounters, StunService};
