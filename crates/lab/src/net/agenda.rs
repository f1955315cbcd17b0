//! What is due when.

use std::time::Duration;

use portolan_netsim::topology::{Happening, Topology};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// Start the program of that number.
    Start(usize),
    /// Change the world.
    Happen(Box<Happening>),
    /// The time is over.
    End,
}

/// All that is to do, in the order of time; what is due at the same time is done in the order of
/// the file, the world before its programs.
#[derive(Debug)]
pub(super) struct Agenda {
    /// The next one last.
    items: Vec<(Duration, Item)>,
}

impl Agenda {
    /// What a topology asks for.
    pub(super) fn new(topology: &Topology) -> Self {
        let moments = topology.timeline.iter();
        let moments =
            moments.map(|moment| (moment.at, Item::Happen(Box::new(moment.what.clone()))));
        let programs = topology.programs.iter().enumerate();
        let programs = programs.map(|(number, program)| (program.at, Item::Start(number)));
        let end = topology.duration.map(|duration| (duration, Item::End));
        let mut items: Vec<_> = moments.chain(programs).chain(end).collect();
        items.sort_by_key(|(at, _)| *at);
        items.reverse();
        Self { items }
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.items.last().map(|(at, _)| *at)
    }

    /// Takes the next one if it is due.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Item> {
        let (at, _) = self.items.last()?;
        (*at <= now).then(|| self.items.pop())?.map(|(_, item)| item)
    }

    /// Whether a program is still to start.
    pub(super) fn starts_more(&self) -> bool {
        self.items.iter().any(|(_, item)| matches!(item, Item::Start(_)))
    }
}

#[cfg(test)]
mod tests {
    use portolan_netsim::topology::{Moment, Program};

    use super::*;

    #[test]
    fn things_are_due_in_the_order_of_time_and_the_world_comes_before_its_programs() {
        let second = Duration::from_secs(1);
        let rebind = Happening::Rebind { nat: "nat".to_owned() };
        let program = |at| Program {
            on: "alice".to_owned(),
            label: "alice".to_owned(),
            command: vec!["true".to_owned()],
            at,
            background: false,
        };
        let topology = Topology {
            duration: Some(2 * second),
            timeline: vec![Moment { at: second, what: rebind.clone() }],
            programs: vec![program(second), program(Duration::ZERO)],
            ..Topology::default()
        };
        let mut agenda = Agenda::new(&topology);
        assert_eq!(agenda.next_at(), Some(Duration::ZERO));
        assert_eq!(agenda.pop(Duration::ZERO), Some(Item::Start(1)));
        assert_eq!(agenda.pop(Duration::ZERO), None);
        assert!(agenda.starts_more());
        assert_eq!(agenda.pop(second), Some(Item::Happen(Box::new(rebind))));
        assert_eq!(agenda.pop(second), Some(Item::Start(0)));
        assert!(!agenda.starts_more());
        assert_eq!(agenda.pop(3 * second), Some(Item::End));
        assert_eq!(agenda.next_at(), None);
    }
}
