//! Runs made up for the tests: shaped like real ones, measured by nobody.

use portolan_lab::result::{
    Curve, Distribution, Driver, FORMAT, Machine, Matrix, MatrixTable, Measure, Run, Sample,
    Setting, SubjectNote,
};

/// A generator from a seed (SplitMix64 and Box-Muller), so that every run can be made again.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn round(&mut self, middle: f64, spread: f64) -> f64 {
        let normal = (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
        middle * (spread * normal).exp()
    }
}

/// The seed of a test that draws: `SEED`, or its own.
pub(crate) fn seed(own: u64) -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(own);
    println!("SEED={seed}");
    seed
}

/// A subject: its speed beside `quinn`, and the congestion control.
const SUBJECTS: &[(&str, &str, &str, f64, bool)] = &[
    ("tcp", "our streams over TCP and TLS 1.3", "cubic (kernel)", 1.9, true),
    ("udp", "our own UDP transport", "bbr", 1.6, true),
    ("quic", "our messages over quinn", "cubic", 0.97, true),
    ("raw-tcp", "a bare kernel socket", "cubic (kernel)", 3.4, false),
    ("tokio-rustls", "TLS 1.3 over a kernel socket", "cubic (kernel)", 2.0, true),
    ("raw-udp", "datagrams with segmentation offload", "none", 4.2, false),
    ("quinn", "QUIC, used directly", "cubic", 1.0, true),
    ("s2n-quic", "QUIC of s2n", "cubic", 0.81, true),
    ("kcp", "KCP, turbo settings", "none", 0.22, false),
];

/// A metric: its id, the baseline's figure, the power of a subject's speed that it follows.
const FIGURES: &[(&str, f64, f64)] = &[
    ("bulk-up", 412.0, 1.0),
    ("bulk-down", 405.0, 1.0),
    ("bulk-up-4", 431.0, 0.8),
    ("bulk-down-4", 428.0, 0.8),
    ("cpu", 3.9, -1.0),
    ("rtt-64-p50", 41.0, -0.4),
    ("rtt-64-p99", 88.0, -0.5),
    ("rtt-64-p999", 210.0, -0.5),
    ("messages", 310_000.0, 0.9),
    ("messages-batched", 2_400_000.0, 0.9),
    ("handshakes", 820.0, 0.3),
    ("first-byte", 1_250.0, -0.3),
    ("live-once-p99", 120.0, -0.3),
    ("live-until-p99", 140.0, -0.3),
    ("loaded-rtt-p50", 900.0, -0.8),
    ("loaded-rtt-p99", 4_300.0, -0.8),
    ("memory-1k", 44.0, -0.6),
    ("memory-10k", 41.0, -0.6),
];

/// A whole run: `rounds` rounds at a spread of 3 %, with doubts and gaps.
pub(crate) fn run(seed: u64, rounds: u32) -> Run {
    let mut chance = Chance::new(seed);
    let mut run = bare(rounds);
    for round in 1..=rounds {
        // What the machine does beside this slows all subjects of a round alike.
        let weather = chance.round(1.0, 0.05);
        for (subject, _, _, speed, _) in SUBJECTS {
            for (metric, base, power) in FIGURES {
                let value = chance.round(base * speed.powf(*power) * weather, 0.03);
                measure(&mut run, subject, metric).samples.push(Sample {
                    round,
                    value,
                    doubt: None,
                });
            }
        }
    }
    lossy(&mut run, &mut chance);
    spoil(&mut run);
    pictures(&mut run);
    run
}

/// All but the figures.
fn bare(rounds: u32) -> Run {
    let note =
        |(name, summary, control, _, encrypted): &(&str, &str, &str, f64, bool)| SubjectNote {
            name: (*name).to_owned(),
            summary: (*summary).to_owned(),
            congestion_control: (*control).to_owned(),
            encrypted: *encrypted,
        };
    Run {
        format: FORMAT,
        started: "2026-03-04T05:06:07Z".to_owned(),
        command: "lab bench --link lossy-1 --rounds 7 --seed 7".to_owned(),
        machine: Machine {
            cpu: "An Imagined Processor 9000".to_owned(),
            cores: 2,
            system: "Linux 6.18".to_owned(),
        },
        setting: Setting {
            driver: Driver::Emulated,
            link: "lossy-1".to_owned(),
            description: "100 Mbit/s, 25 ms each way, 1 % random loss, 100 ms of queue".to_owned(),
            seed: 7,
            processes: 2,
        },
        baseline: "quinn".to_owned(),
        rounds,
        subjects: SUBJECTS.iter().map(note).collect(),
        measures: Vec::new(),
        distributions: Vec::new(),
        curves: Vec::new(),
        matrix: None,
    }
}

/// The measure of a subject and a metric, made where it is missing.
pub(crate) fn measure<'r>(run: &'r mut Run, subject: &str, metric: &str) -> &'r mut Measure {
    let of = |it: &Measure| it.subject == subject && it.metric == metric;
    let index = run.measures.iter().position(of).unwrap_or_else(|| {
        let (subject, metric) = (subject.to_owned(), metric.to_owned());
        run.measures.push(Measure { subject, metric, samples: Vec::new(), skipped: None });
        run.measures.len() - 1
    });
    &mut run.measures[index]
}

/// Multiplies all figures of a subject and metric: a change planted in the code under test.
pub(crate) fn plant(run: &mut Run, subject: &str, metric: &str, factor: f64) {
    for sample in &mut measure(run, subject, metric).samples {
        sample.value *= factor;
    }
}

fn lossy(run: &mut Run, chance: &mut Chance) {
    for (subject, percent) in [("udp", 0.0), ("quic", 0.98), ("quinn", 1.02), ("s2n-quic", 1.0)] {
        for round in 1..=run.rounds {
            let value = chance.round(percent, 0.05);
            let sample = Sample { round, value, doubt: None };
            measure(run, subject, "live-until-lost").samples.push(sample);
        }
    }
}

fn spoil(run: &mut Run) {
    let late = "the emulator was late: p99 1.8 ms, of 1 ms allowed";
    let foreign = "other programs took 11 % of the processors, of 5 % allowed";
    for (subject, metric) in [("udp", "bulk-up"), ("tcp", "rtt-64-p99")] {
        if let Some(sample) = measure(run, subject, metric).samples.get_mut(1) {
            sample.doubt = Some(late.to_owned());
        }
    }
    for sample in &mut measure(run, "kcp", "handshakes").samples {
        sample.doubt = Some(foreign.to_owned());
    }
    for metric in ["live-once-p99", "live-until-p99", "loaded-rtt-p50", "loaded-rtt-p99"] {
        let measure = measure(run, "raw-udp", metric);
        measure.samples.clear();
        measure.skipped = Some("does not repair losses".to_owned());
    }
    for subject in ["raw-tcp", "tokio-rustls"] {
        let measure = measure(run, subject, "live-until-p99");
        measure.samples.clear();
        measure.skipped = Some("carries no messages that may be lost".to_owned());
    }
}

fn pictures(run: &mut Run) {
    for (index, (subject, _, control, speed, _)) in SUBJECTS.iter().enumerate() {
        for (of, base) in [("rtt-64", 41.0), ("loaded-rtt", 900.0)] {
            run.distributions.push(distribution(subject, of, base * speed.powf(-0.5)));
        }
        let goodput = (90.0 * speed / (1.0 + speed)).min(94.0);
        let wave = |step: u32| {
            let t = f64::from(step) * 0.1;
            let ripple = 4.0 * (t * (1.3 + 0.2 * index as f64)).sin();
            (t, (goodput * (1.0 - (-t * 1.8).exp()) + ripple).max(0.0))
        };
        let curve = Curve { subject: (*subject).to_owned(), points: (1..=100).map(wave).collect() };
        run.curves.push(curve);
        let table = MatrixTable {
            subject: (*subject).to_owned(),
            congestion_control: (*control).to_owned(),
            mbit: LOSSES.iter().map(|loss| cells(*loss, control)).collect(),
        };
        if matches!(*subject, "udp" | "quic" | "quinn") {
            let matrix = run.matrix.get_or_insert_with(|| Matrix {
                driver: Driver::VirtualTime,
                rate_mbit: 100.0,
                loss_percent: LOSSES.to_vec(),
                rtt_ms: RTTS.to_vec(),
                tables: Vec::new(),
            });
            matrix.tables.push(table);
        }
    }
}

const LOSSES: [f64; 5] = [0.0, 0.1, 1.0, 2.0, 5.0];
const RTTS: [f64; 5] = [1.0, 10.0, 50.0, 100.0, 300.0];

/// Mathis's law for what slows at loss; a gentle slope for what does not.
fn cells(loss: f64, control: &str) -> Vec<Option<f64>> {
    let cell = |rtt: &f64| match (control, loss) {
        ("bbr", _) => Some(94.0 * (1.0 - loss / 40.0) * (1.0 - rtt / 2_000.0)),
        (_, 5.0) if *rtt > 200.0 => None,
        (_, loss) if loss > 0.0 => {
            Some((1.22 * 1_460.0 * 8.0 / (rtt * 1e3) / (loss / 100.0).sqrt()).min(93.0))
        }
        _ => Some(94.0),
    };
    RTTS.iter().map(cell).collect()
}

fn distribution(subject: &str, of: &str, middle: f64) -> Distribution {
    let quantiles = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];
    let point = |quantile: &f64| {
        let nines: f64 = -(1.0 - quantile).log10();
        (*quantile, middle * (0.8 + 0.3 * nines + 0.12 * nines.powi(3)))
    };
    let points = quantiles.iter().map(point).collect();
    Distribution { subject: subject.to_owned(), of: of.to_owned(), count: 84_213, points }
}
