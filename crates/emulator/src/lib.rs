//! The network model with real packets: TAP devices in namespaces of this process.
//!
//! ```text
//!   namespace of alice                one thread                 namespace of bob
//!   programs, kernel TCP       ┌─────────────────────┐        programs, kernel TCP
//!        eth0 (TAP) ══frames══▶│ read → World → write │══frames══▶ eth0 (TAP)
//!                              └─────────────────────┘
//! ```
//!
//! Every host of a topology is an anonymous network namespace with one TAP device an interface.
//! One thread holds the other ends of all devices: what it reads it gives to
//! [`portolan_netsim::World`], and what comes out there it writes when it is due. It adds
//! nothing of its own but lateness, which it measures ([`Health`]).
//!
//! [`launch`] puts the whole program into namespaces that die with it, so that nothing is ever left
//! behind; it needs no root where user namespaces and `/dev/net/tun` are open to all.
//!
//! # Offloads
//! The kernel hands over super-packets of up to 64 KiB with the headers of one. Each segment is a
//! packet of its own to the model, with its own fate. Segments that survive side by side and are
//! due within [`Options::merge_within`] of the first are written as one super-packet again, so one
//! thread carries gigabits.
//!
//! # Devices
//! TAP rather than TUN, without ARP: programs see an ordinary interface that can multicast (a TUN
//! device is point-to-point, which discovery libraries leave out), and no packet is about
//! neighbours. What hosts say about the link itself (NDP, MLD, IGMP) goes nowhere: the model's
//! networks need none of it.
//!
//! # What it does not do
//! It decides nothing about packets: that is the model's. It does not cut packets into IP fragments
//! (the model says what is too long). It tells a program nothing that a real network would not.
//!
//! # Invariants
//! - A packet that the network did not change leaves byte by byte as it came, but for its hop limit
//!   (`what_is_cut_and_joined_again_is_what_was_sent`).
//! - Same seed and same packets: the same survivors as in virtual time
//!   (`the_same_packets_survive_as_in_virtual_time`).
//! - When the launcher or its child dies, every process and namespace of the run is gone
//!   (`nothing_is_left_when_the_launcher_is_killed`).
//!
//! # Unsafe code
//! The kernel's interface to TUN devices is an `ioctl`, and a process that becomes the first of new
//! namespaces is made by `clone`; neither has a safe wrapper. All of it is in `linux/sys.rs`.
//!
//! On other systems than Linux everything is there and says [`Missing::Linux`].

mod counters;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod error;
mod health;
#[cfg(target_os = "linux")]
mod linux;
mod options;
#[cfg(target_os = "linux")]
mod packet;

pub use counters::{Counters, LinkCounters};
pub use error::{ApplyError, Missing, StartError};
pub use health::{Health, Lateness};
pub use options::{Options, Realtime};

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Emulator, HostNamespace, launch};
#[cfg(target_os = "linux")]
pub use linux::{Emulator, HostNamespace, launch};

use std::process::ExitCode;

/// Where the caller of [`launch`] finds itself.
#[derive(Debug)]
pub enum Launch {
    /// Inside: the world can be built here.
    Inside,
    /// Outside, and what was inside has ended; this is what to exit with.
    Finished(ExitCode),
}
