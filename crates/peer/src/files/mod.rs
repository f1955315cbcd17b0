//! Files: what may be named, what is shared, how bytes are read, written, hashed and reported.

pub(crate) mod content;
mod name;
mod progress;
mod share;
mod target;

pub(crate) use name::{check_name, check_path};
pub(crate) use progress::Progress;
pub use share::ShareError;
pub(crate) use share::{OpenedFile, Share, open_file};
pub(crate) use target::Target;
