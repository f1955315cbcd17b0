//! Makes the visits of a plan, turn by turn.

use std::{io, time::Duration};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::bench::{
    client::{Errand, News, Step, last_moment},
    clock,
    collect::Collector,
    ground::{Ground, ServerPlace, Staging},
    plan::{Plan, Visit},
    progress::Progress,
    wire::LIVE_INTERVAL,
    workload::{Figures, Needs},
};

/// News that wait to be read.
const NEWS_MAX: usize = 64;

/// Everything that one visit told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) congestion_control: Option<String>,
    /// What each step gave, and why it should not be trusted.
    pub(crate) steps: Vec<(Step, Result<Figures, String>, Option<String>)>,
    /// Why nothing of it should be trusted.
    pub(crate) doubt: Option<String>,
}

/// Makes every visit, those of a turn over a ground each if there are several; dropped half-way, the turns that were over stay in the collector.
pub(crate) async fn run(
    plan: &mut Plan,
    grounds: &[Ground],
    staging: Staging,
    collector: &mut Collector,
    progress: &mut Progress,
) {
    let loopback = [Ground::Loopback];
    while let Some(turn) = plan.next(clock::now()) {
        let names: Vec<_> = turn.iter().map(|(visit, _)| visit.subject.name()).collect();
        let Some((first, steps)) = turn.first() else { continue };
        let planned: Duration = steps.iter().map(|step| step.time).sum();
        let count = steps.len();
        progress.visit(first.round, &names.join(", "), planned + plan.left(clock::now()));
        let (start, needs) = (clock::now(), first.needs);
        let stage = match needs {
            Needs::Alone | Needs::Little => Stage { grounds, staging, progress },
            Needs::OwnProcess => Stage {
                grounds: &loopback,
                staging: Staging { server: ServerPlace::Process, ..staging },
                progress,
            },
        };
        let visits = turn.iter().enumerate().map(|(number, (visit, steps))| {
            let phase = LIVE_INTERVAL.mul_f64(number as f64 / turn.len() as f64);
            // One ground carries all, or there is one for each.
            let ground = &stage.grounds[number % stage.grounds.len()];
            stage.make(visit, steps.clone(), ground, phase)
        });
        let told = join_all(visits).await;
        for ((visit, _), told) in turn.iter().zip(told) {
            collector.enter(visit, told);
        }
        if needs == Needs::Alone {
            plan.learn(planned, start.elapsed(), count);
        }
    }
    for visit in plan.abandoned() {
        for workload in &visit.workloads {
            collector.skip(visit, workload.metrics(), "the time was used up before its turn");
        }
    }
}

/// Where visits are made. There is at least one ground.
struct Stage<'a> {
    grounds: &'a [Ground],
    staging: Staging,
    progress: &'a Progress,
}

impl Stage<'_> {
    async fn make(
        &self,
        visit: &Visit,
        steps: Vec<Step>,
        ground: &Ground,
        phase: Duration,
    ) -> Told {
        let (news, reports) = mpsc::channel(NEWS_MAX);
        let last_moment = last_moment(&steps, ground.round_trip());
        let waiting = steps.clone();
        let errand = Errand {
            subject: visit.subject,
            local: ground.client_address(),
            round_trip: ground.round_trip(),
            phase,
            steps,
            news,
        };
        if let Err(error) = ground.start(errand, self.staging) {
            let mut told = Told::default();
            told.give_up(&waiting, &could_not_start(&error));
            return told;
        }
        let mut told = Told::default();
        let over =
            tokio::time::timeout_at(last_moment.into(), self.listen(reports, ground, &mut told));
        let why = match over.await {
            Ok(()) => "its side ended early",
            Err(_) => "its side stopped answering",
        };
        told.give_up(&waiting, why);
        told
    }

    /// Hears everything that a visit has to tell.
    async fn listen(&self, mut reports: mpsc::Receiver<News>, ground: &Ground, told: &mut Told) {
        while let Some(news) = reports.recv().await {
            match news {
                News::Began { congestion_control } => {
                    told.congestion_control = Some(congestion_control);
                }
                News::Step { name } => {
                    self.progress.step(name);
                    ground.begin_sample();
                }
                News::Done { step, outcome } => {
                    told.steps.push((step, outcome, ground.doubt()));
                }
                News::Over { doubt } => told.doubt = doubt,
            }
        }
    }
}

impl Told {
    /// Gives every step that has no outcome this one.
    fn give_up(&mut self, steps: &[Step], why: &str) {
        for step in steps {
            let name = step.workload.name();
            if self.steps.iter().all(|(done, ..)| done.workload.name() != name) {
                self.steps.push((*step, Err(why.to_owned()), None));
            }
        }
    }
}

fn could_not_start(error: &io::Error) -> String {
    format!("the sides could not be started: {error}")
}

/// A duration that a person wrote in seconds.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}
