//! The table for terminals, and the same for documents.

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use crate::{
    metric::{Group, Metric},
    report::{
        figures::{Cell, Figures, Trust},
        findings::findings,
        notes,
        stats::Verdict,
        words,
    },
    result::{Matrix, MatrixTable, Run},
};

/// The columns that a table fills at most.
const WIDTH: usize = 116;

/// Between the columns of one metric and those of the next.
const GAP: &str = "   ";

/// What a table is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Columns for a terminal or a file.
    Plain,
    /// Columns for a terminal, with colour.
    Coloured,
    /// Tables of a Markdown document.
    Markdown,
}

impl Style {
    /// Coloured where standard output is a terminal that wants it (<https://no-color.org>).
    #[must_use]
    pub fn of_stdout() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stdout().is_terminal() && !refused { Self::Coloured } else { Self::Plain }
    }
}

/// A part of a line, which may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Normal,
    Strong,
    Faint,
    Good,
    Bad,
    Warning,
}

/// The table of a run.
#[must_use]
pub fn table(run: &Run, style: &Style) -> String {
    let figures = Figures::of(run);
    let mut page = Page { style: *style, text: String::new() };
    page.head(&figures);
    page.findings(&figures);
    for group in figures.groups() {
        page.group(&figures, group);
    }
    page.matrix(run);
    page.notes(&figures);
    page.text
}

/// One metric's columns.
struct Block {
    title: Vec<String>,
    /// Figure, interval, relation, mark: a row each subject.
    rows: Vec<[String; 4]>,
    inks: Vec<Ink>,
    widths: [usize; 4],
}

impl Block {
    fn width(&self) -> usize {
        let columns = self.widths.iter().sum::<usize>() + 3;
        self.title.iter().map(|line| width(line)).max().unwrap_or(0).max(columns)
    }
}

struct Page {
    style: Style,
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn head(&mut self, figures: &Figures<'_>) {
        let names = words::list(&figures.subjects(|_| true));
        let title = words::plain(&format!("{names} over {}", figures.run.setting.link));
        match self.style {
            Style::Markdown => self.line(&format!("## {}\n", escape_markdown(&title))),
            Style::Plain | Style::Coloured => {
                let title = self.ink(Ink::Strong, &title);
                self.wrapped(&title, "");
            }
        }
        for line in notes::setting(figures) {
            self.paragraph(&words::plain(&line));
        }
        self.line("");
    }

    fn findings(&mut self, figures: &Figures<'_>) {
        for finding in findings(figures) {
            let line = words::plain(&format!("{}: {}", finding.title, finding.text()));
            match self.style {
                Style::Markdown => self.line(&format!("- {}", escape_markdown(&line))),
                Style::Plain | Style::Coloured => self.wrapped(&format!("• {line}"), "  "),
            }
        }
        self.line("");
    }

    fn group(&mut self, figures: &Figures<'_>, group: Group) {
        match self.style {
            Style::Markdown => self.line(&format!("### {}\n", group.title())),
            Style::Plain | Style::Coloured => {
                let title = self.ink(Ink::Strong, group.title());
                self.line(&title);
            }
        }
        match self.style {
            Style::Markdown => self.markdown(figures, group),
            Style::Plain | Style::Coloured => self.columns(figures, group),
        }
        self.line("");
    }

    fn columns(&mut self, figures: &Figures<'_>, group: Group) {
        let subjects = figures.subjects(|metric| metric.group == group);
        let names: Vec<String> = subjects.iter().map(|name| words::plain(name)).collect();
        let margin = names.iter().map(|name| width(name)).max().unwrap_or(0) + 2;
        let blocks =
            figures.metrics(group).into_iter().map(|metric| block(figures, &subjects, metric));
        let mut waiting: Vec<Block> = Vec::new();
        let mut used = margin;
        for block in blocks {
            let more = block.width() + GAP.len();
            if used + more > WIDTH + GAP.len() && !waiting.is_empty() {
                self.side_by_side(&waiting, &names, margin);
                waiting.clear();
                used = margin;
            }
            used += more;
            waiting.push(block);
        }
        self.side_by_side(&waiting, &names, margin);
    }

    fn side_by_side(&mut self, blocks: &[Block], names: &[String], margin: usize) {
        let heads = blocks.iter().map(|block| block.title.len()).max().unwrap_or(0);
        for line in 0..heads {
            let mut text = " ".repeat(margin);
            for block in blocks {
                let title = line.checked_sub(heads - block.title.len());
                let title = title.and_then(|line| block.title.get(line)).map_or("", String::as_str);
                text += &self.ink(Ink::Faint, &pad(title, block.width()));
                text += GAP;
            }
            self.line(&text);
        }
        for (row, name) in names.iter().enumerate() {
            let mut text = pad(name, margin);
            for block in blocks {
                text += &self.row(block, row);
                text += GAP;
            }
            self.line(&text);
        }
    }

    fn row(&self, block: &Block, row: usize) -> String {
        let (Some([figure, interval, relation, mark]), Some(ink)) =
            (block.rows.get(row), block.inks.get(row))
        else {
            return pad("", block.width());
        };
        let [a, b, c, d] = block.widths;
        let text = format!(
            "{} {} {} {}",
            pad_left(figure, a),
            self.ink(Ink::Faint, &pad(interval, b)),
            self.ink(*ink, &pad_left(relation, c)),
            self.ink(*ink, &pad(mark, d)),
        );
        text + &" ".repeat(block.width() - (a + b + c + d + 3))
    }

    fn markdown(&mut self, figures: &Figures<'_>, group: Group) {
        let metrics = figures.metrics(group);
        let title = |metric: &&Metric| format!(" {} |", notes::heading(metric));
        self.line(&format!("| |{}", metrics.iter().map(title).collect::<String>()));
        self.line(&format!("|---|{}", "---:|".repeat(metrics.len())));
        for subject in figures.subjects(|metric| metric.group == group) {
            let mut line = format!("| {} |", escape_markdown(&words::plain(subject)));
            for metric in &metrics {
                let [figure, interval, relation, mark] =
                    texts(figures.cell(subject, metric.id), &figures.run.baseline);
                let joined = format!("{figure} {interval} {relation} {mark}");
                let _ =
                    write!(line, " {} |", joined.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            self.line(&line);
        }
    }

    fn matrix(&mut self, run: &Run) {
        let Some(matrix) = &run.matrix else { return };
        let title = "Goodput by loss (down) and round trip (across)";
        match self.style {
            Style::Markdown => self.line(&format!("### {title}\n")),
            Style::Plain | Style::Coloured => {
                let title = self.ink(Ink::Strong, title);
                self.line(&title);
            }
        }
        self.paragraph(&words::plain(&notes::matrix(matrix)));
        for table in &matrix.tables {
            self.matrix_table(matrix, table);
        }
        self.line("");
    }

    fn matrix_table(&mut self, matrix: &Matrix, table: &MatrixTable) {
        let corner = words::plain(&format!("{} ({})", table.subject, table.congestion_control));
        let first = width(&corner).max(10);
        let separator = if self.style == Style::Markdown { " | " } else { "  " };
        let mut head = pad(&corner, first);
        for rtt in &matrix.rtt_ms {
            let _ = write!(head, "{separator}{}", pad_left(&format!("{rtt} ms"), 7));
        }
        self.matrix_line(&head);
        if self.style == Style::Markdown {
            self.line(&format!("|---|{}", "---:|".repeat(matrix.rtt_ms.len())));
        }
        for (loss, row) in matrix.loss_percent.iter().zip(&table.mbit) {
            let mut line = pad(&format!("  {loss} %"), first);
            for cell in row.iter().take(matrix.rtt_ms.len()) {
                let text = cell.map_or("–".to_owned(), words::number);
                let _ = write!(line, "{separator}{}", pad_left(&text, 7));
            }
            self.matrix_line(&line);
        }
        if self.style == Style::Markdown {
            self.line("");
        }
    }

    fn matrix_line(&mut self, line: &str) {
        match self.style {
            Style::Markdown => self.line(&format!("| {} |", line.trim())),
            Style::Plain | Style::Coloured => self.line(line),
        }
    }

    fn notes(&mut self, figures: &Figures<'_>) {
        for note in notes::all(figures) {
            self.paragraph(&words::plain(&note));
        }
    }

    /// A paragraph in a document, a wrapped line on a terminal.
    fn paragraph(&mut self, line: &str) {
        match self.style {
            Style::Markdown => self.line(&format!("{}\n", escape_markdown(line))),
            Style::Plain | Style::Coloured => self.wrapped(line, "  "),
        }
    }

    fn wrapped(&mut self, text: &str, indent: &str) {
        for (index, line) in wrap(text, WIDTH - indent.len()).iter().enumerate() {
            self.line(&format!("{}{line}", if index == 0 { "" } else { indent }));
        }
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Normal => return text.to_owned(),
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Good => "32",
            Ink::Bad => "31",
            Ink::Warning => "33",
        };
        match self.style {
            Style::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
            Style::Plain | Style::Markdown => text.to_owned(),
        }
    }
}

fn block(figures: &Figures<'_>, subjects: &[&str], metric: &'static Metric) -> Block {
    let cells = subjects.iter().map(|name| figures.cell(name, metric.id));
    let cells: Vec<Option<&Cell<'_>>> = cells.collect();
    let rows: Vec<[String; 4]> =
        cells.iter().map(|cell| texts(*cell, &figures.run.baseline)).collect();
    let mut widths = [0; 4];
    for row in &rows {
        for (widest, text) in widths.iter_mut().zip(row) {
            *widest = width(text).max(*widest);
        }
    }
    let columns = widths.iter().sum::<usize>() + 3;
    let mut title = wrap(metric.title, columns.max(20));
    title.push(format!("{}, {}", metric.unit, words::direction(metric.better)));
    Block { title, rows, inks: cells.into_iter().map(ink).collect(), widths }
}

/// Figure, interval, relation and mark of a cell.
fn texts(cell: Option<&Cell<'_>>, baseline: &str) -> [String; 4] {
    let Some((cell, figure)) = cell.and_then(|cell| Some((cell, cell.figure?))) else {
        return ["–".to_owned(), String::new(), String::new(), String::new()];
    };
    let doubt = match cell.trust {
        Trust::Whole => "",
        Trust::Part => "!",
        Trust::Nothing => "?",
    };
    let relation = match cell.relation {
        Some(relation) => words::relation(relation.middle, cell.metric.scale()),
        None if cell.subject == baseline => "base".to_owned(),
        None => String::new(),
    };
    let mark = mark(cell).to_owned();
    let number = format!("{}{doubt}", words::number(figure.middle));
    [number, words::interval(&figure), relation, mark]
}

pub(crate) fn mark(cell: &Cell<'_>) -> &'static str {
    match (cell.verdict, cell.relation) {
        (Verdict::Better, _) => "▲",
        (Verdict::Worse, _) => "▼",
        (Verdict::Same, _) => "=",
        (Verdict::CannotTell, Some(_)) => "≈",
        (Verdict::CannotTell, None) => "",
    }
}

fn ink(cell: Option<&Cell<'_>>) -> Ink {
    match cell.map(|cell| (cell.verdict, cell.trust)) {
        Some((Verdict::Better, _)) => Ink::Good,
        Some((Verdict::Worse, _)) => Ink::Bad,
        Some((Verdict::CannotTell, Trust::Nothing)) => Ink::Warning,
        Some((Verdict::Same, _) | (Verdict::CannotTell, Trust::Whole | Trust::Part)) | None => {
            Ink::Normal
        }
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

pub(super) fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

pub(super) fn pad_left(text: &str, to: usize) -> String {
    format!("{}{text}", " ".repeat(to.saturating_sub(width(text))))
}

/// Lines of at most `limit` columns; a longer word stands alone.
fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= limit {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Text that Markdown takes as it stands.
fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '<' | '>' | '|' | '#' | '~' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
