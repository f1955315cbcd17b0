//! The core in virtual time, over the store in memory.

mod abuse;
mod attention;
mod bans;
mod behaviour;
mod devices;
mod devices_model;
mod ending;
mod group_references;
mod groups;
mod model;
mod passes;
mod passwords;
mod presence;
mod registries;
mod settings;
mod vouching;
mod world;
