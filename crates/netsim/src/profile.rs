//! Links that people know, by name.

use std::time::Duration;

use crate::{
    Discipline, Link, Loss, Order, Queue, Rate, Reorder, draft::MTU, suggest::Suggestion,
    topology::Duplex,
};

/// A link that people know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it is like, in one line.
    pub summary: &'static str,
    /// Where its figures come from, and which of them are our judgement.
    pub source: &'static str,
    /// How it behaves: up is from the user to the network.
    pub duplex: Duplex,
}

/// There is no profile of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no link profile named \"{name}\"{suggestion} (there are {})", known.join(", "))]
pub struct UnknownProfile {
    /// The name.
    pub name: String,
    /// What was perhaps meant.
    pub suggestion: Suggestion,
    /// The names that there are.
    pub known: Vec<String>,
}

impl UnknownProfile {
    pub(crate) fn new(name: &str, known: Vec<String>) -> Self {
        let suggestion = Suggestion::among(name, known.iter().map(String::as_str));
        Self { name: name.to_owned(), suggestion, known }
    }
}

impl Profile {
    /// The profile of this name.
    ///
    /// # Errors
    /// When there is none, with the nearest name.
    pub fn find(name: &str) -> Result<&'static Self, UnknownProfile> {
        let unknown = || {
            let names = PROFILES.iter().map(|profile| profile.name.to_owned());
            UnknownProfile::new(name, names.collect())
        };
        PROFILES.iter().find(|profile| profile.name == name).ok_or_else(unknown)
    }
}

/// Every profile, from the best to the worst.
pub static PROFILES: &[Profile] = &[
    Profile {
        name: "lan",
        summary: "1 Gbit/s Ethernet through one switch",
        source: "Gigabit Ethernet, the fastest that the emulator carries in both directions. \
                 A round trip of 0.2 ms with 0.05 ms of jitter each way and a buffer of 512 KiB \
                 are our judgement of two desktops on one switch.",
        duplex: Duplex::symmetric(Link {
            delay: Duration::from_micros(100),
            jitter: Duration::from_micros(50),
            ..limited(GIGABIT, Queue::drop_tail(512 * 1024))
        }),
    },
    Profile {
        name: "good-wifi",
        summary: "Wi-Fi near a modern access point: 200 Mbit/s down, 100 up, 3 ms",
        source: "The round trip is the median Wi-Fi latency of 3 ms in Sui et al., Characterizing \
                 and Improving WiFi Latency in Large-Scale Operational Networks (MobiSys 2016). \
                 CoDel with a target of 20 ms is what Linux access points do (mac80211). Rates, \
                 jitter and the 0.05 % that the radio's own repeats do not save are our judgement.",
        duplex: Duplex { up: good_wifi(100 * MEGABIT), down: good_wifi(200 * MEGABIT) },
    },
    Profile {
        name: "congested-wifi",
        summary: "Wi-Fi that many share: 20 Mbit/s down, 8 up, 10 to 60 ms, bursts of loss",
        source: "Pei et al., WiFi Can Be the Weakest Link of Round Trip Network Latency in the \
                 Wild (INFOCOM 2016): half of the packets wait more than 20 ms on a busy campus, \
                 one in ten more than 100 ms. Jitter without queue of up to 25 ms each way, 300 ms \
                 of unmanaged queue, 1 % of loss in bursts of 3, and rates are our judgement.",
        duplex: Duplex {
            up: congested_wifi(8 * MEGABIT, milliseconds_at(300, 8 * MEGABIT)),
            down: congested_wifi(20 * MEGABIT, milliseconds_at(300, 20 * MEGABIT)),
        },
    },
    Profile {
        name: "4g",
        summary: "LTE: 12 Mbit/s, 70 ms, deep queues",
        source: "Rates and round trip are the LTE preset of WebPageTest (12 Mbit/s both ways, \
                 70 ms). The 400 ms of queue follow Jiang et al., Tackling Bufferbloat in 3G/4G \
                 Networks (IMC 2012), where queues of mobile networks hold hundreds of \
                 milliseconds and more. Jitter of up to 10 ms and 0.1 % of loss are our judgement: \
                 the radio repeats what gets lost.",
        duplex: Duplex::symmetric(Link {
            delay: Duration::from_millis(30),
            jitter: Duration::from_millis(10),
            loss: Loss::Random(0.001),
            ..limited(12 * MEGABIT, Queue::drop_tail(milliseconds_at(400, 12 * MEGABIT)))
        }),
    },
    Profile {
        name: "3g",
        summary: "UMTS: 1.6 Mbit/s down, 0.768 up, 300 ms, deep queues",
        source: "Rates and round trip are the 3G preset of WebPageTest (1.6 Mbit/s down, 768 \
                 kbit/s up, 300 ms). The second of queue follows Jiang et al., Tackling \
                 Bufferbloat in 3G/4G Networks (IMC 2012). Jitter of up to 40 ms each way, within \
                 the round trip, and 0.5 % of loss are our judgement.",
        duplex: Duplex { up: third_generation(768_000), down: third_generation(1_600_000) },
    },
    Profile {
        name: "satellite",
        summary: "Geostationary satellite: 25 Mbit/s down, 3 up, 600 ms",
        source: "RFC 2488 section 2: up and down takes 239.6 to 279 ms, a round trip at least \
                 558 ms at the edge of the footprint; the rest up to 600 ms is for the ground. \
                 Rates are those that the FCC called broadband from 2015 to 2024 and satellite \
                 plans offered. Jitter, 0.1 % of loss after coding and 600 ms of queue are our \
                 judgement.",
        duplex: Duplex { up: satellite(3 * MEGABIT), down: satellite(25 * MEGABIT) },
    },
    Profile {
        name: "transatlantic",
        summary: "Between data centres of Europe and America: 500 Mbit/s, 80 ms",
        source: "The operators of backbones promise at most 90 ms between London and New York and \
                 publish monthly means of 70 to 80 ms; light in the shortest cable needs almost 60. 500 Mbit/s, 0.5 ms \
                 of jitter, 0.01 % of loss and 50 ms of queue are our judgement of a good path \
                 that others use too.",
        duplex: Duplex::symmetric(Link {
            delay: Duration::from_micros(39_750),
            jitter: Duration::from_micros(500),
            loss: Loss::Random(0.000_1),
            ..limited(500 * MEGABIT, Queue::drop_tail(milliseconds_at(50, 500 * MEGABIT)))
        }),
    },
    Profile {
        name: "lossy-1",
        summary: "100 Mbit/s, 50 ms, 1 % lost each way",
        source: "No place: a yardstick. 1 % of random loss at 50 ms is where algorithms that take \
                 every loss for congestion come to a few Mbit/s (Mathis et al., The Macroscopic \
                 Behavior of the TCP Congestion Avoidance Algorithm, 1997), and others do not.",
        duplex: Duplex::symmetric(lossy(0.01)),
    },
    Profile {
        name: "lossy-5",
        summary: "100 Mbit/s, 50 ms, 5 % lost each way",
        source: "No place: the yardstick lossy-1 with five times the loss.",
        duplex: Duplex::symmetric(lossy(0.05)),
    },
    Profile {
        name: "bad",
        summary: "Everything at once: 2 Mbit/s down, 1 up, 200 to 300 ms, 10 % lost in bursts",
        source: "No place: what a transport must survive. All figures are our choice.",
        duplex: Duplex { up: bad(MEGABIT), down: bad(2 * MEGABIT) },
    },
];

const MEGABIT: u64 = 1_000_000;
const GIGABIT: u64 = 1_000_000_000;

const fn good_wifi(bits_per_second: u64) -> Link {
    let codel = Discipline::CoDel {
        target: Duration::from_millis(20),
        interval: Duration::from_millis(100),
    };
    let bytes = milliseconds_at(200, bits_per_second);
    Link {
        delay: Duration::from_millis(1),
        jitter: Duration::from_millis(1),
        loss: Loss::Random(0.000_5),
        ..limited(bits_per_second, Queue { bytes, discipline: codel, ecn_threshold: None })
    }
}

const fn congested_wifi(bits_per_second: u64, queue: u32) -> Link {
    Link {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(25),
        loss: bursts(0.01, 3.0),
        ..limited(bits_per_second, Queue::drop_tail(queue))
    }
}

const fn third_generation(bits_per_second: u64) -> Link {
    Link {
        delay: Duration::from_millis(130),
        jitter: Duration::from_millis(40),
        loss: Loss::Random(0.005),
        ..limited(bits_per_second, Queue::drop_tail(milliseconds_at(1_000, bits_per_second)))
    }
}

const fn satellite(bits_per_second: u64) -> Link {
    Link {
        delay: Duration::from_millis(295),
        jitter: Duration::from_millis(10),
        loss: Loss::Random(0.001),
        ..limited(bits_per_second, Queue::drop_tail(milliseconds_at(600, bits_per_second)))
    }
}

const fn lossy(share: f64) -> Link {
    Link {
        delay: Duration::from_millis(25),
        loss: Loss::Random(share),
        ..limited(100 * MEGABIT, Queue::drop_tail(milliseconds_at(100, 100 * MEGABIT)))
    }
}

const fn bad(bits_per_second: u64) -> Link {
    Link {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        order: Order::Free,
        loss: bursts(0.1, 4.0),
        reorder: Some(Reorder { probability: 0.05, hold: Duration::from_millis(50) }),
        duplicate: 0.01,
        corrupt: 0.001,
        ..limited(bits_per_second, Queue::drop_tail(milliseconds_at(1_000, bits_per_second)))
    }
}

/// A link that is perfect but for its speed.
const fn limited(bits_per_second: u64, queue: Queue) -> Link {
    Link { rate: Some(Rate { bits_per_second, queue }), mtu: MTU, ..Link::PERFECT }
}

/// Bytes that leave in so many milliseconds.
#[expect(clippy::cast_possible_truncation, reason = "the table above holds no such queue")]
const fn milliseconds_at(time: u64, bits_per_second: u64) -> u32 {
    (bits_per_second / 8 * time / 1_000) as u32
}

/// Loss of this share in bursts of this mean length.
const fn bursts(share: f64, length: f64) -> Loss {
    let end = 1.0 / length;
    Loss::Burst { begin: share * end / (1.0 - share), end, good: 0.0, bad: 1.0 }
}
