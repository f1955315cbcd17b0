//! A thousand simulated networks for each share of loss, and what must hold on all of them.
//!
//! Two endpoints with real handshakes talk in virtual time over `netsim`: streams of all sizes,
//! classes and endings in both directions, datagrams, silences, key updates, closes from either
//! side; over links that lose, reorder, duplicate and corrupt, with 10 to 400 ms of round trip,
//! narrow or wide, some with a blackhole of five seconds, some with clients whose address changes
//! (with or without their knowing it), some with an attacker on the way who reads everything, adds
//! packets of his own and repeats others' from elsewhere. On every one of them:
//!
//! - every byte of a stream arrives once and in order (`app.rs` checks each against its place);
//! - datagrams arrive at most once and whole;
//! - the connection ends with the same close on both sides, or each side says why not;
//! - a connection holds no more memory than its bounds say;
//! - nothing spins, nothing hangs: steps and virtual time are bounded;
//! - who only repeats a client's packets is sent at most three times what he sent;
//! - before a client has proved its address, it is sent at most three times what it sent.
//!
//! `SEED=7 cargo test -p portolan-rudp --test simulation TEST` replays one run of one test; a
//! failure prints that line. `SEEDS=1000..50000` runs others than the usual.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes and times of the simulation are small by construction"
)]

mod app;
mod bulk;
mod chance;
mod forge;
mod plan;
mod run;
mod scenario;
mod seeds;
mod setup;
mod signals;
mod storm;
mod world;

use std::collections::BTreeMap;

use portolan_rudp::CookiePolicy;
use run::{Outcome, Report};
use storm::{Aftermath, RTT, Storm, Voices};

const SEEDS: u64 = 1_000;

/// Runs the matrix's row for this share of loss; at least `clean_min` runs in a thousand must
/// have delivered everything and closed.
fn matrix(test: &str, loss: f64, clean_min: usize) {
    let reports = seeds::for_each(test, 0..SEEDS, |seed| run::run(seed, loss));
    let mut outcomes = BTreeMap::<Outcome, usize>::new();
    reports.iter().for_each(|(_, report)| *outcomes.entry(report.outcome).or_default() += 1);
    let gave_up = reports.iter().filter(|(_, report)| report.outcome == Outcome::TimedOut);
    let gave_up: Vec<u64> = gave_up.map(|(seed, _)| *seed).collect();
    let sum = |field: fn(&Report) -> u64| reports.iter().map(|(_, r)| field(r)).sum::<u64>();
    let bytes = sum(|report| report.bytes);
    let sent = sum(|report| report.datagrams_sent.into());
    let received = sum(|report| report.datagrams_received as u64);
    let seconds = sum(|report| report.took.as_secs());
    eprintln!(
        "{test}: {outcomes:?}, {bytes} bytes, {received}/{sent} datagrams, {seconds} s; timed out: {gave_up:?}"
    );
    if seeds::overridden() {
        return;
    }
    let settled = [Outcome::Clean, Outcome::Unheard, Outcome::Vanished];
    let settled: usize = settled.iter().filter_map(|outcome| outcomes.get(outcome)).sum();
    assert!(settled >= clean_min, "{outcomes:?}");
    assert!(bytes > 0 && received > 0);
}

#[test]
fn a_thousand_networks_without_loss() {
    matrix("a_thousand_networks_without_loss", 0.0, 1_000);
}

#[test]
fn a_thousand_networks_with_2_percent_loss() {
    matrix("a_thousand_networks_with_2_percent_loss", 0.02, 1_000);
}

#[test]
fn a_thousand_networks_with_10_percent_loss() {
    matrix("a_thousand_networks_with_10_percent_loss", 0.1, 999);
}

#[test]
fn a_thousand_networks_with_30_percent_loss() {
    matrix("a_thousand_networks_with_30_percent_loss", 0.3, 950);
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    seeds::for_each("the_same_seed_gives_the_same_packets", 0..20, |seed| {
        assert_eq!(run::run(seed, 0.1).trace, run::run(seed, 0.1).trace);
    });
}

/// A storm with and without cookies, so that most clients must get through within their ten
/// seconds.
fn storm(test: &str, loss: f64, connected_min: usize) -> [Aftermath; 2] {
    let policies = [CookiePolicy::Above(u32::MAX), CookiePolicy::Always];
    policies.map(|cookies| {
        let storm = Storm { clients: 50, loss, cookies, voices: Voices::Honest };
        let afters = seeds::for_each(test, 0..10, |seed| storm.rage(seed));
        let sum = afters.into_iter().fold(Aftermath::default(), |sum, (_, after)| sum.and(after));
        let took = (sum.took.iter().min(), sum.took.iter().max());
        eprintln!("{test}: {cookies:?}: {} connected in {took:?}", sum.connected);
        assert!(seeds::overridden() || sum.connected >= connected_min, "{}", sum.connected);
        sum
    })
}

#[test]
fn a_storm_of_handshakes_without_loss_takes_one_round_trip_or_two_with_cookies() {
    let test = "a_storm_of_handshakes_without_loss";
    let [plain, with_cookies] = storm(test, 0.0, 500);
    assert!(plain.took.iter().all(|took| *took == RTT), "{:?}", plain.took);
    assert!(with_cookies.took.iter().all(|took| *took == 2 * RTT), "{:?}", with_cookies.took);
}

#[test]
fn a_storm_of_handshakes_with_10_percent_loss() {
    storm("a_storm_of_handshakes_with_10_percent_loss", 0.1, 500);
}

#[test]
fn a_storm_of_handshakes_with_30_percent_loss() {
    storm("a_storm_of_handshakes_with_30_percent_loss", 0.3, 495);
}

#[test]
fn spoofed_clients_cost_nothing_with_cookies_and_little_without() {
    let storm = |cookies| {
        let storm = Storm { clients: 200, loss: 0.0, cookies, voices: Voices::Spoofed };
        let test = "spoofed_clients_cost_nothing_with_cookies_and_little_without";
        let afters = seeds::for_each(test, 0..3, |seed| storm.rage(seed));
        afters.into_iter().fold(Aftermath::default(), |sum, (_, after)| sum.and(after))
    };
    let plain = storm(CookiePolicy::Above(u32::MAX));
    assert!(plain.amplification_max <= 3.0, "{}", plain.amplification_max);
    let mixed = storm(CookiePolicy::Above(50));
    assert!(mixed.half_open_max <= 51, "{}", mixed.half_open_max);
    let with_cookies = storm(CookiePolicy::Always);
    assert_eq!(with_cookies.half_open_max, 0);
    assert!(with_cookies.amplification_max < 0.1, "{}", with_cookies.amplification_max);
}
