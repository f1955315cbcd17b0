//! One UDP port for several protocols: demultiplexing, GSO, GRO and ECN.
