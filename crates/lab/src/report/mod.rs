//! Tables, pages and comparisons.
//!
//! ```text
//!   result::Run ── figures (medians, intervals, verdicts: stats) ──┬── table   (terminal, Markdown)
//!        ▲               │                                        ├── html    (one page)
//!      load              └── findings, notes (sentences) ─────────┘
//!   two Runs ── compare (what changed between them, and whether they rank alike)
//! ```

pub mod compare;
mod figures;
mod findings;
mod html;
mod load;
mod notes;
pub mod stats;
mod table;
pub(crate) mod words;

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

pub use figures::{Cell, Figures, Trust};
pub use findings::{Finding, Piece, findings};
pub use html::html;
pub use load::{LoadError, load};
pub use table::{Style, table};

/// `lab report`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The result file, as `lab bench` wrote it
    file: PathBuf,
    /// Write the page to this file
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Print the tables as Markdown, for a document
    #[arg(long)]
    markdown: bool,
}

/// Makes the table and the page again.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match report(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn report(options: &Options) -> Result<(), Box<dyn Error>> {
    let run = load(&options.file)?;
    let style = if options.markdown { Style::Markdown } else { Style::of_stdout() };
    if let Some(path) = &options.html {
        fs::write(path, html(&run)).map_err(|source| WriteError { path: path.clone(), source })?;
    }
    print(&table(&run, &style))?;
    Ok(())
}

/// A page that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the page to {path}; name a file in a folder that you may write to")]
struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Prints to standard output; a reader that goes away early is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Says on standard error what went wrong, and why.
pub(crate) fn complain(error: &dyn Error) {
    let mut line = format!("lab: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        line += &format!(": {error}");
        source = error.source();
    }
    // Nobody is left to tell where this fails.
    let _ = writeln!(io::stderr(), "{line}");
}
