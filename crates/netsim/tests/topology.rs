//! Topology files that describe a world.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{net::IpAddr, time::Duration};

use common::ms;
use portolan_netsim::{
    Link, LinkSpec, Loss, PROFILES, Profile,
    topology::{
        Attachment, Duplex, Happening, Host, Moment, Nat, NodeKind, PortAllocation, Program, Scope,
        Topology, Unsolicited, parse,
    },
};

fn world(text: &str) -> Topology {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn host<'a>(world: &'a Topology, name: &str) -> &'a Host {
    match &world.node(name).unwrap().kind {
        NodeKind::Host(host) => host,
        other => panic!("{name} is {other:?}"),
    }
}

fn nat<'a>(world: &'a Topology, name: &str) -> &'a Nat {
    match &world.node(name).unwrap().kind {
        NodeKind::Nat(nat) => nat,
        other => panic!("{name} is {other:?}"),
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn spec(text: &str) -> Duplex {
    text.parse::<LinkSpec>().unwrap().duplex
}

/// Two homes behind translators, a server outside.
const HOMES: &str = r#"
seed = 7
duration = "1min"

[network.internet]
prefix = "203.0.113.0/24"

[network.home]
prefix = ["192.168.1.0/24", "fd01::/64"]
link = "good-wifi"
isolated = true
multicast = false

[host.alice]
on = "home"

[host.server]
on = "internet"
address = "203.0.113.10"
link = "delay=5ms"

[host.laptop]
interfaces = [
    { on = "home" },
    { name = "lte", on = "internet", address = "203.0.113.77", link = { like = "4g", loss = "2%" } },
]

[nat.fritz]
inside = "home"
outside = { on = "internet", link = "dsl" }
kind = "symmetric"
filtering = "address-dependent"
hairpin = true
unsolicited = "reject"
udp-timeout = "90s"
mappings-max = 100
blocks = ["udp"]
forward = [
    { port = 7275, to = "alice" },
    { port = 80, to = "alice:8080" },
    { port = 81, to = "192.168.1.9:1" },
]

[profile.dsl]
like = "slow"
delay = "10ms"
up = { rate = "2Mbit", queue = "50ms" }

[profile.slow]
rate = "16Mbit"
mtu = 1492
loss = 0.001
"#;

#[test]
fn addresses_are_given_to_gateways_first_and_never_twice() {
    let world = world(HOMES);
    assert_eq!((world.seed, world.duration), (7, Some(Duration::from_secs(60))));
    let fritz = nat(&world, "fritz");
    assert_eq!(fritz.inside.addresses, ips(&["192.168.1.1", "fd01::1"]));
    assert_eq!(fritz.outside.addresses, ips(&["203.0.113.1"]));
    assert_eq!(host(&world, "alice").interfaces[0].addresses, ips(&["192.168.1.2", "fd01::2"]));
    let laptop = &host(&world, "laptop").interfaces;
    assert_eq!(laptop[0].addresses, ips(&["192.168.1.3", "fd01::3"]));
    assert_eq!(laptop[1].addresses, ips(&["203.0.113.77"]));
    let names: Vec<_> = laptop.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["eth0", "lte"]);
    let order: Vec<_> = world.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(order, ["internet", "home", "alice", "server", "laptop", "fritz"]);
}

#[test]
fn links_come_from_the_interface_or_its_network_or_are_perfect() {
    let world = world(HOMES);
    assert_eq!(host(&world, "alice").interfaces[0].link, spec("good-wifi"));
    assert_eq!(host(&world, "server").interfaces[0].link, spec("delay=5ms"));
    assert_eq!(host(&world, "laptop").interfaces[1].link, spec("4g,loss=2%"));
    let dsl = "delay=10ms,rate=16Mbit,up.rate=2Mbit,up.queue=50ms,mtu=1492,loss=0.1%";
    assert_eq!(nat(&world, "fritz").outside.link, spec(dsl));

    let plain = parse("network.n.prefix = '10.0.0.0/8'\nhost.a.on = 'n'").unwrap();
    let perfect = Link { mtu: 1_500, ..Link::default() };
    assert_eq!(host(&plain, "a").interfaces[0].link, Duplex::symmetric(perfect));
}

#[test]
fn a_translator_has_every_behaviour_that_was_asked_for() {
    let world = world(HOMES);
    let fritz = nat(&world, "fritz");
    let expected = Nat {
        inside: fritz.inside.clone(),
        outside: fritz.outside.clone(),
        mapping: Scope::AddressAndPortDependent,
        filtering: Scope::AddressDependent,
        ports: PortAllocation::Random,
        hairpin: true,
        unsolicited: Unsolicited::Reject,
        udp_timeout: Duration::from_secs(90),
        tcp_timeout: Duration::from_secs(7_440),
        mappings_max: 100,
        blocks_udp: true,
        forwards: vec![
            (7275, "192.168.1.2:7275".parse().unwrap()),
            (80, "192.168.1.2:8080".parse().unwrap()),
            (81, "192.168.1.9:1".parse().unwrap()),
        ],
    };
    assert_eq!(*fritz, expected);
}

#[test]
fn the_four_known_kinds_of_translators_have_their_meaning() {
    use Scope::{AddressAndPortDependent as Port, AddressDependent as Address};
    let any = Scope::EndpointIndependent;
    let kinds = [
        ("full-cone", any, any),
        ("address-restricted", any, Address),
        ("port-restricted", any, Port),
        ("symmetric", Port, Port),
    ];
    for (kind, mapping, filtering) in kinds {
        let world = world(&format!(
            "network.a.prefix = '10.0.0.0/8'\nnetwork.b.prefix = '11.0.0.0/8'\n\
             nat.n = {{ inside = 'a', outside = 'b', kind = '{kind}' }}"
        ));
        let found = nat(&world, "n");
        assert_eq!((found.mapping, found.filtering), (mapping, filtering), "{kind}");
    }
}

#[test]
fn routers_join_networks_and_firewalls_divide_them() {
    let world = world(
        "network.a.prefix = '10.0.0.0/24'\nnetwork.b.prefix = '10.0.1.0/24'\n\
         network.c.prefix = 'fd00::/64'\n\
         router.r = { on = ['a', 'b'], link = 'delay=1ms' }\n\
         host.x.on = 'a'\n\
         firewall.f = { inside = { on = 'b', address = '10.0.1.9' }, outside = 'a', \
         filtering = 'endpoint-independent' }\n\
         host.y.on = 'c'",
    );
    let NodeKind::Router(router) = &world.node("r").unwrap().kind else { panic!("no router") };
    let expected = [("eth0", "a", "10.0.0.1"), ("eth1", "b", "10.0.1.1")];
    for (interface, (name, network, address)) in router.interfaces.iter().zip(expected) {
        let link = spec("delay=1ms");
        let (name, network) = (name.to_owned(), network.to_owned());
        let addresses = ips(&[address]);
        assert_eq!(*interface, Attachment { name, network, addresses, link });
    }
    let NodeKind::Firewall(wall) = &world.node("f").unwrap().kind else { panic!("no firewall") };
    assert_eq!(wall.inside.addresses, ips(&["10.0.1.9"]));
    assert_eq!(wall.outside.addresses, ips(&["10.0.0.3"]));
    assert_eq!(wall.filtering, Scope::EndpointIndependent);
    assert_eq!(host(&world, "y").interfaces[0].addresses, ips(&["fd00::1"]));
}

#[test]
fn things_happen_in_the_order_of_time_and_end_when_they_were_to_last() {
    let world = world(&format!(
        "{HOMES}\n\
         [[at]]\ntime = '9s'\nrebind = 'fritz'\n\
         [[at]]\ntime = '1s'\ndown = 'laptop.lte'\nfor = '2s'\n\
         [[at]]\ntime = '2s'\nlink = 'alice'\nwith = 'lossy-5'\nfor = '2s'\n\
         [[at]]\ntime = '5s'\nmove = 'alice'\nto = 'internet'\nwith = '3g'\n\
         [[at]]\ntime = '6s'\nrenumber = 'alice'\n\
         [[at]]\ntime = '7s'\nmove = 'alice.eth0'\nto = 'home'\naddress = '192.168.1.2'\n"
    ));
    let seconds = Duration::from_secs;
    let (alice, eth0) = ("alice".to_owned(), Some("eth0".to_owned()));
    let lte = || ("laptop".to_owned(), Some("lte".to_owned()));
    let moved = |to: &str, address: &str, link: &str| Happening::Move {
        host: alice.clone(),
        interface: eth0.clone(),
        network: to.to_owned(),
        addresses: ips(&[address]),
        link: spec(link),
    };
    let expected = [
        (1, Happening::Down { node: lte().0, interface: lte().1 }),
        (2, Happening::Link { node: alice.clone(), interface: None, link: spec("lossy-5") }),
        (3, Happening::Up { node: lte().0, interface: lte().1 }),
        (
            4,
            Happening::Link {
                node: alice.clone(),
                interface: eth0.clone(),
                link: spec("good-wifi"),
            },
        ),
        (5, moved("internet", "203.0.113.2", "3g")),
        (
            6,
            Happening::Renumber {
                node: alice.clone(),
                interface: eth0.clone(),
                addresses: ips(&["203.0.113.3"]),
            },
        ),
        (7, moved("home", "192.168.1.2", "good-wifi")),
        (9, Happening::Rebind { nat: "fritz".to_owned() }),
    ];
    let expected = expected.map(|(at, what)| Moment { at: seconds(at), what });
    assert_eq!(world.timeline, expected);
    // The world begins as the file says, whatever happens later.
    assert_eq!(host(&world, "alice").interfaces[0].network, "home");
}

#[test]
fn programs_run_where_and_when_the_file_says() {
    let world = world(
        "network.n.prefix = '10.0.0.0/24'\nhost.alice.on = 'n'\nhost.bob.on = 'n'\n\
         [[run]]\non = 'bob'\nlabel = 'server'\nbackground = true\n\
         command = ['{lab}', 'probe', 'echo', '--port', 7]\n\
         [[run]]\non = ['alice', 'bob']\nat = '500ms'\n\
         command = \"/bin/sh -c 'ping -c 1 {bob}' \\\"{alice.eth0} x\\\" {not a name}\"\n",
    );
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let program = |on: &str, label: &str, command, at, background| Program {
        on: on.to_owned(),
        label: label.to_owned(),
        command,
        at,
        background,
    };
    let server = words(&["{lab}", "probe", "echo", "--port", "7"]);
    let ping = words(&["/bin/sh", "-c", "ping -c 1 {bob}", "{alice.eth0} x", "{not", "a", "name}"]);
    let expected = [
        program("bob", "server", server, Duration::ZERO, true),
        program("alice", "sh", ping.clone(), ms(500), false),
        program("bob", "sh", ping, ms(500), false),
    ];
    assert_eq!(world.programs, expected);
}

#[test]
fn every_profile_makes_a_world() {
    for profile in PROFILES {
        let world = world(&format!(
            "network.n.prefix = '10.0.0.0/24'\nhost.a = {{ on = 'n', link = '{}' }}",
            profile.name
        ));
        assert_eq!(host(&world, "a").interfaces[0].link, profile.duplex);
    }
}

#[test]
fn a_pair_meets_its_link_once() {
    let link = Profile::find("lossy-1").unwrap().duplex;
    let pair = Topology::pair(&link, 3);
    assert_eq!(pair.seed, 3);
    let (alice, bob) = (&host(&pair, "alice").interfaces, &host(&pair, "bob").interfaces);
    assert_eq!(alice[0].link, link);
    assert_eq!((bob[0].link.up.loss, bob[0].link.down.loss), (Loss::None, Loss::None));
    assert_eq!((bob[0].link.up.rate, bob[0].link.up.mtu), (None, 1_500));
    assert_eq!(alice[0].addresses, ips(&["10.77.0.1", "fd77::1"]));
    assert_eq!(bob[0].addresses, ips(&["10.77.0.2", "fd77::2"]));
}
