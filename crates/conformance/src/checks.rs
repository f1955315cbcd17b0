//! The table.

mod backpressure;
mod cancel;
mod datagrams;
mod ending;
mod endpoints;
mod handles;
mod hostile;
mod priority;
mod streams;

use crate::{Check, Weight, Wire};

macro_rules! check {
    ($module:ident::$name:ident, $wire:ident, $weight:ident) => {
        Check {
            name: stringify!($name),
            wire: Wire::$wire,
            weight: Weight::$weight,
            run: |harness| Box::pin($module::$name(harness)),
        }
    };
}

macro_rules! table {
    ($($wire:ident { $($module:ident::$name:ident,)* })*) => {
        &[$($(check!($module::$name, $wire, Normal),)*)*
            check!(streams::a_gibibyte_arrives_whole, Lossless, Heavy)]
    };
}

/// Every promise.
pub const CHECKS: &[Check] = table! {
    Any {
        streams::bytes_arrive_whole_and_in_order_both_ways,
        streams::the_end_is_seen_after_all_bytes,
        streams::one_half_may_end_while_the_other_goes_on,
        streams::a_reset_reaches_the_reader_with_its_code,
        streams::a_stop_reaches_the_writer_with_its_code,
        streams::a_dropped_sending_half_is_a_reset,
        streams::a_dropped_receiving_half_is_a_stop,
        streams::nothing_is_written_after_the_end,
        streams::an_empty_stream_is_seen_and_ends,
        streams::a_write_of_nothing_changes_nothing,
        streams::a_thousand_streams_pass_in_turn,
        streams::streams_at_once_keep_their_bytes_apart,
        streams::streams_at_once_keep_to_the_limit,
        streams::streams_are_accepted_in_the_order_of_opening,
        streams::both_sides_may_open_streams,
        backpressure::a_slow_reader_stops_the_writer_within_the_bound,
        backpressure::a_stuck_stream_holds_up_no_other,
        backpressure::all_streams_together_keep_to_the_connections_window,
        priority::urgent_streams_overtake_the_others,
        datagrams::a_longer_datagram_than_fits_is_an_error,
        datagrams::datagrams_come_whole_and_at_most_once,
        datagrams::every_message_with_a_deadline_has_an_outcome,
        datagrams::datagrams_that_came_before_the_end_are_handed_out,
        cancel::cancelled_accepts_lose_no_stream,
        cancel::cancelled_reads_lose_no_byte,
        cancel::cancelled_writes_keep_count,
        cancel::cancelled_opens_use_up_no_stream,
        cancel::a_cancelled_connect_leaves_the_endpoint_fine,
        cancel::cancelled_accepts_lose_no_connection,
        ending::code_and_reason_reach_the_other_side,
        ending::a_long_reason_is_cut,
        ending::the_first_close_counts,
        ending::what_waits_ends_with_the_connection,
        ending::nothing_works_after_the_end,
        ending::a_quiet_connection_stays,
        handles::a_dropped_connection_is_closed,
        handles::streams_keep_their_connection_open,
        endpoints::both_sides_know_whom_they_talk_to,
        endpoints::another_key_than_the_expected_is_refused,
        endpoints::whoever_expects_anyone_learns_the_key,
        endpoints::a_closed_port_is_reported_in_time,
        endpoints::a_taken_port_is_reported,
        endpoints::closing_an_endpoint_ends_everything,
        endpoints::a_closed_endpoint_frees_its_port,
        endpoints::a_dropped_endpoint_closes_its_connections,
        endpoints::many_clients_are_served_at_once,
        endpoints::several_tasks_may_accept,
        endpoints::a_full_backlog_turns_away_and_recovers,
        endpoints::the_limit_of_connections_is_kept,
        endpoints::counters_move,
        hostile::garbage_on_the_port_harms_nobody,
    }
    Lossless {
        streams::sixteen_mebibytes_arrive_whole,
        datagrams::datagrams_of_every_size_that_fits_arrive,
        datagrams::a_full_queue_drops_the_oldest,
        cancel::cancelled_waits_lose_no_datagram,
    }
    Breakable {
        ending::a_vanished_peer_is_noticed,
    }
};
