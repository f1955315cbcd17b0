//! How far a run is, on standard error.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// A line that is redrawn on a terminal, or a line for each visit elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    rounds: u32,
    heading: String,
}

impl Progress {
    pub(crate) fn new(rounds: u32) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{wide_msg}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self { bar, rounds, heading: String::new() }
    }

    /// Nothing is shown.
    pub(crate) fn silent() -> Self {
        Self { bar: Some(ProgressBar::hidden()), rounds: 0, heading: String::new() }
    }

    /// A subject has its turn.
    pub(crate) fn visit(&mut self, round: u32, subject: &str, left: Duration) {
        let left = minutes(left);
        self.turn_to(format!("round {round} of {}, {left} left: {subject}", self.rounds));
    }

    /// A cell of a matrix has its turn: loss in percent and round trip in milliseconds.
    pub(crate) fn cell(&mut self, at: (f64, f64), done: usize, total: usize, spent: Duration) {
        let rest = (total - done) as f64 / done.max(1) as f64;
        let left = match done {
            0 => String::new(),
            _ => format!(", {} left", minutes(spent.mul_f64(rest))),
        };
        let (loss, round_trip) = at;
        let cell = done + 1;
        self.turn_to(format!("cell {cell} of {total}{left}: loss {loss} %, {round_trip} ms"));
    }

    /// Something new begins.
    pub(crate) fn turn_to(&mut self, heading: String) {
        self.heading = heading;
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.heading.clone());
                bar.tick();
            }
            None => eprintln!("{}", self.heading),
        }
    }

    /// It does something.
    pub(crate) fn step(&self, name: &str) {
        self.quietly(&format!("{}, {name}", self.heading));
    }

    /// What is being done, where that can be redrawn.
    pub(crate) fn quietly(&self, words: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(words.to_owned());
            bar.tick();
        }
    }

    /// Something to read, above the line.
    pub(crate) fn say(&self, words: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{words}")),
            None => eprintln!("{words}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
