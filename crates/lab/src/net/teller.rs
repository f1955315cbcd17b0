//! Tells events: marked lines for people, or JSON.

use std::{
    collections::BTreeSet,
    env,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use portolan_netsim::topology::Topology;

use super::event::{Event, Stream};

/// Colours of labels, by the number of the host (ANSI, without black, white and red).
const COLOURS: [u8; 10] = [36, 33, 35, 32, 34, 96, 93, 95, 92, 94];

/// How events are told.
#[derive(Debug)]
pub(super) struct Teller {
    form: Form,
    /// Longest label.
    width: usize,
    /// Hosts in the order of the file: a host keeps its colour.
    hosts: Vec<String>,
    /// Labels that programs of several hosts share: the host stands for them.
    shared: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Plain,
    Coloured,
}

impl Teller {
    /// Lines with colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn new(json: bool, topology: &Topology) -> Self {
        let coloured = io::stdout().is_terminal()
            && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let form = match (json, coloured) {
            (true, _) => Form::Json,
            (false, true) => Form::Coloured,
            (false, false) => Form::Plain,
        };
        let hosts = super::source::hosts(topology).map(ToOwned::to_owned).collect();
        let programs = &topology.programs;
        let shared = programs.iter().enumerate().filter_map(|(number, program)| {
            let mut before = programs.iter().take(number);
            before.any(|other| other.label == program.label).then(|| program.label.clone())
        });
        let shared: BTreeSet<String> = shared.collect();
        let marks = programs.iter().map(|program| {
            let mark = if shared.contains(&program.label) { &program.on } else { &program.label };
            mark.chars().count()
        });
        let width = marks.chain([3]).max().unwrap_or_default();
        Self { form, width, hosts, shared }
    }

    /// Tells one event. Nobody may be reading any more: the world goes on.
    pub(super) fn tell(&self, event: &Event<'_>) {
        let mut out = io::stdout().lock();
        let _ = match self.form {
            Form::Json => serde_json::to_writer(&mut out, event)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out)),
            Form::Plain | Form::Coloured => writeln!(out, "{}", self.words(event)),
        };
    }

    fn words(&self, event: &Event<'_>) -> String {
        match event {
            Event::Start { experiment, seed, hosts } => {
                let hosts: Vec<_> = hosts
                    .iter()
                    .map(|(host, addresses)| format!("{host} {}", addresses.join(" ")))
                    .collect();
                format!("{experiment}, seed {seed}: {}", hosts.join(", "))
            }
            Event::Happening { at, what } => self.marked(*at, "***", what, "1"),
            Event::Refused { at, why } => self.marked(*at, "***", why, "31"),
            Event::Output { at, host, label, stream, line } => {
                let colour = match stream {
                    Stream::Stdout => "",
                    Stream::Stderr => "2",
                };
                self.line(*at, (host, label), line, colour)
            }
            Event::Exit { at, host, label, ended } => {
                let colour = if ended.succeeded() { "2" } else { "31" };
                self.line(*at, (host, label), &format!("({})", ended.words()), colour)
            }
            Event::Summary(summary) => summary.words(),
        }
    }

    fn line(&self, at: Duration, who: (&str, &str), text: &str, colour: &str) -> String {
        let (host, label) = who;
        let place = self.hosts.iter().position(|known| known == host).unwrap_or_default();
        let width = self.width;
        let mark = if self.shared.contains(label) { host } else { label };
        let label = self.paint(&format!("{mark:width$}"), &COLOURS[place % COLOURS.len()]);
        format!("{:8.3}  {label} | {}", at.as_secs_f64(), self.paint(text, &colour))
    }

    fn marked(&self, at: Duration, mark: &str, text: &str, colour: &str) -> String {
        let width = self.width;
        let whole = format!("{mark:width$} | {text}");
        format!("{:8.3}  {}", at.as_secs_f64(), self.paint(&whole, &colour))
    }

    fn paint(&self, text: &str, colour: &dyn std::fmt::Display) -> String {
        let colour = colour.to_string();
        if self.form != Form::Coloured || colour.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}
