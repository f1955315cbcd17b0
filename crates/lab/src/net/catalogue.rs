//! The ready experiments.

/// An experiment that every copy of the program carries.
#[derive(Debug)]
pub(super) struct Experiment {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it shows, in a line.
    pub(super) summary: &'static str,
    /// Its topology file.
    pub(super) text: &'static str,
}

/// All of them, in the order of docs/lab.md.
pub(super) static EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "lossy",
        summary: "TCP, UDP and QUIC through a link that loses one packet in a hundred",
        text: include_str!("../../experiments/lossy.toml"),
    },
    Experiment {
        name: "head-of-line",
        summary: "four streams, one lost packet: who waits for it",
        text: include_str!("../../experiments/head-of-line.toml"),
    },
    Experiment {
        name: "rebinding",
        summary: "a translator forgets its mappings in mid transfer: who lives on",
        text: include_str!("../../experiments/rebinding.toml"),
    },
    Experiment {
        name: "discovery",
        summary: "who finds whom on a good network, with client isolation, without multicast",
        text: include_str!("../../experiments/discovery.toml"),
    },
    Experiment {
        name: "nats",
        summary: "which translators can be punched, by UDP and by TCP, as a table",
        text: include_str!("../../experiments/nats.toml"),
    },
    Experiment {
        name: "fairness",
        summary: "our UDP beside the kernel's CUBIC and BBR, with queues short and long",
        text: include_str!("../../experiments/fairness.toml"),
    },
    Experiment {
        name: "live",
        summary: "messages with a deadline on a lossy link: who comes in time, and what it costs",
        text: include_str!("../../experiments/live.toml"),
    },
    Experiment {
        name: "ecn",
        summary: "a router that marks packets: who is told, who listens, who loses",
        text: include_str!("../../experiments/ecn.toml"),
    },
];

/// There is no such experiment.
#[derive(Debug, thiserror::Error)]
#[error("there is no ready experiment {name:?}{}; `lab net --list` shows them", suggest(.nearest))]
pub(super) struct UnknownExperiment {
    name: String,
    nearest: Option<&'static str>,
}

/// The experiment of that name.
pub(super) fn find(name: &str) -> Result<&'static Experiment, UnknownExperiment> {
    let found = EXPERIMENTS.iter().find(|experiment| experiment.name == name);
    found.ok_or_else(|| UnknownExperiment {
        name: name.to_owned(),
        nearest: nearest(name, EXPERIMENTS.iter().map(|experiment| experiment.name)),
    })
}

/// The one of `names` that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|(left, _), (right, _)| left.total_cmp(right));
    best.filter(|(score, _)| *score > 0.75).map(|(_, known)| known)
}

/// How an error ends that has a suggestion, or none.
pub(super) fn suggest(nearest: &Option<impl std::fmt::Display>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| {
        format!(" (did you mean {nearest:?}?)", nearest = nearest.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ready_experiment_can_be_read() {
        for experiment in EXPERIMENTS {
            let read = portolan_netsim::topology::parse(experiment.text);
            let topology = read.unwrap_or_else(|error| panic!("{}: {error}", experiment.name));
            assert!(!topology.programs.is_empty(), "{} runs nothing", experiment.name);
        }
    }

    #[test]
    fn a_name_that_is_nearly_right_is_suggested() {
        let message = find("rebindng").unwrap_err().to_string();
        assert!(message.contains("did you mean \"rebinding\""), "{message}");
        assert!(!find("zebra").unwrap_err().to_string().contains("did you mean"));
    }
}
