//! What `{…}` in a command stands for.

use std::{
    collections::HashMap,
    env, io,
    path::{Path, PathBuf},
};

use portolan_netsim::topology::{Host, NodeKind, Program, Topology};

use super::catalogue::{nearest, suggest};

/// What stands for this very program.
const LAB: &str = "lab";

/// A program that is ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    /// The file.
    pub(super) program: PathBuf,
    /// What it is called with.
    pub(super) arguments: Vec<String>,
}

/// Words and what they stand for.
#[derive(Debug)]
pub(super) struct Words(HashMap<String, String>);

/// Why a command cannot be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum WordsError {
    #[error("cannot tell where this program's own file is: {0}")]
    Own(#[source] io::Error),
    #[error(
        "the command of {label:?} says {{{word}}}{}: a host's name, HOST.INTERFACE or lab may stand \
         there",
        suggest(.nearest)
    )]
    Unknown { label: String, word: String, nearest: Option<String> },
    #[error(
        "the command of {label:?} begins with {program:?}, and there is no such program in PATH"
    )]
    NotFound { label: String, program: String },
    #[error("the command of {label:?} is empty")]
    Empty { label: String },
}

impl Words {
    /// `lab`, every host, and every interface of every host.
    pub(super) fn new(topology: &Topology) -> Result<Self, WordsError> {
        let own = env::current_exe().map_err(WordsError::Own)?;
        let mut words = HashMap::from([(LAB.to_owned(), own.to_string_lossy().into_owned())]);
        for node in &topology.nodes {
            if let NodeKind::Host(host) = &node.kind {
                words.extend(addresses(&node.name, host));
            }
        }
        Ok(Self(words))
    }

    /// Every program with its words replaced and its file found.
    pub(super) fn commands(&self, programs: &[Program]) -> Result<Vec<Ready>, WordsError> {
        programs.iter().map(|program| self.ready(program)).collect()
    }

    fn ready(&self, program: &Program) -> Result<Ready, WordsError> {
        let label = &program.label;
        let replaced: Result<Vec<String>, _> =
            program.command.iter().map(|argument| self.replace(argument, label)).collect();
        let mut replaced = replaced?.into_iter();
        let name = replaced.next().ok_or_else(|| WordsError::Empty { label: label.clone() })?;
        let program = find(&name)
            .ok_or_else(|| WordsError::NotFound { label: label.clone(), program: name })?;
        Ok(Ready { program, arguments: replaced.collect() })
    }

    /// Replaces `{word}`s. What does not look like one, such as JSON, is left alone.
    fn replace(&self, argument: &str, label: &str) -> Result<String, WordsError> {
        let mut replaced = String::with_capacity(argument.len());
        let mut rest = argument;
        while let Some((before, after)) = rest.split_once('{') {
            replaced.push_str(before);
            match after.split_once('}').filter(|(word, _)| looks_like_word(word)) {
                Some((word, behind)) => {
                    replaced.push_str(self.meaning(word, label)?);
                    rest = behind;
                }
                None => {
                    replaced.push('{');
                    rest = after;
                }
            }
        }
        replaced.push_str(rest);
        Ok(replaced)
    }

    fn meaning(&self, word: &str, label: &str) -> Result<&str, WordsError> {
        self.0.get(word).map(String::as_str).ok_or_else(|| WordsError::Unknown {
            label: label.to_owned(),
            word: word.to_owned(),
            nearest: nearest(word, self.0.keys().map(String::as_str)).map(ToOwned::to_owned),
        })
    }
}

/// `name` and `name.interface` with the first address of each.
fn addresses(name: &str, host: &Host) -> Vec<(String, String)> {
    let each = host.interfaces.iter().filter_map(|interface| {
        let address = interface.addresses.first()?;
        Some((format!("{name}.{}", interface.name), address.to_string()))
    });
    let each: Vec<_> = each.collect();
    let first = each.first().map(|(_, address)| (name.to_owned(), address.clone()));
    first.into_iter().chain(each).collect()
}

fn looks_like_word(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !word.is_empty() && word.bytes().all(plain)
}

/// The file that a shell would run.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| is_program(path));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let pairs = [("lab", "/bin/lab"), ("bob", "10.0.0.2"), ("bob.wifi", "10.0.1.2")];
        Words(pairs.map(|(word, meaning)| (word.to_owned(), meaning.to_owned())).into())
    }

    #[test]
    fn names_become_addresses_and_everything_else_stays() {
        for (argument, expected) in [
            ("{lab}", "/bin/lab"),
            ("udp://{bob}:7275", "udp://10.0.0.2:7275"),
            ("{bob}{bob.wifi}", "10.0.0.210.0.1.2"),
            ("{\"json\": {}}", "{\"json\": {}}"),
            ("awk '{print}{", "awk '{print}{"),
            ("plain", "plain"),
        ] {
            match words().replace(argument, "x") {
                Ok(replaced) => assert_eq!(replaced, expected),
                Err(error) => assert!(argument.contains("print"), "{argument}: {error}"),
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_suggestion() {
        let error = words().replace("{bobb}", "echo").unwrap_err().to_string();
        assert!(error.contains("{bobb}") && error.contains("did you mean \"bob\""), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let program = Program {
            on: "bob".to_owned(),
            label: "bob".to_owned(),
            command: vec!["no-such-program-anywhere".to_owned()],
            at: std::time::Duration::ZERO,
            background: false,
        };
        let error = words().commands(&[program]).unwrap_err().to_string();
        assert!(error.contains("no-such-program-anywhere"), "{error}");
    }
}
