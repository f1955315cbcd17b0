//! Real sockets, interleaved rounds.
