//! Firewalls without translation, mostly for IPv6.

mod world_common;

use portolan_netsim::{
    Echo, IcmpError, Kind, Packet, Problem, Protocol, Quoted, Unreachable,
    topology::{Firewall, Node, Scope, Unsolicited},
};
use world_common::{Sim, at, firewall, host, ip, ms, ping, pong, subnet, tcp, udp};

const ALICE: &str = "[2001:db8:a::2]:5000";
const SERVER: &str = "[2001:db8:f::10]:80";
const SERVER_OTHER_PORT: &str = "[2001:db8:f::10]:81";
const STRANGER: &str = "[2001:db8:f::11]:80";

fn walled(rules: Firewall) -> Vec<Node> {
    vec![
        subnet("home", "2001:db8:a::/64 192.0.2.0/24"),
        subnet("net", "2001:db8:f::/64 203.0.113.0/24"),
        host("alice", &["home 2001:db8:a::2 192.0.2.2"]),
        host("server", &["net 2001:db8:f::10 203.0.113.10"]),
        host("stranger", &["net 2001:db8:f::11"]),
        firewall("wall", "home 2001:db8:a::1 192.0.2.1", "net 2001:db8:f::1 203.0.113.1", rules),
    ]
}

fn reaches(sim: &mut Sim, from: &str, packet: Packet<u32>) -> bool {
    !sim.exchange(from, packet).is_empty()
}

fn syn(from: &str, to: &str) -> Packet<u32> {
    tcp(from, to, "S")
}

#[test]
fn answers_come_in_and_strangers_as_far_as_the_filter_lets_them() {
    let rows = [
        (Scope::EndpointIndependent, true, true),
        (Scope::AddressDependent, true, false),
        (Scope::AddressAndPortDependent, false, false),
    ];
    for (filtering, other_port, stranger) in rows {
        for packet in [udp, syn] {
            let mut sim = Sim::of(walled(Firewall { filtering, ..Firewall::default() }));
            assert!(!reaches(&mut sim, "server", packet(SERVER, ALICE)), "unsolicited");
            assert!(reaches(&mut sim, "alice", packet(ALICE, SERVER)));
            assert!(reaches(&mut sim, "server", packet(SERVER, ALICE)));
            assert_eq!(reaches(&mut sim, "server", packet(SERVER_OTHER_PORT, ALICE)), other_port);
            assert_eq!(reaches(&mut sim, "stranger", packet(STRANGER, ALICE)), stranger);
            sim.assert_accounted_for();
        }
    }
}

#[test]
fn ipv4_is_guarded_in_the_same_way() {
    let mut sim = Sim::of(walled(Firewall::default()));
    let (alice, server) = ("192.0.2.2:5000", "203.0.113.10:80");
    assert!(!reaches(&mut sim, "server", udp(server, alice)));
    let out = sim.only("alice", udp(alice, server)).packet;
    assert_eq!(out.source, at(alice));
    assert!(reaches(&mut sim, "server", udp(server, alice)));
}

#[test]
fn a_flow_is_forgotten_when_nothing_goes_out() {
    let mut sim = Sim::of(walled(Firewall { udp_timeout: ms(500), ..Firewall::default() }));
    assert!(reaches(&mut sim, "alice", udp(ALICE, SERVER)));
    sim.pass_time(ms(400));
    assert!(reaches(&mut sim, "server", udp(SERVER, ALICE)));
    sim.pass_time(ms(200));
    assert!(!reaches(&mut sim, "server", udp(SERVER, ALICE)));
}

#[test]
fn a_tcp_connection_may_be_opened_from_both_sides_at_once() {
    let mut sim = Sim::of(walled(Firewall::default()));
    assert!(!reaches(&mut sim, "server", syn(SERVER, ALICE)));
    for (from, packet) in [
        ("alice", syn(ALICE, SERVER)),
        ("server", syn(SERVER, ALICE)),
        ("alice", tcp(ALICE, SERVER, "SA")),
        ("server", tcp(SERVER, ALICE, "SA")),
    ] {
        assert!(reaches(&mut sim, from, packet));
    }
}

#[test]
fn pings_go_out_and_only_their_replies_come_in() {
    let mut sim = Sim::of(walled(Firewall::default()));
    let (alice, server) = ("[2001:db8:a::2]:9", "[2001:db8:f::10]:9");
    assert!(!reaches(&mut sim, "server", ping(server, alice)));
    assert!(!reaches(&mut sim, "server", pong(server, alice)));
    assert!(reaches(&mut sim, "alice", ping(alice, server)));
    assert!(reaches(&mut sim, "server", pong(server, alice)));
    assert!(!reaches(&mut sim, "server", pong("[2001:db8:f::10]:8", "[2001:db8:a::2]:8")));
}

#[test]
fn errors_come_in_for_known_flows_only() {
    let mut sim = Sim::of(walled(Firewall::default()));
    let by = ip("2001:db8:f::10");
    let error = |source: &str| {
        let about = Quoted { protocol: Protocol::Udp, source: at(source), destination: at(SERVER) };
        let what = Problem::Unreachable(Unreachable::Port);
        Packet {
            protocol: Protocol::Icmp,
            kind: Kind::Error(IcmpError { what, by, about }),
            ..udp("[2001:db8:f::10]:0", "[2001:db8:a::2]:0")
        }
    };
    assert!(!reaches(&mut sim, "server", error(ALICE)));
    assert!(reaches(&mut sim, "alice", udp(ALICE, SERVER)));
    assert!(reaches(&mut sim, "server", error(ALICE)));
    assert!(!reaches(&mut sim, "server", error("[2001:db8:a::2]:5001")));
    sim.assert_accounted_for();
}

#[test]
fn what_nobody_asked_for_may_be_rejected() {
    let rules = Firewall { unsolicited: Unsolicited::Reject, ..Firewall::default() };
    let mut sim = Sim::of(walled(rules));
    let reset = sim.only("server", syn(SERVER, ALICE));
    assert_eq!(reset.interface, sim.id("server"));
    assert_eq!(reset.packet.kind, tcp(ALICE, SERVER, "RA").kind);
    let told = sim.only("server", udp(SERVER, ALICE)).packet;
    let Kind::Error(error) = told.kind else { panic!("no error: {told:?}") };
    assert_eq!(error.what, Problem::Unreachable(Unreachable::Port));
    sim.assert_accounted_for();
}

#[test]
fn the_wall_itself_answers_inside_and_is_silent_outside() {
    let mut sim = Sim::of(walled(Firewall::default()));
    let reply = sim.only("alice", ping("[2001:db8:a::2]:1", "[2001:db8:a::1]:1")).packet;
    assert_eq!(reply.kind, Kind::Echo(Echo::Reply));
    assert!(!reaches(&mut sim, "server", ping("[2001:db8:f::10]:1", "[2001:db8:f::1]:1")));
}

#[test]
fn a_wall_may_block_udp_in_both_directions() {
    let mut sim = Sim::of(walled(Firewall { blocks_udp: true, ..Firewall::default() }));
    assert!(!reaches(&mut sim, "alice", udp(ALICE, SERVER)));
    assert!(!reaches(&mut sim, "server", udp(SERVER, ALICE)));
    assert!(reaches(&mut sim, "alice", syn(ALICE, SERVER)));
    assert_eq!(sim.world.stats().blocked, 2);
}
