//! Streams over one connection: states, offsets, flow control, priorities and the send scheduler,
//! without I/O.
//!
//! ```text
//!    application (through mux-io)       open, accept, write, read, finish, reset, stop, datagrams
//!          │                 ▲ poll_event
//!        Mux  (this crate)   │          one per connection, behind its host's lock
//!          │ poll_frames     │ handle_frame, on_acked, on_lost, on_params
//!    carrier: transport-tcp (nothing is ever lost) or rudp (packets, acknowledgements, loss)
//! ```
//!
//! A [`Mux`] turns what the application writes into frames, most urgent first, and frames of the
//! remote into what the application reads. It keeps every byte until the carrier says that it
//! arrived, and sends ranges again that the carrier says were lost. The frames are those of QUIC
//! (RFC 9000 §19) where QUIC has them; all streams go in both directions.
//!
//! A datagram with a deadline is sent again when it is lost and there is time; where there is not,
//! and the carrier says what a packet costs ([`Mux::set_packet_overhead`]), copies or parities are
//! sent before anybody knows ([`Config::redundancy_percent`] bounds them). Copies wait for packets
//! to ride in, so that the carrier asks for the time of the next ([`Mux::poll_timeout`]).
//!
//! What it does not do: it knows no socket, packet, key or timer, of the way only what the carrier
//! tells ([`Mux::on_round_trip`], [`Mux::on_congestion_window`]), and it never closes the
//! connection: a broken rule of the remote is returned as a [`Violation`] for the carrier.
//!
//! # Invariants
//! - Every byte written arrives exactly once and in order, whatever the carrier loses, repeats or
//!   reorders: `tests/lossy_pipe.rs`.
//! - The remote cannot make this side hold more than [`Config::memory_max`] says:
//!   `tests/bounds.rs`.
//! - A stream's window, and that of the connection, grow only for who reads as fast as a long way
//!   brings, and never beyond the configured bound: `tests/windows.rs`.
//! - No bytes make it panic; every broken rule has its code of RFC 9000 §20.1:
//!   `tests/violations.rs`.
//! - Datagrams with a deadline come in time although some are lost, for no more bytes than allowed,
//!   and what became of each is told: `tests/deadlines.rs`.
//! - A class of [`Priority`] waits for all more urgent ones, and streams of one class take turns:
//!   `tests/priorities.rs`.
//!
//! Start with [`Mux`], then `stream.rs`, whose two halves follow RFC 9000 §3.

mod config;
mod datagrams;
mod error;
mod event;
pub mod frame;
mod mux;
mod pages;
mod params;
mod ranges;
mod recv;
mod schedule;
mod send;
mod sent;
mod stats;
mod stream;
mod varint;
mod violation;
mod window;

pub use config::{Config, Priority, Side};
pub use error::{DatagramTooLarge, ReadError, WriteError};
pub use event::Event;
pub use mux::{Mux, StreamRun};
pub use params::Params;
pub use ranges::RangeSet;
pub use sent::{Sending, SentFrame};
pub use stats::MuxStats;
pub use stream::StreamId;
pub use varint::{Incomplete, Reader, VARINT_MAX, put_varint, varint_len};
pub use violation::{Violation, ViolationCode};
