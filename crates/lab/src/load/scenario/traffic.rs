//! Clients that write to each other: `direct`, `durable`, `fanout`, `mixed`.

use std::time::Duration;

use portolan::protocol::{CreateGroup, InviteToGroup, JoinGroup, Name};

use super::{Keeps, Plan, Scenario, thousands};
use crate::load::{
    LoadError,
    beside::{self, Broker},
    client::{Member, Pace, Part},
    dialect::Target,
    door::{Door, EnterError, Session},
    figure::{Row, Sheet},
    fleet::Fleet,
    host::Host,
    options::Beside,
    visit::visit,
};

/// Unanswered texts of each client that writes as fast as it can.
const WINDOW: usize = 64;

/// Members of a group.
const GROUP: u32 = 50;

/// Who does the work, ready to begin.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) fleet: Fleet,
    pub(super) pid: Option<u32>,
}

/// Under what load it is measured.
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) pace: Rate,
}

/// Texts of all clients together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rate {
    /// So many a second.
    Offered(u32),
    /// As fast as answers come.
    Saturated,
}

impl Phase {
    fn offered(rate: u32) -> Self {
        let name = format!("{} offered a second", thousands(rate.into()));
        Self { name, pace: Rate::Offered(rate) }
    }

    fn saturated() -> Self {
        Self { name: "as fast as it goes".into(), pace: Rate::Saturated }
    }

    pub(super) fn pace(&self, speakers: u32) -> Pace {
        match self.pace {
            Rate::Offered(rate) => {
                Pace::Every(Duration::from_secs_f64(f64::from(speakers) / f64::from(rate.max(1))))
            }
            Rate::Saturated => Pace::Window(WINDOW),
        }
    }
}

/// What clients do to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The first half writes to the second.
    Pairs,
    /// One of each group writes to all of it.
    Groups,
    /// Everyone writes to a neighbour, to a group, and has an echo.
    Mixed,
}

/// A scenario of this file.
struct Traffic {
    shape: Shape,
    clients: u32,
    keeps: &'static [Keeps],
    phases: Vec<Phase>,
}

pub(super) async fn direct(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let phases = vec![Phase::offered(1_000), Phase::offered(10_000), Phase::saturated()];
    let traffic = Traffic {
        shape: Shape::Pairs,
        clients: plan.clients(100, 40),
        keeps: &[Keeps::Memory],
        phases,
    };
    traffic.run(scenario, plan).await
}

pub(super) async fn durable(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let traffic = Traffic {
        shape: Shape::Pairs,
        clients: plan.clients(100, 40),
        keeps: &[Keeps::Memory, Keeps::Disk],
        phases: vec![Phase::offered(1_000), Phase::saturated()],
    };
    traffic.run(scenario, plan).await
}

pub(super) async fn fanout(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let traffic = Traffic {
        shape: Shape::Groups,
        clients: plan.clients(500, 100),
        keeps: &[Keeps::Memory, Keeps::Disk],
        phases: vec![Phase::saturated()],
    };
    traffic.run(scenario, plan).await
}

pub(super) async fn mixed(scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
    let traffic = Traffic {
        shape: Shape::Mixed,
        clients: plan.clients(100, 40),
        keeps: &[Keeps::Disk],
        phases: vec![Phase::offered(2_000), Phase::saturated()],
    };
    traffic.run(scenario, plan).await
}

impl Traffic {
    async fn run(&self, scenario: &Scenario, plan: &mut Plan) -> Result<Sheet, LoadError> {
        let mut hosts = Vec::new();
        let mut subjects = Vec::new();
        for keeps in plan.keeps(self.keeps) {
            let host = plan.host(keeps.unwrap_or(Keeps::Memory)).await?;
            for transport in plan.transports.clone() {
                let name = match keeps {
                    Some(keeps) => format!("{}, {}", transport.scheme(), keeps.word()),
                    None => transport.scheme().to_owned(),
                };
                plan.progress.quietly(&format!("{}: {name}: logging in", scenario.name));
                let door = door(plan, &host, transport.scheme())?;
                let fleet = self.fleet(&door, plan.size()).await?;
                subjects.push(Subject { name, fleet, pid: host.pid() });
            }
            hosts.push(host);
        }
        let broker = self.other_server(plan, &mut subjects).await?;
        let rows = measure(scenario, plan, &subjects, &self.phases).await;
        for subject in subjects {
            subject.fleet.leave().await;
        }
        for host in hosts {
            host.end().await;
        }
        if let Some(broker) = broker {
            broker.end().await;
        }
        let (scenario, about) = (scenario.name.to_owned(), scenario.about.to_owned());
        Ok(Sheet { scenario, about, rows })
    }

    async fn fleet(&self, door: &Door, size: usize) -> Result<Fleet, EnterError> {
        let mut sessions = door.enter(self.clients).await?;
        let names: Vec<String> = sessions.iter().map(|session| session.name.clone()).collect();
        let groups = match self.shape {
            Shape::Pairs => Vec::new(),
            Shape::Groups | Shape::Mixed => make_groups(door, &mut sessions).await?,
        };
        let parts = self.parts(&names, &groups);
        let members = sessions.into_iter().map(Session::into_member);
        Ok(Fleet::start(members.zip(parts), size))
    }

    /// What each client does; `names` are whom it writes to, `groups` where.
    fn parts(&self, names: &[String], groups: &[String]) -> Vec<Part> {
        let half = names.len() / 2;
        let members = usize::try_from(GROUP).unwrap_or(1);
        let to_group = |index: usize| groups.get(index / members).cloned().map(Target::Group);
        let part = |index: usize| match self.shape {
            Shape::Pairs if index < half => {
                let to = names.get(half + index).cloned();
                Part::speaker(to.map(Target::User).into_iter().collect(), 1)
            }
            Shape::Groups if index.is_multiple_of(members) => {
                let others = members.min(names.len() - index) - 1;
                let copies = u64::try_from(others).unwrap_or_default();
                Part::speaker(to_group(index).into_iter().collect(), copies)
            }
            Shape::Pairs | Shape::Groups => Part::listener(),
            Shape::Mixed => {
                let neighbour = names.get((index + 1) % names.len()).cloned().map(Target::User);
                let script = [neighbour.clone(), neighbour.clone(), Some(Target::Echo), neighbour];
                // One in ten writes to a group.
                let group = index.is_multiple_of(10).then(|| to_group(index)).flatten();
                Part::speaker(script.into_iter().flatten().chain(group).collect(), 1)
            }
        };
        (0..names.len()).map(part).collect()
    }

    /// The same work by another server, where that is asked for, possible and installed.
    async fn other_server(
        &self,
        plan: &mut Plan,
        subjects: &mut Vec<Subject>,
    ) -> Result<Option<Broker>, LoadError> {
        let Some(Beside::Mosquitto) = plan.options.beside else { return Ok(None) };
        if self.shape == Shape::Mixed {
            return Ok(None);
        }
        let broker = match beside::start(plan.options.data.as_deref()).await {
            Ok(broker) => broker,
            Err(why) => {
                plan.progress.say(&format!("lab: without mosquitto: {why}"));
                return Ok(None);
            }
        };
        let count = usize::try_from(self.clients).unwrap_or_default();
        let names: Vec<String> = (0..count).map(|index| format!("to/{index}")).collect();
        let members = usize::try_from(GROUP).unwrap_or(1);
        let groups: Vec<String> =
            (0..count.div_ceil(members)).map(|group| format!("group/{group}")).collect();
        let parts = self.parts(&names, &groups);
        let mut clients: Vec<(Member, Part)> = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let topic = match self.shape {
                Shape::Groups => groups.get(index / members).cloned().unwrap_or_default(),
                Shape::Pairs | Shape::Mixed => names.get(index).cloned().unwrap_or_default(),
            };
            // MQTT 3.1.1 sends a publisher what it publishes itself, if it listens.
            let topic = part.script.is_empty().then_some(topic);
            let member = broker.connect(index, topic.as_deref()).await;
            clients.push((member.map_err(LoadError::Broker)?, part));
        }
        let fleet = Fleet::start(clients, plan.size());
        subjects.push(Subject { name: beside::NAME.into(), fleet, pid: Some(broker.pid()) });
        Ok(Some(broker))
    }
}

/// The way in for clients of one transport.
pub(super) fn door(plan: &Plan, host: &Host, scheme: &'static str) -> Result<Door, LoadError> {
    let address = host.ready.addresses.iter().find(|(known, _)| known == scheme);
    let transport = portolan::transport(scheme);
    match (address, transport) {
        (Some((_, address)), Some(transport)) => Ok(Door {
            address: *address,
            id: host.ready.id,
            transport,
            tag: format!("{}{}", scheme.chars().next().unwrap_or('x'), plan.tag),
        }),
        _ => Err(LoadError::Transport { name: scheme.to_owned() }),
    }
}

/// Groups of [`GROUP`] clients that stand beside each other; the first of each owns it.
async fn make_groups(door: &Door, sessions: &mut [Session]) -> Result<Vec<String>, EnterError> {
    let mut groups = Vec::new();
    for (number, members) in sessions.chunks_mut(usize::try_from(GROUP).unwrap_or(1)).enumerate() {
        let group = format!("group-{}-{number}", door.tag);
        let Some((owner, others)) = members.split_first_mut() else { continue };
        owner.ask(CreateGroup { group: group.clone(), history: false, reference: None }).await?;
        for other in others {
            let user = Name::new(&other.name).expect("names of a load keep the rules");
            owner.ask(InviteToGroup { group: group.clone(), user, reference: None }).await?;
            other.ask(JoinGroup { group: group.clone(), reference: None }).await?;
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Rounds of all subjects in turn, each in every phase.
async fn measure(
    scenario: &Scenario,
    plan: &mut Plan,
    subjects: &[Subject],
    phases: &[Phase],
) -> Vec<Row> {
    let mut rows = rows(subjects, phases);
    for round in 1..=plan.rounds {
        for (at, row) in rows.iter_mut().enumerate() {
            let (subject, phase) = (&subjects[at / phases.len()], &phases[at % phases.len()]);
            let words = format!("{}: {}, {}", scenario.name, subject.name, phase.name);
            plan.progress.quietly(&format!("round {round} of {}: {words}", plan.rounds));
            let pace = phase.pace(subject.fleet.speakers);
            row.add(visit(&subject.fleet, subject.pid, pace, plan.times).await);
        }
    }
    rows
}

/// A row for each, with the other server's as the one that ratios are to.
fn rows(subjects: &[Subject], phases: &[Phase]) -> Vec<Row> {
    let other = subjects.iter().position(|subject| subject.name == beside::NAME);
    let mut rows = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        for (at, phase) in phases.iter().enumerate() {
            let mut row = Row::new(&subject.name, &phase.name);
            row.beside = other.filter(|other| *other != index).map(|o| o * phases.len() + at);
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{GROUP, Keeps, Shape, Traffic};
    use crate::load::dialect::Target;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("n{index}")).collect()
    }

    fn traffic(shape: Shape) -> Traffic {
        Traffic { shape, clients: 0, keeps: &[Keeps::Memory], phases: Vec::new() }
    }

    #[test]
    fn half_of_the_clients_write_to_the_other_half_one_each() {
        let parts = traffic(Shape::Pairs).parts(&names(4), &[]);
        let scripts: Vec<_> = parts.into_iter().map(|part| part.script).collect();
        let to = |name: &str| vec![Target::User(name.into())];
        assert_eq!(scripts, [to("n2"), to("n3"), vec![], vec![]]);
    }

    #[test]
    fn one_of_each_group_writes_and_the_others_have_copies() {
        let size = usize::try_from(GROUP).unwrap();
        let parts = traffic(Shape::Groups).parts(&names(size + 2), &names(2));
        let speakers: Vec<_> = parts.iter().filter(|part| !part.script.is_empty()).collect();
        assert_eq!(speakers.len(), 2);
        assert_eq!(speakers[0].copies, u64::from(GROUP) - 1);
        assert_eq!(speakers[1].copies, 1, "the last group is smaller");
    }
}
