//! The yardsticks of the laboratory: bare sockets, TLS, QUIC and KCP by others.
