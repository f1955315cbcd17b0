//! Our reliable UDP as state machines: packets, handshake, recovery, congestion control, without I/O.
