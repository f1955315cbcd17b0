//! The file that remembers which key belongs to which host.
//!
//! One line a host, `host:port key`; empty lines and lines that begin with `#` are kept as they
//! are. A key is trusted when it is met for the first time and a person (or a flag) says yes;
//! from then on another key at that address is refused.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    PeerId,
    private_file::{self, Existing},
};

/// Bounds of a known-hosts file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownHostsLimits {
    /// Lines in the file.
    pub lines: usize,
    /// Bytes of a host with its port.
    pub host: usize,
    /// Bytes of the file.
    pub file: u64,
}

impl Default for KnownHostsLimits {
    fn default() -> Self {
        // A name in the DNS has at most 253 characters, and a port adds six.
        Self { lines: 10_000, host: 259, file: 4 << 20 }
    }
}

/// What the file says about a host and the key that it has just proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key that we know.
    Known,
    /// We have never met this host.
    New,
    /// We know another key: either the host got a new one, or someone stands between.
    Changed {
        /// The key that we know.
        known: PeerId,
    },
}

/// Why the file of known hosts could not be used.
#[derive(Debug, Error)]
pub enum KnownHostsError {
    /// A line is not `host:port key`.
    #[error("{}, line {line}: {what}; correct or delete the line", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The file is full.
    #[error("{} has {max} lines, which is the limit; delete hosts you no longer need", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
    /// The text is not a host.
    #[error("{host:?} is not a host with a port, such as example.org:7275")]
    NotAHost {
        /// The text.
        host: String,
    },
    /// The host is known with another key.
    #[error(
        "the key of {host} has changed: someone may be impersonating it.\n  \
         known:  {known}\n  \
         shown:  {shown}\n\
         If you are sure that the change is right, delete line {line} of {} and connect again",
        .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The line that holds the known key, counted from 1.
        line: usize,
        /// The host.
        host: String,
        /// The key that we know.
        known: PeerId,
        /// The key that the host has now.
        shown: PeerId,
    },
    /// Reading or writing failed.
    #[error("cannot {during} the known hosts in {}", .path.display())]
    Io {
        /// `read` or `write`.
        during: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// The hosts whose keys we have met, kept in a file.
#[derive(Debug)]
pub struct KnownHosts {
    path: PathBuf,
    limits: KnownHostsLimits,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Remark(String),
    Host { host: String, id: PeerId },
}

impl KnownHosts {
    /// Reads the file at `path`; none is an empty one.
    ///
    /// # Errors
    /// [`KnownHostsError`] with the line number when a line cannot be understood.
    pub fn load(path: &Path) -> Result<Self, KnownHostsError> {
        Self::load_with(path, KnownHostsLimits::default())
    }

    /// The same, with other bounds.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_with(path: &Path, limits: KnownHostsLimits) -> Result<Self, KnownHostsError> {
        let mut hosts = Self { path: path.to_owned(), limits, lines: Vec::new() };
        hosts.lines = hosts.read()?;
        Ok(hosts)
    }

    /// What we know about `host` (`host:port`), which has just proved to be `id`.
    #[must_use]
    pub fn check(&self, host: &str, id: &PeerId) -> Verdict {
        match find(&self.lines, &host.to_ascii_lowercase()) {
            None => Verdict::New,
            Some((_, known)) if known == *id => Verdict::Known,
            Some((_, known)) => Verdict::Changed { known },
        }
    }

    /// The same as a result: [`Verdict::Changed`] becomes the error that tells a person what to do.
    ///
    /// # Errors
    /// [`KnownHostsError::Changed`].
    pub fn verify(&self, host: &str, id: &PeerId) -> Result<Verdict, KnownHostsError> {
        match find(&self.lines, &host.to_ascii_lowercase()) {
            None => Ok(Verdict::New),
            Some((_, known)) if known == *id => Ok(Verdict::Known),
            Some((line, known)) => {
                let (path, host) = (self.path.clone(), host.to_owned());
                Err(KnownHostsError::Changed { path, line, host, known, shown: *id })
            }
        }
    }

    /// Writes down that `host` (`host:port`) is `id`, durably, and keeps what others have written
    /// since [`Self::load`].
    ///
    /// # Errors
    /// [`KnownHostsError::Changed`] when the host is known with another key: a person has to
    /// delete the old line. Else what stood in the way of writing.
    pub fn remember(&mut self, host: &str, id: PeerId) -> Result<(), KnownHostsError> {
        let host = self.host(host)?;
        self.lines = self.read()?;
        match self.verify(&host, &id)? {
            Verdict::New => self.append(Line::Host { host, id }),
            Verdict::Known | Verdict::Changed { .. } => Ok(()),
        }
    }

    fn append(&mut self, line: Line) -> Result<(), KnownHostsError> {
        if self.lines.len() >= self.limits.lines {
            return Err(KnownHostsError::Full { path: self.path.clone(), max: self.limits.lines });
        }
        let mut lines = self.lines.clone();
        lines.push(line);
        private_file::write(&self.path, print(&lines).as_bytes(), Existing::Replace)
            .map_err(|source| self.failed("write", source))?;
        self.lines = lines;
        Ok(())
    }

    fn read(&self) -> Result<Vec<Line>, KnownHostsError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed("read", source)),
        };
        let mut content = Vec::new();
        private_file::read(&mut file, self.limits.file, &mut content)
            .map_err(|source| self.failed("read", source))?;
        let text = String::from_utf8(content).map_err(|error| {
            self.failed("read", io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Vec<Line>, KnownHostsError> {
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            if index >= self.limits.lines {
                return Err(KnownHostsError::Full {
                    path: self.path.clone(),
                    max: self.limits.lines,
                });
            }
            let line = self.parse_line(text).map_err(|what| KnownHostsError::Line {
                path: self.path.clone(),
                line: index + 1,
                what,
            })?;
            lines.push(line);
        }
        Ok(lines)
    }

    fn parse_line(&self, text: &str) -> Result<Line, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return Ok(Line::Remark(trimmed.to_owned()));
        }
        let (host, id) = trimmed
            .split_once(char::is_whitespace)
            .ok_or("expected a host with a port, a space and a key")?;
        let host = self.host(host).map_err(|error| error.to_string())?;
        let id = id.trim().parse::<PeerId>().map_err(|error| error.to_string())?;
        Ok(Line::Host { host, id })
    }

    /// The form in which hosts are compared; hosts do not depend on case (RFC 4343).
    fn host(&self, text: &str) -> Result<String, KnownHostsError> {
        let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.starts_with('#') && port.parse::<u16>().is_ok()
        });
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic());
        if well_formed && clean && text.len() <= self.limits.host {
            Ok(text.to_ascii_lowercase())
        } else {
            let host = text.chars().take(self.limits.host).collect();
            Err(KnownHostsError::NotAHost { host })
        }
    }

    fn failed(&self, during: &'static str, source: io::Error) -> KnownHostsError {
        KnownHostsError::Io { during, path: self.path.clone(), source }
    }
}

/// The line number, counted from 1, and the key.
fn find(lines: &[Line], wanted: &str) -> Option<(usize, PeerId)> {
    lines.iter().enumerate().find_map(|(index, line)| match line {
        Line::Host { host, id } if host == wanted => Some((index + 1, *id)),
        Line::Host { .. } | Line::Remark(_) => None,
    })
}

fn print(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        match line {
            Line::Remark(remark) => text.push_str(remark),
            Line::Host { host, id } => text.push_str(&format!("{host} {id}")),
        }
        text.push('\n');
    }
    text
}
