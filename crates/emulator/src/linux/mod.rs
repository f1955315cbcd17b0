//! The emulator on Linux.

mod device;
mod driver;
mod emulator;
mod first;
mod hands;
mod launch;
mod meter;
mod namespace;
mod netlink;
mod sys;

pub use emulator::Emulator;
pub use launch::launch;
pub use namespace::HostNamespace;
