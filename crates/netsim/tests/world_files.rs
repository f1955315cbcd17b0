//! From a topology file to arrivals.

mod world_common;

use portolan_netsim::{HostChange, topology::parse};
use world_common::{Sim, at, ip, ms, tcp, udp};

/// A home with a forwarded port behind a carrier, a café, and a laptop that goes there.
const FILE: &str = r#"
seed = 7

[network.internet]
prefix = "203.0.113.0/24"

[network.carrier]
prefix = "100.64.0.0/24"

[network.home]
prefix = "192.168.1.0/24"
link = "delay=2ms"

[network.cafe]
prefix = "192.168.1.0/24"

[host.server]
on = "internet"
address = "203.0.113.10"

[host.laptop]
on = "home"

[host.printer]
on = "home"

[nat.fritz]
inside = "home"
outside = "carrier"
forward = [{ port = 631, to = "printer" }]

[nat.cgn]
inside = "carrier"
outside = "internet"
kind = "full-cone"

[nat.barista]
inside = "cafe"
outside = "internet"
kind = "symmetric"

[[at]]
time = "10s"
rebind = "cgn"

[[at]]
time = "20s"
move = "laptop"
to = "cafe"
"#;

#[test]
fn a_file_becomes_a_world_with_nested_translators_and_a_timeline() {
    let topology = parse(FILE).unwrap_or_else(|error| panic!("{error}"));
    let mut sim = Sim::new(&topology);
    let laptop = sim.id("laptop");
    let own = sim.world.addressing(laptop);
    assert_eq!(own.gateways, [ip("192.168.1.1")]);
    let (from, server) = (format!("{}:5000", own.addresses[0].0), "203.0.113.10:7275");

    let mut seen = Vec::new();
    for seconds in [0, 5, 10, 20] {
        sim.now = sim.start + ms(1000) * seconds;
        let from = if seconds < 20 { from.clone() } else { move_of(&mut sim) };
        let arrival = sim.only("laptop", udp(&from, server));
        seen.push(arrival.packet.source);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1].ip(), seen[2].ip(), "another port of the same translator");
    assert_ne!(seen[1].port(), seen[2].port());
    assert_ne!(seen[2].ip(), seen[3].ip(), "another translator");
    let answer = sim.only("server", udp(server, &seen[3].to_string()));
    assert_eq!(answer.interface, laptop);
    sim.assert_accounted_for();
}

/// Lets the laptop go and gives its new socket.
fn move_of(sim: &mut Sim) -> String {
    assert_eq!(sim.world.poll_delivery(sim.now), None);
    let readdressed =
        std::iter::from_fn(|| sim.world.poll_change()).find_map(|change| match change {
            HostChange::Readdressed { addressing, .. } => Some(addressing),
            HostChange::Carrier { .. } => None,
        });
    format!("{}:5000", readdressed.expect("new addresses").addresses[0].0)
}

#[test]
fn a_forwarded_port_of_a_file_is_reached_from_the_outer_network() {
    let topology = parse(FILE).unwrap_or_else(|error| panic!("{error}"));
    let mut sim = Sim::new(&topology);
    let outside = sim.world.interface("fritz", "outside").expect("its outside");
    let fritz = sim.world.addressing(outside).addresses[0].0;
    // The carrier's own box stands in for a neighbour there.
    let neighbour = sim.world.interface("cgn", "inside").expect("its inside");
    let source = format!("{}:9", sim.world.addressing(neighbour).addresses[0].0);
    sim.world.send(sim.now, neighbour, tcp(&source, &format!("{fritz}:631"), "S"));
    let arrived = sim.drain();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].interface, sim.id("printer"));
    assert_eq!(arrived[0].packet.destination.port(), 631);
    assert_eq!(arrived[0].packet.source, at(&source));
}
