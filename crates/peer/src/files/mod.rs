//! Files: what may be named, what is shared, how bytes are read, proven, written and reported.

mod attributes;
pub(crate) mod content;
mod heard;
mod landing;
mod manifest;
mod name;
mod partial;
mod progress;
mod quota;
mod reached;
mod share;
mod tally;
mod target;
mod transfers;
mod tree;
mod trees;
mod walk;

pub(crate) use attributes::Attributes;
pub(crate) use heard::Heard;
pub(crate) use landing::{Landing, There, hash_of_small};
pub(crate) use manifest::{Manifest, Refusal};
pub(crate) use name::{check_name, check_path};
pub(crate) use partial::Partial;
pub(crate) use progress::Progress;
pub(crate) use quota::{Admission, Quota};
pub(crate) use reached::Reached;
pub use share::ShareError;
pub(crate) use share::{OpenedFile, Share, open_file};
pub(crate) use tally::Tally;
pub(crate) use target::Target;
pub(crate) use transfers::{Order, Orders, Reached as OrderReached, Ticket, Transfers};
pub(crate) use tree::Tree;
pub(crate) use trees::{Stamp, Trees};
pub(crate) use walk::Walker;
