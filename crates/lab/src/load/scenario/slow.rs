//! Whether a client that does not keep up costs others anything.

use std::time::Duration;

use super::{
    Keeps, Plan, Scenario,
    traffic::{Phase, Rate, door},
};
use crate::load::{
    LoadError,
    client::{Habit, Order, Pace, Part},
    dialect::Target,
    door::{Door, Session},
    figure::{Row, Sheet},
    fleet::Fleet,
    visit::visit,
};

/// Texts a second of the others, together.
const OTHERS: u32 = 2_000;

/// Texts a second for the one that does not keep up.
const TORMENT: f64 = 1_000.0;

/// The rows, paired in turns: nobody, then each way of not keeping up.
const ROWS: [(&str, Option<Habit>); 4] = [
    ("nobody is slow", None),
    ("one never reads", Some(Habit::Deaf)),
    ("one reads 10 KiB a second", Some(Habit::Slow)),
    ("one never confirms", Some(Habit::Mute)),
];

pub(super) async fn run(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let clients = plan.clients(100, 40);
    let phase = Phase { name: String::new(), pace: Rate::Offered(OTHERS) };
    let mut rows = Vec::new();
    for transport in plan.transports.clone() {
        let scheme = transport.scheme();
        let host = plan.host(Keeps::Memory).await?;
        let door = door(plan, &host, scheme)?;
        let others = pairs(&door, clients, plan.size()).await?;
        let first = rows.len();
        for (name, habit) in ROWS {
            let mut row = Row::new(scheme, name);
            row.beside = habit.map(|_| first);
            rows.push(row);
        }
        for round in 1..=plan.rounds {
            for ((name, habit), row) in ROWS.into_iter().zip(&mut rows[first..]) {
                let words = format!("{}: {scheme}, {name}", scenario.name);
                plan.progress.quietly(&format!("round {round} of {}: {words}", plan.rounds));
                let slow = match habit {
                    Some(habit) => Some(torment(&door, round, habit, plan.size()).await?),
                    None => None,
                };
                let pace = phase.pace(others.speakers);
                row.add(visit(&others, host.pid(), pace, plan.times).await);
                if let Some(slow) = slow {
                    slow.leave().await;
                }
            }
        }
        others.leave().await;
        host.end().await;
    }
    Ok(Sheet { scenario: scenario.name.into(), about: scenario.about.into(), rows })
}

/// Those whom it must cost nothing.
async fn pairs(door: &Door, clients: u32, size: usize) -> Result<Fleet, LoadError> {
    let sessions = door.enter(clients).await?;
    let names: Vec<String> = sessions.iter().map(|session| session.name.clone()).collect();
    let half = names.len() / 2;
    let part = |(index, session): (usize, Session)| {
        let to = names.get(half + index).cloned().map(Target::User).into_iter().collect();
        (session.into_member(), Part::speaker(to, 1))
    };
    Ok(Fleet::start(sessions.into_iter().enumerate().map(part), size))
}

/// One that does not keep up, and one that writes to it without end.
async fn torment(door: &Door, round: u32, habit: Habit, size: usize) -> Result<Fleet, LoadError> {
    // New names each time: what waits for the last one is not this one's.
    let door = Door { tag: format!("{}{round}{habit:?}", door.tag), ..door.clone() };
    let mut sessions = door.enter(2).await?.into_iter();
    let (Some(writer), Some(slow)) = (sessions.next(), sessions.next()) else {
        return Err(LoadError::Transport { name: door.transport.scheme().to_owned() });
    };
    let to = vec![Target::User(slow.name.clone())];
    let members = [
        (writer.into_member(), Part::speaker(to, 1)),
        (slow.into_member(), Part { habit, ..Part::listener() }),
    ];
    let fleet = Fleet::start(members, size);
    fleet.order(Order::Say(Pace::Every(Duration::from_secs_f64(1.0 / TORMENT))));
    Ok(fleet)
}
