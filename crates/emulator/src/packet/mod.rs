//! Packets as bytes: read, cut, put together again, changed. Pure.
//!
//! A host's kernel hands over super-packets: many segments with one header. Each segment is a
//! packet of its own to the model; those that survive side by side leave as one super-packet again.

mod checksum;
mod compose;
mod fragments;
mod frame;
mod icmp;
mod layout;
mod outgoing;
mod reset;
mod vnet;

#[cfg(test)]
mod tests;

pub(crate) use fragments::Fragments;
pub(crate) use frame::{Frame, Piece};
pub(crate) use layout::{Malformed, Transport};
pub(crate) use outgoing::Run;
pub(crate) use vnet::{Offload, VNET_HEADER};
