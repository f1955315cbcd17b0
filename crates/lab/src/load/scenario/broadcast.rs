//! One message to everyone.

use std::time::Duration;

use tokio::time::sleep;

use super::{Keeps, Plan, Scenario, thousands, traffic::door};
use crate::load::{
    LoadError,
    client::{Order, Pace, Part},
    dialect::Target,
    door::Session,
    figure::{BROKEN, FIRST, HALF, LAST, Row, Sample, Sheet},
    fleet::Fleet,
};

/// Longer than a broadcast takes: the next one is not said while it is under way.
const SELDOM: Duration = Duration::from_secs(3_600);

pub(super) async fn run(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let clients = plan.clients(10_000, 500);
    let phase = format!("{} clients", thousands(clients.into()));
    let mut rows = Vec::new();
    for transport in plan.transports.clone() {
        let scheme = transport.scheme();
        plan.progress.quietly(&format!("{}: {scheme}: {phase} log in", scenario.name));
        let host = plan.host(Keeps::Memory).await?;
        let sessions = door(plan, &host, scheme)?.enter(clients).await?;
        let part = |(index, session): (usize, Session)| match index {
            0 => (session.into_member(), Part::speaker(vec![Target::All], 0)),
            _ => (session.into_member(), Part::listener()),
        };
        let fleet = Fleet::start(sessions.into_iter().enumerate().map(part), plan.size());
        let mut row = Row::new(scheme, &phase);
        for round in 1..=plan.rounds {
            let words = format!("{}: {scheme}, {phase}", scenario.name);
            plan.progress.quietly(&format!("round {round} of {}: {words}", plan.rounds));
            row.add(one(&fleet).await);
        }
        rows.push(row);
        fleet.leave().await;
        host.end().await;
    }
    Ok(Sheet { scenario: scenario.name.into(), about: scenario.about.into(), rows })
}

/// Says one text and waits until all have it.
async fn one(fleet: &Fleet) -> Sample {
    let mut sample = Sample::default();
    let before = fleet.counts();
    fleet.tally.start_recording();
    fleet.order(Order::Say(Pace::Every(SELDOM)));
    while fleet.counts().sent == before.sent {
        sleep(Duration::from_millis(1)).await;
    }
    let settled = fleet.settle().await;
    fleet.order(Order::Rest);
    sample.arrived = fleet.counts().delivered - before.delivered;
    let latencies = fleet.tally.stop_recording().delivered;
    if let Err(doubt) = settled {
        sample.doubts.push(format!("{BROKEN}: {doubt}"));
    }
    if let Some(why) = fleet.tally.take_refusal() {
        sample.doubts.push(format!("it was refused: {why}"));
    }
    if !latencies.is_empty() {
        let at = |share| latencies.value_at_quantile(share) as f64 / 1e6;
        let first = latencies.min() as f64 / 1e6;
        sample.figures = vec![(&FIRST, first), (&HALF, at(0.5)), (&LAST, at(1.0))];
    }
    // What confirmations cost is not charged to the next one.
    sleep(Duration::from_millis(500)).await;
    sample
}
