//! The table of scenarios.

mod broadcast;
mod idle;
mod slow;
mod traffic;

use std::{pin::Pin, time::Duration};

use portolan::Transport;
use strsim::jaro_winkler;

use super::{LoadError, figure::Sheet, host::Host, options::Options, visit::Times};
use crate::{bench::progress::Progress, scratch::Scratch};

/// Everything that a scenario is told.
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) transports: Vec<&'static dyn Transport>,
    pub(crate) rounds: u32,
    pub(crate) times: Times,
    pub(crate) progress: Progress,
    /// Makes this run's names its own.
    pub(crate) tag: String,
}

/// Where a server keeps what it stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// In memory.
    Memory,
    /// In a database.
    Disk,
}

impl Keeps {
    fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

impl Plan {
    /// How many clients take part.
    fn clients(&self, usual: u32, quick: u32) -> u32 {
        self.options.clients.unwrap_or(if self.options.quick { quick } else { usual })
    }

    fn size(&self) -> usize {
        usize::try_from(self.options.size).unwrap_or_default()
    }

    /// A server for one scenario: of our own, or the one that was named.
    async fn host(&self, keeps: Keeps) -> Result<Host, LoadError> {
        if let (Some(address), Some(id)) = (self.options.server, self.options.server_id) {
            return Ok(Host::foreign(address, id));
        }
        let scratch = match keeps {
            Keeps::Memory => None,
            Keeps::Disk => {
                let scratch = Scratch::new(self.options.data.as_deref());
                Some(scratch.map_err(LoadError::Scratch)?)
            }
        };
        Host::start(scratch).await.map_err(LoadError::Server)
    }

    /// What the server keeps in, as far as we decide it.
    fn keeps(&self, wanted: &[Keeps]) -> Vec<Option<Keeps>> {
        match self.options.server {
            Some(_) => vec![None],
            None => wanted.iter().copied().map(Some).collect(),
        }
    }
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<Sheet, LoadError>> + 'a>>;

/// One thing to do to a server.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What is done and measured, in a sentence.
    pub(crate) about: &'static str,
    pub(crate) run: for<'a> fn(&'a Scenario, &'a mut Plan) -> Outcome<'a>,
}

/// Every scenario, in the order in which they run.
pub(crate) static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "idle",
        about: "clients log in by each transport (10,000) and do nothing: what they cost",
        run: |scenario, plan| Box::pin(idle::run(scenario, plan)),
    },
    Scenario {
        name: "direct",
        about: "half of the clients (of 100) write to the others: few texts, many, as many as can be",
        run: |scenario, plan| Box::pin(traffic::direct(scenario, plan)),
    },
    Scenario {
        name: "durable",
        about: "the same as fast as it goes, kept in memory and in a database on disk",
        run: |scenario, plan| Box::pin(traffic::durable(scenario, plan)),
    },
    Scenario {
        name: "fanout",
        about: "groups of 50 (10 of them): each text of one member is delivered to the other 49",
        run: |scenario, plan| Box::pin(traffic::fanout(scenario, plan)),
    },
    Scenario {
        name: "broadcast",
        about: "one text to all clients (10,000): how long until the last has it",
        run: |scenario, plan| Box::pin(broadcast::run(scenario, plan)),
    },
    Scenario {
        name: "slow",
        about: "one client that does not read, reads slowly or never confirms, beside others (100)",
        run: |scenario, plan| Box::pin(slow::run(scenario, plan)),
    },
    Scenario {
        name: "mixed",
        about: "clients (100) write to each other and to groups, and ask for echoes",
        run: |scenario, plan| Box::pin(traffic::mixed(scenario, plan)),
    },
];

/// The scenarios for `--help`.
pub(crate) fn table() -> String {
    let rows =
        SCENARIOS.iter().map(|scenario| format!("  {:<10} {}", scenario.name, scenario.about));
    format!("Scenarios:\n{}", rows.collect::<Vec<_>>().join("\n"))
}

/// The scenarios of these names, or all.
pub(crate) fn choose(words: &[String]) -> Result<Vec<&'static Scenario>, LoadError> {
    if words.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |word: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == word);
        found.ok_or_else(|| {
            let likeness = |scenario: &&Scenario| jaro_winkler(scenario.name, word);
            let nearest = SCENARIOS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            LoadError::Scenario {
                name: word.clone(),
                suggestion: nearest.map_or("idle", |scenario| scenario.name),
            }
        })
    };
    words.iter().map(find).collect()
}

/// How long a round takes.
pub(crate) fn times(options: &Options) -> Times {
    let window = options.window.unwrap_or(if options.quick { 0.5 } else { 2.0 });
    let window = Duration::from_secs_f64(window);
    Times { warm_up: window.mul_f64(0.25).max(Duration::from_millis(100)), window }
}

/// A number for people: `10,000`.
fn thousands(number: u64) -> String {
    crate::report::words::number(number as f64)
}

#[cfg(test)]
mod tests {
    use super::{SCENARIOS, choose, table};
    use crate::load::LoadError;

    #[test]
    fn every_scenario_stands_in_the_help_and_a_misspelt_one_is_named() {
        for scenario in SCENARIOS {
            assert!(table().contains(scenario.name));
        }
        assert_eq!(choose(&[]).unwrap().len(), SCENARIOS.len());
        let error = choose(&["fanuot".into()]).map(|_| ()).unwrap_err();
        assert!(matches!(error, LoadError::Scenario { suggestion: "fanout", .. }), "{error}");
    }
}
