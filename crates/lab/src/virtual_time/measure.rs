//! Rounds of all workloads over one link.

use std::time::Duration;

use portolan_netsim::topology::Duplex;

use super::{
    effort::Effort,
    keys::derive,
    simulation::{Outage, Scene},
    subject::Subject,
    workload::{Findings, SKIPPED, Stage, WORKLOADS, quantile},
};
use crate::{
    metric::METRICS,
    result::{Curve, Distribution, Measure, Sample, SubjectNote},
};

/// Shares at which distributions are told.
const QUANTILES: &[f64] =
    &[0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Who; the order of the rows.
    pub subjects: Vec<&'a Subject>,
    /// Over what; up is from the client to the server.
    pub link: Duplex,
    /// Times in which nothing gets through, counted from the start of each workload.
    pub outages: Vec<Outage>,
    /// Where all chance comes from: the same request gives the same figures to the bit.
    pub seed: u64,
    /// Each round has its own chance, and all subjects meet the same.
    pub rounds: u32,
    /// How much.
    pub effort: Effort,
}

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// For whom.
    pub subject: &'a str,
    /// What.
    pub workload: &'a str,
    /// In which round, from 1; 0 where there are none.
    pub round: u32,
    /// Steps that have been done.
    pub done: u32,
    /// Steps altogether.
    pub total: u32,
}

/// What was measured: these parts of a [`Run`](crate::result::Run).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// Who took part.
    pub subjects: Vec<SubjectNote>,
    /// Every figure of every round, and the metrics that make no sense here with the reason.
    pub measures: Vec<Measure>,
    /// Latency distributions over all rounds.
    pub distributions: Vec<Distribution>,
    /// Goodput over time in the first round.
    pub curves: Vec<Curve>,
}

/// Measures what was asked for, and tells every step before it is done.
///
/// It computes without pause; what it costs is decided by [`Request::effort`].
pub fn measure(request: &Request<'_>, tell: &mut dyn FnMut(Step<'_>)) -> Measured {
    let mut books: Vec<_> = request.subjects.iter().map(|subject| Book::new(subject)).collect();
    let total = request.rounds * length(WORKLOADS.len()) * length(books.len());
    let mut done = 0;
    for round in 1..=request.rounds {
        for workload in WORKLOADS {
            for book in &mut books {
                let subject = book.subject.name;
                tell(Step { subject, workload: workload.name, round, done, total });
                book.enter(round, (workload.run)(&request.stage(book.subject, round)));
                done += 1;
            }
        }
    }
    books.into_iter().fold(Measured::default(), Book::close)
}

impl Request<'_> {
    fn stage<'a>(&'a self, subject: &'a Subject, round: u32) -> Stage<'a> {
        let seed = derive(self.seed, u64::from(round));
        let scene = Scene { link: self.link, outages: &self.outages, seed };
        Stage { subject, scene, effort: &self.effort }
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Everything that was found about one subject.
struct Book<'a> {
    subject: &'a Subject,
    measures: Vec<Measure>,
    times: Vec<(&'static str, Vec<Duration>)>,
    curve: Option<Curve>,
}

impl<'a> Book<'a> {
    fn new(subject: &'a Subject) -> Self {
        Self { subject, measures: Vec::new(), times: Vec::new(), curve: None }
    }

    fn enter(&mut self, round: u32, findings: Findings) {
        for (metric, figure) in findings.figures {
            let measure = self.measure(metric);
            match figure {
                Ok(value) => measure.samples.push(Sample { round, value, doubt: None }),
                Err(why) => measure.skipped = Some(why),
            }
        }
        for (name, times) in findings.times {
            match self.times.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.extend(times),
                None => self.times.push((name, times)),
            }
        }
        if let Some(points) = findings.curve
            && self.curve.is_none()
        {
            self.curve = Some(Curve { subject: self.subject.name.to_owned(), points });
        }
    }

    fn measure(&mut self, metric: &str) -> &mut Measure {
        let place = self.measures.iter().position(|measure| measure.metric == metric);
        let place = place.unwrap_or_else(|| {
            self.measures.push(empty(self.subject, metric, None));
            self.measures.len() - 1
        });
        &mut self.measures[place]
    }

    fn close(mut into: Measured, mut book: Self) -> Measured {
        let skipped = SKIPPED.iter().map(|(id, why)| empty(book.subject, id, Some(*why)));
        book.measures.extend(skipped);
        let place = |measure: &Measure| METRICS.iter().position(|one| one.id == measure.metric);
        book.measures.sort_by_key(place);
        // Rounds that failed are not held against those that did not.
        for measure in &mut book.measures {
            measure.skipped = measure.skipped.take().filter(|_| measure.samples.is_empty());
        }
        into.subjects.push(book.subject.note());
        into.measures.append(&mut book.measures);
        into.curves.extend(book.curve);
        let times = book.times.into_iter().filter(|(_, times)| !times.is_empty());
        into.distributions
            .extend(times.map(|(of, times)| distribution(book.subject.name, of, times)));
        into
    }
}

fn empty(subject: &Subject, metric: &str, why: Option<&str>) -> Measure {
    Measure {
        subject: subject.name.to_owned(),
        metric: metric.to_owned(),
        samples: Vec::new(),
        skipped: why.map(str::to_owned),
    }
}

fn distribution(subject: &str, of: &str, mut times: Vec<Duration>) -> Distribution {
    times.sort_unstable();
    let point = |share: &f64| Some((*share, quantile(&times, *share)?.as_secs_f64() * 1e6));
    Distribution {
        subject: subject.to_owned(),
        of: of.to_owned(),
        count: times.len() as u64,
        points: QUANTILES.iter().filter_map(point).collect(),
    }
}
