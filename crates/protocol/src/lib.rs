//! The messages that peers and servers exchange: types, limits, codec and error codes.
