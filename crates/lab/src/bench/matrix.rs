//! Goodput by loss and round trip, with real packets.

use std::time::Duration;

use crate::{
    bench::{
        BenchError, Ended, clock,
        collect::Collector,
        ground::{Ground, Staging},
        link::LinkChoice,
        plan::{Pace, Plan, Wishes},
        progress::Progress,
        rounds,
        subjects::{self, SubjectRef},
        until_interrupted,
    },
    result::{Driver, Matrix, MatrixTable},
};

/// The bottleneck in both directions.
const RATE_MBIT: u32 = 100;

/// What waits before it.
const QUEUE_MS: u32 = 100;

/// Who fills cells unless fewer take part: a cell takes seconds.
const WHO: [&str; 6] = ["ours", "raw-tcp-cubic", "raw-tcp-bbr", "quinn", "quinn-bbr", "tls"];

const LOSSES_QUICK: &[f64] = &[0.0, 1.0, 5.0];
const ROUND_TRIPS_QUICK: &[f64] = &[10.0, 50.0, 200.0];
const LOSSES_FULL: &[f64] = &[0.0, 0.1, 1.0, 2.0, 5.0, 10.0];
const ROUND_TRIPS_FULL: &[f64] = &[1.0, 10.0, 50.0, 100.0, 200.0];

/// MiB/s in Mbit/s.
const MBIT: f64 = 8.388_608;

/// Fills a matrix, a world for each cell. Cells stay empty from where somebody interrupts it.
pub(crate) fn measure(
    wishes: &Wishes,
    staging: Staging,
    progress: &mut Progress,
) -> Result<(Matrix, Ended), BenchError> {
    let (losses, round_trips) = match wishes.pace {
        Pace::Quick => (LOSSES_QUICK, ROUND_TRIPS_QUICK),
        Pace::Full => (LOSSES_FULL, ROUND_TRIPS_FULL),
    };
    let subjects = taking_part(wishes)?;
    let mut tables: Vec<MatrixTable> = subjects.iter().map(|subject| empty(*subject)).collect();
    let (start, total) = (clock::now(), losses.len() * round_trips.len());
    let cells = losses.iter().flat_map(|loss| round_trips.iter().map(move |trip| (*loss, *trip)));
    let mut ended = Ended::Whole;
    for (done, (loss, round_trip)) in cells.enumerate() {
        let row = done / round_trips.len();
        tables.iter_mut().for_each(|table| table.mbit.resize(row + 1, Vec::new()));
        let goodputs = if ended == Ended::Whole {
            progress.cell((loss, round_trip), done, total, start.elapsed());
            let (goodputs, how) = fill(cell(wishes, &subjects, loss, round_trip)?, staging)?;
            ended = how;
            goodputs
        } else {
            vec![None; subjects.len()]
        };
        for (table, goodput) in tables.iter_mut().zip(goodputs) {
            table.mbit[row].push(goodput);
        }
    }
    let matrix = Matrix {
        driver: Driver::Emulated,
        rate_mbit: f64::from(RATE_MBIT),
        loss_percent: losses.to_vec(),
        rtt_ms: round_trips.to_vec(),
        tables,
    };
    Ok((matrix, ended))
}

fn taking_part(wishes: &Wishes) -> Result<Vec<SubjectRef>, BenchError> {
    let few = subjects::choose(&WHO.map(str::to_owned))?;
    let wanted = |subject: &SubjectRef| {
        wishes.subjects.iter().any(|wanted| wanted.name() == subject.name())
            && subject.missing().is_none()
    };
    Ok(few.into_iter().filter(wanted).collect())
}

fn empty(subject: SubjectRef) -> MatrixTable {
    MatrixTable {
        subject: subject.name().to_owned(),
        congestion_control: subject.congestion_control(),
        mbit: Vec::new(),
    }
}

/// One cell's network and what is done on it.
struct Cell {
    link: LinkChoice,
    wishes: Wishes,
}

fn cell(
    wishes: &Wishes,
    subjects: &[SubjectRef],
    loss: f64,
    round_trip_ms: f64,
) -> Result<Cell, BenchError> {
    let delay = Duration::from_secs_f64(round_trip_ms / 2e3).as_micros();
    let text = format!("delay={delay}us,rate={RATE_MBIT}Mbit,queue={QUEUE_MS}ms,loss={loss}%");
    let link = super::parse_link(&text)?;
    let wishes = Wishes {
        subjects: subjects.to_vec(),
        only: vec!["bulk-up".into()],
        rounds: 1,
        budget: None,
        stretch: 1.0,
        link: link.traits(),
        ..wishes.clone()
    };
    Ok(Cell { link, wishes })
}

/// The goodput of each subject's transfer in a cell.
fn fill(cell: Cell, staging: Staging) -> Result<(Vec<Option<f64>>, Ended), BenchError> {
    let Cell { link, wishes } = cell;
    let grounds = Ground::emulated(&link, &wishes)?;
    let (mut plan, skips) = Plan::without_curves(wishes.clone(), clock::now());
    let mut collector = Collector::new(wishes.clone(), skips);
    // The cell is what there is to tell of.
    let mut silent = Progress::silent();
    let visits = rounds::run(&mut plan, &grounds, staging, &mut collector, &mut silent);
    let ended = until_interrupted(visits)?;
    let goodput = |subject: &SubjectRef| collector.figure(subject.name(), "bulk-up");
    let goodputs = wishes.subjects.iter().map(goodput).map(|rate| rate.map(|rate| rate * MBIT));
    Ok((goodputs.collect(), ended))
}
