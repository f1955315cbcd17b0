//! What can happen to a file in flight.

use std::time::Duration;

use portolan_netsim::topology::Happening;

/// The world of all of it. Alice has a radio, and a cable that is not plugged in; bob is far away,
/// and what alice and bob send each other does not pass where the server is.
///
/// ```text
///   alice ─ radio ─ hotspot (NAT) ─┐
///     └──── cable ─ home (NAT) ────┴ internet ─ short ─ far ─ bob
///                                       └─ aside ─ core ─ beyond ─┘
///                                                    └ server
/// ```
pub(super) const WORLD: &str = r#"
seed = 1
[network.radio]
prefix = "192.168.1.0/24"
[network.cable]
prefix = "192.168.2.0/24"
[network.internet]
prefix = "203.0.113.0/24"
[network.far]
prefix = "198.51.100.0/24"
[network.core]
prefix = "198.18.0.0/24"
[host.alice]
interfaces = [
  { name = "cable", on = "cable", address = "192.168.2.10", link = "delay=5ms,rate=50Mbit" },
  { name = "radio", on = "radio", address = "192.168.1.10", link = "delay=5ms,rate=50Mbit" },
]
[host.bob]
on = "far"
address = "198.51.100.10"
link = "delay=5ms,rate=50Mbit"
[host.server]
on = "core"
address = "198.18.0.10"
[nat.hotspot]
inside = "radio"
outside = "internet"
kind = "port-restricted"
[nat.home]
inside = "cable"
outside = "internet"
kind = "port-restricted"
[router.short]
on = ["internet", "far"]
[router.aside]
on = ["internet", "core"]
[router.beyond]
on = ["core", "far"]
"#;

/// What does not happen while the radio is used alone.
pub(super) fn before() -> [Happening; 1] {
    [unplug("cable")]
}

/// Something that happens in the middle of a file.
#[derive(Debug)]
pub(super) struct Trouble {
    /// On the command line.
    pub(super) name: &'static str,
    /// In a few words.
    pub(super) about: &'static str,
    /// Which way the file goes.
    pub(super) over: Over,
    /// What happens when a quarter has arrived.
    pub(super) steps: &'static [Step],
}

/// How the two reach each other before it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Direct,
    Relay,
}

/// One thing after the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The world changes.
    World(fn() -> Happening),
    /// The server is asked to end, and does.
    StopServer,
    /// The server dies without a word.
    KillServer,
    /// It is started again.
    StartServer,
    /// The machine of one of the two sleeps.
    Suspend(usize),
    /// And wakes up.
    Resume(usize),
    /// Time passes.
    Wait(Duration),
}

const ALICE: usize = 0;
const BOB: usize = 1;

const fn seconds(count: u64) -> Step {
    Step::Wait(Duration::from_secs(count))
}

/// Everything that can happen, as tables show it.
pub(super) static TROUBLES: &[Trouble] = &[
    Trouble {
        name: "nothing",
        about: "nothing happens, for comparison",
        over: Over::Direct,
        steps: &[],
    },
    Trouble {
        name: "nothing-relayed",
        about: "nothing happens to a file that goes through the relay, for comparison",
        over: Over::Relay,
        steps: &[],
    },
    Trouble {
        name: "server-restart",
        about: "the server is restarted; the file goes directly",
        over: Over::Direct,
        steps: &[Step::StopServer, Step::StartServer],
    },
    Trouble {
        name: "server-crash",
        about: "the server dies without a word and is back after 3 s; the file goes directly",
        over: Over::Direct,
        steps: &[Step::KillServer, seconds(3), Step::StartServer],
    },
    Trouble {
        name: "relay-restart",
        about: "the server that relays the file is restarted",
        over: Over::Relay,
        steps: &[Step::StopServer, Step::StartServer],
    },
    Trouble {
        name: "relay-crash",
        about: "the server that relays the file dies without a word and is back after 3 s",
        over: Over::Relay,
        steps: &[Step::KillServer, seconds(3), Step::StartServer],
    },
    Trouble {
        name: "rebinding",
        about: "the receiver's router forgets every mapping and gives new ports",
        over: Over::Direct,
        steps: &[Step::World(|| Happening::Rebind { nat: "hotspot".to_owned() })],
    },
    Trouble {
        name: "address",
        about: "the receiver gets another address in its network",
        over: Over::Direct,
        steps: &[Step::World(|| renumber("alice", "radio", [192, 168, 1, 77]))],
    },
    Trouble {
        name: "sender-address",
        about: "the sender, whom everybody can reach, gets another address",
        over: Over::Direct,
        steps: &[Step::World(|| renumber("bob", "eth0", [198, 51, 100, 77]))],
    },
    Trouble {
        name: "wifi-to-wired",
        about: "the receiver's cable is plugged in, and 2 s later its radio is gone",
        over: Over::Direct,
        steps: &[Step::World(|| plug("cable")), seconds(2), Step::World(|| unplug("radio"))],
    },
    Trouble {
        name: "wifi-lost",
        about: "the receiver's radio is gone, and 2 s later its cable is plugged in",
        over: Over::Direct,
        steps: &[Step::World(|| unplug("radio")), seconds(2), Step::World(|| plug("cable"))],
    },
    Trouble {
        name: "blackhole",
        about: "nothing from or to the receiver arrives for 10 s, without a word",
        over: Over::Direct,
        steps: &[
            Step::World(|| Happening::Down { node: "alice".to_owned(), interface: None }),
            seconds(10),
            Step::World(|| Happening::Up { node: "alice".to_owned(), interface: None }),
        ],
    },
    Trouble {
        name: "direct-dies",
        about: "nothing passes between the two any more, but through the relay",
        over: Over::Direct,
        steps: &[Step::World(|| Happening::Down { node: "short".to_owned(), interface: None })],
    },
    Trouble {
        name: "receiver-sleeps",
        about: "the receiver's machine sleeps for 20 s",
        over: Over::Direct,
        steps: &[Step::Suspend(ALICE), seconds(20), Step::Resume(ALICE)],
    },
    Trouble {
        name: "sender-sleeps",
        about: "the sender's machine sleeps for 20 s",
        over: Over::Direct,
        steps: &[Step::Suspend(BOB), seconds(20), Step::Resume(BOB)],
    },
];

fn unplug(interface: &str) -> Happening {
    Happening::Unplug { host: "alice".to_owned(), interface: Some(interface.to_owned()) }
}

fn plug(interface: &str) -> Happening {
    Happening::Plug { host: "alice".to_owned(), interface: Some(interface.to_owned()) }
}

fn renumber(node: &str, interface: &str, address: [u8; 4]) -> Happening {
    Happening::Renumber {
        node: node.to_owned(),
        interface: Some(interface.to_owned()),
        addresses: vec![address.into()],
    }
}

#[cfg(test)]
mod tests {
    use portolan_netsim::{World, topology::parse};
    use tokio::time::Instant;

    use super::{Step, TROUBLES, WORLD, before};

    #[test]
    fn everything_that_happens_fits_the_world() {
        let topology = parse(WORLD).unwrap();
        for trouble in TROUBLES {
            let now = Instant::now().into_std();
            let mut world = World::<()>::new(&topology, now).unwrap();
            let steps = trouble.steps.iter().filter_map(|step| match step {
                Step::World(happening) => Some(happening()),
                _ => None,
            });
            for happening in before().into_iter().chain(steps) {
                world.apply(now, &happening).unwrap();
            }
        }
    }
}
