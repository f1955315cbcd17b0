//! Goodput by loss and round trip.

use std::time::Duration;

use portolan_netsim::{Link, Loss, Queue, Rate, topology::Duplex};

use super::{
    app::{Direction, Window},
    effort::Effort,
    keys::derive,
    measure::Step,
    simulation::Scene,
    subject::Subject,
    workload::{Stage, transfer},
};
use crate::result::{Driver, Matrix, MatrixTable};

/// How long the bottleneck's queue is.
const QUEUE: Duration = Duration::from_millis(100);

/// What Ethernet carries, and so most of the internet.
const MTU: u32 = 1500;

/// Round trips that a transfer lasts at least: long ones take as many to become fast.
const ROUND_TRIPS_MIN: u32 = 25;

/// Share of the rate from which on a transfer is taken to fill the link.
const FULL: f64 = 0.8;

/// The cells of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The bottleneck in both directions, in Mbit/s.
    pub rate_mbit: u32,
    /// Loss in each direction, percent.
    pub loss_percent: Vec<f64>,
    /// Round trips in milliseconds.
    pub rtt_ms: Vec<u32>,
    /// How long each transfer lasts, from its first byte; at least 25 round trips.
    pub time: Duration,
    /// Bytes after which a transfer ends in any case: fast cells are steady soon, and they are
    /// what a matrix costs.
    pub bytes_max: u64,
    /// Transfers for each cell, each with its own chance, of which the median counts. Where the
    /// first fills the link, chance has no say, and it is the only one.
    pub repeats: u32,
    /// Where all chance comes from.
    pub seed: u64,
}

impl Grid {
    /// Loss 0 to 10 % by round trips of 1 to 400 ms at 100 Mbit/s, for `time` or 2 s at full rate.
    #[must_use]
    pub fn usual(time: Duration, seed: u64) -> Self {
        Self {
            rate_mbit: 100,
            loss_percent: vec![0.0, 0.1, 1.0, 2.0, 5.0, 10.0],
            rtt_ms: vec![1, 10, 50, 100, 200, 400],
            time,
            bytes_max: 25_000_000,
            repeats: 3,
            seed,
        }
    }

    /// The same cells for a first look: shorter, and each once.
    #[must_use]
    pub fn quick(seed: u64) -> Self {
        let time = Duration::from_secs(3);
        Self { bytes_max: 10_000_000, repeats: 1, ..Self::usual(time, seed) }
    }

    fn link(&self, loss_percent: f64, rtt_ms: u32) -> Duplex {
        let bits_per_second = u64::from(self.rate_mbit) * 1_000_000;
        let queue = Queue::drop_tail_for(QUEUE, bits_per_second);
        Duplex::symmetric(Link {
            delay: Duration::from_millis(u64::from(rtt_ms)) / 2,
            rate: Some(Rate { bits_per_second, queue }),
            loss: Loss::Random(loss_percent / 100.0),
            mtu: MTU,
            ..Link::default()
        })
    }

    fn cell(&self, subject: &Subject, loss_percent: f64, rtt_ms: u32) -> Option<f64> {
        let mut figures = Vec::new();
        for repeat in 0..self.repeats {
            let seed = derive(derive(self.seed, u64::from(rtt_ms)), u64::from(repeat));
            let figure = self.transfer(subject, self.link(loss_percent, rtt_ms), seed);
            figures.push(figure);
            if figure.is_some_and(|mbit| mbit > FULL * f64::from(self.rate_mbit)) {
                break;
            }
        }
        // Those that did not get through are the least.
        figures.sort_by(|one, other| one.unwrap_or(0.0).total_cmp(&other.unwrap_or(0.0)));
        figures.get(figures.len() / 2).copied().flatten()
    }

    fn transfer(&self, subject: &Subject, link: Duplex, seed: u64) -> Option<f64> {
        let stage =
            Stage { subject, scene: Scene { link, outages: &[], seed }, effort: &Effort::QUICK };
        let round_trip = link.up.delay + link.down.delay;
        let time = self.time.max(round_trip * ROUND_TRIPS_MIN);
        let window = Window { time, bin: time, bytes_max: self.bytes_max };
        transfer(&stage, Direction::Up, 1, window).ok()?.megabits_a_second()
    }
}

/// Fills the matrix for each of `subjects`, and tells every cell before it is begun.
pub fn matrix(subjects: &[&Subject], grid: &Grid, tell: &mut dyn FnMut(Step<'_>)) -> Matrix {
    let total = subjects.len() * grid.loss_percent.len() * grid.rtt_ms.len();
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let mut done = 0;
    let mut table = |subject: &Subject| {
        let mut cell = |loss: f64, rtt: u32| {
            tell(Step {
                subject: subject.name,
                workload: "loss by round trip",
                round: 0,
                done,
                total,
            });
            done += 1;
            grid.cell(subject, loss, rtt)
        };
        let mut row = |loss: &f64| grid.rtt_ms.iter().map(|rtt| cell(*loss, *rtt)).collect();
        MatrixTable {
            subject: subject.name.to_owned(),
            congestion_control: subject.congestion_control(),
            mbit: grid.loss_percent.iter().map(&mut row).collect(),
        }
    };
    let tables = subjects.iter().map(|subject| table(subject)).collect();
    Matrix {
        driver: Driver::VirtualTime,
        rate_mbit: f64::from(grid.rate_mbit),
        loss_percent: grid.loss_percent.clone(),
        rtt_ms: grid.rtt_ms.iter().map(|rtt| f64::from(*rtt)).collect(),
        tables,
    }
}
