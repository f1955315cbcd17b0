//! How much a topology file may hold.

/// Bytes of text.
pub(super) const BYTES: usize = 1024 * 1024;
/// Nodes: hosts, networks, routers, translators, firewalls.
pub(super) const NODES: usize = 256;
/// Interfaces of one node.
pub(super) const INTERFACES: usize = 16;
/// Profiles of the file's own.
pub(super) const PROFILES: usize = 64;
/// Things that happen.
pub(super) const MOMENTS: usize = 4_096;
/// Programs.
pub(super) const PROGRAMS: usize = 1_024;
/// Arguments of a program.
pub(super) const ARGUMENTS: usize = 256;
/// Forwarded ports of one translator.
pub(super) const FORWARDS: usize = 64;
/// Characters of a node's name.
pub(super) const NAME: usize = 32;
/// Characters of an interface's name: Linux has room for no more.
pub(super) const INTERFACE_NAME: usize = 15;
