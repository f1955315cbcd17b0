//! Passwords from files and keyboards; never from the command line, which others can see.

use std::{fs::File, io::Read, path::PathBuf};

use portolan_protocol::Password;

use super::exit::Failure;

/// Bytes of a file that are read: a password and the end of its line.
const FILE_MAX: u64 = 1_026;

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The first line of a file.
    File(PathBuf),
    /// A person, who is asked without an echo.
    Keyboard,
}

impl Source {
    /// What the options say; a file comes before the keyboard.
    pub(crate) fn new(file: Option<PathBuf>, is_asked: bool) -> Option<Self> {
        file.map(Self::File).or(is_asked.then_some(Self::Keyboard))
    }

    /// Reads the password that is known. Blocking.
    pub(crate) fn read(&self) -> Result<Password, Failure> {
        match self {
            Self::File(path) => read_file(path),
            Self::Keyboard => ask("Password: "),
        }
    }

    /// Reads a new password; a person types it twice. Blocking.
    pub(crate) fn read_new(&self) -> Result<Password, Failure> {
        let first = match self {
            Self::File(path) => return read_file(path),
            Self::Keyboard => ask("New password: ")?,
        };
        if ask("The same again: ")? == first {
            return Ok(first);
        }
        Err(Failure::usage("the two are not the same; nothing was changed"))
    }
}

fn read_file(path: &PathBuf) -> Result<Password, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("password file {}: {why}", path.display()))
    };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(FILE_MAX).read_to_string(&mut text).map_err(|error| failed(&error))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(Password(line.to_owned())),
        None => Err(failed(&"its first line is empty; the password stands there")),
    }
}

fn ask(prompt: &str) -> Result<Password, Failure> {
    rpassword::prompt_password(prompt).map(Password).map_err(|error| {
        let advice = "without a terminal, name a file with --password-file";
        Failure::usage(format!("a password cannot be asked for: {error}; {advice}"))
    })
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn the_first_line_of_a_file_is_the_password() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (text, wanted) in [("correct horse\nmore", "correct horse"), ("x\r\n", "x"), ("y", "y")]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Source::File(path.clone()).read().unwrap().0, wanted);
        }
        std::fs::write(&path, "\n").unwrap();
        let failure = Source::File(path).read_new().unwrap_err();
        assert!(failure.message.contains("first line is empty"), "{}", failure.message);
        let missing = Source::File(directory.path().join("missing")).read().unwrap_err();
        assert!(missing.message.contains("missing"), "{}", missing.message);
    }
}
