//! Paths with a name: how long each datagram takes, and which are lost.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How long each datagram takes, by the time at which it is sent.
pub(crate) type Way = Box<dyn FnMut(Duration) -> Option<Duration>>;

/// A path of which the chance comes from a seed.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// How much faster the sink's clock is, in millionths.
    pub(crate) drift_ppm: f64,
    make: fn(ChaCha8Rng) -> Way,
}

impl Model {
    pub(crate) fn path(&self, seed: u64) -> Way {
        (self.make)(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn is_recorded(&self) -> bool {
        RECORDED.iter().any(|model| model.name == self.name)
    }

    pub(crate) fn find(name: &str) -> &'static Self {
        MODELS.iter().chain(RECORDED).find(|model| model.name == name).unwrap()
    }
}

pub(crate) static MODELS: &[Model] = &[
    Model {
        name: "constant",
        summary: "40 ms, always",
        drift_ppm: 0.0,
        make: |_| Box::new(|_| Some(millis(40.0))),
    },
    Model {
        name: "gaussian",
        summary: "40 ms and what a queue adds: 8 ms of standard deviation",
        drift_ppm: 0.0,
        make: |mut chance| Box::new(move |_| Some(millis(40.0 + 8.0 * normal(&mut chance).abs()))),
    },
    Model {
        name: "gilbert",
        summary: "30 ms with 3 ms of jitter; 4 % lost in bursts of 2",
        drift_ppm: 0.0,
        make: |mut chance| {
            let mut bad = false;
            Box::new(move |_| {
                bad = if bad { chance.random_bool(0.5) } else { chance.random_bool(0.0208) };
                let delay = millis(30.0 + 3.0 * normal(&mut chance).abs());
                (!bad).then_some(delay)
            })
        },
    },
    Model {
        name: "wifi",
        summary: "8 ms with 2 ms of jitter; about every 3 s the radio is away for 40 to 120 ms",
        drift_ppm: 0.0,
        make: |mut chance| {
            let (mut next, mut free) = (1.0_f64, 0.0_f64);
            Box::new(move |sent| {
                let sent = sent.as_secs_f64();
                if sent >= next {
                    free = sent + chance.random_range(0.040..0.120);
                    next = sent - 3.0 * (1.0 - chance.random::<f64>()).ln();
                }
                let way = 0.008 + 0.002 * normal(&mut chance).abs();
                Some(Duration::from_secs_f64((sent + way).max(free + 0.001) - sent))
            })
        },
    },
    Model {
        name: "handover",
        summary: "35 ms, from 12 s on 85 ms, from 26 s on 35 ms again; 4 ms of jitter, and 150 ms \
                  of nothing at each change",
        drift_ppm: 0.0,
        make: |mut chance| {
            Box::new(move |sent| {
                let sent = sent.as_secs_f64();
                let far = (12.0..26.0).contains(&sent);
                let way = if far { 0.085 } else { 0.035 } + 0.004 * normal(&mut chance).abs();
                let changes = [12.0, 26.0].map(|at| (at, at + 0.15));
                let held = changes.iter().find(|(from, to)| (*from..*to).contains(&sent));
                let leaves = held.map_or(sent, |(_, to)| *to);
                Some(Duration::from_secs_f64(leaves + way - sent))
            })
        },
    },
    Model {
        name: "drift+200",
        summary: "40 ms with 4 ms of jitter; the sink's clock is 200 ppm faster",
        drift_ppm: 200.0,
        make: jitter,
    },
    Model {
        name: "drift-200",
        summary: "the same, 200 ppm slower",
        drift_ppm: -200.0,
        make: jitter,
    },
];

fn jitter(mut chance: ChaCha8Rng) -> Way {
    Box::new(move |_| Some(millis(40.0 + 4.0 * normal(&mut chance).abs())))
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1e3)
}

/// Box and Muller's transform: mean 0, standard deviation 1.
fn normal(chance: &mut ChaCha8Rng) -> f64 {
    let (one, other): (f64, f64) = (1.0 - chance.random::<f64>(), chance.random());
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

/// A path that was recorded: see `recorded/README.md`.
macro_rules! recorded {
    ($name:literal, $summary:literal) => {
        Model {
            name: $name,
            summary: $summary,
            drift_ppm: 0.0,
            make: |_| as_recorded(include_str!(concat!("../recorded/", $name, ".txt"))),
        }
    };
}

pub(crate) static RECORDED: &[Model] = &[
    recorded!(
        "lossy-5-beside",
        "recorded: 50 ms there and back, 5 % lost, beside a file over QUIC"
    ),
    recorded!("3g", "recorded: 300 ms there and back, up to 40 ms of jitter each way"),
    recorded!("congested-wifi", "recorded: up to 25 ms of jitter, bursts of loss"),
    recorded!("congested-wifi-beside", "the same beside a file over QUIC"),
    recorded!("4g-beside", "recorded: 70 ms there and back, deep queues, beside a file over QUIC"),
];

/// What a file says of each frame, by the time at which it was sent.
fn as_recorded(text: &'static str) -> Way {
    let delays: Vec<_> = text.split_whitespace().map(|cell| cell.parse::<f64>().ok()).collect();
    Box::new(move |sent| {
        let number = usize::try_from(sent.as_millis() / 20).unwrap();
        let delay = delays.get(number).copied().flatten();
        delay.map(|tenths| millis(tenths / 10.0))
    })
}
