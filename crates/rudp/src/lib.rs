//! Our reliable UDP as state machines: packets, handshake, recovery, congestion control, without
//! I/O.
//!
//! ```text
//!   transport-udp (sockets, tasks, the clock)          tests (virtual time)
//!        │ handle_datagram                ▲ poll_transmit, Routed
//!     Endpoint   whose packet is it, who may begin, answers without a connection
//!        │ handle_datagram, handle_timeout(now)        ▲ poll_transmit, poll_event, poll_timeout
//!    Connection  ─ handshake ─ spaces ─ path ─ keys
//!        │ poll_frames, on_acked, on_lost              ▲ handle_frame
//!       Mux (crates/mux)   streams, flow control, priorities, datagrams
//! ```
//!
//! An [`Endpoint`] stands for a socket: it begins [`Connection`]s, accepts them, and says which
//! datagram is whose. A connection is driven by its host: one input ([`handle_datagram`],
//! [`handle_timeout`], or anything done to its [`mux`]), then drain [`poll_event`] (endpoint
//! events go back to [`Endpoint::on_endpoint_event`]), the mux's events and [`poll_transmit`], then
//! read [`poll_timeout`]. Time comes as an argument, randomness from a seed; only TLS draws from
//! its provider. The wire format is written down in `WIRE.md`. The handshake is TLS 1.3 by
//! `rustls::quic`, recovery is RFC 9002, congestion control BBR, RFC 9438 or NewReno.
//!
//! Clients may change their address, knowingly or not, and try other paths beside the one in use
//! (`connection/migration.rs`). Another algorithm of congestion control is one file and one arm in
//! `congestion`; how often is acknowledged is asked for in `cadence.rs` and obeyed in `ack.rs`.
//! What it does not do: several paths at once, servers that move. What it will not do: 0-RTT,
//! which can be replayed.
//!
//! # Invariants
//! - What is written to a stream arrives once and in order over every network, or the connection
//!   ends with a reason: `tests/simulation`, thousands of seeded networks.
//! - Nothing is remembered of a client that must prove its address and has not:
//!   `a_cookie_costs_one_round_trip_more_and_no_memory`.
//! - An address that has not proved itself gets at most three times what came from it:
//!   `an_answer_is_never_longer_than_three_times_the_question`; and what is answered without a
//!   connection is always shorter: `two_endpoints_without_memory_fall_silent`.
//! - No handshake hangs, whatever is lost: `a_handshake_survives_any_loss`,
//!   `a_client_probes_until_it_is_confirmed`, `a_server_says_again_that_it_is_done`.
//! - No packet is acted upon twice: `a_number_is_new_once`,
//!   `garbage_and_replays_do_not_harm_a_connection`.
//! - No number is used twice under one key, and keys change long before they are worn:
//!   `keys_change_in_a_transfer_and_late_packets_of_the_old_ones_are_read`.
//! - A message with a deadline waits for nothing but the pacer, and its copies are on time:
//!   `a_live_message_goes_before_all_that_a_bulk_transfer_has_waiting`,
//!   `a_copy_that_finds_no_packet_to_ride_in_goes_alone_and_on_time`.
//! - Acknowledgements are not acknowledged: `acknowledgements_are_not_acknowledged`.
//! - Packets become as long as the path carries (RFC 8899) and shorter again when it shortens,
//!   and nothing is lost over it: `a_transfer_finds_out_what_the_path_carries`,
//!   `a_path_that_shortens_in_mid_transfer_is_noticed_and_nothing_is_lost`.
//! - On long ways windows grow for those who read fast and for nobody else, and writers may be
//!   ahead by four congestion windows: `a_fast_reader_on_a_long_way_is_not_stopped_by_the_first_window`,
//!   `a_slow_reader_makes_nobody_hold_more_than_the_first_window`.
//! - A connection outlives the addresses of its client, with or without the client's knowing that
//!   they change, and data flows again within two round trips and 50 ms:
//!   `a_download_goes_on_when_a_translator_gives_another_port`,
//!   `a_client_tries_a_second_path_and_moves_without_a_gap`; who only repeats a client's packets
//!   from elsewhere gains nothing:
//!   `who_does_not_answer_at_the_new_address_is_taken_to_be_at_the_old_one`,
//!   `an_address_that_has_not_proved_itself_gets_three_times_what_it_sent`; and names do not show
//!   that two paths carry one connection:
//!   `a_client_that_moves_to_another_network_is_called_by_other_names`.
//! - Routers may mark packets instead of dropping them, and a path that changes marks on its own is
//!   not believed: `a_queue_that_marks_slows_a_sender_down_before_anything_is_lost`,
//!   `a_path_that_clears_or_changes_marks_is_found_out_and_carries_a_transfer`.
//! - An [`Observer`] sees every packet, and never a byte of the application's:
//!   `an_observer_sees_every_packet_from_the_first_to_the_last`,
//!   `what_is_told_never_contains_what_the_application_said`.
//! - No bytes make it panic: `no_bytes_panic` in each decoder's module.
//!
//! # Memory
//! A remote makes one connection hold at most [`ConnectionConfig::memory_max`]: the mux's bound,
//! handshake bytes out of order (16 KiB a level), a few early packets, the ranges of received
//! numbers and the names and paths of a remote that moves (less than 2 KiB). A half-open connection that was asked for by one datagram holds some 8 KiB of TLS
//! keys and that; there are at most [`EndpointConfig::half_open`] of them, each for
//! [`ConnectionConfig::handshake`] at most. The endpoint adds a bounded queue of answers and 128
//! KiB of token buckets. An idle connection holds a few KiB: what a handshake needed goes with it
//! (`connection/tls.rs`, `tests/idle_memory.rs`).
//!
//! Start with `connection/mod.rs`, then `connection/receive.rs` and `connection/transmit.rs`.
//!
//! [`handle_datagram`]: Connection::handle_datagram
//! [`handle_timeout`]: Connection::handle_timeout
//! [`mux`]: Connection::mux
//! [`poll_event`]: Connection::poll_event
//! [`poll_transmit`]: Connection::poll_transmit
//! [`poll_timeout`]: Connection::poll_timeout

mod ack;
mod cadence;
mod challenge;
mod close;
mod config;
mod congestion;
mod connection;
mod cookie;
mod crypto_stream;
mod datagram;
mod delivery;
mod discovery;
mod ecn;
mod endpoint;
mod event;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod heartbeat;
mod id;
mod ids;
mod integrity;
mod keys;
mod late;
mod observe;
mod pacing;
mod packet;
mod params;
mod path;
mod rate;
mod rtt;
mod secrets;
mod sent;
mod space;
mod stats;
#[cfg(test)]
mod tests;
mod timer_set;
mod traps;
mod waiting;

pub use close::CloseReason;
pub use config::{Congestion, ConnectionConfig, CookiePolicy, EndpointConfig, RateLimit, ResetKey};
pub use connection::{Connection, MigrationError};
pub use datagram::{Deadline, Ecn, Route, SocketId, Timer, Transmit};
pub use endpoint::{ConnectError, Endpoint, Routed};
pub use event::{EndpointEvent, Event, PathEvent};
pub use id::{ConnectionHandle, ConnectionId};
pub use observe::{
    AckView, Dropped, FrameView, Frames, LossSign, LostPacket, Observation, Observer, Owner,
    PacketKind, PacketView, Parameters, Stage, TimerChange,
};
pub use packet::leading_run;
pub use stats::ConnectionStats;
pub use waiting::Waited;
