//! Gateways as the old programs meet them: real sockets, one read one message, and what the
//! original servers said, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../server/client.rs"]
#[expect(dead_code, reason = "what other tests of the server use")]
mod client;
mod cod;
mod hostile;
mod inf452;
mod line_replay;
mod lines;
mod mac0448;
mod old;
mod replay;
mod rounds;
mod tr223;
mod upc;
