//! Reading a result file, which may be anything.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use crate::result::{FORMAT, Matrix, Run};

/// The largest file that is read.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// The most subjects, and the most losses or round trips of a matrix.
const SUBJECTS_MAX: usize = 64;

/// The most samples of one subject and metric: a comparison looks at all pairs.
const SAMPLES_MAX: usize = 1_000;

/// The most points of a distribution or a curve.
const POINTS_MAX: usize = 100_000;

/// The most measures, distributions and curves.
const PARTS_MAX: usize = 10_000;

/// Why a result file cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The system does not give it.
    #[error("cannot read {path}; name a file that `lab bench --json` wrote")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is longer than any result.
    #[error("{path} is larger than {} MiB, so it is no result of `lab bench`", FILE_MAX >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Another version of this program wrote it.
    #[error(
        "{path} has result format {found}, and this program reads format {FORMAT}; measure again, \
         or use the version of `lab` that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u64,
    },
    /// It is no result, or a broken one.
    #[error("{path} is not a whole result of `lab bench`; measure again, or restore the file")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// It says what cannot be.
    #[error("{path} holds {what}; it was changed by hand or damaged: measure again")]
    Content {
        /// The file.
        path: PathBuf,
        /// What cannot be.
        what: String,
    },
}

/// All that is read before the version is known.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

/// Reads the result in the file at `path`.
///
/// # Errors
/// [`LoadError`]: not readable, too large, of another version, broken, or beyond the bounds.
pub fn load(path: &Path) -> Result<Run, LoadError> {
    let owned = || path.to_owned();
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut text));
    read.map_err(|source| LoadError::Io { path: owned(), source })?;
    if text.len() as u64 > FILE_MAX {
        return Err(LoadError::TooLarge { path: owned() });
    }
    let form = |source| LoadError::Form { path: owned(), source };
    let version: Version = serde_json::from_slice(&text).map_err(form)?;
    if version.format != u64::from(FORMAT) {
        return Err(LoadError::Version { path: owned(), found: version.format });
    }
    let run: Run = serde_json::from_slice(&text).map_err(form)?;
    check(&run).map_err(|what| LoadError::Content { path: owned(), what })?;
    Ok(run)
}

/// Whether the run keeps the bounds that reports count on.
fn check(run: &Run) -> Result<(), String> {
    let parts = run.measures.len().max(run.distributions.len()).max(run.curves.len());
    let samples = run.measures.iter().map(|it| it.samples.len()).max().unwrap_or(0);
    let distributions = run.distributions.iter().map(|it| it.points.len());
    let points =
        distributions.chain(run.curves.iter().map(|it| it.points.len())).max().unwrap_or(0);
    at_most("subjects", run.subjects.len(), SUBJECTS_MAX)?;
    at_most("measures, distributions or curves", parts, PARTS_MAX)?;
    at_most("samples of one subject and metric", samples, SAMPLES_MAX)?;
    at_most("points of one distribution or curve", points, POINTS_MAX)?;
    run.matrix.as_ref().map_or(Ok(()), check_matrix)
}

fn check_matrix(matrix: &Matrix) -> Result<(), String> {
    let (rows, columns) = (matrix.loss_percent.len(), matrix.rtt_ms.len());
    at_most("losses or round trips", rows.max(columns), SUBJECTS_MAX)?;
    at_most("tables in the matrix", matrix.tables.len(), SUBJECTS_MAX)?;
    let fits = |table: &[Vec<Option<f64>>]| {
        table.len() == rows && table.iter().all(|row| row.len() == columns)
    };
    match matrix.tables.iter().find(|table| !fits(&table.mbit)) {
        Some(table) => {
            Err(format!("a matrix of {} that is not {rows} by {columns}", table.subject))
        }
        None => Ok(()),
    }
}

fn at_most(what: &str, found: usize, most: usize) -> Result<(), String> {
    if found > most { Err(format!("{found} {what}, of {most} at most")) } else { Ok(()) }
}
