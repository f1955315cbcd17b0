//! The core in virtual time, over the store in memory.

mod behaviour;
mod groups;
mod model;
mod passwords;
mod world;
