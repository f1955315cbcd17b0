//! Streams over one connection: states, offsets, flow control, priorities and the send scheduler, without I/O.
