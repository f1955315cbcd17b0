//! From samples to a [`Run`].

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::{
    bench::{
        client::Step,
        plan::{Skip, Visit, Wishes},
        rounds::Told,
        subjects::SubjectRef,
        workload::Figures,
    },
    result::{Curve, Distribution, FORMAT, Machine, Measure, Run, Sample, Setting, SubjectNote},
};

/// Gathers what visits tell.
#[derive(Debug)]
pub(crate) struct Collector {
    wishes: Wishes,
    notes: Vec<SubjectNote>,
    samples: BTreeMap<Key, Vec<Sample>>,
    skipped: BTreeMap<Key, String>,
    latencies: BTreeMap<Key, Histogram<u64>>,
    curves: Vec<Curve>,
    failures: Vec<String>,
}

/// Subject and metric, or subject and distribution.
type Key = (&'static str, &'static str);

/// What a run is, beside its figures.
#[derive(Debug)]
pub(crate) struct Heading {
    pub(crate) started: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) setting: Setting,
    pub(crate) baseline: String,
}

impl Collector {
    pub(crate) fn new(wishes: Wishes, skips: Vec<Skip>) -> Self {
        let notes = wishes.subjects.iter().map(|subject| note(*subject)).collect();
        let skipped =
            skips.into_iter().map(|skip| ((skip.subject, skip.metric), skip.why)).collect();
        Self {
            wishes,
            notes,
            samples: BTreeMap::new(),
            skipped,
            latencies: BTreeMap::new(),
            curves: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A visit is over.
    pub(crate) fn enter(&mut self, visit: &Visit, told: Told) {
        let subject = visit.subject.name();
        if let Some(name) = told.congestion_control
            && let Some(note) = self.notes.iter_mut().find(|note| note.name == subject)
        {
            note.congestion_control = name;
        }
        for (step, outcome, doubt) in told.steps {
            let doubts: Vec<String> = doubt.into_iter().chain(told.doubt.clone()).collect();
            let doubt = (!doubts.is_empty()).then(|| doubts.join("; "));
            match outcome {
                Ok(figures) => self.add(visit, figures, doubt.as_deref()),
                Err(why) => self.fail(visit, step, &why),
            }
        }
    }

    fn add(&mut self, visit: &Visit, figures: Figures, doubt: Option<&str>) {
        let subject = visit.subject.name();
        for (metric, value) in figures.values {
            if self.wishes.wants_id(metric) && value.is_finite() {
                let doubt = doubt.map(ToOwned::to_owned);
                let sample = Sample { round: visit.round, value, doubt };
                self.samples.entry((subject, metric)).or_default().push(sample);
            }
        }
        for (metric, why) in figures.skipped {
            self.skip(visit, &[metric], &why);
        }
        for (of, latencies) in figures.distributions {
            match self.latencies.get_mut(&(subject, of)) {
                Some(all) => drop(all.add(latencies)),
                None => drop(self.latencies.insert((subject, of), latencies)),
            }
        }
        if !figures.curve.is_empty() {
            self.curves.push(Curve { subject: subject.to_owned(), points: figures.curve });
        }
    }

    /// Every wanted metric of a step that failed gets the reason.
    fn fail(&mut self, visit: &Visit, step: Step, why: &str) {
        let subject = visit.subject.name();
        let name = step.workload.name();
        self.failures.push(format!("{subject}, round {}, {name}: {why}", visit.round));
        self.skip(visit, step.workload.metrics(), why);
    }

    /// Metrics that stay without a figure, unless another round has one.
    pub(crate) fn skip(&mut self, visit: &Visit, metrics: &[&'static str], why: &str) {
        for metric in metrics {
            if self.wishes.wants_id(metric) {
                let key = (visit.subject.name(), *metric);
                self.skipped.entry(key).or_insert_with(|| why.to_owned());
            }
        }
    }

    /// What went wrong, in words.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The first figure of a metric.
    pub(crate) fn figure(&self, subject: &str, metric: &str) -> Option<f64> {
        let of = |(whose, id): &Key| *whose == subject && *id == metric;
        let (_, samples) = self.samples.iter().find(|(key, _)| of(key))?;
        samples.first().map(|sample| sample.value)
    }

    /// Whether any figure has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// All of it.
    pub(crate) fn finish(mut self, heading: Heading) -> Run {
        let measures = self.measures();
        let distributions = self.latencies.iter().map(|((subject, of), all)| Distribution {
            subject: (*subject).to_owned(),
            of: (*of).to_owned(),
            count: all.len(),
            points: points(all),
        });
        Run {
            format: FORMAT,
            started: heading.started,
            command: heading.command,
            machine: heading.machine,
            setting: heading.setting,
            baseline: heading.baseline,
            rounds: self.wishes.rounds,
            subjects: self.notes,
            measures,
            distributions: distributions.filter(|all| all.count > 0).collect(),
            curves: self.curves,
            matrix: None,
        }
    }

    fn measures(&mut self) -> Vec<Measure> {
        let mut measures = Vec::new();
        for metric in crate::metric::METRICS {
            for subject in &self.wishes.subjects {
                let key = (subject.name(), metric.id);
                let samples = self.samples.remove(&key).unwrap_or_default();
                let skipped = samples.is_empty().then(|| self.skipped.remove(&key)).flatten();
                if !samples.is_empty() || skipped.is_some() {
                    measures.push(Measure {
                        subject: subject.name().to_owned(),
                        metric: metric.id.to_owned(),
                        samples,
                        skipped,
                    });
                }
            }
        }
        measures
    }
}

/// How reports introduce a subject.
pub(crate) fn note(subject: SubjectRef) -> SubjectNote {
    let traits = subject.traits();
    SubjectNote {
        name: subject.name().to_owned(),
        summary: traits.summary.to_owned(),
        congestion_control: subject.congestion_control(),
        encrypted: traits.encrypted,
    }
}

/// Quantiles in microseconds: evenly, and finer in the tail as far as there are values.
fn points(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    let even = (0..50).map(|step| f64::from(step) / 50.0);
    let tail = [0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 1.0];
    let count = latencies.len() as f64;
    even.chain(tail)
        .filter(|quantile| *quantile >= 1.0 || (1.0 - quantile) * count >= 1.0)
        .map(|quantile| (quantile, latencies.value_at_quantile(quantile) as f64 / 1e3))
        .collect()
}
