//! One UDP port for several protocols: demultiplexing, GSO, GRO and ECN.
//!
//! ```text
//!      transport-udp           transport-quic         STUN            relay
//!            │ Lane::Rudp            │ Lane::Quic       │ Lane::Stun     │ Lane::Relay
//!        LaneSocket              LaneSocket         LaneSocket       LaneSocket
//!            └───────────┬───────────┴──────────────────┴────────────────┘
//!                     Socket: first byte ─► lane        one per local address
//!                        │
//!           quinn-udp (sendmsg, recvmmsg, GSO, GRO, ECN)
//! ```
//!
//! Protocols of one program that are bound to the same address share its UDP port, and so one
//! NAT mapping and one firewall rule. The first byte of a datagram names its protocol ([`Lane`],
//! after RFC 9443); what belongs to no protocol, or to none that is open here, is counted and
//! dropped.
//!
//! **Who drives it.** Nobody: there is no task. Whichever lane polls, reads the socket, keeps
//! what is its own in the caller's buffers and puts the rest into the bounded queues of the other
//! lanes, whose tasks it wakes. A lane that carries little can leave the reading to the others
//! ([`Reading::Rare`], `a_lane_that_reads_rarely_is_read_for`). With one lane open nothing is ever copied.
//!
//! **Relays.** A remote that is reached through a relay has an address here like any other, one of
//! 240.0.0.0/4, which no network uses: what is sent there is put under the header of its
//! [`Channel`] and goes to the relay, and what comes back loses the header before it is sorted. So
//! transports do not know relays at all.
//!
//! **What it does not do.** It knows no packet of any protocol beyond the first byte, keeps no
//! peer and authenticates nothing.
//!
//! **Invariants**
//! - a lane sees its own datagrams only, in the order in which the system gave them
//!   (`each_lane_receives_its_own_datagrams_only`, `a_train_of_two_protocols_is_split`);
//! - a lane that nobody reads holds a bounded number of bytes and stops no other
//!   (`a_lane_that_nobody_reads_keeps_the_newest`);
//! - what comes through a relay has the channel's address and is taken from that relay alone
//!   (`relayed_datagrams_of_two_channels_come_from_two_addresses`,
//!   `a_relayed_datagram_from_elsewhere_than_the_relay_is_dropped`);
//! - the port is free when the last lane is gone (`the_port_is_free_after_the_last_lane`);
//! - addresses are canonical: an IPv4 remote is never seen as `::ffff:a.b.c.d`
//!   (`an_ipv4_remote_is_seen_as_ipv4_on_a_dual_stack_socket`);
//! - sending fails only with `WouldBlock`: a datagram that the system refuses is a lost datagram
//!   (`what_the_system_refuses_counts_as_lost`).
//!
//! Start reading at [`SharedSockets::open`].

mod batch;
mod channels;
mod demux;
mod lane;
mod lane_socket;
mod probe;
mod registry;
mod relay_frame;
mod socket;
mod wake;

pub use batch::{Batch, Received};
pub use channels::{Channel, is_relayed};
pub use lane::{Lane, Reading};
pub use lane_socket::LaneSocket;
pub use probe::unreachable;
pub use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit};
pub use registry::SharedSockets;
pub use relay_frame::{BINDING_LEN, HEADER, RelayFrame, RelayKey, data_header};
pub use socket::{MAX_DATAGRAM, SocketStats};
