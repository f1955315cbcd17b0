//! The UDP transport: our own reliability over datagrams.
