//! Our reliable UDP as state machines: packets, handshake, recovery, congestion control, without
//! I/O.

mod ack;
mod close;
mod config;
mod congestion;
mod connection;
mod cookie;
mod crypto_stream;
mod datagram;
mod endpoint;
mod event;
mod frame;
mod id;
mod integrity;
mod keys;
mod pacing;
mod packet;
mod params;
mod path;
mod ranges;
mod rate;
mod rtt;
mod sent;
mod space;
mod stats;
#[cfg(test)]
mod tests;
mod timer_set;

pub use close::CloseReason;
pub use config::{Congestion, ConnectionConfig, CookiePolicy, EndpointConfig, RateLimit, ResetKey};
pub use connection::Connection;
pub use datagram::{Deadline, Ecn, Timer, Transmit};
pub use endpoint::{ConnectError, Endpoint, Routed};
pub use event::{EndpointEvent, Event};
pub use id::{ConnectionHandle, ConnectionId};
pub use stats::ConnectionStats;
