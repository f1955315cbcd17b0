//! Every metric, in the order in which it is told.

use super::exposition::{
    Family,
    Kind::{Counter, Gauge, Histogram},
};

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)+) => {
        $(pub(super) const $constant: Family =
            Family { name: $name, kind: $kind, help: $help };)+
        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    BUILD = Gauge "portolan_build_info" "Always 1; the label says the version.";
    CLIENTS = Gauge "portolan_clients" "Users logged in.";
    CONNECTIONS = Gauge "portolan_connections" "Connections open, logged in or not.";
    ACCEPTED = Counter "portolan_connections_accepted_total" "Handshakes that were completed.";
    LOGINS = Counter "portolan_logins_total" "Logins that were granted.";
    LOGINS_REFUSED = Counter "portolan_logins_refused_total" "Logins that were refused, by code.";
    REFUSED = Counter "portolan_connections_refused_total"
        "Connections that ended without a login.";
    FULL = Counter "portolan_registry_full_total" "Logins refused because the registry was full.";
    VANISHED = Counter "portolan_vanished_total" "Sessions that ended without a word.";
    LEFT = Counter "portolan_sessions_ended_total" "Sessions of users that ended, by how.";
    REQUESTS = Counter "portolan_requests_total" "Requests that were read.";
    REFUSALS = Counter "portolan_requests_refused_total"
        "Requests that were refused, by code; rate_limited and quota are the bounds.";
    GARBAGE = Counter "portolan_frames_skipped_total" "Frames that were no requests.";
    RECEIVED = Counter "portolan_messages_received_total" "Messages that clients asked to send.";
    STORED = Counter "portolan_messages_stored_total" "Messages that were stored.";
    STORED_BYTES = Counter "portolan_message_bytes_total" "Bytes of text of messages stored.";
    COPIES = Counter "portolan_message_copies_total" "Recipients of messages stored.";
    DELIVERED = Counter "portolan_messages_delivered_total"
        "Messages queued for clients, repetitions included.";
    EVENTS = Counter "portolan_events_total" "Events of every kind queued for clients.";
    BYTES_IN = Counter "portolan_control_bytes_received_total" "Bytes of requests.";
    BYTES_OUT = Counter "portolan_control_bytes_sent_total" "Bytes of answers and events.";
    USERS = Gauge "portolan_users" "Names that the server knows.";
    GROUPS = Gauge "portolan_groups" "Groups.";
    CONVERSATIONS = Gauge "portolan_conversations" "Conversations under way.";
    MAILBOX_MESSAGES = Gauge "portolan_mailbox_messages" "Messages that wait for recipients.";
    MAILBOX_BYTES = Gauge "portolan_mailbox_bytes" "Bytes of text that wait for recipients.";
    RELAYS = Gauge "portolan_relays" "Relays under way.";
    RELAYS_OPENED = Counter "portolan_relays_opened_total" "Relays that were opened.";
    RELAY_BYTES = Counter "portolan_relay_bytes_total" "Bytes that relays carried, both ways.";
    RELAY_DATAGRAMS = Counter "portolan_relay_datagrams_total" "Datagrams that relays carried.";
    RELAY_DATAGRAM_BYTES = Counter "portolan_relay_datagram_bytes_total"
        "Bytes of datagrams that relays carried, headers included.";
    RELAY_DROPPED = Counter "portolan_relay_datagrams_dropped_total"
        "Datagrams for relays that were not carried, by why.";
    RELAY_UP = Gauge "portolan_relay_up" "1 while another relay of this server answers.";
    RELAY_HANDED = Counter "portolan_relay_handed_total"
        "Introductions that were handed to another relay.";
    STUN_ANSWERS = Counter "portolan_stun_answers_total" "STUN questions that were answered.";
    STUN_UNANSWERED = Counter "portolan_stun_unanswered_total"
        "STUN datagrams that were not answered, by why.";
    COMMIT_SECONDS = Histogram "portolan_store_commit_seconds"
        "Time from taking a batch of operations to its commit.";
    COMMIT_OPERATIONS = Histogram "portolan_store_commit_operations" "Operations in one commit.";
    STORE_FAILED = Counter "portolan_store_failures_total" "Commits that failed.";
    STORE_QUEUE = Gauge "portolan_store_queue_operations" "Operations that wait for the store.";
    STORE_QUEUE_BYTES = Gauge "portolan_store_queue_bytes" "Bytes of text that wait for the store.";
    EVENT_LINES = Counter "portolan_event_log_lines_total" "Lines written to the event log.";
    EVENT_DROPPED = Counter "portolan_event_log_dropped_total"
        "Lines left out of the event log: the disk was too slow or refused them.";
    EVENT_FAILED = Gauge "portolan_event_log_failing" "1 while the event log cannot be written.";
    LAG = Histogram "portolan_loop_lag_seconds" "How late a timer of 100 ms goes off.";
    RESIDENT = Gauge "process_resident_memory_bytes" "Resident memory.";
    THREADS = Gauge "process_threads" "Threads.";
    FILES = Gauge "process_open_fds" "Open files and sockets.";
    FILES_MAX = Gauge "process_max_fds" "How many may be open.";
    CPU = Counter "process_cpu_seconds_total" "CPU time, user and system.";
    START = Gauge "process_start_time_seconds" "When the server started, seconds since 1970.";
}
