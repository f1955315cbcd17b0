//! The TCP transport: our stream machine over TLS 1.3.
