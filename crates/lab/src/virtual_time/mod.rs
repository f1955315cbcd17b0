//! Our UDP and QUIC as machines in virtual time.
