//! Translators: what each behaviour looks like to those inside and outside.

mod world_common;

use std::{net::SocketAddr, time::Duration};

use portolan_netsim::{
    Echo, IcmpError, Kind, Link, Packet, Problem, Protocol, Quoted, Unreachable,
    topology::{
        Duplex, Happening, Moment, Nat, Node, NodeKind, PortAllocation, Scope, Unsolicited,
    },
};
use world_common::{Sim, at, host, ip, ms, nat, ping, pong, subnet, tcp, topology, udp};

const SCOPES: [Scope; 3] =
    [Scope::EndpointIndependent, Scope::AddressDependent, Scope::AddressAndPortDependent];
const PORTS: [PortAllocation; 3] =
    [PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random];

const ALICE: &str = "192.168.1.2:5000";
const OUTSIDE: &str = "203.0.113.1";

/// alice and bob inside, two servers outside.
fn home(rules: Nat) -> Vec<Node> {
    vec![
        subnet("home", "192.168.1.0/24 fd01::/64"),
        subnet("net", "203.0.113.0/24 2001:db8::/64"),
        host("alice", &["home 192.168.1.2 fd01::2"]),
        host("bob", &["home 192.168.1.3"]),
        host("s1", &["net 203.0.113.10 2001:db8::10"]),
        host("s2", &["net 203.0.113.11"]),
        nat("box", "home 192.168.1.1 fd01::1", "net 203.0.113.1 2001:db8::1", rules),
    ]
}

fn sim(rules: Nat) -> Sim {
    Sim::of(home(rules))
}

/// As which the packet's sender is seen by its receiver.
fn seen(sim: &mut Sim, from: &str, packet: Packet<u32>) -> SocketAddr {
    sim.only(from, packet).packet.source
}

/// Whether the packet reaches anybody.
fn reaches(sim: &mut Sim, from: &str, packet: Packet<u32>) -> bool {
    !sim.exchange(from, packet).is_empty()
}

fn scope(same_for_port: bool, same_for_address: bool) -> Scope {
    match (same_for_port, same_for_address) {
        (true, true) => Scope::EndpointIndependent,
        (true, false) => Scope::AddressDependent,
        (false, _) => Scope::AddressAndPortDependent,
    }
}

/// What a probe in the manner of RFC 5780 §4.3 finds.
fn mapping(sim: &mut Sim, from: &str, packet: fn(&str, &str) -> Packet<u32>) -> Scope {
    let first = seen(sim, "alice", packet(from, "203.0.113.10:3478"));
    let other_port = seen(sim, "alice", packet(from, "203.0.113.10:3479"));
    let other_address = seen(sim, "alice", packet(from, "203.0.113.11:3478"));
    scope(first == other_port, first == other_address)
}

/// What a probe in the manner of RFC 5780 §4.4 finds.
fn filtering(sim: &mut Sim, from: &str, packet: fn(&str, &str) -> Packet<u32>) -> Scope {
    let mapped = seen(sim, "alice", packet(from, "203.0.113.10:3478")).to_string();
    let other_address = reaches(sim, "s2", packet("203.0.113.11:3478", &mapped));
    let other_port = reaches(sim, "s1", packet("203.0.113.10:3479", &mapped));
    assert!(reaches(sim, "s1", packet("203.0.113.10:3478", &mapped)), "answers always come in");
    scope(other_port, other_address)
}

fn syn(from: &str, to: &str) -> Packet<u32> {
    tcp(from, to, "S")
}

#[test]
fn a_probe_finds_every_behaviour_as_it_was_configured() {
    for (want_mapping, want_filtering, ports) in all_behaviours() {
        for packet in [udp, syn] {
            let rules =
                Nat { mapping: want_mapping, filtering: want_filtering, ports, ..Nat::default() };
            let mut sim = sim(rules);
            let found = mapping(&mut sim, ALICE, packet);
            assert_eq!(found, want_mapping, "mapping of {want_filtering:?} {ports:?}");
            let found = filtering(&mut sim, "192.168.1.2:6000", packet);
            assert_eq!(found, want_filtering, "filtering of {want_mapping:?} {ports:?}");
            sim.assert_accounted_for();
        }
    }
}

fn all_behaviours() -> Vec<(Scope, Scope, PortAllocation)> {
    let mut rows = Vec::new();
    for mapping in SCOPES {
        for filtering in SCOPES {
            rows.extend(PORTS.map(|ports| (mapping, filtering, ports)));
        }
    }
    rows
}

#[test]
fn ports_are_given_as_configured() {
    let ports = |ports| {
        let mut sim = sim(Nat { ports, ..Nat::default() });
        [5000, 5002, 5004, 700].map(|port| {
            let from = format!("192.168.1.2:{port}");
            seen(&mut sim, "alice", udp(&from, "203.0.113.10:1")).port()
        })
    };
    assert_eq!(ports(PortAllocation::Preserving), [5000, 5002, 5004, 700]);
    let sequence = ports(PortAllocation::Sequential);
    assert!(sequence.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequence:?}");
    let random = ports(PortAllocation::Random);
    assert!(random.windows(2).any(|pair| pair[1] != pair[0].wrapping_add(1)), "{random:?}");
    assert!(random.iter().all(|port| *port >= 1024));
}

#[test]
fn two_hosts_with_the_same_port_get_two_outside_ports_and_keep_them() {
    for ports in PORTS {
        let mut sim = sim(Nat { ports, ..Nat::default() });
        let alice = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
        let bob = seen(&mut sim, "bob", udp("192.168.1.3:5000", "203.0.113.10:1"));
        assert_ne!(alice, bob);
        let bob_elsewhere = seen(&mut sim, "bob", udp("192.168.1.3:5000", "203.0.113.11:1"));
        assert_eq!(bob, bob_elsewhere, "a collision does not make a mapping depend on the remote");
        let answer = sim.only("s1", udp("203.0.113.10:1", &bob.to_string()));
        assert_eq!(answer.packet.destination, at("192.168.1.3:5000"));
    }
}

#[test]
fn a_port_that_cannot_be_kept_keeps_its_parity() {
    let mut sim = sim(Nat::default());
    seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
    let bob = seen(&mut sim, "bob", udp("192.168.1.3:5000", "203.0.113.10:1"));
    assert_eq!(bob.port(), 5002);
}

#[test]
fn udp_and_tcp_have_ports_of_their_own() {
    let mut sim = sim(Nat::default());
    assert_eq!(seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")).port(), 5000);
    let bob = "192.168.1.3:5000";
    assert_eq!(seen(&mut sim, "bob", syn(bob, "203.0.113.10:1")).port(), 5000);
}

#[test]
fn a_hairpin_is_made_only_where_configured_and_shows_the_outside_address() {
    for hairpin in [true, false] {
        let mut sim = sim(Nat { hairpin, ..Nat::default() });
        let (bob, alice) = ("192.168.1.3:7000", ALICE);
        let bob_seen = seen(&mut sim, "bob", udp(bob, "203.0.113.10:1")).to_string();
        let alice_seen = seen(&mut sim, "alice", udp(alice, "203.0.113.10:1")).to_string();
        // Bob opens his filter for alice.
        sim.exchange("bob", udp(bob, &alice_seen));
        let arrived = sim.exchange("alice", udp(alice, &bob_seen));
        let at_bob = arrived.iter().find(|arrival| arrival.interface == sim.id("bob"));
        assert_eq!(at_bob.is_some(), hairpin);
        if let Some(arrival) = at_bob {
            assert_eq!(arrival.packet.source, at(&alice_seen), "RFC 4787 §6: the outside address");
            assert_eq!(arrival.packet.destination, at(bob));
        }
        let stats = sim.world.nat_stats("box").expect("the box");
        assert_eq!(stats.hairpinned > 0, hairpin);
        sim.assert_accounted_for();
    }
}

#[test]
fn only_outbound_packets_keep_a_udp_mapping() {
    let rules =
        Nat { filtering: Scope::EndpointIndependent, udp_timeout: ms(1000), ..Nat::default() };
    let mut sim = sim(rules);
    let mapped = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")).to_string();
    for _ in 0..3 {
        sim.pass_time(ms(900));
        assert!(reaches(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")));
    }
    for _ in 0..2 {
        sim.pass_time(ms(400));
        assert!(reaches(&mut sim, "s1", udp("203.0.113.10:1", &mapped)));
    }
    sim.pass_time(ms(400));
    assert!(!reaches(&mut sim, "s1", udp("203.0.113.10:1", &mapped)), "1.2 s without outbound");
    let stats = sim.world.nat_stats("box").expect("the box");
    assert_eq!((stats.mappings, stats.created, stats.expired, stats.filtered), (0, 1, 1, 1));
}

#[test]
fn a_filter_forgets_each_remote_by_itself() {
    let mut sim = sim(Nat { udp_timeout: ms(1000), ..Nat::default() });
    let mapped = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")).to_string();
    sim.pass_time(ms(600));
    sim.exchange("alice", udp(ALICE, "203.0.113.11:1"));
    sim.pass_time(ms(600));
    assert!(!reaches(&mut sim, "s1", udp("203.0.113.10:1", &mapped)));
    assert!(reaches(&mut sim, "s2", udp("203.0.113.11:1", &mapped)));
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Exchanges segments: `>` goes out, `<` comes in; the flags follow.
fn converse(sim: &mut Sim, script: &str) {
    let mapped = format!("{OUTSIDE}:5000");
    for step in script.split_whitespace() {
        let (way, flags) = step.split_at(1);
        let passed = match way {
            ">" => reaches(sim, "alice", tcp(ALICE, "203.0.113.10:80", flags)),
            _ => reaches(sim, "s1", tcp("203.0.113.10:80", &mapped, flags)),
        };
        assert!(passed, "{step} of {script} does not pass");
    }
}

#[test]
fn tcp_mappings_live_as_long_as_their_state_says() {
    let rows = [
        (">S", 239, 241),
        (">S <SA", 7439, 7441),
        (">S <SA >A", 7439, 7441),
        (">S <SA >A >FA", 7439, 7441),
        (">S <SA >A >FA <FA", 239, 241),
        (">S <SA >A >FA <FA >A", 239, 241),
    ];
    for (script, alive, over) in rows {
        for (wait, want) in [(alive, true), (over, false)] {
            let mut sim = sim(Nat::default());
            converse(&mut sim, script);
            sim.pass_time(seconds(wait));
            let segment = tcp("203.0.113.10:80", &format!("{OUTSIDE}:5000"), "A");
            assert_eq!(reaches(&mut sim, "s1", segment), want, "{wait} s after {script}");
        }
    }
}

#[test]
fn tcp_is_kept_alive_from_both_sides() {
    let mut sim = sim(Nat { tcp_timeout: seconds(300), ..Nat::default() });
    converse(&mut sim, ">S <SA >A");
    for _ in 0..3 {
        sim.pass_time(seconds(200));
        converse(&mut sim, "<A");
    }
}

#[test]
fn a_reset_ends_a_connection_for_those_outside() {
    let mut sim = sim(Nat::default());
    converse(&mut sim, ">S <RA");
    let mapped = format!("{OUTSIDE}:5000");
    assert!(!reaches(&mut sim, "s1", tcp("203.0.113.10:80", &mapped, "S")));
    converse(&mut sim, ">S <SA");
}

#[test]
fn a_reset_of_an_unknown_connection_makes_no_mapping() {
    let mut sim = sim(Nat::default());
    assert!(!reaches(&mut sim, "alice", tcp(ALICE, "203.0.113.10:80", "R")));
    assert_eq!(sim.world.nat_stats("box").expect("the box").created, 0);
    sim.assert_accounted_for();
}

#[test]
fn after_rebinding_mappings_are_gone_and_ports_are_others() {
    for ports in PORTS {
        let mut sim = sim(Nat { ports, ..Nat::default() });
        let before = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
        let rebind = Happening::Rebind { nat: "box".to_owned() };
        sim.world.apply(sim.now, &rebind).expect("the box is a translator");
        assert!(!reaches(&mut sim, "s1", udp("203.0.113.10:1", &before.to_string())));
        let after = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
        assert_ne!(before.port(), after.port(), "{ports:?}");
        assert_eq!(before.ip(), after.ip());
        assert!(!reaches(&mut sim, "s1", udp("203.0.113.10:1", &before.to_string())));
        assert!(reaches(&mut sim, "s1", udp("203.0.113.10:1", &after.to_string())));
        assert_eq!(sim.world.nat_stats("box").expect("the box").forgotten, 1);
    }
}

#[test]
fn a_renumbered_translator_is_seen_at_its_new_address() {
    let mut sim = sim(Nat::default());
    let before = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
    let renumber = Happening::Renumber {
        node: "box".to_owned(),
        interface: None,
        addresses: vec![ip("203.0.113.77"), ip("2001:db8::77")],
    };
    sim.world.apply(sim.now, &renumber).expect("a free address");
    assert_eq!(sim.world.poll_change(), None, "no host has changed");
    let after = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
    assert_eq!(after, at("203.0.113.77:5000"));
    let lost = sim.only("s1", udp("203.0.113.10:1", &before.to_string()));
    assert_eq!(lost.interface, sim.id("s1"), "nobody is at the old address");
    assert!(matches!(lost.packet.kind, Kind::Error(_)));
}

#[test]
fn a_translator_without_room_refuses_new_mappings_and_keeps_the_old() {
    let mut sim = sim(Nat { mappings_max: 2, udp_timeout: ms(1000), ..Nat::default() });
    let out = |port: u16| udp(&format!("192.168.1.2:{port}"), "203.0.113.10:1");
    assert!(reaches(&mut sim, "alice", out(1000)));
    assert!(reaches(&mut sim, "alice", out(2000)));
    assert!(!reaches(&mut sim, "alice", out(3000)));
    assert!(reaches(&mut sim, "alice", out(1000)));
    let stats = sim.world.nat_stats("box").expect("the box");
    assert_eq!((stats.mappings, stats.refused), (2, 1));
    sim.pass_time(ms(1001));
    assert!(reaches(&mut sim, "alice", out(3000)), "those that are over make room");
    sim.assert_accounted_for();
}

#[test]
fn a_box_may_block_udp_and_nothing_else() {
    let mut sim = sim(Nat { blocks_udp: true, ..Nat::default() });
    assert!(!reaches(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")));
    assert!(!reaches(&mut sim, "s1", udp("203.0.113.10:1", "203.0.113.1:5000")));
    assert!(!reaches(&mut sim, "alice", udp("[fd01::2]:1", "[2001:db8::10]:1")));
    assert!(reaches(&mut sim, "alice", syn(ALICE, "203.0.113.10:1")));
    assert_eq!(sim.world.stats().blocked, 3);
    sim.assert_accounted_for();
}

#[test]
fn forwarded_ports_are_open_to_everyone_and_kept() {
    let forwards = vec![(8080, at("192.168.1.3:80"))];
    let mut sim = sim(Nat { forwards, ..Nat::default() });
    let arrival = sim.only("s1", syn("203.0.113.10:999", "203.0.113.1:8080"));
    assert_eq!(arrival.packet.destination, at("192.168.1.3:80"));
    let answer = sim.only("bob", tcp("192.168.1.3:80", "203.0.113.10:999", "SA"));
    assert_eq!(answer.packet.source, at("203.0.113.1:8080"));
    let own = seen(&mut sim, "alice", udp("192.168.1.2:8080", "203.0.113.10:1"));
    assert_eq!(own.port(), 8082, "nobody else gets a forwarded port");
}

#[test]
fn what_nobody_asked_for_is_dropped_or_rejected() {
    let to = "203.0.113.1:5000";
    let mut silent = sim(Nat::default());
    for packet in [udp, syn, ping] {
        assert!(!reaches(&mut silent, "s1", packet("203.0.113.10:1", to)));
    }
    let mut polite = sim(Nat { unsolicited: Unsolicited::Reject, ..Nat::default() });
    let told = polite.only("s1", udp("203.0.113.10:1", to)).packet;
    let Kind::Error(error) = told.kind else { panic!("no error: {told:?}") };
    assert_eq!(error.what, Problem::Unreachable(Unreachable::Port));
    assert_eq!(error.about.destination, at(to));
    let told = polite.only("s1", syn("203.0.113.10:1", to)).packet;
    assert_eq!((told.kind, told.source), (tcp(to, to, "RA").kind, at(to)));
    let told = polite.only("s1", ping("203.0.113.10:1", to)).packet;
    assert_eq!(told.kind, Kind::Echo(Echo::Reply));
    silent.assert_accounted_for();
    polite.assert_accounted_for();
}

#[test]
fn pings_get_an_identifier_of_their_own_and_their_replies_come_back() {
    let mut sim = sim(Nat::default());
    let alice = sim.only("alice", ping("192.168.1.2:77", "203.0.113.10:77")).packet;
    let bob = sim.only("bob", ping("192.168.1.3:77", "203.0.113.10:77")).packet;
    assert_eq!(
        alice.source.port(),
        alice.destination.port(),
        "the identifier stands on both sides"
    );
    assert_ne!(alice.source.port(), bob.source.port());
    for (asked, asker) in [(alice, "192.168.1.2:77"), (bob, "192.168.1.3:77")] {
        let reply = pong(&asked.destination.to_string(), &asked.source.to_string());
        let reply = sim.only("s1", reply).packet;
        assert_eq!((reply.destination, reply.source), (at(asker), at("203.0.113.10:77")));
    }
    sim.pass_time(seconds(61));
    assert!(!reaches(&mut sim, "s1", pong("203.0.113.10:77", "203.0.113.1:77")));
}

/// An error that a host itself sends about a packet.
fn port_unreachable(from: &str, about: &Packet<u32>) -> Packet<u32> {
    let Packet { protocol, source, destination, .. } = *about;
    let about = Quoted { protocol, source, destination };
    let what = Problem::Unreachable(Unreachable::Port);
    Packet {
        protocol: Protocol::Icmp,
        source: SocketAddr::new(ip(from), 0),
        destination: SocketAddr::new(source.ip(), 0),
        kind: Kind::Error(IcmpError { what, by: ip(from), about }),
        ..udp(ALICE, ALICE)
    }
}

fn error(packet: &Packet<u32>) -> IcmpError {
    match packet.kind {
        Kind::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn errors_from_outside_reach_the_sender_inside_and_quote_what_it_sent() {
    for packet in [udp, syn, ping] {
        let (from, to) = ("192.168.1.2:5000", "203.0.113.10:5000");
        let mut sim = sim(Nat { ports: PortAllocation::Random, ..Nat::default() });
        let seen = sim.only("alice", packet(from, to)).packet;
        let told = sim.only("s1", port_unreachable("203.0.113.10", &seen)).packet;
        assert_eq!(told.destination, at("192.168.1.2:0"));
        assert_eq!(told.source, at("203.0.113.10:0"));
        let about = error(&told).about;
        assert_eq!((about.source, about.destination), (at(from), at(to)));
    }
}

#[test]
fn errors_about_what_nobody_sent_stay_outside() {
    let mut sim = sim(Nat::default());
    let seen = sim.only("alice", udp(ALICE, "203.0.113.10:1")).packet;
    let mut wrong = seen;
    wrong.destination = at("203.0.113.11:1");
    assert!(!reaches(&mut sim, "s2", port_unreachable("203.0.113.11", &wrong)));
    sim.assert_accounted_for();
}

#[test]
fn errors_from_inside_show_outside_addresses_only() {
    let mut sim = sim(Nat { ports: PortAllocation::Random, ..Nat::default() });
    let mapped = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1"));
    let came_in = sim.only("s1", udp("203.0.113.10:1", &mapped.to_string())).packet;
    let told = sim.only("alice", port_unreachable("192.168.1.2", &came_in)).packet;
    assert_eq!(told.source, at("203.0.113.1:0"));
    assert_eq!(error(&told).by, ip(OUTSIDE));
    assert_eq!(error(&told).about.destination, mapped);
}

/// Both sides of the box carry no more than this.
fn narrow(inside: u32, outside: u32) -> Sim {
    let mut topology = topology(1, home(Nat::default()));
    let link = |mtu| Duplex::symmetric(Link { mtu, ..Link::default() });
    for node in &mut topology.nodes {
        match &mut node.kind {
            NodeKind::Nat(nat) => nat.outside.link = link(outside),
            NodeKind::Host(host) if node.name == "alice" => {
                host.interfaces[0].link.down = link(inside).down;
            }
            NodeKind::Host(_)
            | NodeKind::Subnet(_)
            | NodeKind::Router(_)
            | NodeKind::Firewall(_) => {}
        }
    }
    Sim::new(&topology)
}

#[test]
fn the_path_mtu_is_found_through_a_translator_both_ways() {
    let mut sim = narrow(1300, 1400);
    let mut out = udp(ALICE, "203.0.113.10:1");
    out.size = 1401;
    let told = sim.only("alice", out.clone()).packet;
    assert_eq!(told.source, at("192.168.1.1:0"), "alice knows the box by its inside address");
    assert_eq!(error(&told).what, Problem::TooBig { mtu: 1400 });
    assert_eq!(error(&told).about, out.quoted());

    out.size = 100;
    let mapped = seen(&mut sim, "alice", out).to_string();
    let mut back = udp("203.0.113.10:1", &mapped);
    back.size = 1301;
    let told = sim.only("s1", back.clone()).packet;
    assert_eq!(told.source, at("203.0.113.1:0"));
    assert_eq!(error(&told).what, Problem::TooBig { mtu: 1300 });
    assert_eq!(error(&told).about, back.quoted(), "nothing of the inside is shown");
    sim.assert_accounted_for();
}

#[test]
fn a_translator_counts_as_a_hop_in_both_directions() {
    let mut sim = sim(Nat::default());
    let mapped = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")).to_string();
    let rows = [
        ("alice", udp(ALICE, "203.0.113.10:1"), "192.168.1.1:0"),
        ("s1", udp("203.0.113.10:1", &mapped), "203.0.113.1:0"),
    ];
    for (from, packet, by) in rows {
        let packet = Packet { hop_limit: 1, ..packet };
        let told = sim.only(from, packet.clone());
        assert_eq!(told.interface, sim.id(from));
        assert_eq!((error(&told.packet).what, told.packet.source), (Problem::HopLimit, at(by)));
        assert_eq!(error(&told.packet).about, packet.quoted());
    }
}

#[test]
fn other_protocols_are_not_translated() {
    let mut sim = sim(Nat::default());
    let gre = Packet { protocol: Protocol::Other(47), ..udp("192.168.1.2:0", "203.0.113.10:0") };
    assert!(!reaches(&mut sim, "alice", gre));
    assert_eq!(sim.world.stats().refused, 1);
    sim.assert_accounted_for();
}

#[test]
fn ipv6_passes_a_translator_untranslated_as_through_a_firewall() {
    let mut sim = sim(Nat::default());
    let (alice, server) = ("[fd01::2]:5000", "[2001:db8::10]:1");
    assert!(!reaches(&mut sim, "s1", udp(server, alice)));
    let out = sim.only("alice", udp(alice, server)).packet;
    assert_eq!((out.source, out.hop_limit), (at(alice), 63));
    assert!(reaches(&mut sim, "s1", udp(server, alice)));
    assert!(!reaches(&mut sim, "s1", udp("[2001:db8::10]:2", alice)));
    sim.assert_accounted_for();
}

#[test]
fn translators_behind_translators_behave_like_the_stricter_of_both() {
    let carrier = Nat {
        mapping: Scope::AddressAndPortDependent,
        filtering: Scope::EndpointIndependent,
        ..Nat::default()
    };
    let nodes = vec![
        subnet("home", "192.168.1.0/24"),
        subnet("carrier", "100.64.0.0/10"),
        subnet("net", "203.0.113.0/24"),
        host("alice", &["home 192.168.1.2"]),
        host("s1", &["net 203.0.113.10"]),
        host("s2", &["net 203.0.113.11"]),
        nat("box", "home 192.168.1.1", "carrier 100.64.0.2", Nat::default()),
        nat("cgn", "carrier 100.64.0.1", "net 203.0.113.1", carrier),
    ];
    let mut sim = Sim::of(nodes);
    assert_eq!(mapping(&mut sim, ALICE, udp), Scope::AddressAndPortDependent);
    assert_eq!(filtering(&mut sim, "192.168.1.2:6000", udp), Scope::AddressAndPortDependent);
    let told = sim.only("alice", Packet { hop_limit: 2, ..udp(ALICE, "203.0.113.10:3478") }).packet;
    assert_eq!(told.source, at("100.64.0.1:0"), "the second box says so");
    assert_eq!(error(&told).about.source, at(ALICE));
    let told = sim.only("alice", udp(ALICE, "192.0.2.1:1")).packet;
    assert_eq!(told.source, at("100.64.0.1:0"), "what is unknown goes up to the last box");
    sim.assert_accounted_for();
}

#[test]
fn the_same_seed_gives_the_same_ports() {
    let run = |seed| {
        let rules = Nat { ports: PortAllocation::Random, ..Nat::default() };
        let mut sim = Sim::new(&topology(seed, home(rules)));
        (0..50_u16)
            .map(|port| {
                seen(
                    &mut sim,
                    "alice",
                    udp(&format!("192.168.1.2:{}", 2000 + port), "203.0.113.10:1"),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn a_connection_that_outlives_a_rebinding_is_seen_with_another_port() {
    let mut sim = sim(Nat::default());
    converse(&mut sim, ">S <SA >A");
    let rebind = Happening::Rebind { nat: "box".to_owned() };
    sim.world.apply(sim.now, &rebind).expect("the box is a translator");
    let mapped = seen(&mut sim, "alice", tcp(ALICE, "203.0.113.10:80", "A"));
    assert_ne!(mapped.port(), 5000);
    let reset = tcp("203.0.113.10:80", &mapped.to_string(), "R");
    assert_eq!(
        sim.only("s1", reset).packet.destination,
        at(ALICE),
        "the server knows nobody there"
    );
}

#[test]
fn a_rebinding_of_the_timeline_happens_at_its_time() {
    let mut topology = topology(1, home(Nat::default()));
    let what = Happening::Rebind { nat: "box".to_owned() };
    topology.timeline = vec![Moment { at: ms(100), what }];
    let mut sim = Sim::new(&topology);
    let mut port = |after: u64| {
        sim.now = sim.start + ms(after);
        seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")).port()
    };
    let ports = [port(0), port(99), port(100), port(200)];
    assert_eq!(ports[0], ports[1]);
    assert_ne!(ports[1], ports[2]);
    assert_eq!(ports[2], ports[3]);
}

#[test]
fn two_homes_may_use_the_same_addresses() {
    let mut nodes = home(Nat::default());
    nodes.push(subnet("other-home", "192.168.1.0/24"));
    nodes.push(host("carol", &["other-home 192.168.1.2"]));
    nodes.push(nat("other", "other-home 192.168.1.1", "net 203.0.113.2", Nat::default()));
    let mut sim = Sim::of(nodes);
    let alice = seen(&mut sim, "alice", udp(ALICE, "203.0.113.10:1")).to_string();
    let carol = seen(&mut sim, "carol", udp(ALICE, "203.0.113.10:1")).to_string();
    assert_eq!((alice.as_str(), carol.as_str()), ("203.0.113.1:5000", "203.0.113.2:5000"));
    sim.exchange("carol", udp(ALICE, &alice));
    let arrival = sim.only("alice", udp(ALICE, &carol));
    assert_eq!(arrival.interface, sim.id("carol"));
}
