//! Thousands of stormy afternoons of a whole server, in virtual time, and what must hold on all of
//! them.
//!
//! The real core (`portolan_server::core`) with the real stores behind a disk that commits in
//! groups and may be cut off anywhere; a shell, lines and client programs in virtual time, the
//! latter with the client library's own backoff, inbox and table of repetitions. Five users say,
//! talk, organise, look, move and leave; programs crash, lines stall, break and are noticed to be
//! broken late; disks are slow or fail; the server is stopped, and killed between any two
//! operations of a commit, while its clock on the wall may be set back. Bounds are so narrow that
//! every run meets them. A model (`truth`) that knows nothing of the core's code says what is
//! right:
//!
//! - each request gets exactly one answer, and where there is one right answer it is that;
//! - what was answered `stored`, and what was delivered, is on the disk; it reaches everyone for
//!   whom it was kept, in order, and no program twice; what a program has confirmed does not come
//!   again;
//! - receipts are true: nothing is delivered before it was, or seen before it was;
//! - who is busy is who talks, in the list and in everyone's program;
//! - groups, names, passwords and bans are what the disk has, and change by the rules;
//! - mailboxes, queues, requests and memberships keep their bounds; nothing is left over.
//!
//! A sender's messages keep their order but for one that was refused (full mailbox, failed disk)
//! and is sent again because that answer was lost: it counts from its second sending.
//!
//! Faults that were planted and caught within a few hundred seeds: a repeated reference stored
//! again; a message delivered before its commit; a message that overtakes a page of the mailbox;
//! ids that follow a clock which was set back; a user who vanishes and keeps the conversation.
//! Faults that were there and are now tests of their own: groups beyond their bounds when changes
//! come in one commit, a group found by a name that it does not have yet, and messages that
//! overtook one thrown away with a full queue.
//!
//! Not in it: several devices of a name, settings and several conversations at a time
//! (`core::tests::devices_model` has those), and rates.
//!
//! `SEED=7 cargo test -p portolan-server --test simulation TEST` replays one run; a failure prints
//! that line and the end of the run's story. `SEEDS=0..100000` runs others than the usual.

#![expect(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "numbers of the simulation are small by construction, and a test fails by panicking"
)]

mod acts;
#[path = "../../../peer/src/session/backoff.rs"]
mod backoff;
mod chance;
mod client;
mod disk;
mod harbour;
#[path = "../../../peer/src/session/inbox.rs"]
mod inbox;
mod line;
mod person;
#[path = "../../../peer/src/session/repeat.rs"]
mod repeat;
mod seeds;
mod truth;
mod world;

// What the client library's files expect at the root of their crate.
use portolan_peer::{Backoff, RequestError, SessionEnd};

use crate::{
    disk::Disk,
    world::{Tally, World},
};

#[test]
fn a_thousand_servers_lose_nothing_double_nothing_and_tell_the_truth() {
    let test = "a_thousand_servers_lose_nothing_double_nothing_and_tell_the_truth";
    let run = |seed, story: Option<&seeds::Story>| World::new(seed, Disk::in_memory(), story).run();
    let tally = seeds::for_each(test, 0..1_000, run, Tally::and);
    eprintln!("{tally:?}");
    if !seeds::overridden() {
        check_that_things_happen(&tally);
    }
}

#[test]
fn a_server_with_a_database_does_the_same() {
    let test = "a_server_with_a_database_does_the_same";
    let run = |seed, story: Option<&seeds::Story>| {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = Disk::database(directory.path().join("server.db"));
        World::new(seed, disk, story).run()
    };
    let tally = seeds::for_each(test, 0..20, run, Tally::and);
    eprintln!("{tally:?}");
    assert!(tally.stored > 0);
}

/// A simulation in which nothing happens shows nothing.
fn check_that_things_happen(tally: &Tally) {
    let rows = [
        ("stored", tally.stored),
        ("heard", tally.heard),
        ("talks", tally.talks),
        ("crossings", tally.crossings),
        ("group changes", tally.group_changes),
        ("kills", tally.kills),
        ("lost lines", tally.lost_lines),
        ("repeats", tally.repeats),
        ("too slow", tally.too_slow),
        ("full mailboxes", tally.full_mailboxes),
        ("moves", tally.moves),
    ];
    for (what, count) in rows {
        assert!(count >= 100, "{what}: only {count} in a thousand runs");
    }
}
