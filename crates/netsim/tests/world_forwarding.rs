//! Networks and routers: who is reached, who is not, and what the sender is told.

mod world_common;

use portolan_netsim::{
    Echo, Ecn, HostChange, Kind, Link, Problem, Unreachable, World, WorldError,
    topology::{Duplex, Happening, Moment, Node, NodeKind},
};
use world_common::{
    Sim, at, host, ip, link_everywhere, ms, nat, ping, router, start, subnet, tcp, topology, udp,
};

/// alice – lan – router – wan – bob, in both families.
fn routed() -> Vec<Node> {
    vec![
        subnet("lan", "10.1.0.0/24 fd01::/64"),
        subnet("wan", "10.2.0.0/24 fd02::/64"),
        host("alice", &["lan 10.1.0.2 fd01::2"]),
        host("bob", &["wan 10.2.0.2 fd02::2"]),
        router("middle", &["lan 10.1.0.1 fd01::1", "wan 10.2.0.1 fd02::1"]),
    ]
}

#[test]
fn neighbours_reach_each_other_through_both_links() {
    let nodes = vec![
        subnet("lan", "10.1.0.0/24"),
        host("alice", &["lan 10.1.0.2"]),
        host("bob", &["lan 10.1.0.3"]),
    ];
    let mut topology = topology(1, nodes);
    link_everywhere(&mut topology, Link { delay: ms(5), ..Link::default() });
    let mut sim = Sim::new(&topology);
    let arrival = sim.only("alice", udp("10.1.0.2:1", "10.1.0.3:2"));
    assert_eq!(arrival.interface, sim.id("bob"));
    assert_eq!(arrival.at, sim.start + ms(10));
    assert_eq!(arrival.packet, udp("10.1.0.2:1", "10.1.0.3:2"));
    sim.assert_accounted_for();
}

#[test]
fn a_router_forwards_and_counts_one_hop() {
    for (from, to) in [("10.1.0.2:1", "10.2.0.2:2"), ("[fd01::2]:1", "[fd02::2]:2")] {
        let mut sim = Sim::of(routed());
        let arrival = sim.only("alice", udp(from, to));
        assert_eq!(arrival.interface, sim.id("bob"));
        assert_eq!(arrival.packet.hop_limit, 63);
        assert_eq!(arrival.packet.source, at(from));
    }
}

#[test]
fn packets_take_the_way_with_the_fewest_networks() {
    let nodes = vec![
        subnet("a", "10.1.0.0/24"),
        subnet("b", "10.2.0.0/24"),
        subnet("c", "10.3.0.0/24"),
        host("alice", &["a 10.1.0.9"]),
        host("bob", &["c 10.3.0.9"]),
        router("first", &["a 10.1.0.1", "b 10.2.0.1"]),
        router("second", &["b 10.2.0.2", "c 10.3.0.2"]),
        router("direct", &["a 10.1.0.3", "c 10.3.0.3"]),
    ];
    let mut sim = Sim::of(nodes);
    let arrival = sim.only("alice", udp("10.1.0.9:1", "10.3.0.9:2"));
    assert_eq!(arrival.packet.hop_limit, 63);
}

/// What alice is told, and by whom.
fn told(sim: &mut Sim, from: &str, to: &str, hop_limit: u8) -> (Problem, std::net::IpAddr) {
    let mut packet = udp(from, to);
    packet.hop_limit = hop_limit;
    let arrival = sim.only("alice", packet);
    assert_eq!(arrival.interface, sim.id("alice"));
    let Kind::Error(error) = arrival.packet.kind else { panic!("no error: {arrival:?}") };
    assert_eq!(error.by, arrival.packet.source.ip());
    assert_eq!((error.about.source, error.about.destination), (at(from), at(to)));
    assert_eq!(arrival.packet.payload, 7, "the driver quotes the payload");
    sim.assert_accounted_for();
    (error.what, error.by)
}

#[test]
fn the_sender_is_told_why_its_packet_goes_no_further() {
    const HOST: Problem = Problem::Unreachable(Unreachable::Host);
    const NETWORK: Problem = Problem::Unreachable(Unreachable::Network);
    let rows = [
        ("10.1.0.2:1", "10.2.0.2:2", 1, Problem::HopLimit, "10.1.0.1"),
        ("[fd01::2]:1", "[fd02::2]:2", 1, Problem::HopLimit, "fd01::1"),
        ("10.1.0.2:1", "10.2.0.77:2", 64, HOST, "10.1.0.1"),
        ("[fd01::2]:1", "[fd02::77]:2", 64, HOST, "fd01::1"),
        ("10.1.0.2:1", "192.0.2.1:2", 64, NETWORK, "10.1.0.1"),
        ("10.1.0.2:1", "10.1.0.77:2", 64, HOST, "10.1.0.2"),
        ("10.1.0.2:1", "10.1.0.1:2", 64, Problem::Unreachable(Unreachable::Port), "10.1.0.1"),
    ];
    for (from, to, hop_limit, what, by) in rows {
        let mut sim = Sim::of(routed());
        assert_eq!(told(&mut sim, from, to, hop_limit), (what, ip(by)), "{from} to {to}");
    }
}

#[test]
fn a_host_without_a_gateway_is_told_by_itself() {
    let nodes = vec![subnet("lan", "10.1.0.0/24"), host("alice", &["lan 10.1.0.2"])];
    let mut sim = Sim::of(nodes);
    let (what, by) = told(&mut sim, "10.1.0.2:1", "192.0.2.1:2", 64);
    assert_eq!((what, by), (Problem::Unreachable(Unreachable::Network), ip("10.1.0.2")));
}

#[test]
fn routers_answer_pings_and_reset_connections() {
    let mut sim = Sim::of(routed());
    let reply = sim.only("alice", ping("10.1.0.2:9", "10.2.0.1:9"));
    assert_eq!(reply.packet.kind, Kind::Echo(Echo::Reply));
    assert_eq!(
        (reply.packet.source, reply.packet.destination),
        (at("10.2.0.1:9"), at("10.1.0.2:9"))
    );
    let reset = sim.only("alice", tcp("10.1.0.2:9", "10.1.0.1:80", "S"));
    assert_eq!(reset.packet.kind, tcp("10.1.0.1:80", "10.1.0.2:9", "RA").kind);
    sim.assert_accounted_for();
}

#[test]
fn no_error_answers_an_error() {
    let mut sim = Sim::of(routed());
    let error = told_packet(&mut sim);
    let mut hopeless = error;
    hopeless.source = at("10.1.0.2:0");
    hopeless.destination = at("192.0.2.1:0");
    assert_eq!(sim.exchange("alice", hopeless), []);
    assert_eq!(sim.world.stats().unrouted, 2);
    sim.assert_accounted_for();
}

fn told_packet(sim: &mut Sim) -> portolan_netsim::Packet<u32> {
    sim.only("alice", udp("10.1.0.2:1", "10.2.0.77:2")).packet
}

/// The routed world with a narrow link behind the router.
fn narrow(mtu: u32) -> Sim {
    let mut topology = topology(1, routed());
    for node in &mut topology.nodes {
        if let (NodeKind::Host(bob), "bob") = (&mut node.kind, node.name.as_str()) {
            bob.interfaces[0].link = Duplex::symmetric(Link { mtu, ..Link::default() });
        }
    }
    Sim::new(&topology)
}

#[test]
fn a_packet_that_is_too_long_tells_its_sender_the_mtu() {
    for (from, to, by) in
        [("10.1.0.2:1", "10.2.0.2:2", "10.1.0.1"), ("[fd01::2]:1", "[fd02::2]:2", "fd01::1")]
    {
        let mut sim = narrow(1280);
        let mut packet = udp(from, to);
        packet.size = 1281;
        let told = sim.only("alice", packet.clone());
        let Kind::Error(error) = told.packet.kind else { panic!("no error: {told:?}") };
        assert_eq!((error.what, error.by), (Problem::TooBig { mtu: 1280 }, ip(by)));
        packet.size = 1280;
        assert_eq!(sim.only("alice", packet).interface, sim.id("bob"));
        sim.assert_accounted_for();
    }
}

#[test]
fn a_host_is_told_of_its_own_narrow_link() {
    let mut sim = narrow(1000);
    let mut packet = udp("10.2.0.2:1", "10.1.0.2:2");
    packet.size = 1001;
    let told = sim.only("bob", packet);
    assert_eq!(told.interface, sim.id("bob"));
    let Kind::Error(error) = told.packet.kind else { panic!("no error: {told:?}") };
    assert_eq!((error.what, error.by), (Problem::TooBig { mtu: 1000 }, ip("10.2.0.1")));
}

#[test]
fn a_long_packet_that_may_be_cut_is_dropped_in_silence() {
    let mut sim = narrow(1000);
    let mut packet = udp("10.1.0.2:1", "10.2.0.2:2");
    (packet.size, packet.may_fragment) = (1001, true);
    assert_eq!(sim.exchange("alice", packet), []);
    assert_eq!(sim.world.link_stats(sim.id("bob")).1.oversized, 1);
    sim.assert_accounted_for();
}

/// alice, bob and carol on one network that a router leads out of.
fn cafe(isolated: bool, multicast: bool) -> Sim {
    let mut nodes = vec![
        subnet("lan", "10.1.0.0/24 fd01::/64"),
        subnet("wan", "10.2.0.0/24"),
        host("alice", &["lan 10.1.0.2 fd01::2"]),
        host("bob", &["lan 10.1.0.3 fd01::3"]),
        host("carol", &["lan 10.1.0.4"]),
        host("dave", &["wan 10.2.0.2"]),
        router("middle", &["lan 10.1.0.1", "wan 10.2.0.1"]),
    ];
    if let NodeKind::Subnet(lan) = &mut nodes[0].kind {
        (lan.isolated, lan.multicast) = (isolated, multicast);
    }
    Sim::of(nodes)
}

#[test]
fn multicast_and_broadcast_reach_everyone_on_the_network_and_nobody_else() {
    let groups = ["224.0.0.251:5353", "239.1.2.3:9", "255.255.255.255:9", "10.1.0.255:9"];
    for to in groups {
        let mut sim = cafe(false, true);
        let arrived = sim.exchange("alice", udp("10.1.0.2:5353", to));
        let at: Vec<_> = arrived.iter().map(|arrival| arrival.interface).collect();
        assert_eq!(at, [sim.id("bob"), sim.id("carol")], "{to}");
        sim.assert_accounted_for();
    }
    let mut sim = cafe(false, true);
    assert_eq!(sim.exchange("alice", udp("[fd01::2]:5353", "[ff02::fb]:5353")).len(), 2);
}

#[test]
fn a_network_may_keep_multicast_back() {
    let mut sim = cafe(false, false);
    assert_eq!(sim.exchange("alice", udp("10.1.0.2:5353", "224.0.0.251:5353")), []);
    assert_eq!(sim.world.stats().unheard, 1);
    assert_eq!(sim.exchange("alice", udp("10.1.0.2:1", "10.1.0.3:1")).len(), 1);
    sim.assert_accounted_for();
}

#[test]
fn client_isolation_keeps_hosts_apart_and_lets_them_out() {
    let mut sim = cafe(true, true);
    assert_eq!(sim.exchange("alice", udp("10.1.0.2:1", "10.1.0.3:1")), []);
    assert_eq!(sim.exchange("alice", udp("10.1.0.2:1", "224.0.0.251:5353")), []);
    assert_eq!((sim.world.stats().isolated, sim.world.stats().unheard), (1, 1));
    let out = sim.only("alice", udp("10.1.0.2:1", "10.2.0.2:1"));
    assert_eq!(out.interface, sim.id("dave"));
    let back = sim.only("dave", udp("10.2.0.2:1", "10.1.0.2:1"));
    assert_eq!(back.interface, sim.id("alice"));
    sim.assert_accounted_for();
}

#[test]
fn link_local_addresses_are_learnt_from_what_a_host_sends() {
    let mut sim = cafe(false, true);
    sim.exchange("bob", udp("[fe80::b]:5353", "[ff02::fb]:5353"));
    let arrival = sim.only("alice", udp("[fe80::a]:1", "[fe80::b]:5353"));
    assert_eq!(arrival.interface, sim.id("bob"));
}

#[test]
fn a_driver_learns_how_hosts_are_set_up() {
    let sim = Sim::of(routed());
    let addressing = sim.world.addressing(sim.id("alice"));
    assert_eq!(addressing.addresses, [(ip("10.1.0.2"), 24), (ip("fd01::2"), 64)]);
    assert_eq!(addressing.gateways, [ip("10.1.0.1"), ip("fd01::1")]);
    assert_eq!(sim.world.interface("alice", "eth0"), sim.world.host("alice"));
    assert_eq!(sim.world.interface("alice", "eth1"), None);
}

#[test]
fn private_networks_are_not_visible_from_outside() {
    let nodes = vec![
        subnet("net", "203.0.113.0/24"),
        subnet("home", "192.168.1.0/24"),
        host("alice", &["net 203.0.113.9"]),
        host("bob", &["home 192.168.1.2"]),
        nat(
            "box",
            "home 192.168.1.1",
            "net 203.0.113.1",
            portolan_netsim::topology::Nat::default(),
        ),
    ];
    let mut sim = Sim::of(nodes);
    let (what, _) = told(&mut sim, "203.0.113.9:1", "192.168.1.2:2", 64);
    assert_eq!(what, Problem::Unreachable(Unreachable::Network));
    assert_eq!(sim.world.addressing(sim.id("bob")).gateways, [ip("192.168.1.1")]);
    assert_eq!(sim.world.addressing(sim.id("alice")).gateways, [] as [std::net::IpAddr; 0]);
}

fn moment(at: u64, what: Happening) -> Moment {
    Moment { at: ms(at), what }
}

#[test]
fn the_timeline_takes_links_down_changes_them_and_brings_them_up() {
    let mut topology = topology(1, routed());
    let node = "bob".to_owned();
    let link = Duplex::symmetric(Link { delay: ms(3), ..Link::default() });
    topology.timeline = vec![
        moment(10, Happening::Down { node: node.clone(), interface: None }),
        moment(20, Happening::Link { node: node.clone(), interface: None, link }),
        moment(20, Happening::Up { node, interface: Some("eth0".to_owned()) }),
    ];
    let mut sim = Sim::new(&topology);
    let mut delays = Vec::new();
    for _ in 0..4 {
        let arrived = sim.exchange("alice", udp("10.1.0.2:1", "10.2.0.2:2"));
        delays.push(arrived.first().map(|arrival| arrival.at - sim.start));
        sim.now = sim.start + ms(8) * u32::try_from(delays.len()).expect("few");
    }
    assert_eq!(delays, [Some(ms(0)), Some(ms(8)), None, Some(ms(27))]);
    sim.assert_accounted_for();
}

/// alice can be at home or in a café; bob is outside.
fn two_places() -> Vec<Node> {
    vec![
        subnet("home", "10.1.0.0/24"),
        subnet("cafe", "10.9.0.0/16"),
        subnet("net", "203.0.113.0/24"),
        host("alice", &["home 10.1.0.2"]),
        host("bob", &["net 203.0.113.9"]),
        router("r1", &["home 10.1.0.1", "net 203.0.113.1"]),
        router("r2", &["cafe 10.9.0.1", "net 203.0.113.2"]),
    ]
}

fn move_to_cafe() -> Happening {
    Happening::Move {
        host: "alice".to_owned(),
        interface: None,
        network: "cafe".to_owned(),
        addresses: vec![ip("10.9.0.7")],
        link: Duplex::symmetric(Link { delay: ms(1), ..Link::default() }),
    }
}

#[test]
fn a_host_knows_that_its_network_is_gone_and_nothing_passes_until_it_is_back() {
    let mut sim = Sim::of(two_places());
    let interface = sim.id("alice");
    let host = "alice".to_owned();
    let unplug = Happening::Unplug { host: host.clone(), interface: None };
    sim.world.apply(sim.now, &unplug).expect("alice is there");
    assert_eq!(sim.world.poll_change(), Some(HostChange::Carrier { interface, up: false }));
    sim.send("bob", udp("203.0.113.9:1", "10.1.0.2:1"));
    assert!(sim.drain().is_empty());
    sim.world.apply(sim.now, &Happening::Plug { host, interface: None }).expect("she still is");
    assert_eq!(sim.world.poll_change(), Some(HostChange::Carrier { interface, up: true }));
    sim.only("bob", udp("203.0.113.9:1", "10.1.0.2:1"));
    let router = Happening::Unplug { host: "r1".to_owned(), interface: None };
    assert!(sim.world.apply(sim.now, &router).is_err(), "nobody tells a router");
}

#[test]
fn a_host_that_moves_is_reached_where_it_is_now() {
    let mut sim = Sim::of(two_places());
    let id = sim.id("alice");
    sim.send("bob", udp("203.0.113.9:1", "10.1.0.2:1"));
    sim.world.apply(sim.now, &move_to_cafe()).expect("the café is there");
    assert_eq!(sim.world.poll_change(), Some(HostChange::Carrier { interface: id, up: false }));
    let Some(HostChange::Readdressed { interface, addressing }) = sim.world.poll_change() else {
        panic!("the driver is told of the addresses");
    };
    assert_eq!(interface, id);
    assert_eq!(addressing.addresses, [(ip("10.9.0.7"), 16)]);
    assert_eq!(addressing.gateways, [ip("10.9.0.1")]);
    assert_eq!(sim.world.poll_change(), Some(HostChange::Carrier { interface: id, up: true }));
    assert_eq!(sim.world.poll_change(), None);

    sim.drain();
    let arrival = sim.only("bob", udp("203.0.113.9:1", "10.9.0.7:1"));
    assert_eq!(arrival.interface, id);
    assert_eq!(arrival.packet.hop_limit, 63);
    let back = sim.only("alice", udp("10.9.0.7:1", "203.0.113.9:1"));
    assert_eq!(back.interface, sim.id("bob"));
    sim.assert_accounted_for();
}

#[test]
fn what_was_under_way_to_an_interface_that_moves_is_lost() {
    let mut topology = topology(1, two_places());
    link_everywhere(&mut topology, Link { delay: ms(10), ..Link::default() });
    topology.timeline = vec![moment(35, move_to_cafe())];
    let mut sim = Sim::new(&topology);
    sim.send("bob", udp("203.0.113.9:1", "10.1.0.2:1"));
    sim.send("alice", udp("10.1.0.2:1", "203.0.113.9:1"));
    let arrived = sim.drain();
    assert_eq!(arrived.len(), 1, "what had left alice's network by then goes on");
    assert_eq!(arrived[0].interface, sim.id("bob"));
    assert_eq!(sim.world.stats().moved, 1);
    sim.assert_accounted_for();
}

#[test]
fn a_renumbered_host_is_found_at_its_new_address_only() {
    let mut sim = Sim::of(two_places());
    let renumber = Happening::Renumber {
        node: "alice".to_owned(),
        interface: None,
        addresses: vec![ip("10.1.0.200")],
    };
    sim.world.apply(sim.now, &renumber).expect("a free address");
    assert!(matches!(sim.world.poll_change(), Some(HostChange::Readdressed { .. })));
    let arrival = sim.only("bob", udp("203.0.113.9:1", "10.1.0.200:1"));
    assert_eq!(arrival.interface, sim.id("alice"));
    let told = sim.only("bob", udp("203.0.113.9:1", "10.1.0.2:1"));
    assert_eq!(told.interface, sim.id("bob"));
}

#[test]
fn a_topology_that_does_not_fit_says_what_is_wrong() {
    let world = |nodes| World::<u32>::new(&topology(1, nodes), start()).map(drop);
    let lan = || subnet("lan", "10.1.0.0/24");
    let unknown = world(vec![host("alice", &["lan 10.1.0.2"])]);
    assert!(matches!(unknown, Err(WorldError::Unknown { what: "network", .. })));
    let elsewhere = world(vec![lan(), host("alice", &["lan 10.2.0.2"])]);
    assert!(matches!(elsewhere, Err(WorldError::Elsewhere { .. })));
    let taken =
        world(vec![lan(), host("alice", &["lan 10.1.0.2"]), host("bob", &["lan 10.1.0.2"])]);
    assert!(matches!(taken, Err(WorldError::Taken { .. })));

    let mut late = topology(1, routed());
    late.timeline = vec![moment(5, Happening::Rebind { nat: "middle".to_owned() })];
    let late = World::<u32>::new(&late, start()).map(drop);
    assert!(matches!(late, Err(WorldError::Unknown { what: "nat", .. })));
}

#[test]
fn a_world_wakes_its_driver_for_the_timeline_too() {
    let mut topology = topology(1, two_places());
    topology.timeline = vec![moment(35, move_to_cafe())];
    let mut sim = Sim::new(&topology);
    let wake = sim.world.poll_timeout().expect("the move");
    assert_eq!(wake, sim.start + ms(35));
    assert_eq!(sim.world.poll_change(), None);
    assert_eq!(sim.world.poll_delivery(wake), None);
    assert!(sim.world.poll_change().is_some());
    assert_eq!(sim.world.poll_timeout(), None);
}

#[test]
fn marks_flipped_bits_and_second_copies_reach_the_driver() {
    let mut topology = topology(1, routed());
    let link = Link { duplicate: 1.0, corrupt: 1.0, ..Link::default() };
    for node in &mut topology.nodes {
        if let (NodeKind::Host(bob), "bob") = (&mut node.kind, node.name.as_str()) {
            bob.interfaces[0].link.down = link;
        }
    }
    let mut sim = Sim::new(&topology);
    let mut packet = udp("10.1.0.2:1", "10.2.0.2:2");
    packet.ecn = Some(Ecn::Ect1);
    let arrived = sim.exchange("alice", packet);
    assert_eq!(arrived.len(), 2);
    assert!(arrived.iter().all(|arrival| arrival.packet.ecn == Some(Ecn::Ect1)));
    let flipped = arrived.iter().filter(|arrival| arrival.flipped_bit.is_some()).count();
    assert_eq!(flipped, 1, "the second copy is a good one");
    sim.assert_accounted_for();
}
