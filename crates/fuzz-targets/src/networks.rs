//! What people write about networks: links and topologies.

use portolan_netsim::{
    LinkSpec, Network, PROFILES, Where, World,
    topology::{Topology, parse},
};

use crate::start;

pub(crate) fn link(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<LinkSpec>() {
        Ok(spec) => {
            let printed = spec.duplex.to_string();
            let again = printed.parse::<LinkSpec>().map(|again| again.duplex.to_string());
            assert_eq!(again.as_ref(), Ok(&printed), "the printed form reads back");
            let mut network = Network::new(1);
            network.set_link(Where::Everywhere, spec.duplex.up);
        }
        Err(error) => {
            assert!(error.column <= text.chars().count() + 1, "a column lies in the text");
            assert!(error.to_string().len() < 4_096, "an error stays short");
        }
    }
}

pub(crate) fn link_seeds() -> Vec<Vec<u8>> {
    let profiles = PROFILES.iter().map(|profile| profile.name.to_owned());
    let printed = PROFILES.iter().map(|profile| profile.duplex.to_string());
    let others = [
        "4g, loss=2%, up.rate=1.5 Mbit/s",
        "rate=1Gbps,queue=64 KiB,ecn=10ms,discipline=codel,target=5ms,interval=100ms",
        "loss=90%,burst=20,reorder=1%,hold=5ms,duplicate=0.01,corrupt=0.1%,mtu=68",
        "delay=1h,jitter=250 \u{b5}s,order=free,rate=unlimited,loss=0",
    ];
    profiles.chain(printed).chain(others.map(str::to_owned)).map(String::into_bytes).collect()
}

pub(crate) fn topology(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(topology) => live(&topology),
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).expect("a line lies in the text");
            assert!(error.column <= line.chars().count() + 1, "a column lies in its line");
        }
    }
}

/// What the reader lets pass is a world, and its whole timeline can happen in it.
fn live(topology: &Topology) {
    let start = start();
    let mut world: World<()> = World::new(topology, start).expect("a world");
    while let Some(at) = world.poll_timeout() {
        while world.poll_delivery(at).is_some() {}
        while world.poll_change().is_some() {}
    }
}

pub(crate) fn topology_seeds() -> Vec<Vec<u8>> {
    [HOMES, "network.n.prefix = '10.0.0.0/24'\nhost.a.on = 'n'\n"]
        .into_iter()
        .flat_map(|text| [text.to_owned(), text.replace('\n', "\r\n")])
        .map(String::into_bytes)
        .collect()
}

/// Something of everything.
const HOMES: &str = r#"
seed = 0x7
duration = "1min"
network.internet = { prefix = ["203.0.113.0/24", "fd00::/64"] }
[network.home]
prefix = "192.168.1.0/24"
link = "good-wifi,loss=1%"
isolated = true
multicast = false
[profile.dsl]
like = "lossy-1"
up = { rate = "2Mbit", queue = "50ms" }
[host.alice]
interfaces = [{ on = "home" }, { name = "lte", on = "internet", link = { like = "dsl" } }]
[host.bob]
on = "internet"
address = ["203.0.113.9", "fd00::9"]
[router.r]
on = ["home", "internet"]
[nat.box]
inside = "home"
outside = { on = "internet", address = "203.0.113.7" }
kind = "symmetric"
mapping = "address-dependent"
udp-timeout = "30s"
blocks = ["udp"]
forward = [{ port = 80, to = "alice:8080" }]
[firewall.wall]
inside = "home"
outside = "internet"
unsolicited = "reject"
[[at]]
time = "1s"
down = "alice.lte"
for = "2s"
[[at]]
time = "1.5s"
link = "bob"
with = "3g"
for = "1s"
[[at]]
time = "2s"
rebind = "box"
[[at]]
time = "3s"
move = "alice.eth0"
to = "internet"
[[at]]
time = "4s"
renumber = "bob"
address = "203.0.113.10"
[[run]]
on = ["alice", "bob"]
command = "{lab} probe echo '{bob}' {alice.lte}"
at = "10ms"
background = true
"#;
