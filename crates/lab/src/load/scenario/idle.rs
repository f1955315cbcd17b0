//! Clients that have logged in and do nothing.

use std::time::Duration;

use portolan_transport::Timing;
use tokio::time::sleep;

use super::{Keeps, Plan, Scenario, thousands, traffic::door};
use crate::{
    bench::clock,
    load::{
        LoadError,
        client::Part,
        door::Session,
        figure::{IDLE_CPU, LOGINS, MEMORY, Row, Sample, Sheet},
        fleet::Fleet,
        process,
    },
};

/// What the first clients make a server allocate for all is not charged to the rest.
const WARM_UP: u32 = 32;

/// After the last login, until memory and CPU time are looked at.
const CALM: Duration = Duration::from_secs(1);

pub(super) async fn run(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let clients = plan.clients(10_000, 500);
    let phase = format!("{} clients", thousands(clients.into()));
    let mut rows = Vec::new();
    for transport in plan.transports.clone() {
        let scheme = transport.scheme();
        let mut row = Row::new(scheme, &phase);
        plan.progress.quietly(&format!("{}: {scheme}: {phase} log in", scenario.name));
        row.add(one(plan, scheme, clients).await?);
        rows.push(row);
    }
    Ok(Sheet { scenario: scenario.name.into(), about: scenario.about.into(), rows })
}

/// How long the server's CPU time is looked at: long enough for some heartbeats of each
/// connection, unless the user knows better.
fn watch(plan: &Plan) -> Duration {
    match (plan.options.window, plan.options.quick) {
        (None, false) => Timing::default().idle,
        (Some(_), _) | (None, true) => plan.times.window * 5,
    }
}

/// One server, one transport, once: ten thousand handshakes take their time.
async fn one(plan: &Plan, scheme: &'static str, clients: u32) -> Result<Sample, LoadError> {
    let host = plan.host(Keeps::Memory).await?;
    let mut door = door(plan, &host, scheme)?;
    let warm = door.enter(WARM_UP).await?;
    door.tag.push('i');
    let resident = |at: Option<u32>| at.and_then(process::resident);
    let before = resident(host.pid());
    let start = clock::shared_nanos();
    let sessions = door.enter(clients).await?;
    let seconds = Duration::from_nanos(clock::shared_nanos() - start).as_secs_f64();
    let listen = |session: Session| (session.into_member(), Part::listener());
    let fleet = Fleet::start(sessions.into_iter().chain(warm).map(listen), plan.size());
    sleep(CALM).await;
    let mut sample = Sample::default();
    sample.figures.push((&LOGINS, f64::from(clients) / seconds));
    if let (Some(before), Some(after)) = (before, resident(host.pid())) {
        let bytes = after.saturating_sub(before) as f64;
        sample.figures.push((&MEMORY, bytes / 1024.0 / f64::from(clients)));
    }
    if let Some(pid) = host.pid() {
        let window = watch(plan);
        let (cpu, at) = (process::cpu(pid), clock::shared_nanos());
        sleep(window).await;
        let spent = process::cpu(pid).saturating_sub(cpu).as_secs_f64() * 1e3;
        let passed = Duration::from_nanos(clock::shared_nanos() - at).as_secs_f64();
        sample.figures.push((&IDLE_CPU, spent / passed));
    }
    sample.doubts.extend(fleet.tally.take_faults());
    fleet.leave().await;
    host.end().await;
    Ok(sample)
}
