//! Where lines go: JSON or text, results to stdout, messages to stderr, and above the prompt while
//! a person types.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustyline::ExternalPrinter;

use super::{
    audio::AudioLine,
    human::{Channel, badge, render, speed},
    line::{File, Line},
    tree_line::TreeLine,
};

/// What prints above the prompt.
pub(crate) type Printer = Box<dyn ExternalPrinter + Send>;

/// Bars shown at once; transfers beyond them are told by their lines only.
const BARS_MAX: usize = 16;

/// The one way out for everything the program says.
#[derive(Default)]
pub(crate) struct Output {
    json: bool,
    /// People hear of results and failures only.
    quiet: bool,
    /// Bars are for people who look at a terminal and type nothing meanwhile.
    bars: Option<Bars>,
    printer: OnceLock<Mutex<Printer>>,
}

impl Output {
    pub(crate) fn json() -> Self {
        Self { json: true, ..Self::default() }
    }

    pub(crate) fn human() -> Self {
        Self::default()
    }

    /// For people who want results and failures only.
    pub(crate) fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// Shows bars when standard error is a terminal.
    pub(crate) fn with_bars(mut self) -> Self {
        if !self.json && !self.quiet && io::stderr().is_terminal() {
            self.bars = Some(Bars::default());
        }
        self
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// From now on lines go above the prompt.
    pub(crate) fn print_above_prompt(&self, printer: Printer) {
        let _ = self.printer.set(Mutex::new(printer));
    }

    pub(crate) fn show(&self, line: &Line) {
        if self.json {
            return write_line(&mut io::stdout().lock(), &line.to_json());
        }
        let shown = match (&self.bars, line) {
            (Some(bars), Line::File(file)) => bars.update(file),
            (Some(bars), Line::Tree(tree)) => bars.update_tree(tree),
            (Some(bars), Line::Audio(audio)) => bars.update_sound(audio),
            // Nobody looks on: how it sounded at the end is enough.
            (None, Line::Audio(audio)) => self.printer.get().is_none() && !audio.is_last(),
            _ => false,
        };
        if shown {
            return;
        }
        if let Some((channel, text)) = render(line)
            && (!self.quiet || channel == Channel::Result || is_failure(line))
        {
            self.write(channel, &text);
        }
    }

    /// A word for people; programs are not told.
    pub(crate) fn note(&self, text: &str) {
        if !self.json && !self.quiet {
            self.write(Channel::Message, text);
        }
    }

    fn write(&self, channel: Channel, text: &str) {
        if let Some(printer) = self.printer.get() {
            let _ = lock(printer).print(format!("{text}\n"));
            return;
        }
        let write = || match channel {
            Channel::Result => write_line(&mut io::stdout().lock(), text),
            Channel::Message => write_line(&mut io::stderr().lock(), text),
        };
        match &self.bars {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        }
    }
}

/// What even those hear who want quiet.
fn is_failure(line: &Line) -> bool {
    match line {
        Line::Error { .. } | Line::Closed { .. } => true,
        Line::File(file) => matches!(file.phase, "failed" | "denied" | "cancelled" | "offered"),
        _ => false,
    }
}

/// A reader that has gone away is no reason to fail.
fn write_line(stream: &mut impl Write, text: &str) {
    let _ = stream.write_all(format!("{text}\n").as_bytes()).and_then(|()| stream.flush());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Progress bars, one a transfer.
struct Bars {
    all: MultiProgress,
    by_id: Mutex<HashMap<u64, ProgressBar>>,
    /// How each call sounds.
    sounds: Mutex<HashMap<u64, ProgressBar>>,
}

impl Default for Bars {
    fn default() -> Self {
        // The draw target hides itself where there is no terminal and obeys NO_COLOR.
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { all, by_id: Mutex::default(), sounds: Mutex::default() }
    }
}

impl Bars {
    /// The same for a directory.
    fn update_tree(&self, tree: &TreeLine) -> bool {
        match tree.phase {
            // One file of it; the others go on.
            "missed" => false,
            "started" => self.update(&tree.into()) && tree.left_out.is_empty(),
            _ => self.update(&tree.into()),
        }
    }

    /// Shows in one line how a call sounds, for as long as it goes on; what it was like at its end
    /// needs a line of its own.
    fn update_sound(&self, audio: &AudioLine) -> bool {
        let mut sounds = lock(&self.sounds);
        if audio.is_last() {
            if let Some(line) = sounds.remove(&audio.id()) {
                line.finish_and_clear();
                self.all.remove(&line);
            }
            return false;
        }
        if !sounds.contains_key(&audio.id()) {
            if sounds.len() >= BARS_MAX {
                return true;
            }
            let style = ProgressStyle::with_template("{msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            sounds.insert(audio.id(), self.all.add(ProgressBar::new(0).with_style(style)));
        }
        if let Some(line) = sounds.get(&audio.id()) {
            line.set_message(audio.words());
        }
        true
    }

    /// Shows the update on its bar; `false`: it needs a line of its own.
    fn update(&self, file: &File) -> bool {
        let mut by_id = lock(&self.by_id);
        match file.phase {
            "started" | "progress" => {
                if !by_id.contains_key(&file.id) {
                    if by_id.len() >= BARS_MAX {
                        return file.phase == "progress";
                    }
                    by_id.insert(file.id, self.all.add(bar(file)));
                }
                if let Some(bar) = by_id.get(&file.id) {
                    bar.set_position(file.bytes);
                    bar.set_prefix(format!("{} {}", badge(file), speed(file)));
                }
                true
            }
            _ => {
                if let Some(bar) = by_id.remove(&file.id) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
                false
            }
        }
    }
}

fn bar(file: &File) -> ProgressBar {
    let template = "{msg} [{bar:24}] {bytes}/{total_bytes} {prefix}";
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(file.total).with_style(style).with_message(super::text::plain(&file.name))
}
