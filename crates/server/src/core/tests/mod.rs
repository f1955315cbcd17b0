//! The core in virtual time, over the store in memory.

mod bans;
mod behaviour;
mod groups;
mod model;
mod passwords;
mod presence;
mod registries;
mod world;
