//! The QUIC transport: a thin adapter over quinn.
