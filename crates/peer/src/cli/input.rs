//! Lines of a person or a program.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::FileHistory, validate::Validator,
};
use tokio::sync::mpsc;

use super::{output::Printer, slash::TABLE};

/// Bytes of a line: a message and its command.
const LINE_MAX: usize = (64 << 10) + 256;
/// Lines read ahead.
const QUEUE: usize = 4;
/// Names that are offered for completion.
const NAMES_MAX: usize = 1000;
/// Lines of history.
const HISTORY_MAX: usize = 1000;

/// What came from the keyboard or the pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Line(String),
    /// A line beyond the bound; it was skipped.
    TooLong,
    /// Ctrl-C at the prompt.
    Interrupted,
}

/// Names that completion offers.
pub(crate) type Names = Arc<Mutex<BTreeSet<String>>>;

/// Adds a name to those that completion offers.
pub(crate) fn learn(names: &Names, name: &str) {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    if names.len() < NAMES_MAX {
        names.insert(name.to_owned());
    }
}

/// Reads standard input line by line on a thread of its own, which ends with the program.
pub(crate) fn read_lines() -> mpsc::Receiver<Input> {
    let (lines, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(input) = next_line(&mut stdin) {
            if lines.blocking_send(input).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line of a stream; `None` at its end. Never holds more than the bound.
fn next_line(stream: &mut impl BufRead) -> Option<Input> {
    let mut bytes = Vec::new();
    let limit = LINE_MAX as u64 + 1;
    match stream.take(limit).read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => return None,
        Ok(_) => {}
    }
    if bytes.last() != Some(&b'\n') && bytes.len() > LINE_MAX {
        skip_line(stream);
        return Some(Input::TooLong);
    }
    let text = String::from_utf8_lossy(&bytes);
    Some(Input::Line(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn skip_line(stream: &mut impl BufRead) {
    loop {
        let (length, ends) = match stream.fill_buf() {
            Ok([]) | Err(_) => return,
            Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (bytes.len(), false),
            },
        };
        stream.consume(length);
        if ends {
            return;
        }
    }
}

/// A line editor with history and completion, on a thread of its own, and what prints above its
/// prompt. The thread ends with the program.
///
/// # Errors
/// When the terminal cannot be used for it.
pub(crate) fn edit_lines(
    history: PathBuf,
    names: Names,
) -> rustyline::Result<(mpsc::Receiver<Input>, Printer)> {
    let config = Config::builder()
        .max_history_size(HISTORY_MAX)?
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Completion { names }));
    // A history that cannot be read is an empty one.
    let _ = editor.load_history(&history);
    let printer = Box::new(editor.create_external_printer()?);
    let (lines, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        loop {
            let input = match editor.readline("> ") {
                Ok(line) if line.len() > LINE_MAX => Input::TooLong,
                Ok(line) => Input::Line(line),
                Err(ReadlineError::Interrupted) => Input::Interrupted,
                Err(_) => break,
            };
            let _ = editor.append_history(&history);
            if lines.blocking_send(input).is_err() {
                break;
            }
        }
    });
    Ok((receiver, printer))
}

/// Completes commands and names.
struct Completion {
    names: Names,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or(line);
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(complete(before, &names))
    }
}

impl Hinter for Completion {
    type Hint = String;
}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

/// Where the word under the cursor begins, and what it may become.
fn complete(before: &str, names: &BTreeSet<String>) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = before.get(start..).unwrap_or_default();
    if start == 0 {
        let Some(sign) = ["/", "::"].into_iter().find(|sign| word.starts_with(sign)) else {
            return (0, Vec::new());
        };
        let begun = &word[sign.len()..];
        let fitting = TABLE.iter().filter(|row| row.word.starts_with(begun));
        return (0, fitting.map(|row| format!("{sign}{} ", row.word)).collect());
    }
    // A name is the first argument.
    if before[..start].split_whitespace().count() != 1 {
        return (start, Vec::new());
    }
    let begun = word.to_lowercase();
    let fitting = names.iter().filter(|name| name.to_lowercase().starts_with(&begun));
    (start, fitting.map(|name| format!("{name} ")).collect())
}

/// Puts the terminal back as it was, whatever the line editor's thread was doing.
#[derive(Debug)]
pub(crate) struct TerminalGuard {
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl TerminalGuard {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(unix)]
            before: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(
                io::stdin(),
                rustix::termios::OptionalActions::Now,
                before,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Input, LINE_MAX, complete, next_line};

    #[test]
    fn commands_and_names_are_completed() {
        let names: BTreeSet<String> = ["alice", "Bob", "bruno"].map(String::from).into();
        assert_eq!(complete("/li", &names), (0, vec!["/list ".to_owned()]));
        assert_eq!(complete("::qu", &names), (0, vec!["::quit ".to_owned()]));
        assert_eq!(complete("/msg b", &names), (5, vec!["Bob ".to_owned(), "bruno ".to_owned()]));
        assert_eq!(complete("/msg bob a", &names).1, Vec::<String>::new());
        assert_eq!(complete("hello", &names).1, Vec::<String>::new());
    }

    #[test]
    fn a_line_beyond_the_bound_is_skipped_and_the_next_is_read() {
        let mut text = vec![b'x'; LINE_MAX * 3];
        text.extend_from_slice(b"\nnext\r\nlast");
        let mut stream = text.as_slice();
        assert_eq!(next_line(&mut stream), Some(Input::TooLong));
        assert_eq!(next_line(&mut stream), Some(Input::Line("next".into())));
        assert_eq!(next_line(&mut stream), Some(Input::Line("last".into())));
        assert_eq!(next_line(&mut stream), None);
    }
}
