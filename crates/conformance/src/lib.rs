//! The promises of the transport traits as one suite of checks, run against every transport.
