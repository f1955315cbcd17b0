//! Results go to stdout, everything else to stderr.

use std::io::{self, Write};

use serde::Serialize;

use super::exit::Failure;

/// Whether results are for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl Format {
    pub(super) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints one result: lines for people, or one JSON object with its `event` first.
///
/// A reader that has gone away is no failure.
pub(super) fn print(format: Format, event: &'static str, body: &impl Serialize, text: &str) {
    let mut line = match format {
        Format::Text => text.trim_end().to_owned(),
        Format::Json => match serde_json::to_string(&Event { event, body }) {
            Ok(line) => line,
            Err(error) => return complain(&Failure::error(&error)),
        },
    };
    if line.is_empty() {
        return;
    }
    line.push('\n');
    let mut stdout = io::stdout().lock();
    let _gone = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

#[derive(Serialize)]
struct Event<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// Tells people, on stderr.
pub(super) fn note(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{text}");
}

#[derive(Serialize)]
struct ErrorEvent<'a> {
    code: &'static str,
    message: &'a str,
}

/// Tells people what went wrong, and programs that asked for JSON.
pub(super) fn report(format: Format, failure: &Failure) {
    complain(failure);
    if format == Format::Json {
        let body = ErrorEvent { code: failure.word, message: &failure.message };
        print(format, "error", &body, "");
    }
}

/// Tells people what went wrong.
pub(super) fn complain(failure: &Failure) {
    note(&format!("server: {failure}"));
}
