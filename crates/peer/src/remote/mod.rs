//! Other peers: sessions with them through the relay, what they may ask, what we ask them.
//!
//! A session begins as one end-to-end encrypted connection inside one relayed stream (`relay`);
//! every request has a stream of its own on it. Better ways join it (`meeting` finds them over
//! `port`), and `paths` makes one connection of all: nothing else knows what carries a stream.

mod agreements;
mod asking;
mod binding;
mod claims;
mod datagrams;
mod dialling;
mod drive;
mod elsewhere;
mod exchange;
mod find;
mod gather;
mod host;
mod known_peers;
mod mapped;
mod meeting;
mod outside;
mod owner;
mod paths;
mod piecewise;
mod pool;
mod port;
mod ports;
mod punching;
mod rate;
mod relay;
mod remote_file;
mod serve;
mod sessions;
mod stop;
mod surveyed;
mod transfer;
mod tree;
mod tries;
mod vouched;
mod watching;
mod way;

pub(crate) use datagrams::{DatagramInbox, Datagrams};
pub(crate) use gather::{GatherRequest, gather};
pub(crate) use host::{Decision, Host};
pub use known_peers::Familiarity;
pub(crate) use known_peers::KnownPeers;
pub(crate) use meeting::Meeting;
pub(crate) use paths::Rank;
pub(crate) use piecewise::PiecewiseFile;
pub(crate) use ports::Ports;
pub(crate) use rate::Rate;
pub(crate) use relay::{Introducer, accept_openings};
pub(crate) use sessions::{Lease, Sessions};
pub(crate) use transfer::{GetRequest, all_files, files_page, get, offer};
pub(crate) use tree::{TreeRequest, get_tree, offer_tree};
pub(crate) use tries::Tries;
pub(crate) use vouched::Vouched;
